package analyze

import (
	"fmt"
	"time"

	"peel/evidence/capture"
	"peel/trace"
	"peel/wire/tcp"
)

// idleGap is how long a silence is that becomes an event.
const idleGap = time.Second

func segmentWord(s tcp.Segment, length int) string {
	if length > 0 {
		return fmt.Sprintf("%d bytes", length)
	}
	return s.Flags().String()
}

// narrate makes events of the segments that tell more than that bytes flow.
func (f *flow) narrate(p *packet, s tcp.Segment, length int) {
	a, dir, flags := f.a, p.dir, s.Flags()
	name, text := trace.EventName(""), ""
	switch {
	case flags.Has(tcp.SYN | tcp.ACK):
		name, text = trace.EventTCPSYNACK, "SYN, ACK"
	case flags.Has(tcp.SYN):
		name, text = trace.EventTCPSYN, "SYN"
	case flags.Has(tcp.RST):
		name, text = trace.EventTCPRST, fmt.Sprintf("RST from the %s", sideName(dir))
		if f.refusal(dir, s) {
			f.refused = true
			text += ": the connection is refused"
		}
	case dir == capture.Out && f.analysis.ACKTime == a.now && f.analysis.SYNACKTime > 0 && f.conn.established == nil:
		name, text = trace.EventTCPEstablished, "ACK: connected, the handshake took "+short(f.analysis.ACKTime.Sub(f.analysis.SYNTime)).String()
		if f.analysis.SYNTime == 0 {
			text = "ACK: connected"
		}
	case flags.Has(tcp.FIN) && !p.note.Has(tcp.Retransmission):
		name, text = trace.EventTCPFIN, fmt.Sprintf("FIN from the %s after %d bytes", sideName(dir), f.analysis.Sides[dir].Bytes)
		if f.conn.tr.ClosedBy == "" {
			f.conn.tr.ClosedBy = sideName(dir)
		}
	}
	if flags.Has(tcp.SYN) {
		text += fmt.Sprintf(", ISN %d, window %d%s", s.Seq(), s.Window(), synText(s))
	}
	const noteworthy = tcp.Retransmission | tcp.OutOfOrder | tcp.LostSegment | tcp.AckedUnseen | tcp.ZeroWindow | tcp.ZeroWindowProbe |
		tcp.WindowFull | tcp.KeepAlive | tcp.PortReused | tcp.DSACK | tcp.SYNRetransmission
	if n := p.note & noteworthy; n != 0 && f.conn.noted < maxNotedSegments {
		f.conn.noted++
		if name == "" {
			name = n.Event()
			text = fmt.Sprintf("%s: %d bytes at %d", n, length, f.streams[dir].Offset(s.Seq()))
			if length == 0 {
				text = fmt.Sprintf("%s (window %d)", n, int(s.Window())<<f.analysis.Scale(int(dir)))
			}
		} else {
			text += " (" + n.String() + ")"
		}
	}
	if name == "" {
		return
	}
	e := a.aboutPacket(trace.LayerTCP, name, text)
	e.Connection, e.Direction = f.conn.tr.ID, dirNames[dir]
	switch name {
	case trace.EventTCPSYN:
		if f.conn.synEvent == nil {
			f.conn.synEvent = e
		}
		if f.conn.start == nil {
			f.conn.start = e
		}
	case trace.EventTCPEstablished:
		f.conn.established = e
		if f.conn.done == nil {
			f.conn.done = e
		}
		if f.conn.tr.Connected == nil {
			at := a.time(a.now)
			f.conn.tr.Connected = &at
		}
	case trace.EventTCPRST:
		f.conn.rst = e
	}
}

// maxNotedSegments bounds the events about remarkable segments of one connection; all
// are counted.
const maxNotedSegments = 200

func sideName(d capture.Direction) trace.Closer {
	if d == capture.Out {
		return trace.ByClient
	}
	return trace.ByServer
}
