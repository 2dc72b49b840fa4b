package recursor

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"peel/clock"
	"peel/dns"
)

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
	plain     bool // without EDNS, to see whether that helps
	lane      *lane
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
	t.cut.down = 0
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
		if i := t.r.infra[a]; i != nil && i.until > t.r.now && (i.lame[t.cut.zone.Fold()] > t.r.now || i.down(t.r.now)) {
			if i.down(t.r.now) {
				t.cut.down++
				t.lastFail, t.lastCode = fmt.Sprintf("%s (%s): no answer to %d queries in a row", name.Host(), a, i.timeouts), dns.EDENoReachableAuthority
			}
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
	if c := t.cut; !c.answered && t.r.now.Sub(c.entered) > t.r.cfg.MaxTime/3 && t.renew() {
		return // there is still time for others
	}
	c := t.choose(list)
	t.cut.tried[c.addr]++
	t.send(c, false, false)
}

// findServers looks up the addresses of servers that came without glue, a few
// at a time, or gives the zone up.
func (t *task) findServers() {
	c := t.cut
	if c.pending > 0 || c.out > 0 {
		return
	}
	var names []dns.Name
	for _, n := range c.servers {
		if c.hints || len(c.lookups) >= maxNSLookups || t.b.lookups <= 0 || len(names) == 2 {
			break
		}
		if c.lookups[n.Fold()] || n.IsSubdomainOf(c.zone) && t.hasAddress(n) {
			continue // its own zone would have to say, whose servers do not answer
		}
		c.lookups[n.Fold()] = true
		names = append(names, n)
	}
	if len(names) == 0 {
		t.giveUp()
		return
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
		t.r.serverAddress(l.name, l.typ, t, func(o *outcome) {
			if o.failure != "" {
				t.lastFail = fmt.Sprintf("the address of %s: %s", l.name.Host(), o.failure)
				c.cause = max(c.cause, o.cause)
			}
			c.pending--
			if t.done || t.cut != c {
				return
			}
			if c.out == 0 && (c.pending == 0 || len(t.candidates()) > 0) {
				t.ask()
			}
		})
	}
}

// hasAddress tells whether an address of a server is known.
func (t *task) hasAddress(name dns.Name) bool {
	if len(t.cut.addrs[name.Fold()]) > 0 {
		return true
	}
	for _, typ := range [...]dns.Type{dns.TypeA, dns.TypeAAAA} {
		if e, ok := t.r.cache.Get(name, typ, t.r.now, false); ok && !e.Negative() {
			return true
		}
	}
	return false
}

// serverAddress is resolve for the address of a server, for a task that needs
// it. One that could not be had lately is not asked for again (RFC 9520 §3.2).
func (r *Resolver) serverAddress(name dns.Name, typ dns.Type, t *task, done func(*outcome)) {
	q := dns.Question{Name: name, Type: typ, Class: dns.ClassIN}
	if f, ok := r.failures[taskKey{name.Fold(), typ}]; ok && f.until > r.now {
		done(&outcome{failure: f.text, code: f.code})
		return
	}
	t.b.lookups--
	r.resolve(name, typ, t.b, t, func(o *outcome) {
		if o.failure != "" && o.cause == theirs {
			r.remember(q, o)
		}
		done(o)
	})
}

// renew takes what the parent says of a zone's servers now, which may be newer
// than what was known, or better: the parent is asked for it once in a while,
// for all who want the zone. It is false when that has been tried.
func (t *task) renew() bool {
	c, r := t.cut, t.r
	if slices.ContainsFunc(t.avoid, c.zone.EqualFold) || len(t.avoid) == 2 || c.hints || c.parents {
		return false
	}
	d := r.noteDead(c.zone)
	t.avoid, t.left = append(t.avoid, c.zone), c
	if d.asked == 0 || d.asked.Add(renewAfter) <= r.now {
		d.asked = r.now
		r.cache.Remove(c.zone, dns.TypeNS, false)
		t.known = 0
		t.descend()
		return true
	}
	if d.asked > c.entered { // another has asked since
		if e, ok := r.cache.Get(c.zone, dns.TypeNS, r.now, false); ok && !e.Negative() {
			t.known = 0
			t.enter(c.zone, e.Records, e.Expires, nil)
			return true
		}
	}
	return false
}

// giveUp leaves a zone none of whose servers helps.
func (t *task) giveUp() {
	if t.renew() {
		return
	}
	c, r := t.cut, t.r
	if t.lastCode == dns.EDEOther {
		t.lastCode = dns.EDENoReachableAuthority
	}
	o := &outcome{failure: t.reason(fmt.Sprintf("no server of %s gives an answer", c.zone)), code: t.lastCode, cause: c.cause}
	// A question that needs others may fail for what they have in common with
	// it; one that a client asked stands for itself.
	if !c.answered && !c.hints && c.cause != ours && (c.cause == theirs || t.depth == 0 && t.aliases == 0) {
		d := r.noteDead(c.zone)
		d.text, d.code, d.until, d.probe = o.failure, o.code, r.now.Add(deadFor), nil
	}
	t.end(o)
}

// send asks a server, within what the question may cost; plain without EDNS.
func (t *task) send(c candidate, tcp, plain bool) {
	deep := t.depth > 0
	if t.b.queries <= 0 || deep && t.b.deep <= 0 {
		t.end(&outcome{failure: t.reason("more queries than one question may cost"), code: dns.EDEOther, cause: bounds})
		return
	}
	t.b.queries--
	if deep {
		t.b.deep--
	}
	t.dispatch(c, tcp, plain)
}

func (t *task) dispatch(c candidate, tcp, plain bool) {
	if !t.late() {
		t.r.schedule(&request{t: t, cut: t.cut, candidate: c, tcp: tcp, plain: plain})
	}
}

// late ends a task whose time is up.
func (t *task) late() bool {
	if t.r.now < t.b.deadline {
		return false
	}
	t.end(&outcome{failure: t.reason(fmt.Sprintf("no answer in %s", t.r.cfg.MaxTime)), code: dns.EDENoReachableAuthority, cause: bounds})
	return true
}

// transmit puts one query on a new socket, and so on a new source port.
func (r *Resolver) transmit(q *request, l *lane) {
	t, c := q.t, q.candidate
	if t.late() {
		return
	}
	t.b.sent++
	r.stats.Sent++
	info := r.server(c.addr)
	x := &exchange{t: t, socket: r.nextSocket, name: c.name, addr: c.addr, tcp: q.tcp, plain: q.plain, lane: l, id: uint16(r.random()), asked: t.sent, start: r.now, cut: t.cut,
		edns: !q.plain && info.noEDNS <= r.now}
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
	if q.tcp {
		kind, wait = SendTCP, tcpTimeout
	}
	info.asked(r.now, wait)
	r.exchanges[x.socket] = x
	l.open++
	x.cut.out++
	x.timer = r.after(min(wait, t.b.deadline.Sub(r.now)), func() { x.timedOut() })
	r.out = append(r.out, Action{Kind: kind, Server: netip.AddrPortFrom(c.addr, r.cfg.Port), Socket: x.socket, Msg: msg})
}

func (x *exchange) candidate() candidate { return candidate{x.name, x.addr} }

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
	x.cut.out--
	x.lane.open--
	x.t.r.drop(x.lane)
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
		x.t.send(x.candidate(), true, x.plain)
		return
	}
	info.failed(x.start, x.t.r.now)
	x.t.r.stats.Timeouts++
	x.troubled("timeout", dns.EDENoReachableAuthority, fmt.Sprintf("no answer within %s", x.t.r.now.Sub(x.start).Round(time.Millisecond)), nil)
}

// InputError takes the end of a socket that brought no answer.
func (r *Resolver) InputError(now clock.Time, socket int, err error) {
	r.now = now
	x := r.exchanges[socket]
	if x == nil {
		return
	}
	if local(err) {
		x.short(err)
		return
	}
	outcome := "failed"
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		outcome = "refused"
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		outcome = "unreachable"
	}
	r.server(x.addr).failed(x.start, now)
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
			x.t.send(x.candidate(), true, x.plain)
		}
		return
	}
	info := r.server(x.addr)
	x.answers()
	if !x.tcp {
		info.measured(now.Sub(x.start))
	} else {
		info.timeouts = 0
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
		x.t.send(x.candidate(), true, x.plain)
	case err != nil:
		x.troubled("malformed", dns.EDEInvalidData, err.Error(), m)
	case x.edns && (m.Rcode == dns.RcodeFormErr || m.Rcode == dns.RcodeNotImp || m.Rcode == dns.RcodeBadVers):
		// RFC 6891 §6.2.2. What comes of it shows whether that was the reason.
		x.tell("refused", m.Rcode.String()+": the server may not know EDNS, asked again without", m, dns.Name{})
		x.close()
		x.t.send(x.candidate(), x.tcp, true)
	case m.Rcode != dns.RcodeNoError && m.Rcode != dns.RcodeNXDomain && !x.t.tooLong(m):
		x.cut.tried[x.addr] = maxTries
		if x.t.minimising() && x.cut == x.t.cut && !x.t.done {
			// RFC 9156 §3: broken servers fail for names between, and refuse
			// them.
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
		if x.plain {
			info.noEDNS = now.Add(noEDNSFor)
		}
		x.t.answered(x, m)
	}
}

// answers notes that a server of the zone has said something, and that there
// was a socket to hear it.
func (x *exchange) answers() {
	r := x.t.r
	r.stats.Answers++
	x.cut.answered = true
	if d := r.deadZone(x.cut.zone); d != nil {
		d.text, d.probe = "", nil
	}
	r.maxOpen = min(r.maxOpen+1, r.cfg.MaxSockets)
}

// tooLong tells that a response says that a DNAME record makes the name too
// long (RFC 6672 §2.2).
func (t *task) tooLong(m *dns.Message) bool {
	return m.Rcode == dns.RcodeYXDomain && !t.minimising() && t.cut != nil && t.dname(m, t.cut.zone) != nil
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
			x.t.send(x.candidate(), x.cut.tried[x.addr] > 1, false)
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
