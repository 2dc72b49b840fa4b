package socket

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"time"

	"peel/clock"
	"peel/stack/link"
	"peel/stack/packet"
	"peel/wire/ethernet"
	"peel/wire/ip"
	"peel/wire/tcp"
)

// wireEvent is one segment (or ICMP error) at the moment when an end sends it:
// all of it that two implementations ought to have in common.
type wireEvent struct {
	end      int // who sent it: 0 opens the connection
	at       time.Duration
	flags    tcp.Flags
	seq, ack uint32 // relative to the initial numbers
	n        int    // bytes of data
	options  string
	zero     bool   // the window is closed
	icmp     string // what else it is
	again    int    // how often the same bytes and flags were sent before
}

var endNames = [2]string{"a", "b"}

// String is what is compared; the time is apart.
func (e *wireEvent) String() string {
	var b strings.Builder
	b.WriteString(endNames[e.end])
	if e.icmp != "" {
		return b.String() + " " + e.icmp
	}
	fmt.Fprintf(&b, " %v %d", e.flags, e.seq)
	if e.n > 0 {
		fmt.Fprintf(&b, ":%d", e.seq+uint32(e.n))
	}
	if e.flags.Has(tcp.ACK) {
		fmt.Fprintf(&b, " ack %d", e.ack)
	}
	if e.zero {
		b.WriteString(" win 0")
	}
	if e.options != "" {
		b.WriteString(" <" + e.options + ">")
	}
	return b.String()
}

// sack tells whether there are SACK blocks.
func (e *wireEvent) sack() bool { return strings.Contains(e.options, "sack ") }

// tape is the observer at the cable: it writes down what both ends send.
type tape struct {
	events  []wireEvent
	start   clock.Time
	stopped bool
	iss     [2]uint32
	known   [2]bool
	sent    map[string]int
	// frame is the last segment of each end, headers included.
	frame [2][]byte
	now   [2]*wireEvent // of the frame that is being sent
}

func newTape() *tape { return &tape{sent: map[string]int{}} }

// Observe implements link.Observer. Cables call it before they decide about a
// frame.
func (t *tape) Observe(h link.Hop) {
	if h.Verdict != link.Sent || h.Where != endNames[0] && h.Where != endNames[1] {
		return
	}
	end := 0
	if h.Where == endNames[1] {
		end = 1
	}
	t.now[end] = nil
	b := h.Packet.Bytes()
	e, ok := t.parse(end, b, true)
	if !ok || t.stopped {
		return
	}
	if t.start == 0 {
		t.start = h.Time
	}
	e.at = h.Time.Sub(t.start)
	key := fmt.Sprint(end, e.seq, e.n, e.flags&^(tcp.PSH), e.icmp)
	if e.n == 0 && !e.flags.Any(tcp.SYN|tcp.FIN|tcp.RST) {
		key += fmt.Sprint(e.ack)
	}
	e.again = t.sent[key]
	t.sent[key]++
	t.events = append(t.events, e)
	t.now[end] = &e
	if e.icmp == "" {
		t.frame[end] = append(t.frame[end][:0], b...)
	}
}

// parse reads a frame that was sent by end.
func (t *tape) parse(end int, b []byte, learn bool) (e wireEvent, ok bool) {
	if len(b) < ethernet.HeaderLen+ip.MinHeader4 || b[12] != 8 || b[13] != 0 {
		return e, false
	}
	pk, err := ip.Parse(b[ethernet.HeaderLen:])
	if err != nil {
		return e, false
	}
	body := pk.Payload(b[ethernet.HeaderLen:])
	e.end = end
	switch pk.Protocol {
	case ip.ProtoICMP:
		e.icmp = fmt.Sprintf("ICMP %d/%d %d", body[0], body[1], binary.BigEndian.Uint16(body[6:]))
		return e, true
	case ip.ProtoTCP:
	default:
		return e, false
	}
	s, err := tcp.Parse(body)
	if err != nil {
		return e, false
	}
	o := s.Options()
	if s.Flags().Has(tcp.SYN) && learn && !t.known[end] {
		t.iss[end], t.known[end] = s.Seq(), true
	}
	e.flags, e.seq, e.ack, e.n = s.Flags(), s.Seq()-t.iss[end], s.Ack()-t.iss[1-end], len(s.Payload())
	if !e.flags.Has(tcp.ACK) {
		e.ack = 0
	}
	if e.n >= 1000 {
		// A full segment may be pushed or not: where writes ended is not what
		// either promises to keep (RFC 9293 §3.9.1.2).
		e.flags &^= tcp.PSH
	}
	e.zero = s.Window() == 0 && !e.flags.Has(tcp.RST)
	var opts []string
	if o.MSS != 0 {
		opts = append(opts, fmt.Sprint("mss ", o.MSS))
	}
	if o.SACKPermitted {
		opts = append(opts, "sackOK")
	}
	if o.Timestamps {
		opts = append(opts, "ts")
	}
	if o.WindowScale >= 0 {
		opts = append(opts, "ws")
	}
	for _, k := range o.SACK[:o.NSACK] {
		word := "sack"
		if int32(k.From-s.Ack()) < 0 {
			word = "dsack" // RFC 2883 §4.1
		}
		opts = append(opts, fmt.Sprintf("%s %d:%d", word, k.From-t.iss[1-end], k.To-t.iss[1-end]))
	}
	e.options = strings.Join(opts, " ")
	return e, true
}

// craft makes a segment in the name of an end, with numbers that are relative.
func (t *tape) craft(end int, flags tcp.Flags, seq, ack uint32, payload []byte) []byte {
	// The options of the last one: timestamps, or it would be dropped for
	// want of them (RFC 7323 §3.2).
	const head = ethernet.HeaderLen + ip.MinHeader4
	n := int(t.frame[end][head+12]>>4) * 4
	b := append([]byte(nil), t.frame[end][:head+n]...)
	b = append(b, payload...)
	h, s := b[ethernet.HeaderLen:head], b[head:]
	binary.BigEndian.PutUint16(h[2:], uint16(len(b)-ethernet.HeaderLen))
	h[10], h[11] = 0, 0
	binary.BigEndian.PutUint16(h[10:], ^ip.Sum(0, h))
	binary.BigEndian.PutUint32(s[4:], seq+t.iss[end])
	binary.BigEndian.PutUint32(s[8:], ack+t.iss[1-end])
	binary.BigEndian.PutUint16(s[12:], uint16(n/4)<<12|uint16(flags))
	s[tcp.ChecksumAt], s[tcp.ChecksumAt+1] = 0, 0
	pk, err := ip.Parse(b[ethernet.HeaderLen:])
	if err != nil {
		panic(err)
	}
	binary.BigEndian.PutUint16(s[tcp.ChecksumAt:], ^ip.Sum(ip.PseudoSum(pk.Src, pk.Dst, ip.ProtoTCP, len(s)), s))
	return b
}

// fate is what happens to a frame where it comes out of the cable.
type fate struct {
	twice bool
	// behind is how many segments overtake it.
	behind int
}

// gate stands between a cable's end and who is plugged in: it does what a
// Shape leaves to chance to chosen segments.
type gate struct {
	pool   *packet.Pool
	t      *tape
	from   int // whose frames come here
	to     link.Port
	decide func(e *wireEvent) fate
	held   *packet.Packet
	left   int
	seen   map[string]int
}

// Receive implements link.Port.
func (g *gate) Receive(p *packet.Packet) {
	e, ok := g.t.parse(g.from, p.Bytes(), false)
	if !ok || g.decide == nil {
		g.to.Receive(p)
		return
	}
	if g.seen == nil {
		g.seen = map[string]int{}
	}
	e.again = g.seen[e.String()]
	g.seen[e.String()]++
	f := g.decide(&e)
	if f.behind > 0 {
		g.held, g.left = p, f.behind
		return
	}
	var twin *packet.Packet
	if f.twice {
		twin = g.pool.Clone(p)
	}
	g.to.Receive(p)
	if twin != nil {
		g.to.Receive(twin)
	}
	if g.held != nil {
		if g.left--; g.left == 0 {
			h := g.held
			g.held = nil
			g.to.Receive(h)
		}
	}
}

// dissent is one difference between two traces.
type dissent struct {
	end  int
	text string
}

// compare aligns what each end sent, in order, and tells what differs. Times
// are those since the event before of the same end that both have, and may
// differ by slack more than they otherwise may.
func compare(linux, ours []wireEvent, slack time.Duration) (out []dissent) {
	for end := range endNames {
		k, o := of(linux, end), of(ours, end)
		pairs := align(k, o)
		i, j := 0, 0
		pk, po := time.Duration(-1), time.Duration(-1)
		for _, p := range append(pairs, [2]int{len(k), len(o)}) {
			for ; i < p[0]; i++ {
				out = append(out, dissent{end, fmt.Sprintf("only linux: %v", &k[i])})
			}
			for ; j < p[1]; j++ {
				out = append(out, dissent{end, fmt.Sprintf("only ours: %v", &o[j])})
			}
			if i == len(k) || j == len(o) {
				break
			}
			if pk < 0 {
				// The first of an end: since the start.
				pk, po = 0, 0
			}
			if a, b := k[i].at-pk, o[j].at-po; !alike(a, b, slack) {
				out = append(out, dissent{end, fmt.Sprintf("time of %v: linux %s, ours %s", &k[i], class(a), class(b))})
			}
			pk, po = k[i].at, o[j].at
			i, j = i+1, j+1
		}
	}
	return out
}

// alike tells whether two waits are the same but for what a busy machine and
// a kernel's timer wheel (4 ms at first, then an eighth) add.
func alike(a, b, slack time.Duration) bool {
	return (a - b).Abs() <= 10*time.Millisecond+slack+max(a, b)/5
}

// class names a wait.
func class(d time.Duration) string {
	switch {
	case d < 5*time.Millisecond:
		return "<5ms"
	case d < 100*time.Millisecond:
		return fmt.Sprint("~", d.Round(5*time.Millisecond))
	}
	return fmt.Sprint("~", d.Round(10*time.Millisecond))
}

func of(events []wireEvent, end int) (out []wireEvent) {
	for _, e := range events {
		if e.end == end {
			out = append(out, e)
		}
	}
	return out
}

// align is the longest common subsequence.
func align(a, b []wireEvent) (pairs [][2]int) {
	x, y := make([]string, len(a)), make([]string, len(b))
	for i := range a {
		x[i] = a[i].String()
	}
	for i := range b {
		y[i] = b[i].String()
	}
	l := make([][]int, len(a)+1)
	for i := range l {
		l[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if x[i] == y[j] {
				l[i][j] = l[i+1][j+1] + 1
			} else {
				l[i][j] = max(l[i+1][j], l[i][j+1])
			}
		}
	}
	for i, j := 0, 0; i < len(a) && j < len(b); {
		switch {
		case x[i] == y[j]:
			pairs = append(pairs, [2]int{i, j})
			i, j = i+1, j+1
		case l[i+1][j] >= l[i][j+1]:
			i++
		default:
			j++
		}
	}
	return pairs
}

// show writes a trace for people.
func show(events []wireEvent) string {
	var b strings.Builder
	was := time.Duration(math.MinInt64)
	for i := range events {
		e := &events[i]
		gap := ""
		if was >= 0 {
			gap = fmt.Sprintf("+%.1f", float64(e.at-was)/1e6)
		}
		was = e.at
		fmt.Fprintf(&b, "  %9.1f ms %9s  %v\n", float64(e.at)/1e6, gap, e)
	}
	return b.String()
}
