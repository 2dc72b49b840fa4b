package host

import (
	"peel/stack/offload"
	"peel/stack/packet"
)

// software does what the card of this interface does not: finish the
// checksum, and cut a large TCP packet into segments.
func (i *Interface) software(p *packet.Packet) {
	if p.Segment == 0 {
		offload.Finish(p)
		i.Count.TxPackets++
		i.Count.TxBytes += uint64(p.Len())
		i.out.Send(p)
		return
	}
	offload.Split(i.Host.pool, p, func(q *packet.Packet) {
		i.Count.TxPackets++
		i.Count.TxBytes += uint64(q.Len())
		i.out.Send(q)
	})
}
