package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"peel/clock"
	"peel/dns"
	"peel/dns/cache"
	dnsclient "peel/dns/client"
	"peel/dns/recursor"
	nameserver "peel/dns/server"
	"peel/internal/kernel"
	"peel/view/dnstext"
)

// walkJSON is the output of --walk --json.
type walkJSON struct {
	Question string       `json:"question"`
	Rcode    string       `json:"rcode"`
	Security string       `json:"security"`
	Reason   string       `json:"reason,omitempty"`
	Queries  int          `json:"queries"`
	Duration int64        `json:"duration_ns"`
	Answers  []recordJSON `json:"answers"`
	Steps    []stepJSON   `json:"steps"`
	Servers  []checkJSON  `json:"servers,omitempty"`
}

type stepJSON struct {
	For       string       `json:"for"`
	Depth     int          `json:"depth"`
	Zone      string       `json:"zone"`
	Server    string       `json:"server"`
	Address   string       `json:"address"`
	Transport string       `json:"transport"`
	Question  string       `json:"question"`
	Time      int64        `json:"time_ns"`
	Duration  int64        `json:"duration_ns"`
	Outcome   string       `json:"outcome"`
	Text      string       `json:"text,omitempty"`
	Rcode     string       `json:"rcode,omitempty"`
	Referral  string       `json:"referral,omitempty"`
	Answers   []recordJSON `json:"answers,omitempty"`
	Authority []recordJSON `json:"authority,omitempty"`
	Glue      []recordJSON `json:"additional,omitempty"`
	NotAsked  []string     `json:"not_asked,omitempty"`
}

type checkJSON struct {
	Server    string `json:"server"`
	Address   string `json:"address"`
	Transport string `json:"transport"`
	Serial    uint32 `json:"serial,omitempty"`
	Answer    string `json:"answer,omitempty"`
	Problem   string `json:"problem,omitempty"`
	NotAsked  string `json:"not_asked,omitempty"`
	Duration  int64  `json:"duration_ns"`
}

// doWalk resolves from the root down with an empty cache, and shows each query.
func (d *dnsCommand) doWalk(ctx context.Context) error {
	name, err := dns.ParseName(d.name)
	if err != nil {
		return err
	}
	cfg, err := resolverConfig(d.hints, d.anchors, d.noValidate)
	if err != nil {
		return err
	}
	cfg.Port, cfg.NoMinimise, cfg.NoCase = d.rootPort, d.noMinimise, d.noCase
	cfg.NoPriming = true // one walk needs no more than it is given
	cfg.NoIPv4, cfg.NoIPv6 = d.v6, d.v4
	if !d.v4 && !d.v6 {
		// A family without a route would only cost tries.
		cfg.NoIPv4, cfg.NoIPv6 = d.noRoute(cfg.Hints, false), d.noRoute(cfg.Hints, true)
		if cfg.NoIPv4 && cfg.NoIPv6 {
			return errors.New("this machine has no route to any root server, over IPv4 or IPv6; give servers that it reaches with --root-hints")
		}
	}
	w := d.writer()
	clk := clock.NewReal()
	start := clk.Now()
	var mu sync.Mutex
	var steps []recursor.Step
	quiet := false // the walk is over, and only addresses are looked up
	cfg.OnStep = func(s recursor.Step) {
		mu.Lock()
		defer mu.Unlock()
		if quiet {
			return
		}
		steps = append(steps, s)
		if d.json == "" && !d.short {
			w.Step(s)
		}
	}
	r := nameserver.NewResolver(cfg, cache.New(), kernel.Network{}, clk)
	defer r.Close()
	if len(d.types) == 0 {
		d.types = []dns.Type{dns.TypeA}
		if d.v6 {
			d.types = []dns.Type{dns.TypeAAAA}
		}
	}
	var all []walkJSON
	failed := false
	for _, t := range d.types {
		q := dns.Question{Name: name, Type: t, Class: dns.ClassIN}
		mu.Lock()
		quiet = false
		mu.Unlock()
		begun := time.Now()
		res, err := r.Lookup(ctx, q, d.cd)
		if err != nil {
			return err
		}
		took := time.Since(begun)
		mu.Lock()
		checks := []dnstext.Check(nil)
		mine := slices.Clone(steps)
		steps, quiet = nil, true
		mu.Unlock()
		failed = failed || res.Rcode != dns.RcodeNoError && res.Rcode != dns.RcodeNXDomain
		zone, servers := authority(mine, q)
		if len(servers) > 0 && !d.short {
			d.addresses(ctx, r, servers)
			checks = d.compare(ctx, zone, servers, q)
		}
		switch {
		case d.json != "":
			all = append(all, asJSON(q, res, took, mine, checks, start))
		case d.short:
			for _, e := range res.Entries {
				for _, rr := range e.Records {
					fmt.Fprintln(d.std.out, rr.Text())
				}
			}
		default:
			w.Result(q, res, took)
			if len(checks) > 0 {
				failed = !w.Consistency(zone, checks) || failed
			}
			if parent, own, differ := d.delegation(ctx, r, mine, zone); differ {
				failed = true
				fmt.Fprintf(d.std.out, "  the zone above names other servers than %s itself: %s; and %s\n", zone, parent, own)
			}
		}
	}
	if d.json != "" {
		if err := d.printJSON(all); err != nil {
			return err
		}
	}
	if failed {
		return errShown
	}
	return w.Err
}

func (d *dnsCommand) noRoute(hints []recursor.Server, v6 bool) bool {
	for _, h := range hints {
		for _, a := range h.Addrs {
			if a.Is6() == v6 {
				if _, ok := (kernel.Network{}).Source(a); ok {
					return false
				}
			}
		}
	}
	return true
}

// authority returns the zone that answered the question itself, and its
// servers with the addresses that the walk learned.
func authority(steps []recursor.Step, q dns.Question) (dns.Name, map[string][]netip.Addr) {
	var last *recursor.Step
	for i := range steps {
		s := &steps[i]
		if s.Depth == 0 && s.For.Type == q.Type && s.For.Name.EqualFold(q.Name) {
			switch s.Outcome {
			case "answer", "alias", "no_data", "no_name":
				last = s
			}
		}
	}
	if last == nil {
		return dns.Name{}, nil
	}
	out := map[string][]netip.Addr{}
	add := func(host string, a netip.Addr) {
		if !slices.Contains(out[host], a) {
			out[host] = append(out[host], a)
		}
	}
	for _, n := range append(last.NotAsked, last.Name) {
		host := n.Fold().Host()
		for _, s := range steps {
			if s.Name.EqualFold(n) && s.Zone.EqualFold(last.Zone) {
				add(host, s.Server.Addr())
			}
			if s.Message == nil {
				continue
			}
			for _, section := range [][]dns.Resource{s.Message.Answers, s.Message.Additional} {
				for _, rr := range section {
					if a, ok := rr.Addr(); ok && rr.Name.EqualFold(n) {
						add(host, a)
					}
				}
			}
		}
		if out[host] == nil {
			out[host] = []netip.Addr{}
		}
	}
	return last.Zone, out
}

// addresses looks up all addresses of servers, of both families: the walk
// needed only one of one of them.
func (d *dnsCommand) addresses(ctx context.Context, r *nameserver.Resolver, servers map[string][]netip.Addr) {
	for host := range servers {
		name, err := dns.ParseName(host)
		if err != nil {
			continue
		}
		for _, t := range [...]dns.Type{dns.TypeA, dns.TypeAAAA} {
			if t == dns.TypeA && d.v6 || t == dns.TypeAAAA && d.v4 {
				continue
			}
			res, err := r.Lookup(ctx, dns.Question{Name: name, Type: t, Class: dns.ClassIN}, true)
			if err != nil {
				continue
			}
			for _, e := range res.Entries {
				for _, rr := range e.Records {
					if a, ok := rr.Addr(); ok && !slices.Contains(servers[host], a) {
						servers[host] = append(servers[host], a)
					}
				}
			}
		}
		if len(servers[host]) == 0 {
			servers[host] = []netip.Addr{{}}
		}
	}
}

// delegation compares the servers that a referral named with those that the
// zone names (RFC 1034 §4.2.2 wants them the same).
func (d *dnsCommand) delegation(ctx context.Context, r *nameserver.Resolver, steps []recursor.Step, zone dns.Name) (parent, own string, differ bool) {
	names := func(list []dns.Resource) string {
		var out []string
		for _, rr := range list {
			if host, ok := rr.Target(); ok && rr.Type == dns.TypeNS && rr.Name.EqualFold(zone) {
				out = append(out, host.Fold().Host())
			}
		}
		slices.Sort(out)
		return strings.Join(out, ", ")
	}
	for _, s := range steps {
		if s.Outcome == "referral" && s.Referral.EqualFold(zone) {
			parent = names(s.Message.Authority)
		}
	}
	res, err := r.Lookup(ctx, dns.Question{Name: zone, Type: dns.TypeNS, Class: dns.ClassIN}, true)
	if err != nil || parent == "" {
		return "", "", false
	}
	for _, e := range res.Entries {
		own += names(e.Records)
	}
	return parent, own, own != "" && own != parent
}

// compare asks every server of a zone for its version and for the question,
// at every address, over UDP and TCP.
func (d *dnsCommand) compare(ctx context.Context, zone dns.Name, servers map[string][]netip.Addr, q dns.Question) []dnstext.Check {
	c := &dnsclient.Client{Network: kernel.Network{}, Timeout: d.timeout, Tries: 2}
	var checks []dnstext.Check
	var hosts []string
	for h := range servers {
		hosts = append(hosts, h)
	}
	slices.Sort(hosts)
	for _, h := range hosts {
		for _, a := range servers[h] {
			if a.Is4() && d.v6 || a.Is6() && d.v4 {
				continue
			}
			for _, t := range [...]dnsclient.Transport{dnsclient.UDP, dnsclient.TCP} {
				checks = append(checks, dnstext.Check{Server: h, Addr: a, Transport: string(t)})
			}
		}
	}
	var group sync.WaitGroup
	limit := make(chan struct{}, 8)
	for i := range checks {
		group.Go(func() {
			limit <- struct{}{}
			defer func() { <-limit }()
			d.check(ctx, c, &checks[i], zone, q)
		})
	}
	group.Wait()
	return checks
}

func (d *dnsCommand) check(ctx context.Context, c *dnsclient.Client, k *dnstext.Check, zone dns.Name, q dns.Question) {
	if !k.Addr.IsValid() {
		k.Problem = "it has no address that could be found"
		return
	}
	if _, ok := (kernel.Network{}).Source(k.Addr); !ok {
		k.NotAsked = "no route to it from here"
		return
	}
	s := dnsclient.Server{Addr: netip.AddrPortFrom(k.Addr, d.rootPort), Transport: dnsclient.Transport(k.Transport)}
	ask := func(q dns.Question) (*dns.Message, bool) {
		m := d.query(q)
		m.RecursionDesired = false
		r, err := c.Do(ctx, s, m)
		switch {
		case err != nil:
			k.Problem = err.Error()
			return nil, false
		case r.Message.Rcode != dns.RcodeNoError && r.Message.Rcode != dns.RcodeNXDomain:
			k.Problem = fmt.Sprintf("%s: it does not serve %s (a lame delegation)", r.Message.Rcode, zone)
			return nil, false
		case !r.Message.Authoritative:
			k.Problem = "it answers without authority (a lame delegation)"
			return nil, false
		}
		k.Took = r.Duration()
		return r.Message, true
	}
	m, ok := ask(dns.Question{Name: zone, Type: dns.TypeSOA, Class: dns.ClassIN})
	if !ok {
		return
	}
	for _, rr := range m.Answers {
		if soa, ok := rr.Value().(dns.SOA); ok {
			k.Serial = soa.Serial
		}
	}
	if m, ok = ask(q); !ok {
		return
	}
	lines := []string{m.Rcode.String()}
	for _, rr := range m.Answers {
		if rr.Type != dns.TypeRRSIG {
			lines = append(lines, rr.Type.String()+" "+rr.Text())
		}
	}
	slices.Sort(lines[1:])
	k.Answer = strings.Join(lines, ", ")
}

func asJSON(q dns.Question, res *recursor.Result, took time.Duration, steps []recursor.Step, checks []dnstext.Check, start clock.Time) walkJSON {
	out := walkJSON{Question: q.String(), Rcode: res.Rcode.String(), Security: res.Security.String(),
		Reason: res.Reason, Queries: res.Queries, Duration: int64(took), Answers: []recordJSON{}, Steps: []stepJSON{}}
	for _, e := range res.Entries {
		out.Answers = append(out.Answers, recordsJSON(e.Records)...)
	}
	for _, s := range steps {
		j := stepJSON{
			For: s.For.String(), Depth: s.Depth, Zone: s.Zone.String(), Server: s.Name.String(), Address: s.Server.String(), Transport: s.Transport,
			Question: s.Question.String(), Time: int64(s.Start.Sub(start)), Duration: int64(s.End.Sub(s.Start)), Outcome: s.Outcome, Text: s.Text,
		}
		if s.Outcome == "referral" {
			j.Referral = s.Referral.String()
		}
		for _, n := range s.NotAsked {
			j.NotAsked = append(j.NotAsked, n.String())
		}
		if s.Message != nil {
			j.Rcode = s.Rcode.String()
			j.Answers, j.Authority, j.Glue = recordsJSON(s.Message.Answers), recordsJSON(s.Message.Authority), recordsJSON(s.Message.Additional)
		}
		out.Steps = append(out.Steps, j)
	}
	for _, c := range checks {
		out.Servers = append(out.Servers, checkJSON{c.Server, c.Addr.String(), c.Transport, c.Serial, c.Answer, c.Problem, c.NotAsked, int64(c.Took)})
	}
	return out
}
