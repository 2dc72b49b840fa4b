// Package stub is the stub resolver of a host, as glibc's: which sources
// nsswitch.conf names, hosts files, search lists, name servers over UDP and TCP,
// multicast DNS, HTTPS records, and the order of the addresses (RFC 6724). A
// Lookup is an engine without I/O that tells every step; Differences says what
// other libraries would do.
package stub

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"peel/clock"
	"peel/dns"
	"peel/trace"
)

// Names that mean something to a stub resolver (RFC 6762, 6761, 7686).
var (
	nameLocal     = dns.MustName("local.")
	nameLocalhost = dns.MustName("localhost.")
	nameOnion     = dns.MustName("onion.")
)

// Config is all that a lookup depends on, as plain data. The zero Config asks
// "files dns" with no hosts file and a name server at 127.0.0.1.
type Config struct {
	Nsswitch *Nsswitch   // nil: files, then dns
	Hosts    *Hosts      // nil: empty
	Resolv   *ResolvConf // nil: the C library's defaults
	// Resolve overrides everything else, like curl's --resolve. Its keys are
	// "host:port" in lower case, or "*:port" for every host.
	Resolve map[string][]netip.Addr
	// WantA and WantAAAA choose the address families; neither means both.
	WantA, WantAAAA bool
	// WantHTTPS asks for the HTTPS records of the name as well (RFC 9460),
	// beside the addresses.
	WantHTTPS bool
	// EDNSSize is the UDP payload size to offer, in octets; 0 means 1232.
	EDNSSize uint16
	// NoEDNS sends queries without an OPT record.
	NoEDNS bool
	Sort   Sorter
}

const (
	defaultEDNSSize = 1232 // what fits one packet on nearly every path
	maxChain        = 16   // CNAMEs followed in one answer
	maxIgnored      = 32   // ignored messages told as steps of their own
)

// ActionKind says what a driver has to do.
type ActionKind uint8

const (
	// SendUDP opens a new UDP socket on a random port, under the number
	// Socket, and sends Msg to Server.
	SendUDP ActionKind = iota + 1
	// SendTCP connects to Server and sends Msg behind its length in two
	// octets (RFC 1035 §4.2.2).
	SendTCP
	// SendMulticast opens a UDP socket on a random port, under the number
	// Socket if it is not open yet, that takes datagrams from anybody, and
	// sends Msg to the group Server.
	SendMulticast
	// CloseSocket ends the socket.
	CloseSocket
	// Done comes last: Result tells the end.
	Done
)

// Action is one thing that a driver has to do for a Lookup.
type Action struct {
	Kind   ActionKind
	Server netip.AddrPort
	Socket int
	Msg    []byte
}

// Lookup turns one host name into addresses, as the operating system would.
// It is a state machine: Poll tells what to send, Input and InputError take
// what came of it.
type Lookup struct {
	cfg    Config
	random func() uint64
	host   string
	name   dns.Name
	rooted bool // written with a final dot
	start  clock.Time

	source   int // how many sources of cfg.Nsswitch have been begun
	unasked  []string
	steps    []Step
	ignored  int
	out      []Action
	sockets  []*socket
	names    []searchName
	at       int // the present one of names
	current  []*question
	services services
	mdns     multicast
	port     uint16
	rotation int
	result   Result
	failure  *Error
	done     bool
}

// searchName is one name to ask for: the one given, with or without a suffix.
type searchName struct {
	name    dns.Name
	asIs    bool
	verdict *Error
}

// question is one type asked for one name, through as many queries as it takes.
type question struct {
	name     dns.Name
	typ      dns.Type
	place    int // in the list of servers, before rotation
	attempt  int // from 1
	edns     bool
	socket   int
	deadline clock.Time
	started  bool
	done     bool
	// failure says how the last server failed; meaningful with kind != 0.
	kind   Kind
	detail string
	addrs  []Address
	chain  []dns.Name
}

type socket struct {
	number int
	server netip.AddrPort
	tcp    bool
	id     uint16
	q      *question
	step   int
	// waiting turns false when the query is answered or given up.
	waiting   bool
	closed    bool
	multicast bool // anybody may answer
}

// Early returns the addresses that one family's answer has brought while the
// other's is still out, nil at any other time. A client may go on with them
// (RFC 8305 §3); Result is not to be had yet.
func (l *Lookup) Early() []Address {
	var out []Address
	waiting := false
	for _, q := range l.current {
		if !q.done {
			waiting = true
		}
		out = append(out, q.addrs...)
	}
	if l.done || !waiting {
		return nil
	}
	return out
}

// NewLookup begins a lookup of host, for a connection to port. random gives
// 64 random bits a call; query IDs come from it.
func NewLookup(now clock.Time, cfg *Config, host string, port uint16, random func() uint64) *Lookup {
	l := &Lookup{cfg: *cfg, random: random, host: host, port: port, start: now}
	if l.cfg.Nsswitch == nil {
		l.cfg.Nsswitch = ParseNsswitch(nil)
	}
	if l.cfg.Hosts == nil {
		l.cfg.Hosts = &Hosts{}
	}
	if l.cfg.Resolv == nil {
		l.cfg.Resolv = ParseResolvConf(nil)
	}
	if !l.cfg.WantA && !l.cfg.WantAAAA {
		l.cfg.WantA, l.cfg.WantAAAA = true, true
	}
	if l.cfg.EDNSSize == 0 {
		l.cfg.EDNSSize = defaultEDNSSize
	}
	if l.override(port, now) || l.literal(now) {
		return l
	}
	name, err := dns.ParseName(host)
	if err != nil {
		l.step(Step{Source: trace.SourceName, Outcome: trace.StepRefused, Start: now, End: now, Text: strings.TrimPrefix(err.Error(), "dns: ")})
		l.fail(&Error{Kind: BadName, Detail: strings.TrimPrefix(err.Error(), "dns: ")})
		return l
	}
	l.name, l.rooted = name, strings.HasSuffix(host, ".")
	l.nextSource(now)
	return l
}

// Poll ends queries whose time is over and returns what to do now and when to
// call again at the latest. Done is the last action ever returned.
func (l *Lookup) Poll(now clock.Time) (actions []Action, next clock.Time) {
	for _, q := range l.current {
		if !l.done && q.started && !q.done && q.deadline <= now {
			l.expire(q, now)
		}
	}
	next = clock.Never
	l.services.poll(l, now)
	l.pollMulticast(now)
	if !l.done {
		next = l.services.next()
		if l.mdns.active {
			next = min(next, l.mdns.next)
		}
		for _, q := range l.current {
			if q.started && !q.done {
				next = min(next, q.deadline)
			}
		}
	}
	actions, l.out = l.out, nil
	return actions, next
}

// Input takes a message that came in on a socket: a datagram, or what
// followed a length on TCP. from is its sender.
func (l *Lookup) Input(now clock.Time, socket int, from netip.AddrPort, msg []byte) {
	if l.done || socket < 0 || socket >= len(l.sockets) || l.sockets[socket].closed {
		return
	}
	s := l.sockets[socket]
	m, err := dns.Parse(msg)
	if s.multicast {
		l.heard(s, from, m, now)
		return
	}
	if why := s.mismatch(from, len(msg), m); why != "" {
		l.ignore(s, from, now, "ignored: "+why)
		return
	}
	if !s.waiting {
		since := now.Sub(l.steps[s.step].Start)
		l.ignore(s, from, now, fmt.Sprintf("ignored: the answer came %s after the query, too late", round(since)))
		return
	}
	l.answered(s, m, err, now)
}

// mismatch says why a message cannot be the answer to the query that was sent
// on s: a forger must guess address, port, ID and question (RFC 5452 §9.1).
func (s *socket) mismatch(from netip.AddrPort, size int, m *dns.Message) string {
	if from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port()); from != s.server {
		return fmt.Sprintf("came from %s, the query went to %s", from, s.server)
	}
	switch {
	case size < dns.HeaderSize:
		return fmt.Sprintf("%d octets are no DNS message", size)
	case m.ID != s.id:
		return fmt.Sprintf("its ID is %#04x, the query's %#04x", m.ID, s.id)
	case !m.Response || m.Opcode != dns.OpcodeQuery:
		return "it is not a response to a query"
	case len(m.Questions) == 0 && m.Rcode != dns.RcodeNoError && m.Rcode != dns.RcodeNXDomain:
		return "" // servers that cannot or will not read a query leave it out
	case len(m.Questions) != 1:
		return fmt.Sprintf("it repeats %d questions, one was asked", len(m.Questions))
	}
	q := m.Questions[0]
	if !q.Name.EqualFold(s.q.name) || q.Type != s.q.typ || q.Class != dns.ClassIN {
		return fmt.Sprintf("it answers %s, asked was %s", q, dns.Question{Name: s.q.name, Type: s.q.typ, Class: dns.ClassIN})
	}
	return ""
}

func (l *Lookup) ignore(s *socket, from netip.AddrPort, now clock.Time, text string) {
	if l.ignored++; l.ignored > maxIgnored {
		return
	}
	if l.ignored == maxIgnored {
		text += "; further ones are not told"
	}
	sent := l.steps[s.step]
	l.step(Step{Source: trace.SourceDNS, Outcome: trace.StepIgnored, Name: sent.Name, Type: sent.Type, Server: from, Transport: sent.Transport,
		Attempt: sent.Attempt, Start: now, End: now, Text: text})
}

// InputError takes the end of a socket that brought no answer: an ICMP error, a
// refused connection, a stream that was closed.
func (l *Lookup) InputError(now clock.Time, socket int, err error) {
	if l.done || socket < 0 || socket >= len(l.sockets) || l.sockets[socket].closed {
		return
	}
	s := l.sockets[socket]
	if !s.waiting {
		l.close(s)
		return
	}
	if s.multicast {
		l.end(s, trace.StepFailed, err.Error(), now)
		l.close(s)
		if l.mdns.answered++; l.mdns.answered == len(l.mdns.asked) {
			l.endMulticast(now)
		}
		return
	}
	if s.q == l.services.q {
		l.end(s, trace.StepFailed, err.Error(), now)
		l.close(s)
		l.services.ended(l, now)
		return
	}
	what := trace.StepFailed
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		what = trace.StepRefused
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		what = trace.StepUnreachable
	}
	detail := fmt.Sprintf("%s over %s: %v", s.server, transport(s.tcp), err)
	l.end(s, what, detail, now)
	l.close(s)
	l.serverFailed(s.q, Unreachable, detail, now)
}

// Steps returns the story so far, in the order in which its steps began.
func (l *Lookup) Steps() []Step { return l.steps }

// Result returns the addresses, or an *Error. Before the end it returns
// neither.
func (l *Lookup) Result() (Result, error) {
	if l.done && l.failure != nil {
		return l.result, l.failure
	}
	return l.result, nil
}

// Bound returns the longest that the lookup can take from its beginning:
// every server of every attempt silent over UDP, then again over TCP, for
// each name of the search list; and a link on which nobody answers.
func (l *Lookup) Bound() time.Duration {
	var round time.Duration
	for i := range l.cfg.Resolv.Servers {
		round += l.cfg.Resolv.timeout(i)
	}
	if !l.cfg.Resolv.UseTCP {
		round *= 2
	}
	if l.sequential() {
		round *= 2
	}
	bound := round * time.Duration(l.cfg.Resolv.Attempts*len(l.candidates(nil)))
	for _, s := range l.cfg.Nsswitch.Sources {
		if isMDNS(s.Name) {
			bound += mdnsSends * mdnsInterval
		}
	}
	return bound
}

func (l *Lookup) wants(a netip.Addr) bool {
	if a.Unmap().Is4() {
		return l.cfg.WantA
	}
	return l.cfg.WantAAAA
}

func (l *Lookup) step(s Step) int {
	l.steps = append(l.steps, s)
	return len(l.steps) - 1
}

func (l *Lookup) finish(r Result) {
	if r.Source != trace.SourceOverride && r.Source != trace.SourceLiteral {
		r.Addresses = l.sorted(r.Addresses)
	}
	l.result, l.failure = r, nil
	l.stop()
}

func (l *Lookup) fail(err *Error) {
	err.Name = l.host
	err.Servers = l.asked()
	if l.cfg.WantA {
		err.Asked = append(err.Asked, dns.TypeA)
	}
	if l.cfg.WantAAAA && !l.cfg.Resolv.NoAAAA {
		err.Asked = append(err.Asked, dns.TypeAAAA)
	}
	l.failure = err
	l.stop()
}

// stop ends the lookup: nothing is sent or taken after it.
func (l *Lookup) stop() {
	l.closeAll()
	l.done = true
	l.out = append(l.out, Action{Kind: Done})
}

func (l *Lookup) closeAll() {
	for _, s := range l.sockets {
		l.close(s)
	}
}

func (l *Lookup) close(s *socket) {
	if !s.closed {
		s.closed, s.waiting = true, false
		l.out = append(l.out, Action{Kind: CloseSocket, Server: s.server, Socket: s.number})
	}
}

// sorted puts addresses into the order of RFC 6724.
func (l *Lookup) sorted(list []Address) []Address {
	dsts := make([]netip.Addr, len(list))
	for i, a := range list {
		dsts[i] = a.Addr
	}
	out := make([]Address, 0, len(list))
	used := make([]bool, len(list))
	for _, s := range l.cfg.Sort.Sort(dsts) {
		for i, a := range list {
			if !used[i] && a.Addr == s.Addr {
				used[i] = true
				a.LocalAddr, a.Why = s.Source, s.Why
				out = append(out, a)
				break
			}
		}
	}
	return out
}

func addressList(list []Address) string {
	parts := make([]string, len(list))
	for i, a := range list {
		parts[i] = a.Addr.String()
	}
	return strings.Join(parts, ", ")
}
