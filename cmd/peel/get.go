package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/term"

	"peel"
	"peel/client"
	"peel/client/session"
	"peel/evidence/analyze"
	"peel/trace"
	"peel/view/jsontrace"
	"peel/view/redact"
	"peel/view/text"
)

// get is one run of peel URL….
type get struct {
	o       *options
	std     streams
	targets []target
	client  client.Options
	session session.Options

	output sync.Mutex // one body at a time goes to stdout
	blind  error      // why no packets are captured
}

type target struct {
	request *session.Request
	output  string
}

// evidence bounds what may wait between the recording and the analysis.
const evidence = 64 << 20

func (g *get) run(ctx context.Context) int {
	if g.o.maxTime > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, seconds(g.o.maxTime))
		defer cancel()
	}
	g.warnOfProxy()
	recording, err := peel.Record(peel.RecordOptions{Evidence: evidence, Whole: true, Packets: g.packets(), Limits: g.limits()})
	if err != nil {
		fmt.Fprintf(g.std.err, "peel: %v\n", err)
		return exitFailed
	}
	defer recording.Close()
	g.blind = recording.Blind()
	g.client.Clock, g.client.Recorder, g.client.Network = recording.Clock(), recording.Recorder(), recording.Network()
	g.session.Clock, g.session.Recorder = recording.Clock(), recording.Recorder()
	file, err := createPcap(g.o.pcap, g.o.pcapSecrets, g.mode(), recording.Store)
	if err != nil {
		return bad(g.std, err)
	}
	if g.o.lab {
		l, err := peel.NewLab(ctx, peel.LabOptions{Recording: recording})
		if err != nil {
			fmt.Fprintf(g.std.err, "peel: lab: %v\n", err)
			return exitFailed
		}
		defer l.Close()
		l.Enter(&g.client)
	}
	c := client.New(g.client)
	g.session.Client = c
	s := session.New(g.session)
	err = g.fetchAll(ctx, s)
	c.Close()
	if ferr := file.close(recording.Close()); ferr != nil {
		fmt.Fprintf(g.std.err, "peel: --pcap: %v\n", ferr)
		if err == nil {
			err = ferr
		}
	}
	t := recording.Trace()
	if jarErr := g.saveCookies(); err == nil {
		err = jarErr
	}
	return g.report(ctx, t, err)
}

// packets says whether packets are captured, as --packets has it.
func (g *get) packets() peel.Packets {
	switch g.o.packets {
	case "off":
		return peel.NoPackets
	case "on":
		return peel.NeedPackets
	}
	return peel.TryPackets
}

// fetchAll makes the requests, one after the other or at the same time. The
// first error is returned; the others are in the trace.
func (g *get) fetchAll(ctx context.Context, s *session.Session) error {
	if !g.o.parallel {
		var first error
		for _, t := range g.targets {
			if err := g.fetch(ctx, s, t); err != nil && first == nil {
				first = err
			}
			if ctx.Err() != nil {
				break
			}
		}
		return first
	}
	errs := make([]error, len(g.targets))
	slots := make(chan struct{}, g.o.parallelMax)
	var all sync.WaitGroup
	for i, t := range g.targets {
		slots <- struct{}{}
		all.Go(func() {
			errs[i] = g.fetch(ctx, s, t)
			<-slots
		})
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// errStatus is what --fail makes of a status of 400 and above.
type errStatus int

func (e errStatus) Error() string {
	return fmt.Sprintf("http: the server answered with status %d, and --fail was given", int(e))
}

// fetch makes one request and writes its body where it belongs.
func (g *get) fetch(ctx context.Context, s *session.Session, t target) error {
	resp, err := s.Fetch(ctx, t.request)
	if resp == nil {
		return err
	}
	defer resp.Body.Close()
	if g.o.fail && resp.Status >= 400 {
		return errStatus(resp.Status)
	}
	w, done, werr := g.sink(t)
	if werr != nil {
		return werr
	}
	if g.o.include || g.o.head {
		if _, werr := io.WriteString(w, headText(resp.Response)); werr != nil {
			done()
			return outputError(t, werr)
		}
	}
	p := newProgress(g.std.err, resp.ContentLength, !g.o.silent && g.o.json == "")
	_, cerr := io.Copy(w, p.reader(resp.Body))
	p.end()
	if derr := done(); cerr == nil {
		cerr = derr
	}
	if err == nil && cerr != nil {
		err = cerr
		var e *client.Error
		if !errors.As(cerr, &e) {
			err = outputError(t, cerr)
		}
	}
	return err
}

func outputError(t target, err error) error {
	where := "stdout"
	if t.output != "" && t.output != "-" {
		where = t.output
	}
	if errors.Is(err, syscall.EPIPE) {
		return fmt.Errorf("output: %s was closed by its reader before the body's end", where)
	}
	return fmt.Errorf("output: writing to %s: %w", where, err)
}

// headText is a response's head as HTTP/1 writes it.
func headText(r *client.Response) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %d", r.Protocol, r.Status)
	if r.Reason != "" {
		b.WriteString(" " + r.Reason)
	}
	b.WriteString("\r\n")
	for _, f := range r.Header {
		fmt.Fprintf(&b, "%s: %s\r\n", f.Name, f.Value)
	}
	b.WriteString("\r\n")
	return b.String()
}

// sink is where a body goes: a file, stdout, or nowhere when stdout is the
// terminal on which the story is told. A terminal gets no binary content
// unless that is asked for by name.
func (g *get) sink(t target) (io.Writer, func() error, error) {
	switch {
	case t.output == "" && (g.jsonToStdout() || g.storyOnStdout() && !g.o.include && !g.o.head):
		return io.Discard, func() error { return nil }, nil
	case t.output == "" || t.output == "-":
		g.output.Lock()
		w := io.Writer(g.std.out)
		if t.output == "" && term.IsTerminal(int(g.std.out.Fd())) {
			w = &textOnly{w: w}
		}
		return w, func() error { g.output.Unlock(); return nil }, nil
	}
	f, err := os.Create(t.output)
	if err != nil {
		return nil, nil, fmt.Errorf("output: %w", err)
	}
	return f, f.Close, nil
}

// textOnly passes on what a terminal can show.
type textOnly struct{ w io.Writer }

func (t *textOnly) Write(p []byte) (int, error) {
	if bytes.IndexByte(p, 0) >= 0 {
		return 0, errors.New("the body is binary, which a terminal cannot show; -o FILE keeps it, -o - shows it all the same")
	}
	return t.w.Write(p)
}

func (g *get) jsonToStdout() bool { return g.o.json == "-" || g.o.har == "-" }

// storyOnStdout tells whether the story is what stdout is for: when a person
// looks at it and the body goes nowhere or elsewhere.
func (g *get) storyOnStdout() bool {
	return !g.o.silent && len(g.o.outputs) == 0 && term.IsTerminal(int(g.std.out.Fd()))
}

func (g *get) saveCookies() error {
	if g.o.cookieJar == "" {
		return nil
	}
	b := g.session.Jar.File(g.client.Clock.Now())
	if g.o.cookieJar == "-" {
		_, err := g.std.out.Write(b)
		return err
	}
	if err := os.WriteFile(g.o.cookieJar, b, 0o600); err != nil {
		return fmt.Errorf("--cookie-jar: %w", err)
	}
	return nil
}

// report shows the trace and chooses the exit code.
func (g *get) report(ctx context.Context, t *trace.Trace, err error) int {
	code := exitDone
	var status errStatus
	switch {
	case errors.Is(context.Cause(ctx), context.Canceled):
		code = exitInterrupted
	case err != nil:
		code = exitFailed
	case g.o.failOn != "" && severity(t) >= trace.Severity(g.o.failOn).Rank():
		code = exitLimit
	}
	shown := redact.Apply(t, g.mode())
	if g.o.json != "" {
		if werr := g.writeJSON(shown); werr != nil {
			fmt.Fprintf(g.std.err, "peel: --json: %v\n", werr)
			return exitFailed
		}
	}
	if g.o.har != "" {
		if werr := writeHAR(g.std.out, g.o.har, shown); werr != nil {
			fmt.Fprintf(g.std.err, "peel: --har: %v\n", werr)
			return exitFailed
		}
	}
	if !g.o.silent && g.o.json != "-" && g.o.har != "-" {
		w := g.std.err
		if g.storyOnStdout() {
			w = g.std.out
		}
		g.writeStory(w, shown)
	}
	// The story tells a failure of the request itself; what is wrong on this
	// side of it, or silently, is told here in one line.
	var e *client.Error
	told := errors.As(err, &e) && !g.o.silent && g.o.json != "-" && g.o.har != "-"
	if err != nil && (!told || errors.As(err, &status)) {
		fmt.Fprintf(g.std.err, "peel: %s\n", redact.Words(t, g.mode())(explained(err)))
	}
	return code
}

func (g *get) mode() redact.Mode {
	if g.o.redact == "off" {
		return redact.Off
	}
	return redact.On
}

func (g *get) writeJSON(t *trace.Trace) error {
	o := jsontrace.Options{}
	if g.o.verbose > 1 {
		o.Fields, o.PacketFields = analyze.Fields, analyze.PacketFields
	}
	return writeTo(g.std.out, g.o.json, func(w io.Writer) error { return jsontrace.Write(w, t, o) })
}

func (g *get) writeStory(w *os.File, t *trace.Trace) {
	o := terminal(w, g.o.color)
	o.Verbose = g.o.verbose
	o.Fields = func(e *trace.Event) []trace.Field { return analyze.Fields(t, e) }
	o.PacketFields = analyze.PacketFields
	if g.blind != nil {
		o.Blind = g.blind.Error()
	}
	text.Write(w, t, o)
}

// severity is the rank of the worst finding.
func severity(t *trace.Trace) int {
	worst := 0
	for _, f := range t.Findings {
		worst = max(worst, f.Severity.Rank())
	}
	return worst
}

// progress shows how far a long download is, on a terminal.
type progress struct {
	w           *os.File
	whole, done int64
	start, last time.Time
	shown       bool
}

func newProgress(w *os.File, whole int64, wanted bool) *progress {
	p := &progress{whole: whole, start: time.Now()}
	if wanted && term.IsTerminal(int(w.Fd())) {
		p.w = w
	}
	return p
}

func (p *progress) reader(r io.Reader) io.Reader {
	if p.w == nil {
		return r
	}
	return readerFunc(func(b []byte) (int, error) {
		n, err := r.Read(b)
		p.done += int64(n)
		if now := time.Now(); now.Sub(p.start) > time.Second && now.Sub(p.last) > 200*time.Millisecond {
			p.last, p.shown = now, true
			of := ""
			if p.whole > 0 {
				of = fmt.Sprintf(" of %.1f MB (%d %%)", float64(p.whole)/1e6, p.done*100/p.whole)
			}
			fmt.Fprintf(p.w, "\r\x1b[K%.1f MB%s, %.1f MB/s", float64(p.done)/1e6, of, float64(p.done)/1e6/now.Sub(p.start).Seconds())
		}
		return n, err
	})
}

func (p *progress) end() {
	if p.shown {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }
