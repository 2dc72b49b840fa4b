package main

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"peel/trace"
)

// filter chooses requests and packets of a trace.
type filter struct {
	host, status, method, address, text string
	from, to                            string
	stream                              int

	low, high int // of status
	failed    bool
	prefix    netip.Prefix
	port      uint16
	wanted    *trace.Packet
}

func (f *filter) empty() bool {
	return f.host == "" && f.status == "" && f.method == "" && f.address == "" && f.text == "" && f.from == "" && f.to == "" && f.stream == 0
}

func (f *filter) check() error {
	if f.status != "" {
		if err := f.parseStatus(); err != nil {
			return err
		}
	}
	if f.address != "" {
		if ap, err := netip.ParseAddrPort(f.address); err == nil {
			f.prefix, f.port = netip.PrefixFrom(ap.Addr(), ap.Addr().BitLen()), ap.Port()
		} else if a, err := netip.ParseAddr(f.address); err == nil {
			f.prefix = netip.PrefixFrom(a, a.BitLen())
		} else if p, err := netip.ParsePrefix(f.address); err == nil {
			f.prefix = p.Masked()
		} else {
			return fmt.Errorf("--address is %q; it takes 192.0.2.1, 192.0.2.1:443, [2001:db8::1]:443 or 192.0.2.0/24", f.address)
		}
	}
	for _, f := range [...]struct{ name, value string }{{"--from", f.from}, {"--to", f.to}} {
		if _, err := moment(f.value, time.Time{}); err != nil {
			return fmt.Errorf("%s is %q; it takes a time as in RFC 3339, or a duration from the beginning such as 1.5s", f.name, f.value)
		}
	}
	return nil
}

func (f *filter) parseStatus() error {
	s := f.status
	switch {
	case s == "failed":
		f.failed = true
		return nil
	case len(s) == 3 && strings.HasSuffix(strings.ToLower(s), "xx") && s[0] >= '1' && s[0] <= '9':
		f.low = int(s[0]-'0') * 100
		f.high = f.low + 99
		return nil
	}
	a, b, isRange := strings.Cut(s, "-")
	var err error
	if f.low, err = strconv.Atoi(a); err == nil {
		f.high = f.low
		if isRange {
			f.high, err = strconv.Atoi(b)
		}
	}
	if err != nil || f.low > f.high {
		return fmt.Errorf("--status is %q; it takes 404, 5xx, 400-499 or failed", s)
	}
	return nil
}

// moment reads a time, which may count from the trace's start.
func moment(s string, start time.Time) (trace.Time, error) {
	if s == "" {
		return 0, nil
	}
	if d, err := time.ParseDuration(s); err == nil {
		return trace.Time(d), nil
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return 0, err
	}
	return trace.Time(t.Sub(start)), nil
}

// apply returns the part of a trace that passes.
func (f *filter) apply(t *trace.Trace) *trace.Trace {
	if f.empty() {
		return t
	}
	var keep []int
	for _, x := range t.Exchanges {
		if f.exchange(t, x) {
			keep = append(keep, x.ID)
		}
	}
	out := t.Only(keep...)
	if out == nil {
		out = &trace.Trace{SchemaVersion: t.SchemaVersion, Start: t.Start, Exchanges: []*trace.Exchange{}, Lookups: []*trace.Lookup{},
			Connections: []*trace.Connection{}, Events: []*trace.Event{}, Findings: []*trace.Finding{}}
	}
	out.Packets = []*trace.Packet{}
	for _, p := range t.Packets {
		if f.packet(t.Start, p) && (f.host == "" && f.status == "" && f.method == "" || out.Connection(p.Connection) != nil) {
			out.Packets = append(out.Packets, p)
		}
	}
	return out
}

func (f *filter) exchange(t *trace.Trace, x *trace.Exchange) bool {
	if f.host != "" {
		u, err := url.Parse(x.URL)
		if err != nil || !matchHost(f.host, u.Hostname()) {
			return false
		}
	}
	if f.status != "" {
		bad := x.Response == nil || x.Failure != nil
		if f.failed && !bad || !f.failed && (x.Response == nil || x.Response.Status < f.low || x.Response.Status > f.high) {
			return false
		}
	}
	if f.method != "" && !strings.EqualFold(f.method, x.Method) {
		return false
	}
	if f.stream != 0 && x.Connection != f.stream {
		return false
	}
	if f.address != "" {
		c := t.Connection(x.Connection)
		if c == nil || !f.has(c.LocalAddr) && !f.has(c.RemoteAddr) {
			return false
		}
	}
	if !f.within(t.Start, x.Start, x.End) {
		return false
	}
	return f.text == "" || f.exchangeText(x)
}

func (f *filter) exchangeText(x *trace.Exchange) bool {
	want := strings.ToLower(f.text)
	has := func(s string) bool { return strings.Contains(strings.ToLower(s), want) }
	if has(x.URL) || has(x.Method) {
		return true
	}
	heads := [][]trace.Header{x.Request.Headers}
	if x.Response != nil {
		heads = append(heads, x.Response.Headers)
	}
	for _, list := range heads {
		for _, h := range list {
			if has(h.Name + ": " + h.Value) {
				return true
			}
		}
	}
	return false
}

func (f *filter) within(start time.Time, from, to trace.Time) bool {
	if f.from != "" {
		if m, _ := moment(f.from, start); to < m {
			return false
		}
	}
	if f.to != "" {
		if m, _ := moment(f.to, start); from > m {
			return false
		}
	}
	return true
}

// packet tells whether a packet passes what can be asked of a packet.
func (f *filter) packet(start time.Time, p *trace.Packet) bool {
	if f.stream != 0 && p.Connection != f.stream || !f.within(start, p.Time, p.Time) {
		return false
	}
	if f.text != "" && !strings.Contains(strings.ToLower(p.Text+" "+strings.Join(p.Notes, " ")), strings.ToLower(f.text)) {
		return false
	}
	if f.address == "" {
		return true
	}
	return f.has(p.Source) || f.has(p.Destination) || slices.ContainsFunc(p.About, f.has)
}

// has tells whether an address is in the prefix, and its port the one.
func (f *filter) has(a netip.AddrPort) bool {
	return f.prefix.Contains(a.Addr().WithZone("").Unmap()) && (f.port == 0 || f.port == a.Port())
}

func matchHost(pattern, host string) bool {
	pattern, host = strings.ToLower(pattern), strings.ToLower(host)
	if rest, ok := strings.CutPrefix(pattern, "*."); ok {
		return strings.HasSuffix(host, "."+rest)
	}
	return pattern == host
}
