package main

import (
	"bufio"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/term"

	"peel"
	"peel/evidence/analyze"
	"peel/trace"
	"peel/view/jsontrace"
	"peel/view/redact"
	"peel/view/text"
)

const readUsage = `peel read shows what happened in capture files: pcap, pcapng, compressed or not; - is stdin.

usage: peel read FILE…       list the requests; with one, tell its story

examples:
  peel read trace.pcapng                      the requests, as a waterfall
  peel read trace.pcap --keylog keys.log      the same, decrypted
  peel read trace.pcapng --open 3             the story of request 3
  peel read trace.pcapng --packets            a line for each packet; -vv each field and byte
  peel read trace.pcapng --why 17             what packet 17 was for
  peel read trace.pcapng --why 3/content-type which packets carried a header of request 3
  tcpdump -w - | peel read -                  from a pipe
`

// read is one run of peel read FILE….
type read struct {
	std     streams
	files   []string
	keylogs []string
	cacert  string
	verbose int
	json    string
	har     string
	color   string
	redact  string
	failOn  string
	pcap    string
	packets bool
	follow  bool

	pcapSecrets bool

	open   int
	why    string
	limit  int
	most   int
	filter filter

	damaged int
}

func newReadFlags(r *read) *pflag.FlagSet {
	f := pflag.NewFlagSet("peel read", pflag.ContinueOnError)
	f.SortFlags = false
	f.Usage = func() {}
	f.SetOutput(discard{})
	f.StringArrayVar(&r.keylogs, "keylog", nil, "a TLS key log (SSLKEYLOGFILE) that opens the connections; may be given again")
	f.StringVar(&r.cacert, "cacert", "", "judge certificates by the CA certificates in that PEM file; system: by those of this machine")
	f.IntVar(&r.open, "open", 0, "tell the story of that request")
	f.BoolVar(&r.packets, "packets", false, "list the packets, a line each")
	f.StringVar(&r.why, "why", "", "N: what packet N was for; X/NAME, X/body:BYTE: which packets carried a header or a byte of request X")
	f.BoolVar(&r.follow, "follow", false, "go on when the file grows, until interrupted; requests are told as they end")
	f.StringVar(&r.filter.host, "host", "", "only requests to that host; *.example.com is every name below it")
	f.StringVar(&r.filter.status, "status", "", "only responses with that status: 404, 5xx, 400-499; failed: those that are missing or not whole")
	f.StringVar(&r.filter.method, "method", "", "only requests with that method")
	f.StringVar(&r.filter.address, "address", "", "only what an address took part in: IP, IP:PORT or prefix")
	f.IntVar(&r.filter.stream, "stream", 0, "only connection N")
	f.StringVar(&r.filter.from, "from", "", "only from that time on: RFC 3339, or a duration from the beginning such as 1.5s")
	f.StringVar(&r.filter.to, "to", "", "only up to that time")
	f.StringVar(&r.filter.text, "grep", "", "only requests with that text in their URL or heads, or packets with it in their line")
	f.CountVarP(&r.verbose, "verbose", "v", "-v: each message of each layer; -vv: every field and its bytes")
	f.StringVar(&r.json, "json", "", "print the trace as JSON, on stdout or to --json=FILE; with --packets a line for each packet")
	f.Lookup("json").NoOptDefVal = "-"
	f.StringVar(&r.har, "har", "", "write the requests as HAR 1.2 to that file (- is stdout)")
	f.StringVar(&r.pcap, "pcap", "", "store what was read as one pcapng file")
	f.BoolVar(&r.pcapSecrets, "pcap-secrets", false, "store the TLS secrets in it too, those of --keylog among them")
	f.IntVar(&r.most, "max-requests", 50_000, "at most that many requests; the ones past it are counted")
	f.IntVar(&r.limit, "max-packets", 10_000, "at most that many packets in --json")
	f.StringVar(&r.redact, "redact", "on", "hide secrets in what is shown and stored; off shows them")
	f.StringVar(&r.failOn, "fail-on", "", "exit with 4 when there is a finding of that level: info, warning, error")
	f.StringVar(&r.color, "color", "auto", "colour: auto, always, never (NO_COLOR is honoured)")
	return f
}

// runRead is the command.
func runRead(ctx context.Context, args []string, std streams) int {
	r := &read{std: std}
	flags := newReadFlags(r)
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			fmt.Fprintf(std.out, "%s\nflags:\n%s", readUsage, flags.FlagUsagesWrapped(100))
			return exitDone
		}
		return bad(std, err)
	}
	r.files = flags.Args()
	if err := r.check(); err != nil {
		return bad(std, err)
	}
	return r.run(ctx)
}

func (r *read) check() error {
	if len(r.files) == 0 {
		return errors.New("read needs a capture file (- is stdin)")
	}
	if err := checkChoices(colorChoice(r.color), redactChoice(r.redact), failOnChoice(r.failOn)); err != nil {
		return err
	}
	if r.pcapSecrets && r.pcap == "" {
		return errors.New("--pcap-secrets needs --pcap FILE")
	}
	if r.most < 1 || r.limit < 0 {
		return errors.New("--max-requests takes 1 or more, --max-packets 0 or more")
	}
	if r.follow && len(r.files) > 1 {
		return errors.New("--follow takes one file")
	}
	if r.har == "-" && r.json == "-" {
		return errors.New("--json and --har cannot both go to stdout; give one a file name")
	}
	return r.filter.check()
}

func (r *read) run(ctx context.Context) int {
	limits := r.limits()
	var err error
	if limits.Roots, err = r.roots(); err != nil {
		return bad(r.std, err)
	}
	o := peel.ReadOptions{Limits: limits, Follow: r.follow}
	rows := r.newRows()
	if rows != nil {
		o.OnEnd = rows.part
	}
	rd := peel.NewReading(o)
	file, err := createPcap(r.pcap, r.pcapSecrets, r.mode(), rd.Store)
	if err != nil {
		return bad(r.std, err)
	}
	for _, name := range r.keylogs {
		log, err := os.ReadFile(name)
		if err != nil {
			return bad(r.std, fmt.Errorf("--keylog: %w", err))
		}
		if n := rd.KeyLog(log); n > 0 {
			fmt.Fprintf(r.std.err, "peel: %s: %d lines are no key-log lines (RFC 9850) and were left out\n", name, n)
		}
	}
	show := r.newProgress()
	rd.OnNote(func(text string) {
		show.end()
		fmt.Fprintf(r.std.err, "peel: %s: %s\n", r.files[0], text)
	})
	rd.OnDamage(func(text string) {
		r.damaged++
		show.end()
		fmt.Fprintf(r.std.err, "peel: %s: %s\n", r.files[0], text)
	})
	closeAll, err := r.openFiles(ctx, rd)
	defer closeAll()
	if err != nil {
		fmt.Fprintf(r.std.err, "peel: %v\n", err)
		return exitFailed
	}
	defer rd.Close()

	var lines *packetLines
	if r.packets {
		// Little is kept, and much comes and goes.
		debug.SetGCPercent(400)
		lines = r.newPacketLines(rd.Start)
		rd.OnPacket(lines.packet)
	}
	why := whyPacket(r.why)
	if why > 0 {
		rd.OnPacket(func(p *trace.Packet) {
			if p.ID == why {
				r.filter.wanted = clonePacket(p)
			}
		})
	}
	for ctx.Err() == nil && rd.Next() {
		show.step(rd)
		if lines != nil && lines.err != nil {
			return exitDone // the reader of the list has gone away
		}
	}
	err = rd.Close()
	show.end()
	if err := file.close(err); err != nil {
		fmt.Fprintf(r.std.err, "peel: --pcap: %v\n", err)
		return exitFailed
	}
	if lines != nil {
		if err := lines.flush(); err != nil {
			return exitFailed
		}
		return r.code(0)
	}
	if rows != nil {
		return rows.end(rd.Trace())
	}
	return r.report(rd.Trace())
}

// roots are what --cacert names, nil without it.
func (r *read) roots() (*x509.CertPool, error) {
	switch r.cacert {
	case "":
		return nil, nil
	case "system":
		return x509.SystemCertPool()
	}
	pem, err := os.ReadFile(r.cacert)
	if err != nil {
		return nil, fmt.Errorf("--cacert: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("--cacert %s: no certificate in it", r.cacert)
	}
	return pool, nil
}

// limits say what the analysis has to keep for the output asked for.
func (r *read) limits() analyze.Limits {
	l := analyze.Limits{Exchanges: r.most}
	if r.packets {
		l.Events = 1 // each packet is shown when it comes, and no trace is
	}
	if r.json != "" && !r.packets {
		l.Packets = r.limit
		if r.verbose > 1 {
			l.PacketBytes = 256 << 20
		}
	}
	if r.verbose > 0 && !r.packets {
		l.Packets = r.limit
		if r.verbose > 1 {
			l.PacketBytes = 256 << 20
		}
	}
	if r.har != "" {
		l.Body = 16 << 20
	}
	return l
}

// openFiles opens the files; closeAll closes those that it opened.
func (r *read) openFiles(ctx context.Context, rd *peel.Reading) (closeAll func(), err error) {
	var open []io.Closer
	closeAll = func() {
		for _, c := range open {
			c.Close()
		}
	}
	var captures []io.Reader
	for _, name := range r.files {
		if name == "-" {
			captures = append(captures, stdin{r.std.in})
			continue
		}
		f, err := os.Open(name)
		if err != nil {
			return closeAll, err
		}
		open = append(open, f)
		captures = append(captures, f)
	}
	return closeAll, rd.Open(ctx, captures...)
}

// stdin is the capture named -.
type stdin struct{ io.Reader }

func (stdin) Name() string { return "-" }

// Stat tells what standard input is, where it is a file.
func (s stdin) Stat() (os.FileInfo, error) {
	if f, ok := s.Reader.(*os.File); ok {
		return f.Stat()
	}
	return nil, os.ErrInvalid
}

// report shows the trace.
func (r *read) report(t *trace.Trace) int {
	if whyPacket(r.why) > 0 || r.why != "" {
		w := bufio.NewWriter(r.std.out)
		err := r.tellWhy(w, t)
		w.Flush()
		if err != nil {
			return bad(r.std, err)
		}
		return r.code(severity(t))
	}
	t = r.filter.apply(t)
	if r.open > 0 {
		x := t.Exchange(r.open)
		if x == nil {
			return bad(r.std, fmt.Errorf("--open: there is no request %d; there are %d", r.open, len(t.Exchanges)))
		}
		t = t.Only(x.ID)
	}
	shown := redact.Apply(t, r.mode())
	if r.har != "" {
		if err := writeHAR(r.std.out, r.har, shown); err != nil {
			fmt.Fprintf(r.std.err, "peel: --har: %v\n", err)
			return exitFailed
		}
	}
	if r.json != "" {
		o := jsontrace.Options{}
		if r.verbose > 1 {
			o.Fields, o.PacketFields = analyze.Fields, analyze.PacketFields
		}
		if err := writeTo(r.std.out, r.json, func(w io.Writer) error { return jsontrace.Write(w, shown, o) }); err != nil {
			fmt.Fprintf(r.std.err, "peel: --json: %v\n", err)
			return exitFailed
		}
	}
	if r.json != "-" && r.har != "-" {
		w := bufio.NewWriter(r.std.out)
		text.Write(w, shown, r.textOptions(shown))
		w.Flush()
	}
	return r.code(severity(t))
}

func (r *read) textOptions(t *trace.Trace) text.Options {
	o := terminal(r.std.out, r.color)
	o.Verbose, o.Offline = r.verbose, true
	o.Fields = func(e *trace.Event) []trace.Field { return analyze.Fields(t, e) }
	o.PacketFields = analyze.PacketFields
	return o
}

// terminal finds out how wide and colourful the output may be.
func terminal(w *os.File, color string) text.Options {
	isTerm := term.IsTerminal(int(w.Fd()))
	o := text.Options{Width: 100, Hints: hints}
	switch color {
	case "always":
		o.Color = true
	case "auto":
		o.Color = isTerm && os.Getenv("NO_COLOR") == ""
	}
	if isTerm {
		if width, _, err := term.GetSize(int(w.Fd())); err == nil && width > 40 {
			o.Width = width
		}
	}
	return o
}

func (r *read) mode() redact.Mode {
	if r.redact == "off" {
		return redact.Off
	}
	return redact.On
}

// code is the exit code, by the rank of the worst finding: what could not be
// read is a failure.
func (r *read) code(worst int) int {
	switch {
	case r.damaged > 0:
		return exitFailed
	case r.failOn != "" && worst >= trace.Severity(r.failOn).Rank():
		return exitLimit
	}
	return exitDone
}

// readProgress shows how far the reading of a large file is, on a terminal.
type readProgress struct {
	r           *read
	w           *os.File
	size        int64
	n           int
	start, last time.Time
	shown       bool
}

func (r *read) newProgress() *readProgress {
	p := &readProgress{r: r, start: time.Now()}
	if !term.IsTerminal(int(r.std.err.Fd())) || r.packets && term.IsTerminal(int(r.std.out.Fd())) {
		return p
	}
	p.w = r.std.err
	for _, name := range r.files {
		if i, err := os.Stat(name); err == nil {
			p.size += i.Size()
		}
	}
	return p
}

func (p *readProgress) step(rd *peel.Reading) {
	if p.n++; p.w == nil || p.n&0xfff != 0 {
		return
	}
	now := time.Now()
	if now.Sub(p.start) < time.Second || now.Sub(p.last) < 200*time.Millisecond {
		return
	}
	p.last, p.shown = now, true
	line := fmt.Sprintf("%d packets, %.0f MB", rd.Packets(), float64(rd.Offset())/1e6)
	if p.size > 0 { // standard input's is not known
		line += fmt.Sprintf(" of %.0f MB", float64(p.size)/1e6)
	}
	fmt.Fprint(p.w, "\r\x1b[K"+line)
}

// end takes the line away, for other text or for good.
func (p *readProgress) end() {
	if p.shown {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.shown = false
	}
}
