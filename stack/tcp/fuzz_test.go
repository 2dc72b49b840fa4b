package tcp

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"peel/clock"
	wire "peel/wire/tcp"
)

// muted is an Output that only looks at what it is given.
type muted struct{ t *testing.T }

func (m muted) SendSegment(c *Conn, h *Outgoing, a, b []byte) {
	if h.NOptions > 40 || h.NOptions%4 != 0 {
		m.t.Fatalf("%d bytes of options", h.NOptions)
	}
	if n := len(a) + len(b); n > c.path.size && h.Segment == 0 && !c.path.probing {
		m.t.Fatalf("%d bytes of data on a path of %d", n, c.path.size)
	}
}

// Whatever segments a peer sends to whatever state, the books stay right, no
// bound is passed and nothing is kept in the end.
func FuzzInput(f *testing.F) {
	f.Add([]byte{0x10, 0, 0, 0, 0, 1, 0, 0, 5, 0x18, 1, 1, 0, 100, 9, 0x11, 2, 2, 0, 0, 200, 0x14, 0, 0, 0, 0, 3}, uint8(0))
	f.Add([]byte{0x10, 3, 200, 255, 255, 9, 0x10, 100, 1, 20, 3, 7, 0x10, 8, 1, 0, 0, 0, 0x12, 1, 1, 1, 1, 1}, uint8(7))
	f.Fuzz(func(t *testing.T, script []byte, how uint8) {
		cfg := &Config{NoTimestamps: how&1 != 0, NoSACK: how&2 != 0, ECN: how&4 != 0, KeepAlive: time.Minute, ReceiveBuffer: 20000, SendBuffer: 20000}
		if how&8 != 0 {
			cfg.Congestion = NewBBR
		}
		now := clock.Time(1e9)
		c := NewConn(cfg, muted{t}, Ends{Local: netip.MustParseAddrPort("192.0.2.1:1"), Remote: netip.MustParseAddrPort("192.0.2.2:2"), ISS: 0xffffff00, TSOffset: 5, Link: 1480, Path: 1480})
		const irs = 0xfffffff0
		syn := make([]byte, wire.MinHeader+20)
		binary.BigEndian.PutUint32(syn[4:], irs)
		binary.BigEndian.PutUint16(syn[14:], 5000)
		syn[12] = 10 << 4
		copy(syn[wire.MinHeader:], []byte{2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 2})
		if how&16 != 0 {
			syn[13] = byte(wire.SYN)
			c.Accept(now, wire.Segment(syn))
			c.Poll(now)
		} else {
			c.Open(now)
			c.Poll(now)
			syn[13] = byte(wire.SYN | wire.ACK)
			binary.BigEndian.PutUint32(syn[8:], 0xffffff01)
			c.Input(now, wire.Segment(syn), false)
			c.Poll(now)
		}
		for len(script) >= 6 {
			b := script[:6]
			script = script[6:]
			now = now.Add(time.Duration(b[5]) * time.Duration(b[5]) * time.Millisecond)
			if b[0]&0xc0 == 0xc0 {
				// The user does something.
				switch b[1] % 6 {
				case 0:
					c.Write(now, make([]byte, int(b[2])*40))
				case 1:
					c.Read(now, make([]byte, int(b[2])*40))
				case 2:
					c.CloseWrite(now)
				case 3:
					c.PathMTU(now, 300+int(b[2])*4, c.snd.una+uint32(b[3]), "fuzz")
				case 4:
					c.Close(now)
				case 5:
					c.Unreachable(now, c.snd.una+uint32(b[3]), ErrTimeout)
				}
			} else {
				seg := make([]byte, wire.MinHeader+24+int(b[4])*8)
				binary.BigEndian.PutUint32(seg[4:], c.rcv.nxt+uint32(int8(b[1]))*uint32(b[4]+1))
				binary.BigEndian.PutUint32(seg[8:], c.snd.una+uint32(int8(b[2]))*50)
				seg[12], seg[13] = 11<<4, b[0]&0x3f|byte(wire.ACK)
				if b[0]&0x40 != 0 {
					seg[13] = b[0] & 0x3f
				}
				binary.BigEndian.PutUint16(seg[14:], uint16(b[3])<<4)
				o := seg[wire.MinHeader:]
				o[0], o[1] = wire.OptTimestamps, 10
				binary.BigEndian.PutUint32(o[2:], 1+uint32(b[5]))
				binary.BigEndian.PutUint32(o[6:], c.tsNow()-uint32(b[3]))
				o[10], o[11] = wire.OptNop, wire.OptNop
				o[12], o[13] = wire.OptSACK, 10
				binary.BigEndian.PutUint32(o[14:], c.snd.una+uint32(b[3])*30)
				binary.BigEndian.PutUint32(o[18:], c.snd.una+uint32(b[3])*30+uint32(b[1])*20)
				c.Input(now, wire.Segment(seg), b[0]&0x80 != 0)
			}
			next := c.Poll(now)
			if next <= now && c.State() != Closed && next != c.Poll(now) {
				t.Fatalf("it wants to be called again at %v, now is %v", next, now)
			}
			under := int(c.snd.nxt - c.snd.una)
			if c.State() >= Established && (c.inFlight() < 0 || c.board.sacked < 0 || c.board.lost < 0 || c.board.sacked+c.board.lost > under) {
				t.Fatalf("under way %d, SACKed %d, lost %d, duplicates %d", under, c.board.sacked, c.board.lost, c.board.dupBytes)
			}
			if len(c.rcv.ooo) > maxRanges || c.rcv.buf.n > maxBuffer || c.snd.buf.n > maxBuffer || len(c.rcv.buf.ring.b) > 1<<16 {
				t.Fatalf("%d ranges, %d and %d bytes, a ring of %d", len(c.rcv.ooo), c.rcv.buf.n, c.snd.buf.n, len(c.rcv.buf.ring.b))
			}
			if c.win.Cwnd <= 0 || c.path.mss <= 0 {
				t.Fatalf("window %d, segments of %d", c.win.Cwnd, c.path.mss)
			}
		}
		c.Abort(now)
		if c.State() != Closed || c.Poll(now) != clock.Never || c.rcv.buf.ring.b != nil || c.snd.buf.ring.b != nil {
			t.Fatalf("after the abort: %v, due %v, buffers of %d and %d", c.State(), c.Poll(now), len(c.rcv.buf.ring.b), len(c.snd.buf.ring.b))
		}
	})
}
