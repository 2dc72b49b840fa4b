package capture

import (
	"bytes"
	"encoding/binary"
	"net/netip"

	"peel/evidence/decision"
	"peel/wire/ip"
	"peel/wire/pcap"
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
	head := 20
	proto := ip.ProtoTCP
	if s.udp {
		head, proto = 8, ip.ProtoUDP
	}
	if from.Addr().Is4() {
		packet = append(packet, 0x45, 0)
		packet = binary.BigEndian.AppendUint16(packet, uint16(20+head+len(b)))
		packet = append(packet, 0, 0, 0x40, 0, 64, byte(proto), 0, 0)
		packet = append(packet, from.Addr().AsSlice()...)
		packet = append(packet, to.Addr().AsSlice()...)
		binary.BigEndian.PutUint16(packet[10:], ^ip.Sum(0, packet))
	} else {
		packet = append(packet, 0x60, 0, 0, 0)
		packet = binary.BigEndian.AppendUint16(packet, uint16(head+len(b)))
		packet = append(packet, byte(proto), 64)
		packet = append(packet, from.Addr().AsSlice()...)
		packet = append(packet, to.Addr().AsSlice()...)
	}
	l4 := len(packet)
	packet = binary.BigEndian.AppendUint16(packet, from.Port())
	packet = binary.BigEndian.AppendUint16(packet, to.Port())
	sum := 16
	if s.udp {
		packet = binary.BigEndian.AppendUint16(packet, uint16(head+len(b)))
		packet = append(packet, 0, 0)
		sum = 6
	} else {
		packet = binary.BigEndian.AppendUint32(packet, 1+s.seq[dir])
		packet = binary.BigEndian.AppendUint32(packet, 1+s.seq[1-dir])
		packet = append(packet, 0x50, 0x18, 0xff, 0xff, 0, 0, 0, 0) // PSH, ACK
		s.seq[dir] += uint32(len(b))
	}
	packet = append(packet, b...)
	c := ^ip.Sum(ip.PseudoSum(from.Addr(), to.Addr(), proto, len(packet)-l4), packet[l4:])
	if s.udp && c == 0 {
		c = 0xffff // RFC 768
	}
	binary.BigEndian.PutUint16(packet[l4+sum:], c)
	return packet, l4 + head
}
