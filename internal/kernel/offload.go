package kernel

import "encoding/binary"

// Offload is what stands beside a frame between a program and the kernel: the
// virtio_net_hdr of virtio 1.2 §5.1.6, in host byte order.
type Offload struct {
	// Partial tells that the transport checksum at SumFrom+SumAt is still to
	// be computed, over all from SumFrom on.
	Partial bool
	// Valid tells that the checksum was checked.
	Valid          bool
	SumFrom, SumAt uint16
	// Segment is the TCP data of each of the segments that the frame stands
	// for; 0 is one frame. HeaderLen is what stands before the data.
	Segment, HeaderLen uint16
	V6                 bool
	ECN                bool
}

// offloadLen is the length of the header.
const offloadLen = 10

const (
	needsChecksum = 1
	dataValid     = 2
	gsoTCP4       = 1
	gsoTCP6       = 4
	gsoECN        = 0x80
)

func (o *Offload) put(b []byte) {
	clear(b[:offloadLen])
	if o.Partial {
		b[0] = needsChecksum
		binary.NativeEndian.PutUint16(b[6:], o.SumFrom)
		binary.NativeEndian.PutUint16(b[8:], o.SumAt)
	} else if o.Valid {
		b[0] = dataValid
	}
	if o.Segment > 0 {
		b[1] = gsoTCP4
		if o.V6 {
			b[1] = gsoTCP6
		}
		if o.ECN {
			b[1] |= gsoECN
		}
		binary.NativeEndian.PutUint16(b[2:], o.HeaderLen)
		binary.NativeEndian.PutUint16(b[4:], o.Segment)
	}
}

func (o *Offload) get(b []byte) {
	*o = Offload{Partial: b[0]&needsChecksum != 0, Valid: b[0]&dataValid != 0, HeaderLen: binary.NativeEndian.Uint16(b[2:]), Segment: binary.NativeEndian.Uint16(b[4:]),
		SumFrom: binary.NativeEndian.Uint16(b[6:]), SumAt: binary.NativeEndian.Uint16(b[8:]), V6: b[1]&^gsoECN == gsoTCP6, ECN: b[1]&gsoECN != 0}
	if b[1] == 0 {
		o.Segment = 0
	}
}
