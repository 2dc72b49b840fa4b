package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"os/user"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"peel/clock"
	"peel/dns"
	"peel/dns/cache"
	"peel/dns/recursor"
	nameserver "peel/dns/server"
	"peel/dns/zone"
	"peel/internal/accept"
	"peel/internal/kernel"
	"peel/internal/pki"
	"peel/server"
	"peel/server/doh"
)

const serveUsage = `peel serve dns is a name server: from zone files, recursive, or both.

usage: peel serve dns --zone FILE… | --recursive

examples:
  peel serve dns --zone example.com.zone              answer for the zone in the file (its SOA record says which)
  peel serve dns --zone example.com=db.example        the file's names are completed with example.com
  peel serve dns --recursive                          resolve any name from the root down
  peel serve dns --recursive --root-hints my.hints    the same from other roots
  peel serve dns --zone z --tls 127.0.0.1:8853 --https 127.0.0.1:8443   DNS over TLS and HTTPS too

Zone files are read again when they change, and on SIGHUP; the certificate on SIGHUP.
`

// serveDNS is one run of peel serve dns.
type serveDNS struct {
	std        streams
	zones      []string
	listen     []string
	tls, https []string
	certFile   string
	key        string
	recursive  bool
	hints      string
	anchors    []string
	noValidate bool
	transfer   []string
	notify     []string
	cacheSize  int
	port       uint16
	nsid       string

	server   *nameserver.Server
	zoneSet  *zone.Server
	resolver *nameserver.Resolver
	read     map[string]zoneFile
	ended    chan error // of listeners that stopped by themselves
	exposure
}

func runServe(ctx context.Context, args []string, std streams) int {
	if len(args) == 0 || args[0] != "dns" {
		if len(args) > 0 && (args[0] == "--help" || args[0] == "-h") {
			args = []string{"dns", "--help"}
		} else {
			return bad(std, errors.New("serve takes what to serve: dns"))
		}
	}
	s := &serveDNS{std: std, read: map[string]zoneFile{}, ended: make(chan error, 1)}
	f := pflag.NewFlagSet("peel serve dns", pflag.ContinueOnError)
	f.SortFlags = false
	f.Usage = func() {}
	f.SetOutput(discard{})
	f.StringArrayVar(&s.zones, "zone", nil, "a zone file (RFC 1035), or NAME=FILE; may be given again")
	f.BoolVar(&s.recursive, "recursive", false, "resolve all other names, from the root down")
	f.StringArrayVar(&s.listen, "listen", []string{"127.0.0.1:" + strconv.Itoa(defaultServePort)}, "ADDRESS:PORT for UDP and TCP; may be given again")
	f.StringArrayVar(&s.tls, "tls", nil, "ADDRESS:PORT for DNS over TLS (RFC 7858)")
	f.StringArrayVar(&s.https, "https", nil, "ADDRESS:PORT for DNS over HTTPS (RFC 8484), on any path")
	f.StringVar(&s.certFile, "cert", "", "the certificate for --tls and --https, PEM; without one, one is made for this run")
	f.StringVar(&s.key, "key", "", "its private key, PEM")
	f.StringVar(&s.hints, "root-hints", "", "a file with the root servers, in place of the internet's")
	f.StringArrayVar(&s.anchors, "trust-anchor", nil, "a file with DS or DNSKEY records to trust, in place of the internet's root key")
	f.BoolVar(&s.noValidate, "no-validate", false, "do not check signatures")
	f.Uint16Var(&s.port, "root-port", 53, "the port of the servers that are asked")
	f.IntVar(&s.cacheSize, "cache-size", 256, "memory for the cache, in MB")
	f.StringArrayVar(&s.transfer, "allow-transfer", nil, "PREFIX that may transfer zones (AXFR, IXFR); may be given again")
	f.StringArrayVar(&s.notify, "notify", nil, "ADDRESS[:PORT] to tell of new zone versions (RFC 1996)")
	s.exposure.flags(f)
	f.StringVar(&s.nsid, "nsid", "", "what this server calls itself (RFC 5001)")
	if err := f.Parse(args[1:]); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			fmt.Fprintf(std.out, "%s\nflags:\n%s", serveUsage, f.FlagUsagesWrapped(100))
			return exitDone
		}
		return bad(std, err)
	}
	if len(f.Args()) > 0 {
		return bad(std, fmt.Errorf("serve dns takes no arguments, but %q was given; zone files go with --zone", f.Arg(0)))
	}
	if len(s.zones) == 0 && !s.recursive {
		return bad(std, errors.New("serve dns needs --zone FILE or --recursive"))
	}
	if s.key != "" && s.certFile == "" {
		return bad(std, errors.New("--key is the key of a certificate; give --cert too"))
	}
	if s.cacheSize <= 0 {
		return bad(std, fmt.Errorf("--cache-size is %d; it takes a number of MB", s.cacheSize))
	}
	// Whoever is told that it serves may signal it at once.
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	err := s.start(ctx)
	if err == nil && s.check {
		s.say("nothing is wrong")
	} else if err == nil {
		notify("READY=1")
		err = s.watch(ctx, hup)
		notify("STOPPING=1")
	}
	if s.server != nil {
		s.server.Close()
	}
	if s.resolver != nil {
		s.resolver.Close()
	}
	if s.log != nil {
		s.log.close()
	}
	if err != nil {
		fmt.Fprintf(std.err, "peel: %v\n", err)
		return exitFailed
	}
	return exitDone
}

// budget shares the files that may be open out: connections of DNS, of HTTPS,
// and the resolver's sockets. Some are left for all else.
func (s *serveDNS) budget() (streams, web, sockets int) {
	files := max(accept.Files()-32-4*(len(s.listen)+len(s.tls)+len(s.https)), 24)
	if len(s.https) > 0 {
		return min(files/4, 4000), min(files/4, 4000), min(files*2/5, 2048)
	}
	return min(files*2/5, 4000), 0, min(files*2/5, 2048)
}

// run serves on something until the end. Should it stop before, that ends the
// whole: a server does not go on with a part of it dead.
func (s *serveDNS) run(ctx context.Context, what string, serve func() error) {
	go func() {
		err := serve()
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			err = net.ErrClosed
		}
		select {
		case s.ended <- fmt.Errorf("serving %s: %w", what, err):
		default: // one is enough
		}
	}()
}

func (s *serveDNS) start(ctx context.Context) error {
	streams, _, sockets := s.budget()
	s.server = &nameserver.Server{MaxStreams: streams, Log: func(text string) { s.say("%s", text) }}
	allowed, err := prefixes("--allow-transfer", s.transfer)
	if err != nil {
		return err
	}
	if err := s.apply(s.server); err != nil {
		return err
	}
	if len(s.zones) > 0 {
		s.zoneSet = zone.NewServer()
		s.zoneSet.NSID = s.nsid
		s.zoneSet.Transfer = func(_ *zone.Zone, peer string) bool {
			a, err := netip.ParseAddr(peer)
			for _, p := range allowed {
				if err == nil && p.Contains(a) {
					return true
				}
			}
			return false
		}
		s.server.Zones = s.zoneSet
		for _, spec := range s.zones {
			if err := s.load(spec); err != nil {
				return err
			}
		}
	}
	if s.recursive {
		cfg, err := resolverConfig(s.hints, s.anchors, s.noValidate)
		if err != nil {
			return err
		}
		cfg.Port = s.port
		cfg.Stale = 24 * time.Hour
		cfg.MaxSockets = sockets
		c := cache.New()
		c.MaxBytes = s.cacheSize << 20
		// The collector may let garbage pile up to as much again as lives:
		// not beyond what the cache was given, and some for all else.
		debug.SetMemoryLimit(int64(s.cacheSize)<<20*5/4 + 64<<20)
		s.resolver = nameserver.NewResolver(cfg, c, kernel.Network{}, clock.NewReal())
		s.resolver.Log = s.server.Log
		s.server.Recursive = s.resolver
	}
	if s.check {
		return s.checkAddresses()
	}
	if err := s.openLog(); err != nil {
		return err
	}
	if s.metrics != "" {
		if err := s.serveMetrics(ctx); err != nil {
			return err
		}
	}
	if err := s.open(ctx); err != nil {
		return err
	}
	return become(s.user)
}

// checkAddresses looks at what only serving would use.
func (s *serveDNS) checkAddresses() error {
	for _, l := range s.listen {
		if _, err := netip.ParseAddrPort(l); err != nil {
			return fmt.Errorf("--listen %s: not ADDRESS:PORT", l)
		}
	}
	for flag, list := range map[string][]string{"--tls": s.tls, "--https": s.https} {
		for _, l := range list {
			if _, _, err := net.SplitHostPort(l); err != nil {
				return fmt.Errorf("%s %s: not ADDRESS:PORT: %w", flag, l, err)
			}
		}
	}
	if s.queryLog != "" && s.queryLog != "-" { // the file itself is made when it serves
		if _, err := os.Stat(filepath.Dir(s.queryLog)); err != nil {
			return fmt.Errorf("--query-log: %w", err)
		}
	}
	if s.user != "" {
		if _, err := user.Lookup(s.user); err != nil {
			return fmt.Errorf("--user: %w", err)
		}
	}
	_, err := s.certificate()
	return err
}

// open listens everywhere.
func (s *serveDNS) open(ctx context.Context) error {
	for _, l := range s.listen {
		addr, err := netip.ParseAddrPort(l)
		if err != nil {
			return fmt.Errorf("--listen %s: not ADDRESS:PORT", l)
		}
		udp, tcp, err := nameserver.Listen(ctx, addr)
		if err != nil {
			return listenHint(err)
		}
		s.run(ctx, fmt.Sprintf("DNS over UDP on %s", udp.LocalAddr()), func() error { return s.server.ServeUDP(udp) })
		s.run(ctx, fmt.Sprintf("DNS over TCP on %s", tcp.Addr()), func() error { return s.server.ServeTCP(tcp) })
		s.say("serving DNS on %s, UDP and TCP", tcp.Addr())
		if s.resolver != nil {
			if stop, err := s.serveControl(tcp.Addr().(*net.TCPAddr).Port); err == nil {
				context.AfterFunc(ctx, stop)
			} else {
				s.say("peel dns --cache will not work: %v", err)
			}
		}
	}
	if len(s.tls)+len(s.https) == 0 {
		return nil
	}
	cert, err := s.certificate()
	if err != nil {
		return err
	}
	s.cert.Store(&cert)
	// Each handshake takes the certificate of its time.
	current := func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.cert.Load(), nil }
	for _, l := range s.tls {
		n, err := net.Listen("tcp", l)
		if err != nil {
			return listenHint(err)
		}
		secure := tls.NewListener(n, &tls.Config{GetCertificate: current, NextProtos: []string{"dot"}})
		s.run(ctx, fmt.Sprintf("DNS over TLS on %s", n.Addr()), func() error { return s.server.ServeTCP(secure) })
		s.say("serving DNS over TLS on %s", n.Addr())
	}
	for _, l := range s.https {
		n, err := net.Listen("tcp", l)
		if err != nil {
			return listenHint(err)
		}
		_, places, _ := s.budget()
		web := &server.Server{Handler: doh.Handler(s.server), Clock: clock.NewReal(), TLSConfig: &tls.Config{GetCertificate: current},
			Limits: server.Limits{Connections: max(places/len(s.https), 8)}, ErrorLog: func(text string) {
				if strings.HasPrefix(text, "server: accepting") { // what clients do wrong is not told here
					s.say("%s", strings.TrimPrefix(text, "server: "))
				}
			}}
		s.run(ctx, fmt.Sprintf("DNS over HTTPS on %s", n.Addr()), func() error { return web.ServeTLS(n) })
		go func() { <-ctx.Done(); web.Close() }()
		s.say("serving DNS over HTTPS on https://%s/dns-query", n.Addr())
	}
	return nil
}

func listenHint(err error) error {
	if errors.Is(err, syscall.EACCES) {
		return fmt.Errorf("%w; ports below 1024 need CAP_NET_BIND_SERVICE: run as root, or listen on another port", err)
	}
	return err
}

func (s *serveDNS) certificate() (tls.Certificate, error) {
	if s.certFile != "" {
		key := s.key
		if key == "" {
			key = s.certFile
		}
		c, err := tls.LoadX509KeyPair(s.certFile, key)
		if err != nil {
			err = fmt.Errorf("--cert: %w", err)
		}
		return c, err
	}
	a, err := pki.NewAuthority("peel serve", false, time.Now())
	if err != nil {
		return tls.Certificate{}, err
	}
	var names []string
	for _, l := range append(append([]string{"localhost"}, s.tls...), s.https...) {
		if host, _, err := net.SplitHostPort(l); err == nil && host != "" {
			l = host
		}
		names = append(names, l)
	}
	return a.Issue(pki.Leaf{Names: names})
}

func (s *serveDNS) say(format string, args ...any) {
	fmt.Fprintf(s.std.err, "peel: "+format+"\n", args...)
}

// watch reads zone files again when they have changed, until the end. A file
// with errors leaves the zone as it was.
func (s *serveDNS) watch(ctx context.Context, hup <-chan os.Signal) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		all := false
		select {
		case <-ctx.Done():
			return nil
		case err := <-s.ended:
			return err
		case <-hup:
			all = true
			notify("RELOADING=1")
			s.renewCertificate()
		case <-tick.C:
		}
		for spec, z := range s.read {
			if now := stamp(z.files); all || now != z.stamp {
				if err := s.load(spec); err != nil {
					s.say("%v; the zone stays as it was", err)
				}
			}
		}
		if all {
			notify("READY=1")
		}
	}
}

// renewCertificate reads the certificate again. One with errors leaves that
// which is served.
func (s *serveDNS) renewCertificate() {
	if s.certFile == "" || s.cert.Load() == nil {
		return
	}
	cert, err := s.certificate()
	if err != nil {
		s.say("%v; the certificate stays as it was", err)
		return
	}
	s.cert.Store(&cert)
	s.say("the certificate of %s was read again", s.certFile)
}

// resolverConfig reads the roots to begin with and the keys to trust: the
// internet's, unless files say otherwise.
func resolverConfig(hints string, anchors []string, noValidate bool) (recursor.Config, error) {
	cfg := recursor.Config{Hints: recursor.RootServers()}
	if hints != "" {
		records, err := readRecords(hints, dns.Name{}, anchorTTL, nil)
		if err != nil {
			return cfg, fmt.Errorf("--root-hints: %w", err)
		}
		if cfg.Hints = recursor.HintsOf(records); len(cfg.Hints) == 0 {
			return cfg, fmt.Errorf("--root-hints %s: no NS record of the root has an address in it", hints)
		}
	}
	switch {
	case noValidate:
	case len(anchors) > 0:
		for _, file := range anchors {
			records, err := readRecords(file, dns.Name{}, anchorTTL, nil)
			if err != nil {
				return cfg, fmt.Errorf("--trust-anchor: %w", err)
			}
			for _, rr := range records {
				if rr.Type == dns.TypeDS || rr.Type == dns.TypeDNSKEY {
					cfg.Anchors = append(cfg.Anchors, rr)
				}
			}
		}
		if len(cfg.Anchors) == 0 {
			return cfg, errors.New("--trust-anchor: no DS or DNSKEY record in the file")
		}
	case hints == "": // other roots have other keys
		cfg.Anchors = recursor.RootAnchors()
	}
	return cfg, nil
}
