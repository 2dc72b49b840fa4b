package recursor

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"peel/clock"
	"peel/dns"
)

// tryKey counts attempts by address.
type tryKey = netip.Addr

// infra is what is known of a server's behaviour.
type infra struct {
	srtt, rttvar time.Duration // RFC 6298, of answers over UDP
	timeouts     int           // in a row
	noEDNS       bool
	noCase       bool // repeats names in another case than asked
	clientCookie [8]byte
	serverCookie []byte
	lame         map[dns.Name]clock.Time // zones it does not serve, and until when that counts
}

const (
	firstTimeout = 400 * time.Millisecond
	minTimeout   = 100 * time.Millisecond
	maxTimeout   = 3 * time.Second
	tcpTimeout   = 5 * time.Second
	lameFor      = 10 * time.Minute
	maxInfra     = 100_000
)

func (r *Resolver) server(a netip.Addr) *infra {
	i := r.infra[a]
	if i == nil {
		if len(r.infra) >= maxInfra {
			clear(r.infra) // it is learned again in a few queries
		}
		i = &infra{}
		binary.LittleEndian.PutUint64(i.clientCookie[:], r.random())
		r.infra[a] = i
	}
	return i
}

// timeout is how long to wait for an answer over UDP.
func (i *infra) timeout() time.Duration {
	d := firstTimeout
	if i.srtt > 0 {
		d = max(i.srtt+4*i.rttvar, minTimeout)
	}
	for range min(i.timeouts, 4) {
		d *= 2
	}
	return min(d, maxTimeout)
}

// rank is what servers are compared by: the time an answer is expected to
// take. A server not tried yet comes before one known to be slow.
func (i *infra) rank() time.Duration {
	d := i.srtt
	if d == 0 {
		d = 20 * time.Millisecond
	}
	for range min(i.timeouts, 8) {
		d = 2*d + 200*time.Millisecond
	}
	return d
}

func (i *infra) measured(rtt time.Duration) {
	if i.srtt == 0 {
		i.srtt, i.rttvar = max(rtt, 1), rtt/2
	} else {
		delta := i.srtt - rtt
		if delta < 0 {
			delta = -delta
		}
		i.rttvar = (3*i.rttvar + delta) / 4
		i.srtt = max((7*i.srtt+rtt)/8, 1)
	}
	i.timeouts = 0
}

// exchange is one query on its own socket.
type exchange struct {
	t         *task
	socket    int
	name      dns.Name // of the server
	addr      netip.Addr
	tcp       bool
	id        uint16
	asked     dns.Question // with the case as sent
	edns      bool
	start     clock.Time
	timer     *timer
	ignored   int
	caseWrong bool
	cut       *cut
}

type candidate struct {
	name dns.Name
	addr netip.Addr
}

// candidates lists the addresses of the zone's servers that may be tried.
func (t *task) candidates() []candidate {
	var out []candidate
	add := func(name dns.Name, rr dns.Resource) {
		a, ok := rr.Addr()
		if !ok || a.Is4() && t.r.cfg.NoIPv4 || a.Is6() && t.r.cfg.NoIPv6 {
			return
		}
		if a = a.Unmap(); t.cut.tried[a] >= maxTries || slices.ContainsFunc(out, func(c candidate) bool { return c.addr == a }) {
			return
		}
		if slices.Contains(t.distrusted, a) {
			return
		}
		if i := t.r.infra[a]; i != nil && i.lame[t.cut.zone.Fold()] > t.r.now {
			return
		}
		out = append(out, candidate{name, a})
	}
	for _, name := range t.cut.servers {
		for _, rr := range t.cut.addrs[name.Fold()] {
			add(name, rr)
		}
		for _, typ := range [...]dns.Type{dns.TypeA, dns.TypeAAAA} {
			if e, ok := t.r.cache.Get(name, typ, t.r.now, false); ok {
				for _, rr := range e.Records {
					add(name, rr)
				}
			}
		}
	}
	return out
}

// choose takes one of the fastest servers: those tried least first, and among
// them one at random whose time is near the best.
func (t *task) choose(list []candidate) candidate {
	least := maxTries
	for _, c := range list {
		least = min(least, t.cut.tried[c.addr])
	}
	best := time.Duration(1<<63 - 1)
	list = slices.DeleteFunc(list, func(c candidate) bool { return t.cut.tried[c.addr] > least })
	for _, c := range list {
		best = min(best, t.r.server(c.addr).rank())
	}
	list = slices.DeleteFunc(list, func(c candidate) bool { return t.r.server(c.addr).rank() > 2*best+10*time.Millisecond })
	return list[int(t.r.random()%uint64(len(list)))]
}

// ask sends the present question to one of the zone's servers.
func (t *task) ask() {
	if t.done {
		return
	}
	list := t.candidates()
	if len(list) == 0 {
		t.findServers()
		return
	}
	c := t.choose(list)
	t.cut.tried[c.addr]++
	t.send(c, false)
}

// findServers looks up the addresses of servers that came without glue, a few
// at a time, or gives the zone up.
func (t *task) findServers() {
	c := t.cut
	if c.pending > 0 {
		return
	}
	var names []dns.Name
	if !c.hints && len(c.lookups) < maxNSLookups {
		for _, n := range c.servers {
			if c.lookups[n.Fold()] || len(c.lookups)+len(names) >= maxNSLookups {
				continue
			}
			if len(names) < 2 {
				names = append(names, n)
			}
		}
	}
	if len(names) == 0 {
		t.giveUp()
		return
	}
	for _, n := range names {
		c.lookups[n.Fold()] = true
	}
	// All are counted before any begins: one may end at once.
	type lookup struct {
		name dns.Name
		typ  dns.Type
	}
	var all []lookup
	for _, n := range names {
		if !t.r.cfg.NoIPv4 {
			all = append(all, lookup{n, dns.TypeA})
		}
		if !t.r.cfg.NoIPv6 {
			all = append(all, lookup{n, dns.TypeAAAA})
		}
	}
	c.pending = len(all)
	for _, l := range all {
		t.r.resolve(l.name, l.typ, t.b, t, func(o *outcome) {
			if o.failure != "" {
				t.lastFail = fmt.Sprintf("the address of %s: %s", l.name.Host(), o.failure)
			}
			c.pending--
			if t.done || t.cut != c {
				return
			}
			if list := t.candidates(); c.pending == 0 || len(list) > 0 && !t.waiting(c) {
				t.ask()
			}
		})
	}
}

// waiting tells whether a query of the task is out.
func (t *task) waiting(c *cut) bool {
	for _, x := range t.r.exchanges {
		if x.t == t && x.cut == c {
			return true
		}
	}
	return false
}

// giveUp leaves a zone none of whose servers helps. What the parent says of
// its servers now may be newer than what was known.
func (t *task) giveUp() {
	zone := t.cut.zone
	if !slices.ContainsFunc(t.avoid, zone.EqualFold) && len(t.avoid) < 2 && !t.cut.hints {
		t.r.cache.Remove(zone, dns.TypeNS, false)
		t.avoid = append(t.avoid, zone)
		t.known = 0
		t.descend()
		return
	}
	if t.lastCode == dns.EDEOther {
		t.lastCode = dns.EDENoReachableAuthority
	}
	t.fail(t.lastCode, "%s", t.reason(fmt.Sprintf("no server of %s gives an answer", zone)))
}

// send puts one query on a new socket, and so on a new source port.
func (t *task) send(c candidate, tcp bool) {
	r := t.r
	if t.b.queries <= 0 {
		t.fail(dns.EDEOther, "%s", t.reason("more queries than one question may cost"))
		return
	}
	if r.now >= t.b.deadline {
		t.fail(dns.EDENoReachableAuthority, "%s", t.reason(fmt.Sprintf("no answer in %s", r.cfg.MaxTime)))
		return
	}
	t.b.queries--
	t.b.sent++
	info := r.server(c.addr)
	x := &exchange{t: t, socket: r.nextSocket, name: c.name, addr: c.addr, tcp: tcp, id: uint16(r.random()), asked: t.sent, start: r.now, cut: t.cut, edns: !info.noEDNS}
	r.nextSocket++
	if !r.cfg.NoCase && !info.noCase {
		x.asked.Name = mixCase(t.sent.Name, r.random)
	}
	m := dns.Message{Header: dns.Header{ID: x.id, CheckingDisabled: len(r.anchors) > 0}, Questions: []dns.Question{x.asked}}
	if x.edns {
		e := dns.EDNS{UDPSize: udpSize, DNSSECOK: len(r.anchors) > 0}
		if !r.cfg.NoCookies {
			e.Options = append(e.Options, dns.Option{Code: dns.OptionCookie, Data: append(bytes.Clone(info.clientCookie[:]), info.serverCookie...)})
		}
		m.Additional = []dns.Resource{e.Resource()}
	}
	msg, err := m.Append(nil)
	if err != nil {
		t.fail(dns.EDEOther, "%v", err) // a valid name and a fixed form always fit
		return
	}
	kind, wait := SendUDP, info.timeout()
	if tcp {
		kind, wait = SendTCP, tcpTimeout
	}
	r.exchanges[x.socket] = x
	x.timer = r.after(min(wait, t.b.deadline.Sub(r.now)), func() { x.timedOut() })
	r.out = append(r.out, Action{Kind: kind, Server: netip.AddrPortFrom(c.addr, r.cfg.Port), Socket: x.socket, Msg: msg})
}

// mixCase gives the letters of a name a random case, which an answer must
// repeat: bits that a forger has to guess.
func mixCase(n dns.Name, random func() uint64) dns.Name {
	b := append([]byte(n.Wire()), 0)
	bits, left := uint64(0), 0
	for i, c := range b {
		if c|0x20 < 'a' || c|0x20 > 'z' {
			continue
		}
		if left == 0 {
			bits, left = random(), 64
		}
		b[i] = c&^0x20 | byte(bits&1)<<5
		bits >>= 1
		left--
	}
	m, _, ok := dns.NameFromWire(b)
	if !ok {
		return n
	}
	return m
}

func (x *exchange) close() {
	delete(x.t.r.exchanges, x.socket)
	x.timer.f = nil
	x.t.r.out = append(x.t.r.out, Action{Kind: CloseSocket, Socket: x.socket, Server: netip.AddrPortFrom(x.addr, x.t.r.cfg.Port)})
}

// tell reports the query.
func (x *exchange) tell(outcome, text string, m *dns.Message, referral dns.Name) {
	t := x.t
	if t.r.cfg.OnStep == nil {
		return
	}
	s := Step{
		For: t.q, Depth: t.depth, Zone: x.cut.zone, Name: x.name, Server: netip.AddrPortFrom(x.addr, t.r.cfg.Port), Transport: "udp",
		Question: x.asked, Start: x.start, End: t.r.now, Outcome: outcome, Text: text, Message: m, Referral: referral,
	}
	if x.tcp {
		s.Transport = "tcp"
	}
	if m != nil {
		s.Rcode = m.Rcode
	}
	for _, n := range x.cut.servers {
		if !n.EqualFold(x.name) {
			s.NotAsked = append(s.NotAsked, n)
		}
	}
	t.r.cfg.OnStep(s)
}

// troubled ends a query that brought no answer, and goes on to the next
// server.
func (x *exchange) troubled(outcome string, code dns.ErrorCode, text string, m *dns.Message) {
	x.tell(outcome, text, m, dns.Name{})
	x.close()
	x.t.lastFail, x.t.lastCode = fmt.Sprintf("%s (%s): %s", x.name.Host(), x.addr, text), code
	if x.t.cut == x.cut {
		x.t.ask()
	}
}

func (x *exchange) timedOut() {
	info := x.t.r.server(x.addr)
	if x.caseWrong && !x.tcp {
		// It answers, in another case than it was asked: over TCP nobody can
		// have forged that.
		info.noCase = true
		x.tell("ignored", "the answer did not repeat the name's case; asked again over TCP", nil, dns.Name{})
		x.close()
		x.t.send(candidate{x.name, x.addr}, true)
		return
	}
	info.timeouts++
	x.troubled("timeout", dns.EDENoReachableAuthority, fmt.Sprintf("no answer within %s", x.t.r.now.Sub(x.start).Round(time.Millisecond)), nil)
}

// InputError takes the end of a socket that brought no answer.
func (r *Resolver) InputError(now clock.Time, socket int, err error) {
	r.now = now
	x := r.exchanges[socket]
	if x == nil {
		return
	}
	outcome := "failed"
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		outcome = "refused"
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		outcome = "unreachable"
	}
	r.server(x.addr).timeouts++
	x.cut.tried[x.addr] = maxTries // another query would fare no better
	x.troubled(outcome, dns.EDENetworkError, err.Error(), nil)
}

// Input takes a message that came in on a socket: a datagram, or what
// followed a length on TCP. from is its sender.
func (r *Resolver) Input(now clock.Time, socket int, from netip.AddrPort, msg []byte) {
	r.now = now
	x := r.exchanges[socket]
	if x == nil {
		return
	}
	m, err := dns.Parse(msg)
	if !x.matches(from, m) {
		if x.ignored++; x.ignored > maxOutOfOrder {
			// Somebody is guessing: over TCP the answer cannot be forged.
			x.tell("ignored", fmt.Sprintf("%d messages that are not the answer: asked again over TCP", x.ignored), nil, dns.Name{})
			x.close()
			x.t.send(candidate{x.name, x.addr}, true)
		}
		return
	}
	info := r.server(x.addr)
	if !x.tcp {
		info.measured(now.Sub(x.start))
	}
	if plain := x.t.sent.Name; len(m.Questions) == 1 && plain != x.asked.Name && x.cut == x.t.cut {
		// The random case has done its work. Names that point into the
		// question would spread it.
		msg = append(append(bytes.Clone(msg[:12]), plain.Wire()...), msg[12+len(plain.Wire()):]...)
		m, err = dns.Parse(msg)
	}
	if !x.cookie(m, info) {
		return
	}
	switch {
	case m.Truncated && !x.tcp:
		x.tell("truncated", "the answer did not fit the datagram (TC): asked again over TCP", m, dns.Name{})
		x.close()
		x.t.send(candidate{x.name, x.addr}, true)
	case err != nil:
		x.troubled("malformed", dns.EDEInvalidData, err.Error(), m)
	case x.edns && (m.Rcode == dns.RcodeFormErr || m.Rcode == dns.RcodeNotImp || m.Rcode == dns.RcodeBadVers):
		info.noEDNS = true // RFC 6891 §6.2.2
		x.tell("refused", m.Rcode.String()+": the server may not know EDNS, asked again without", m, dns.Name{})
		x.close()
		x.t.send(candidate{x.name, x.addr}, x.tcp)
	case m.Rcode != dns.RcodeNoError && m.Rcode != dns.RcodeNXDomain:
		x.cut.tried[x.addr] = maxTries
		if x.t.minimising() && m.Rcode != dns.RcodeRefused {
			// RFC 9156 §3: broken servers fail for names between.
			x.tell("server_failure", m.Rcode.String()+" for a shortened name: asked for the whole", m, dns.Name{})
			x.close()
			x.cut.tried[x.addr] = 0
			x.t.whole = true
			x.t.next()
			return
		}
		x.lame(m)
		x.troubled("server_failure", dns.EDENoReachableAuthority, m.Rcode.String()+edeText(m), m)
	default:
		x.t.answered(x, m)
	}
}

func edeText(m *dns.Message) string {
	e, _ := m.EDNS()
	s := ""
	for _, x := range e.ExtendedErrors() {
		s += "; " + x.String()
	}
	return s
}

// lame notes that a server does not serve the zone it was asked about.
func (x *exchange) lame(m *dns.Message) {
	if m.Rcode != dns.RcodeNoError && m.Rcode != dns.RcodeRefused && m.Rcode != dns.RcodeNotAuth {
		return
	}
	info := x.t.r.server(x.addr)
	if info.lame == nil || len(info.lame) > 1000 {
		info.lame = map[dns.Name]clock.Time{}
	}
	info.lame[x.cut.zone.Fold()] = x.t.r.now.Add(lameFor)
}

// matches tells whether a message can be the answer to the query: a forger
// must guess address, port, ID, question and case (RFC 5452 §9.1).
func (x *exchange) matches(from netip.AddrPort, m *dns.Message) bool {
	if from.Addr().Unmap() != x.addr || from.Port() != x.t.r.cfg.Port || m.ID != x.id || !m.Response || m.Opcode != dns.OpcodeQuery {
		return false
	}
	if len(m.Questions) == 0 {
		return m.Rcode != dns.RcodeNoError && m.Rcode != dns.RcodeNXDomain
	}
	q := m.Questions[0]
	if len(m.Questions) != 1 || q.Type != x.asked.Type || q.Class != x.asked.Class || !q.Name.EqualFold(x.asked.Name) {
		return false
	}
	if q.Name != x.asked.Name && !x.tcp {
		x.caseWrong = true
		return false
	}
	return true
}

// cookie holds a response against RFC 7873 §5.3; false when it was dropped or
// asked for again.
func (x *exchange) cookie(m *dns.Message, info *infra) bool {
	if !x.edns || x.t.r.cfg.NoCookies {
		return true
	}
	e, _ := m.EDNS()
	var got []byte
	for _, o := range e.Options {
		if o.Code == dns.OptionCookie {
			got = o.Data
		}
	}
	good := len(got) >= 16 && len(got) <= 40 && bytes.Equal(got[:8], info.clientCookie[:])
	switch {
	case good:
		info.serverCookie = bytes.Clone(got[8:])
		if m.Rcode == dns.RcodeBadCookie {
			x.tell("refused", "BADCOOKIE: asked again with the new cookie", m, dns.Name{})
			x.close()
			x.t.send(candidate{x.name, x.addr}, x.cut.tried[x.addr] > 1)
			x.cut.tried[x.addr]++
			return false
		}
	case !x.tcp && info.serverCookie != nil && m.Rcode != dns.RcodeFormErr:
		x.ignored++ // it used to send one: this may not be its answer
		if x.ignored > 2 {
			info.serverCookie = nil
		}
		return false
	}
	return true
}

func (t *task) minimising() bool { return t.sent.Name.NumLabels() < t.sname.NumLabels() }
