package offload

import (
	"bytes"
	"testing"

	"peel/stack/packet"
)

// A frame that is not what it says comes out as it is or not at all, and
// never as one whose checksum is good.
func TestFramesThatAreNotWhatTheySay(t *testing.T) {
	var pool packet.Pool
	for n := range 80 {
		for _, first := range []byte{0, 0x40, 0x45, 0x4f, 0x60} {
			for _, words := range []byte{0, 0x10, 0x50, 0xf0} {
				p := pool.Get(n)
				b := p.Extend(n)
				clear(b)
				if n > 14 {
					b[14] = first
				}
				for _, at := range []int{14 + 12, 34 + 12, 54 + 12} {
					if n > at {
						b[at] = words
					}
				}
				p.Segment = 1
				Split(&pool, p, func(q *packet.Packet) { pool.Put(q) })
			}
		}
	}
	if pool.Out != 0 {
		t.Errorf("%d packets are out", pool.Out)
	}
}

func TestAChecksumThatHasNoPlace(t *testing.T) {
	var pool packet.Pool
	for _, c := range []struct {
		from, at uint16
		want     packet.Checksum
	}{{0, 4, packet.Good}, {0, 19, packet.Unknown}, {30, 2, packet.Unknown}, {65535, 65535, packet.Unknown}} {
		p := pool.Get(20)
		b := bytes.Clone(p.Extend(20))
		p.Checksum, p.SumFrom, p.SumAt = packet.Partial, c.from, c.at
		Finish(p)
		if p.Checksum != c.want || c.want == packet.Unknown && !bytes.Equal(p.Bytes(), b) {
			t.Errorf("from %d at %d: %v", c.from, c.at, p.Checksum)
		}
	}
}

// A segment without data is one frame.
func TestASegmentWithoutData(t *testing.T) {
	var pool packet.Pool
	p := pool.Get(54)
	b := p.Extend(54)
	clear(b)
	b[14], b[46] = 0x45, 0x50
	p.Segment = 100
	n := 0
	Split(&pool, p, func(q *packet.Packet) { n++; pool.Put(q) })
	if n != 1 || pool.Out != 0 {
		t.Errorf("%d frames, %d are out", n, pool.Out)
	}
}
