package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/term"

	"peel/analyze"
	"peel/capture"
	"peel/client"
	"peel/clock"
	"peel/dns"
	"peel/dnsclient"
	"peel/explain"
	"peel/kernel"
	"peel/lab"
	"peel/nameserver"
	"peel/trace"
	"peel/view/dnstext"
	"peel/view/jsontrace"
)

const dnsUsage = `peel dns tells a name's whole story, or asks a name server as dig does.

usage: peel dns NAME                 how this machine turns the name into addresses, and why so
       peel dns NAME TYPE…           ask for records
       peel dns NAME [TYPE] --walk   from the root down, each server on the way, and whether they agree
       peel dns --cache [NAME]       what a running peel serve dns --recursive holds

examples:
  peel dns example.com                          sources, searches, servers, order of addresses
  peel dns example.com MX TXT                   records, as zone files have them
  peel dns example.com AAAA --walk              referrals, glue, DNSSEC, all servers compared
  peel dns --server 192.0.2.53 example.com NS   ask that server
  peel dns --tls --server 9.9.9.9 --tls-name dns.quad9.net example.com A
  peel dns --https https://dns.example/dns-query example.com A
  peel dns -x 192.0.2.1                         the name behind an address
  peel dns example.com AXFR --server ns1        a whole zone
  peel dns --short example.com A                the data alone
`

// dnsCommand is one run of peel dns.
type dnsCommand struct {
	std   streams
	name  string
	types []dns.Type

	server             string
	port               uint16
	tcp, tls           bool
	tlsName, https     string
	cacert             string
	insecure           bool
	reverse            string
	class              string
	dnssec, cd, ad     bool
	noRecurse, noEDNS  bool
	nsid, cookie       bool
	subnet             string
	bufsize            uint16
	keepTC             bool
	timeout            time.Duration
	tries              int
	short              bool
	json               string
	walk               bool
	hints              string
	anchors            []string
	noValidate         bool
	rootPort           uint16
	noMinimise, noCase bool
	v4, v6             bool
	cache, flush       bool
	below              bool
	verbose            int
	color              string
	lab                bool
	search             bool
	serial             uint32
}

func runDNS(ctx context.Context, args []string, std streams) int {
	d := &dnsCommand{std: std}
	f := pflag.NewFlagSet("peel dns", pflag.ContinueOnError)
	f.SortFlags = false
	f.Usage = func() {}
	f.SetOutput(discard{})
	f.StringVarP(&d.server, "server", "s", "", "the server to ask: an address or name, with or without a port")
	f.Uint16VarP(&d.port, "port", "p", 0, "its port (53; 853 with --tls)")
	f.BoolVar(&d.tcp, "tcp", false, "ask over TCP")
	f.BoolVar(&d.tls, "tls", false, "ask over TLS (RFC 7858)")
	f.StringVar(&d.tlsName, "tls-name", "", "the name in the server's certificate")
	f.StringVar(&d.https, "https", "", "ask over HTTPS (RFC 8484), at that URL")
	f.StringVar(&d.cacert, "cacert", "", "trust the certificates in that PEM file")
	f.BoolVarP(&d.insecure, "insecure", "k", false, "take any certificate")
	f.StringVarP(&d.reverse, "reverse", "x", "", "the name of an address (PTR)")
	f.StringVarP(&d.class, "class", "c", "IN", "the class: IN, CH, HS, ANY")
	f.BoolVar(&d.dnssec, "dnssec", false, "ask for signatures (DO)")
	f.BoolVar(&d.cd, "cd", false, "take answers that fail validation (CD)")
	f.BoolVar(&d.ad, "ad", true, "ask whether the answer is authentic (AD)")
	f.BoolVar(&d.noRecurse, "no-recurse", false, "ask only for what the server itself knows (RD off)")
	f.BoolVar(&d.noEDNS, "no-edns", false, "send no OPT record")
	f.BoolVar(&d.nsid, "nsid", false, "ask the server what it calls itself")
	f.BoolVar(&d.cookie, "cookie", false, "send a DNS cookie")
	f.StringVar(&d.subnet, "subnet", "", "send that client subnet (RFC 7871)")
	f.Uint16Var(&d.bufsize, "bufsize", 1232, "octets taken over UDP")
	f.BoolVar(&d.keepTC, "keep-truncated", false, "do not ask again over TCP when the answer is cut")
	f.BoolVar(&d.search, "search", false, "with a TYPE: complete the name from resolv.conf's search list")
	f.DurationVar(&d.timeout, "timeout", 5*time.Second, "how long to wait for an answer")
	f.IntVar(&d.tries, "tries", 3, "how often to ask over UDP")
	f.Uint32Var(&d.serial, "serial", 0, "with IXFR: the version that is there already")
	f.BoolVar(&d.walk, "walk", false, "resolve from the root down, and compare the zone's servers")
	f.StringVar(&d.hints, "root-hints", "", "--walk: a file with the root servers")
	f.StringArrayVar(&d.anchors, "trust-anchor", nil, "--walk: a file with DS or DNSKEY records to trust")
	f.BoolVar(&d.noValidate, "no-validate", false, "--walk: do not check signatures")
	f.Uint16Var(&d.rootPort, "root-port", 53, "--walk: the port of the servers")
	f.BoolVar(&d.noMinimise, "no-minimise", false, "--walk: send the whole name to each server")
	f.BoolVar(&d.noCase, "no-case", false, "--walk: do not send names in random case")
	f.BoolVarP(&d.v4, "ipv4", "4", false, "IPv4 only: servers, and addresses of the name")
	f.BoolVarP(&d.v6, "ipv6", "6", false, "IPv6 only")
	f.BoolVar(&d.cache, "cache", false, "list the cache of a running peel serve dns --recursive (--port says which)")
	f.BoolVar(&d.flush, "flush", false, "with --cache: forget NAME, or all")
	f.BoolVar(&d.below, "below", false, "with --flush: and the names below NAME")
	f.BoolVar(&d.short, "short", false, "print the data alone")
	f.StringVar(&d.json, "json", "", "print JSON, on stdout or to --json=FILE")
	f.Lookup("json").NoOptDefVal = "-"
	f.BoolVar(&d.lab, "lab", false, "inside the lab")
	f.CountVarP(&d.verbose, "verbose", "v", "-v: more of each step; -vv: every field and its bytes")
	f.StringVar(&d.color, "color", "auto", "colour: auto, always, never (NO_COLOR is honoured)")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			fmt.Fprintf(std.out, "%s\nflags:\n%s", dnsUsage, f.FlagUsagesWrapped(100))
			return exitDone
		}
		return bad(std, err)
	}
	if err := d.words(f.Args()); err != nil {
		return bad(std, err)
	}
	err := d.run(ctx)
	switch {
	case ctx.Err() != nil:
		return exitInterrupted
	case err == errShown:
		return exitFailed
	case err != nil:
		fmt.Fprintf(std.err, "peel: %v\n", err)
		return exitFailed
	}
	return exitDone
}

// errShown is a failure that the output has told.
var errShown = errors.New("shown")

// words takes the name and types; as with dig, they come in any order, and
// @SERVER is a server.
func (d *dnsCommand) words(args []string) error {
	if d.reverse != "" {
		n, err := reverseName(d.reverse)
		if err != nil {
			return err
		}
		d.name = n
		d.types = append(d.types, dns.TypePTR)
	}
	for _, a := range args {
		if s, ok := strings.CutPrefix(a, "@"); ok {
			d.server = s
			continue
		}
		if t, ok := dns.ParseType(a); ok && d.name != "" {
			d.types = append(d.types, t)
			continue
		}
		if d.name != "" {
			return fmt.Errorf("%q is no record type, and the name is %q already", a, d.name)
		}
		d.name = a
	}
	if d.name == "" && !d.cache {
		return errors.New("dns needs a NAME")
	}
	if _, err := netip.ParsePrefix(d.subnet); d.subnet != "" && err != nil {
		return fmt.Errorf("--subnet takes a prefix like 192.0.2.0/24, not %q", d.subnet)
	}
	if d.https != "" && !strings.Contains(d.https, "://") {
		return fmt.Errorf("--https takes a URL like https://dns.example/dns-query, not %q", d.https)
	}
	return nil
}

// reverseName returns the name under which an address has its PTR record (RFC
// 1035 §3.5, RFC 3596 §2.5).
func reverseName(s string) (string, error) {
	a, err := netip.ParseAddr(s)
	if err != nil {
		return "", fmt.Errorf("-x takes an address, not %q", s)
	}
	a = a.Unmap().WithZone("")
	b := a.AsSlice()
	slices.Reverse(b)
	var parts []string
	for _, c := range b {
		if a.Is4() {
			parts = append(parts, strconv.Itoa(int(c)))
		} else {
			parts = append(parts, strconv.FormatUint(uint64(c&15), 16), strconv.FormatUint(uint64(c>>4), 16))
		}
	}
	zone := ".in-addr.arpa."
	if a.Is6() {
		zone = ".ip6.arpa."
	}
	return strings.Join(parts, ".") + zone, nil
}

func (d *dnsCommand) run(ctx context.Context) error {
	switch {
	case d.cache:
		return d.showCache()
	case d.walk:
		return d.doWalk(ctx)
	case len(d.types) == 0 && d.server == "" && d.https == "" && !d.tls:
		return d.story(ctx)
	}
	if len(d.types) == 0 {
		d.types = []dns.Type{dns.TypeA, dns.TypeAAAA}
		if d.v4 {
			d.types = d.types[:1]
		}
		if d.v6 {
			d.types = d.types[1:]
		}
	}
	return d.ask(ctx)
}

func (d *dnsCommand) writer() *dnstext.Writer {
	color := d.color == "always" || d.color == "auto" && os.Getenv("NO_COLOR") == "" && term.IsTerminal(int(d.std.out.Fd()))
	return &dnstext.Writer{W: d.std.out, Color: color}
}

// printJSON writes a value as JSON where --json says.
func (d *dnsCommand) printJSON(v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	b = append(b, '\n')
	if d.json == "-" {
		_, err = d.std.out.Write(b)
		return err
	}
	return os.WriteFile(d.json, b, 0o644)
}

// config reads how this machine resolves names.
func (d *dnsCommand) config(l *lab.Lab) (*dns.Config, error) {
	cfg := &dns.Config{}
	if l != nil {
		cfg = l.Resolver()
	} else {
		for path, use := range map[string]func([]byte){
			kernel.NsswitchConf: func(b []byte) { cfg.Nsswitch = dns.ParseNsswitch(b) },
			kernel.HostsFile:    func(b []byte) { cfg.Hosts = dns.ParseHosts(b) },
			kernel.ResolvConf:   func(b []byte) { cfg.Resolv = dns.ParseResolvConf(b) },
		} {
			b, err := kernel.ReadConfig(path)
			if err != nil {
				return nil, err
			}
			use(b)
		}
	}
	cfg.Sort.Source = kernel.Network{}.Source
	return cfg, nil
}

// upLab starts the lab when --lab asks for it.
func (d *dnsCommand) upLab(ctx context.Context) (*lab.Lab, error) {
	if !d.lab {
		return nil, nil
	}
	return lab.Up(ctx, lab.Options{})
}

// story tells how this machine resolves the name.
func (d *dnsCommand) story(ctx context.Context) error {
	l, err := d.upLab(ctx)
	if err != nil {
		return err
	}
	if l != nil {
		defer l.Close()
	}
	cfg, err := d.config(l)
	if err != nil {
		return err
	}
	clk := clock.NewReal()
	rec := capture.NewRecorder(clk, capture.Options{})
	family := client.AnyFamily
	if d.v4 {
		family = client.IPv4
	}
	if d.v6 {
		family = client.IPv6
	}
	c := client.New(client.Options{Clock: clk, Recorder: rec, Resolver: &client.Resolver{Config: cfg}, Family: family})
	defer c.Close()
	addrs, failure := c.Lookup(ctx, d.name, 80)
	a := analyze.New(analyze.Limits{})
	a.Read(rec.Cursor(), false)
	t := a.Trace()
	t.Findings = append(t.Findings, explain.Findings(t)...)
	switch {
	case d.json != "":
		err = d.traceJSON(t)
	case d.short:
		for _, a := range addrs {
			fmt.Fprintln(d.std.out, a.Addr())
		}
	case len(t.Lookups) > 0:
		w := d.writer()
		asked := slices.ContainsFunc(t.Lookups[0].Steps, func(s trace.Step) bool { return s.Server != "" })
		w.Story(t.Lookups[0], d.sources(cfg, l != nil), dns.Differences(cfg, d.name, asked))
		for _, f := range t.Findings {
			fmt.Fprintf(d.std.out, "\n%s %s: %s\n", f.Severity, f.ID, f.Title)
		}
		err = w.Err
	}
	if failure != nil {
		return errShown
	}
	return err
}

func (d *dnsCommand) traceJSON(t *trace.Trace) error {
	if d.json == "-" {
		return jsontrace.Write(d.std.out, t, jsontrace.Options{})
	}
	f, err := os.Create(d.json)
	if err != nil {
		return err
	}
	defer f.Close()
	return jsontrace.Write(f, t, jsontrace.Options{})
}

// sources says in one line what decides: the order, the servers, the search.
func (d *dnsCommand) sources(cfg *dns.Config, inLab bool) string {
	var parts []string
	if ns := cfg.Nsswitch; ns != nil {
		var words []string
		for _, s := range ns.Sources {
			words = append(words, s.Name)
		}
		where := "no hosts line in nsswitch.conf, so "
		if ns.Line > 0 {
			where = fmt.Sprintf("nsswitch.conf line %d: ", ns.Line)
		}
		parts = append(parts, where+strings.Join(words, " "))
	}
	if r := cfg.Resolv; r != nil {
		var servers []string
		for _, s := range r.Servers {
			text := s.Addr().String()
			if s.Port() != 53 {
				text = s.String()
			}
			if s.Addr() == netip.AddrFrom4([4]byte{127, 0, 0, 53}) {
				text += resolvedUpstreams()
			}
			servers = append(servers, text)
		}
		parts = append(parts, "servers "+strings.Join(servers, ", "))
		if len(r.Search) > 0 {
			var search []string
			for _, n := range r.Search {
				search = append(search, n.Host())
			}
			parts = append(parts, fmt.Sprintf("search %s", strings.Join(search, " "))+searchNote(d.name, r.Dots))
		}
	}
	if inLab {
		parts = append(parts, "in the lab")
	}
	return strings.Join(parts, "; ")
}

// searchNote says what ndots makes of the search list for a name.
func searchNote(host string, ndots int) string {
	dots := strings.Count(strings.TrimSuffix(host, "."), ".")
	switch {
	case strings.HasSuffix(host, "."):
		return " (not for a name with a final dot)"
	case dots >= ndots:
		return fmt.Sprintf(" (after the name itself, which has %d dots of the %d that ndots asks for)", dots, ndots)
	}
	return fmt.Sprintf(" (first, as the name has %d dots of the %d that ndots asks for)", dots, ndots)
}

// resolvedUpstreams tells whom systemd-resolved asks, which listens at
// 127.0.0.53: its own file says so.
func resolvedUpstreams() string {
	b, err := kernel.ReadConfig("/run/systemd/resolve/resolv.conf")
	if err != nil || len(b) == 0 {
		return " (systemd-resolved's address; whom it asks is not observed)"
	}
	var up []string
	for _, s := range dns.ParseResolvConf(b).Servers {
		up = append(up, s.Addr().String())
	}
	return " (systemd-resolved, which asks " + strings.Join(up, ", ") + ")"
}

// ask sends a query for each type and shows what comes back.
func (d *dnsCommand) ask(ctx context.Context) error {
	l, err := d.upLab(ctx)
	if err != nil {
		return err
	}
	if l != nil {
		defer l.Close()
	}
	name, err := dns.ParseName(d.name)
	if err != nil {
		return err
	}
	class, ok := dns.ParseClass(d.class)
	if !ok {
		return fmt.Errorf("--class %s is not known", d.class)
	}
	cfg, err := d.config(l)
	if err != nil {
		return err
	}
	servers, err := d.servers(ctx, cfg)
	if err != nil {
		return err
	}
	tlsConfig, err := d.tlsConfig(l)
	if err != nil {
		return err
	}
	httpClient := client.New(client.Options{Roots: tlsConfig.RootCAs, Insecure: d.insecure, Resolver: &client.Resolver{Config: cfg}})
	defer httpClient.Close()
	c := &dnsclient.Client{Network: kernel.Network{}, HTTP: httpClient, TLS: tlsConfig, Timeout: d.timeout, Tries: d.tries, KeepTruncated: d.keepTC}
	names := []dns.Name{name}
	if d.search && !strings.HasSuffix(d.name, ".") && cfg.Resolv != nil {
		for _, suffix := range cfg.Resolv.Search {
			if n, err := name.Join(suffix); err == nil {
				names = append(names, n)
			}
		}
		if name.NumLabels()-1 < cfg.Resolv.Dots {
			names = append(names[1:], names[0])
		}
	}
	var out []dnsJSON
	failed := false
	for i, t := range d.types {
		if i > 0 && d.json == "" && !d.short {
			fmt.Fprintln(d.std.out)
		}
		if t == dns.TypeAXFR || t == dns.TypeIXFR {
			if err := d.transfer(ctx, c, servers[0], dns.Question{Name: name, Type: t, Class: class}); err != nil {
				return err
			}
			continue
		}
		r, err := d.first(ctx, c, servers, names, t, class)
		if err != nil {
			return err
		}
		failed = failed || r.Message.Rcode != dns.RcodeNoError && r.Message.Rcode != dns.RcodeNXDomain
		switch {
		case d.json != "":
			out = append(out, replyJSON(r))
		case d.short:
			w := d.writer()
			w.Short(r.Message)
		default:
			w := d.writer()
			w.Reply(r)
			if d.verbose > 1 {
				printFields(d.std.out, dns.Fields(r.Raw), "")
			}
		}
	}
	if d.json != "" {
		if err := d.printJSON(out); err != nil {
			return err
		}
	}
	if failed {
		return errShown
	}
	return nil
}

// first asks the servers in their order until one answers, for the names in
// theirs until one exists.
func (d *dnsCommand) first(ctx context.Context, c *dnsclient.Client, servers []dnsclient.Server, names []dns.Name, t dns.Type, class dns.Class) (*dnsclient.Reply, error) {
	var last error
	var nothing *dnsclient.Reply
	for _, n := range names {
		for _, s := range servers {
			r, err := c.Do(ctx, s, d.query(dns.Question{Name: n, Type: t, Class: class}))
			if err != nil {
				if last = err; ctx.Err() != nil {
					return nil, last
				}
				continue
			}
			if r.Message.Rcode != dns.RcodeNXDomain || len(names) == 1 {
				return r, nil
			}
			nothing = r
			break
		}
	}
	if nothing != nil {
		return nothing, nil
	}
	return nil, last
}

func (d *dnsCommand) query(q dns.Question) *dns.Message {
	m := &dns.Message{Header: dns.Header{ID: uint16(nameserver.Random64()), RecursionDesired: !d.noRecurse, CheckingDisabled: d.cd, AuthenticData: d.ad}, Questions: []dns.Question{q}}
	if d.noEDNS {
		return m
	}
	e := dns.EDNS{UDPSize: d.bufsize, DNSSECOK: d.dnssec}
	if d.nsid {
		e.Options = append(e.Options, dns.Option{Code: dns.OptionNSID})
	}
	if d.cookie {
		var b [8]byte
		for i, v := 0, nameserver.Random64(); i < 8; i++ {
			b[i] = byte(v >> (8 * i))
		}
		e.Options = append(e.Options, dns.Option{Code: dns.OptionCookie, Data: b[:]})
	}
	if p, err := netip.ParsePrefix(d.subnet); err == nil {
		p = p.Masked()
		family := byte(1)
		if p.Addr().Is6() {
			family = 2
		}
		data := append([]byte{0, family, byte(p.Bits()), 0}, p.Addr().AsSlice()[:(p.Bits()+7)/8]...)
		e.Options = append(e.Options, dns.Option{Code: dns.OptionClientSubnet, Data: data})
	}
	if d.https != "" || d.tls { // RFC 8467: the size tells less
		m.Additional = []dns.Resource{e.Resource()}
		if b, err := m.Append(nil); err == nil {
			if pad := 128 - (len(b)+4)%128; pad < 128 {
				e.Options = append(e.Options, dns.Option{Code: dns.OptionPadding, Data: make([]byte, pad)})
			}
		}
	}
	m.Additional = []dns.Resource{e.Resource()}
	return m
}

// servers lists whom to ask: those given, or resolv.conf's.
func (d *dnsCommand) servers(ctx context.Context, cfg *dns.Config) ([]dnsclient.Server, error) {
	transport, port := dnsclient.UDP, uint16(53)
	switch {
	case d.https != "":
		return []dnsclient.Server{{Transport: dnsclient.HTTPS, URL: d.https}}, nil
	case d.tls:
		transport, port = dnsclient.TLS, 853
	case d.tcp:
		transport = dnsclient.TCP
	}
	if d.port != 0 {
		port = d.port
	}
	if d.server == "" {
		if cfg.Resolv == nil || len(cfg.Resolv.Servers) == 0 {
			return nil, errors.New("no name server is configured; give one with --server")
		}
		var out []dnsclient.Server
		for _, s := range cfg.Resolv.Servers {
			if d.port != 0 || transport == dnsclient.TLS {
				s = netip.AddrPortFrom(s.Addr(), port)
			}
			out = append(out, dnsclient.Server{Addr: s, Transport: transport, Name: d.tlsName})
		}
		return out, nil
	}
	if a, err := netip.ParseAddrPort(d.server); err == nil {
		return []dnsclient.Server{{Addr: a, Transport: transport, Name: d.tlsName}}, nil
	}
	host := d.server
	if h, p, err := net.SplitHostPort(d.server); err == nil {
		n, perr := strconv.ParseUint(p, 10, 16)
		if perr != nil {
			return nil, fmt.Errorf("--server %s: the port is no number", d.server)
		}
		host, port = h, uint16(n)
	}
	if a, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return []dnsclient.Server{{Addr: netip.AddrPortFrom(a, port), Transport: transport, Name: d.tlsName}}, nil
	}
	c := client.New(client.Options{Resolver: &client.Resolver{Config: cfg}})
	defer c.Close()
	addrs, err := c.Lookup(ctx, host, port)
	if err != nil {
		return nil, fmt.Errorf("the address of --server %s: %w", host, err)
	}
	var out []dnsclient.Server
	for _, a := range addrs {
		name := d.tlsName
		if name == "" {
			name = host
		}
		out = append(out, dnsclient.Server{Addr: a, Transport: transport, Name: name})
	}
	return out, nil
}

func (d *dnsCommand) tlsConfig(l *lab.Lab) (*tls.Config, error) {
	cfg := &tls.Config{InsecureSkipVerify: d.insecure}
	if l != nil {
		cfg.RootCAs = l.Roots()
	}
	if d.cacert != "" {
		b, err := os.ReadFile(d.cacert)
		if err != nil {
			return nil, fmt.Errorf("--cacert: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(b) {
			return nil, fmt.Errorf("--cacert %s: no certificate in it", d.cacert)
		}
	}
	return cfg, nil
}

// transfer prints a zone as a zone file.
func (d *dnsCommand) transfer(ctx context.Context, c *dnsclient.Client, s dnsclient.Server, q dns.Question) error {
	m := d.query(q)
	m.RecursionDesired = false
	if q.Type == dns.TypeIXFR {
		soa := dns.NewResource(q.Name, 0, dns.SOA{Serial: d.serial})
		m.Authority = []dns.Resource{soa}
	}
	w := d.writer()
	records, messages, octets := 0, 0, 0
	var out []dnsJSON
	err := c.Transfer(ctx, s, m, func(r *dnsclient.Reply) error {
		messages++
		octets += len(r.Raw)
		if r.Message.Rcode != dns.RcodeNoError {
			return fmt.Errorf("%s says %s: %s", s, r.Message.Rcode, r.Message.Rcode.Meaning())
		}
		if records += len(r.Message.Answers); d.json != "" {
			out = append(out, replyJSON(r))
			return nil
		}
		for _, rr := range r.Message.Answers {
			fmt.Fprintln(d.std.out, rr)
		}
		return w.Err
	})
	if err != nil {
		return err
	}
	if d.json != "" {
		return d.printJSON(out)
	}
	if !d.short {
		fmt.Fprintf(d.std.out, ";; %d records in %d messages, %d octets, from %s\n", records, messages, octets, s)
	}
	return nil
}
