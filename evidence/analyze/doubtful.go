package analyze

import (
	"bytes"

	"peel/evidence/capture"
	"peel/wire/tcp"
)

// doubtful is a segment whose checksum is wrong. Its receiver dropped it, if
// it was so on the wire; if it acknowledges the bytes and no other segment
// brought them, they were right.
type doubtful struct {
	seq    uint32
	ack    uint32
	data   []byte
	packet int
	at     int
}

// maxDoubtful bounds those that are kept, per direction.
const maxDoubtful = 256

func (f *flow) doubt(p *packet, s tcp.Segment) {
	list := &f.doubtful[p.dir]
	if b := s.Payload(); len(b) > 0 && len(*list) < maxDoubtful {
		*list = append(*list, doubtful{s.Seq(), s.Ack(), bytes.Clone(b), p.id, p.payload.at})
	}
}

// confirmed takes an acknowledgement of what the other side sent.
func (f *flow) confirmed(dir capture.Direction, ack uint32) {
	list := f.doubtful[dir]
	if len(list) == 0 {
		return
	}
	st := f.streams[dir]
	f.doubtful[dir] = list[:0]
	for _, d := range list {
		switch end := d.seq + uint32(len(d.data)); {
		case int32(end-ack) > 0:
			f.doubtful[dir] = append(f.doubtful[dir], d)
		case st.Offset(end) > st.Next():
			f.remember(dir, st.Offset(d.seq), d.packet, d.at, len(d.data))
			st.InputMarked(f.a.now, d.seq, d.data, false, d.ack)
		}
	}
}
