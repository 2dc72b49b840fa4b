package capture

import (
	"bytes"
	"encoding/binary"
	"net/netip"

	"peel/evidence/decision"
	"peel/wire/ip"
	"peel/wire/pcap"
	"peel/wire/tcp"
	"peel/wire/udp"
)

// socketPackets makes packets around the bytes of a socket, so that programs
// which read only packets can read them.
type socketPackets struct {
	local, remote netip.AddrPort
	udp           bool
	seq           [2]uint32
}

// maxPart is the most bytes of a socket that one custom block carries.
const maxPart = 32 << 10

// maxMadeUp is the most bytes that one made-up packet carries.
const maxMadeUp = 60000

// stream stores bytes of a socket.
func (f *FileWriter) stream(r *Record) {
	s := f.sockets[r.Socket]
	if s == nil || s.local.Addr().Is4() != s.remote.Addr().Is4() {
		// Its addresses are not known: only peel can read it.
		for b := r.Data; len(b) > 0; b = b[min(len(b), maxPart):] {
			part := *r
			part.Length = min(len(b), maxPart)
			f.w.Custom(pcap.Custom{Number: enterprise, Data: block(&part, b[:part.Length])})
		}
		return
	}
	iface := f.iface(streamsName, pcap.LinkRaw, streamsText, []pcap.Custom{{Number: enterprise, Data: bytes.Clone(mark)}})
	for b := r.Data; len(b) > 0; {
		part := b[:min(len(b), maxMadeUp)]
		b = b[len(part):]
		raw, at := s.wrap(r.Dir, part)
		note := append(bytes.Clone(mark), byte(r.Dir))
		note = binary.LittleEndian.AppendUint32(note, r.Socket)
		note = binary.LittleEndian.AppendUint32(note, uint32(at))
		f.packet(&pcap.Block{Interface: iface, Time: r.Time, Data: raw, Length: len(raw), Outbound: r.Dir == Out, Inbound: r.Dir == In,
			Custom: []pcap.Custom{{Number: enterprise, Data: note}}})
	}
}

// streamBytes reads back what stream stored.
func (f *FileReader) streamBytes(b *pcap.Block) (Record, bool) {
	for _, c := range b.Custom {
		if !marked(c) || len(c.Data) < len(mark)+9 {
			continue
		}
		v := c.Data[len(mark):]
		at := binary.LittleEndian.Uint32(v[5:])
		if uint64(at) > uint64(len(b.Data)) {
			break
		}
		data := b.Data[at:]
		return Record{Time: b.Time, Kind: Stream, Dir: Direction(v[0] & 1), Socket: binary.LittleEndian.Uint32(v[1:]), Length: len(data), Data: data}, true
	}
	return f.decided(&decision.CaptureDamaged{Text: "a packet of the interface of sockets does not say which socket it is of"})
}

// wrap puts bytes of one direction into an IP packet; it returns where they
// stand in it.
func (s *socketPackets) wrap(dir Direction, b []byte) (packet []byte, at int) {
	from, to := s.local, s.remote
	if dir == In {
		from, to = to, from
	}
	head := ip.Header{Src: from.Addr(), Dst: to.Addr(), Protocol: ip.ProtoTCP, TTL: 64, DontFragment: true}
	l4 := tcp.MinHeader
	if s.udp {
		head.Protocol, l4 = ip.ProtoUDP, udp.HeaderLen
	}
	packet = head.AppendTo(make([]byte, 0, head.Len()+l4+len(b)), l4+len(b))
	at = len(packet) + l4
	packet = append(packet[:at], b...)
	t := packet[head.Len():]
	sum := ip.PseudoSum(from.Addr(), to.Addr(), head.Protocol, len(t))
	if s.udp {
		udp.Header{Source: from.Port(), Destination: to.Port(), Length: uint16(len(t))}.Put(t)
		udp.Datagram(t).Seal(sum)
		return packet, at
	}
	h := tcp.Header{Seq: 1 + s.seq[dir], Ack: 1 + s.seq[1-dir], Flags: tcp.PSH | tcp.ACK, Window: 0xffff}
	h.Put(t, from.Port(), to.Port())
	tcp.Segment(t).Seal(sum)
	s.seq[dir] += uint32(len(b))
	return packet, at
}
