package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/term"

	"peel/client"
	"peel/dns"
	"peel/dns/stub"
	"peel/internal/kernel"
	"peel/internal/weburl"
	"peel/lab"
	"peel/view/dnstext"
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
	// unicode is the name as it was written, where that is not as it is asked
	// for.
	unicode string

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
		if err != nil && err != errShown {
			fmt.Fprintf(std.err, "peel: interrupted: %v\n", err)
		}
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
	if err := d.inASCII(); err != nil {
		return err
	}
	if d.lab && d.walk {
		return errors.New("--lab and --walk do not go together: the lab has one name server and delegates nothing, so that there is no way from a root down to walk; peel dns --lab NAME TYPE asks it")
	}
	if d.lab && d.cache {
		return errors.New("--lab and --cache do not go together: the lab's name server keeps no cache")
	}
	if d.cache {
		if _, _, err := (control{Name: d.name}).names(); err != nil {
			return err
		}
	}
	if _, err := netip.ParsePrefix(d.subnet); d.subnet != "" && err != nil {
		return fmt.Errorf("--subnet takes a prefix like 192.0.2.0/24, not %q", d.subnet)
	}
	if d.https != "" && !strings.HasPrefix(d.https, "https://") {
		return fmt.Errorf("--https takes a URL like https://dns.example/dns-query, not %q", d.https)
	}
	return nil
}

// inASCII turns a name of other letters into what is asked for (RFC 5890).
func (d *dnsCommand) inASCII() error {
	ascii, err := weburl.ASCIIName(d.name)
	if err != nil {
		return err
	}
	if ascii != d.name {
		d.unicode, d.name = d.name, ascii
	}
	return nil
}

// forms shows a name of other letters in both its forms.
func (d *dnsCommand) forms() {
	if d.unicode != "" && d.json == "" && !d.short {
		fmt.Fprintf(d.std.out, ";; %s is %s in DNS (IDNA)\n", d.unicode, d.name)
	}
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
	d.forms()
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
	return &dnstext.Writer{W: d.std.out, Color: color, Hints: hints}
}

// printJSON writes a value as JSON where --json says.
func (d *dnsCommand) printJSON(v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return writeTo(d.std.out, d.json, func(w io.Writer) error {
		_, err := w.Write(append(b, '\n'))
		return err
	})
}

// config reads how this machine resolves names.
func (d *dnsCommand) config(l *lab.Lab) (*stub.Config, error) {
	var cfg *stub.Config
	if l != nil {
		cfg = l.Resolver()
	} else {
		var err error
		if cfg, err = client.HostConfig(); err != nil {
			return nil, err
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
