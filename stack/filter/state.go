package filter

import (
	"peel/wire/tcp"
)

// tcpState is what a connection looks like from between its ends.
type tcpState uint8

const (
	synSent tcpState = iota
	synReceived
	established
	closing
	timeWait
	reset
)

func (s tcpState) String() string {
	return [...]string{"SYN sent", "SYN received", "established", "closing", "TIME-WAIT", "reset"}[s]
}

// tcpFlow follows a connection by its flags alone, with one number for each
// direction: what a RST has to match.
type tcpFlow struct {
	state tcpState
	fin   [2]bool
	// lastFIN is the direction of the FIN that came last.
	lastFIN uint8
	// ack is the highest acknowledgment that was seen in a direction.
	acked [2]bool
	ack   [2]uint32
}

// reopens tells whether a SYN begins a new connection in the place of this
// one (RFC 9293 §3.6.1: TIME-WAIT may be cut short).
func (t *tcpFlow) reopens(f tcp.Flags) bool {
	return f.Has(tcp.SYN) && !f.Has(tcp.ACK) && (t.state == timeWait || t.state == reset)
}

// fits tells whether a segment can belong to the connection: a SYN-ACK answers
// the other side's SYN, never one's own.
func (t *tcpFlow) fits(dir int, f tcp.Flags) bool {
	return !(t.state == synSent && dir == original && f.Has(tcp.SYN|tcp.ACK))
}

// begin is the state of a flow whose first segment this is.
func (t *tcpFlow) begin(f tcp.Flags, ack uint32) {
	*t = tcpFlow{}
	if !f.Has(tcp.SYN) || f.Has(tcp.ACK) {
		t.state = established // picked up in its middle, by Loose
	}
	t.see(original, f, ack)
}

// next takes an accepted segment into account and returns the class of the
// flow from now on.
func (t *tcpFlow) next(dir int, f tcp.Flags, seq, ack uint32, replied bool) class {
	switch {
	case f.Has(tcp.RST):
		// RFC 5961 §3.2: only a RST at exactly the next expected byte counts.
		// Another may be a forgery, or one behind data in flight: the flow
		// stays what it is, but its time is short unless it goes on.
		if t.acked[1-dir] && seq != t.ack[1-dir] && t.state != reset {
			if t.state == established {
				return classClosing
			}
			return t.class(replied)
		}
		t.state = reset
	case f.Has(tcp.SYN) && f.Has(tcp.ACK):
		if t.state == synSent && dir == reply {
			t.state = synReceived
		}
	case f.Has(tcp.SYN):
		// RFC 9293 §3.5: both sides may open at once.
		if t.state == synSent && dir == reply {
			t.state = synReceived
		}
	case f.Has(tcp.FIN):
		if t.state == synReceived || t.state == established || t.state == closing {
			t.state = closing
			if !t.fin[dir] {
				t.fin[dir], t.lastFIN = true, uint8(dir)
			}
		}
	case f.Has(tcp.ACK):
		switch {
		case t.state == synReceived && dir == original:
			t.state = established
		case t.state == closing && t.fin[0] && t.fin[1] && dir != int(t.lastFIN):
			t.state = timeWait
		}
	}
	t.see(dir, f, ack)
	return t.class(replied)
}

func (t *tcpFlow) see(dir int, f tcp.Flags, ack uint32) {
	if f.Has(tcp.ACK) && !f.Has(tcp.RST) && (!t.acked[dir] || int32(ack-t.ack[dir]) > 0) {
		t.acked[dir], t.ack[dir] = true, ack
	}
}

func (t *tcpFlow) class(replied bool) class {
	switch t.state {
	case established:
		if replied {
			return classEstablished
		}
	case closing:
		return classClosing
	case timeWait:
		return classTimeWait
	case reset:
		return classReset
	}
	return classSYN
}
