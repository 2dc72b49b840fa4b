package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"peel/client"
	"peel/client/doh"
	"peel/dns"
	dnsclient "peel/dns/client"
	"peel/dns/stub"
	"peel/internal/kernel"
	"peel/lab"
)

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
	c := &dnsclient.Client{Network: kernel.Network{}, HTTPS: doh.Post(httpClient), TLS: tlsConfig, Timeout: d.timeout, Tries: d.tries, KeepTruncated: d.keepTC}
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
			if w.Short(r.Message); r.Message.Rcode != dns.RcodeNoError {
				fmt.Fprintf(d.std.err, "peel: %s from %s: %s\n", r.Message.Rcode, r.Server, r.Message.Rcode.Meaning())
			}
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
	m := &dns.Message{Header: dns.Header{ID: uint16(kernel.Random64()), RecursionDesired: !d.noRecurse, CheckingDisabled: d.cd, AuthenticData: d.ad}, Questions: []dns.Question{q}}
	if d.noEDNS {
		return m
	}
	e := dns.EDNS{UDPSize: d.bufsize, DNSSECOK: d.dnssec}
	if d.nsid {
		e.Options = append(e.Options, dns.Option{Code: dns.OptionNSID})
	}
	if d.cookie {
		var b [8]byte
		for i, v := 0, kernel.Random64(); i < 8; i++ {
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
func (d *dnsCommand) servers(ctx context.Context, cfg *stub.Config) ([]dnsclient.Server, error) {
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
