package pcap

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"

	"peel/clock"
)

// nextBlock reads one pcapng block (draft-ietf-opsawg-pcapng §3.1).
func (r *Reader) nextBlock() (Block, error) {
	h := r.need(12)
	if len(h) < 12 {
		return r.cut(len(h), 12)
	}
	if binary.BigEndian.Uint32(h) == blockSection {
		switch {
		case binary.LittleEndian.Uint32(h[8:]) == byteOrderMagic:
			r.order = binary.LittleEndian
		case binary.BigEndian.Uint32(h[8:]) == byteOrderMagic:
			r.order = binary.BigEndian
		default:
			if r.order == nil {
				r.order = binary.LittleEndian
			}
			return r.lostBlock(fmt.Sprintf("a section header with byte-order magic % x", h[8:12]))
		}
	}
	typ, total := r.order.Uint32(h), r.order.Uint32(h[4:])
	if total < 12 || total%4 != 0 || total > maxBlock {
		return r.lostBlock(fmt.Sprintf("a block of type %#x with length %d", typ, total))
	}
	n := int(total)
	b := r.need(n)
	if len(b) < n {
		// The file ends here, or the length is wrong: then other blocks stand
		// in what it claims.
		rest := len(b)
		if blk, err := r.lostBlock(fmt.Sprintf("a block of type %#x with length %d, which is more than the file has", typ, total)); !r.done {
			return blk, err
		}
		return r.cut(rest, n)
	}
	if end := r.order.Uint32(b[n-4:]); end != total {
		return r.lostBlock(fmt.Sprintf("a block of type %#x has length %d at its beginning and %d at its end", typ, total, end))
	}
	blk := Block{Offset: r.Offset(), Type: typ}
	body := b[8 : n-4 : n-4]
	why := r.parse(&blk, body)
	r.r += n
	if why != "" {
		return Block{Kind: KindDamage, Offset: blk.Offset, Err: &Error{Offset: blk.Offset, What: why, Skipped: int64(n)}}, nil
	}
	return blk, nil
}

// lostBlock looks for the next block whose two lengths agree.
func (r *Reader) lostBlock(why string) (Block, error) {
	return r.resync(why, 12, func(b []byte) bool {
		typ := r.order.Uint32(b)
		if binary.BigEndian.Uint32(b) == blockSection {
			typ = blockSection
			if m := r.order.Uint32(b[8:]); m != byteOrderMagic && bits.ReverseBytes32(m) != byteOrderMagic {
				return false
			} else if m != byteOrderMagic {
				return true
			}
		}
		switch typ {
		case blockSection, blockInterface, blockPacketOld, blockSimple, blockNames, blockStatistics, blockEnhanced, blockSecrets, blockCustom, blockCustomKeep:
		default:
			return false
		}
		total := r.order.Uint32(b[4:])
		if total < 12 || total%4 != 0 || total > 1<<20 {
			return false
		}
		whole := r.need(int(total))
		return len(whole) == int(total) && r.order.Uint32(whole[total-4:]) == total
	})
}

// parse reads the body of a block; it returns what is wrong with it.
func (r *Reader) parse(blk *Block, b []byte) string {
	short := func(n int) string {
		if len(b) < n {
			return fmt.Sprintf("a block of type %#x with %d bytes, which needs %d", blk.Type, len(b), n)
		}
		return ""
	}
	switch blk.Type {
	case blockSection:
		blk.Kind = KindSection
		if why := short(16); why != "" {
			return why
		}
		if major := r.order.Uint16(b[4:]); major != 1 {
			return fmt.Sprintf("a section of version %d.%d; 1.x can be read", major, r.order.Uint16(b[6:]))
		}
		r.section = len(r.ifaces)
		r.options(b[16:], func(code uint16, v []byte) {
			switch code {
			case 3:
				blk.System = string(v)
			case 4:
				blk.Application = string(v)
			default:
				r.common(blk, code, v)
			}
		})
	case blockInterface:
		blk.Kind = KindInterface
		if why := short(8); why != "" {
			return why
		}
		if len(r.ifaces) >= maxInterfaces {
			return "too many interfaces"
		}
		i := Interface{Link: LinkType(r.order.Uint16(b)), Snap: r.order.Uint32(b[4:]), perSecond: microseconds}
		r.options(b[8:], func(code uint16, v []byte) {
			switch {
			case code == 2:
				i.Name = string(v)
			case code == 3:
				i.Description = string(v)
			case code == 9 && len(v) >= 1:
				i.perSecond = resolution(v[0])
			case code == 14 && len(v) >= 8:
				i.offset = int64(r.order.Uint64(v))
			default:
				r.common(blk, code, v)
			}
		})
		for _, c := range blk.Custom {
			i.Custom = append(i.Custom, Custom{c.Number, bytes.Clone(c.Data)})
		}
		blk.Interface = len(r.ifaces)
		r.ifaces = append(r.ifaces, i)
	case blockEnhanced:
		if why := short(20); why != "" {
			return why
		}
		return r.packet(blk, r.order.Uint32(b), uint64(r.order.Uint32(b[4:]))<<32|uint64(r.order.Uint32(b[8:])), r.order.Uint32(b[12:]), r.order.Uint32(b[16:]), b, 20)
	case blockPacketOld:
		if why := short(20); why != "" {
			return why
		}
		return r.packet(blk, uint32(r.order.Uint16(b)), uint64(r.order.Uint32(b[4:]))<<32|uint64(r.order.Uint32(b[8:])), r.order.Uint32(b[12:]), r.order.Uint32(b[16:]), b, 20)
	case blockSimple:
		blk.Kind = KindPacket
		if why := short(4); why != "" {
			return why
		}
		if r.section >= len(r.ifaces) {
			return "a packet before any interface is described"
		}
		blk.Interface = r.section
		length := r.order.Uint32(b)
		if length > maxPacket {
			return fmt.Sprintf("a packet of %d bytes is longer than any", length)
		}
		kept := min(int(length), len(b)-4)
		if s := r.ifaces[r.section].Snap; s > 0 {
			kept = min(kept, int(min(s, maxPacket)))
		}
		blk.Length, blk.Data, blk.DataOffset, blk.Time = int(length), b[4:4+kept:4+kept], blk.Offset+12, r.last
	case blockSecrets:
		blk.Kind = KindSecrets
		if why := short(8); why != "" {
			return why
		}
		n := r.order.Uint32(b[4:])
		if uint64(n) > uint64(len(b)-8) {
			return fmt.Sprintf("secrets of %d bytes in a block that holds %d", n, len(b)-8)
		}
		blk.SecretsType, blk.Data, blk.DataOffset = r.order.Uint32(b), b[8:8+n:8+n], blk.Offset+16
	case blockNames:
		blk.Kind = KindNames
		return r.names(blk, b)
	case blockStatistics:
		blk.Kind, blk.Received, blk.Dropped = KindStatistics, -1, -1
		if why := short(12); why != "" {
			return why
		}
		blk.Interface = r.section + int(min(r.order.Uint32(b), maxInterfaces))
		if blk.Interface >= len(r.ifaces) {
			return fmt.Sprintf("statistics of interface %d, which no block describes", r.order.Uint32(b))
		}
		r.options(b[12:], func(code uint16, v []byte) {
			switch {
			case code == 4 && len(v) >= 8:
				blk.Received = int64(min(r.order.Uint64(v), math.MaxInt64))
			case (code == 5 || code == 7) && len(v) >= 8:
				blk.Dropped = max(blk.Dropped, 0) + int64(min(r.order.Uint64(v), math.MaxInt32))
			}
		})
	case blockCustom, blockCustomKeep:
		blk.Kind = KindCustom
		if why := short(4); why != "" {
			return why
		}
		blk.Custom = []Custom{{r.order.Uint32(b), b[4:]}}
		blk.Data, blk.DataOffset = b[4:], blk.Offset+12
	default:
		blk.Kind, blk.Data, blk.DataOffset = KindUnknown, b, blk.Offset+8
	}
	return ""
}

// resolution decodes if_tsresol: units per second, by a power of 10 or 2.
func resolution(v byte) uint64 {
	n := uint(v & 0x7f)
	if v&0x80 != 0 {
		return 1 << min(n, 63)
	}
	u := uint64(1)
	for range min(n, 19) {
		u *= 10
	}
	return u
}

func (r *Reader) packet(blk *Block, iface uint32, ts uint64, caplen, length uint32, b []byte, at int) string {
	blk.Kind = KindPacket
	if uint64(iface) >= uint64(len(r.ifaces)-r.section) {
		return fmt.Sprintf("a packet of interface %d, which no block describes", iface)
	}
	if uint64(caplen) > uint64(len(b)-at) {
		return fmt.Sprintf("a packet of %d bytes in a block that holds %d", caplen, len(b)-at)
	}
	if length > maxPacket {
		return fmt.Sprintf("a packet of %d bytes is longer than any", length)
	}
	blk.Interface = r.section + int(iface)
	i := &r.ifaces[blk.Interface]
	end := at + int(caplen)
	blk.Length, blk.Data, blk.DataOffset = max(int(length), int(caplen)), b[at:end:end], blk.Offset+8+int64(at)
	blk.Time = i.time(ts)
	r.last = blk.Time
	if rest := pad4(end); rest < len(b) {
		r.options(b[rest:], func(code uint16, v []byte) {
			if code == 2 && len(v) >= 4 {
				f := r.order.Uint32(v) & 3
				blk.Inbound, blk.Outbound = f == 1, f == 2
				return
			}
			r.common(blk, code, v)
		})
	}
	return ""
}

// How many of a file's units of time make a second.
const (
	microseconds = 1_000_000
	nanoseconds  = 1_000_000_000
)

// time turns a timestamp in the interface's units into nanoseconds; what
// does not fit becomes the nearest that does.
func (i *Interface) time(ts uint64) clock.Time {
	s, frac := ts/i.perSecond, ts%i.perSecond
	hi, lo := bits.Mul64(frac, nanoseconds)
	ns, _ := bits.Div64(hi, lo, i.perSecond)
	const maxSeconds = math.MaxInt64/nanoseconds - 1
	sec := int64(min(s, maxSeconds))
	if i.offset > 0 && sec > maxSeconds-min(i.offset, maxSeconds) {
		sec = maxSeconds
	} else {
		sec += max(i.offset, -maxSeconds)
	}
	return clock.Time(max(sec, 0)*nanoseconds + int64(ns))
}

// options calls f for each option up to the end or to one that overruns.
func (r *Reader) options(b []byte, f func(code uint16, v []byte)) {
	for len(b) >= 4 {
		code, n := r.order.Uint16(b), int(r.order.Uint16(b[2:]))
		if code == optEnd || 4+n > len(b) {
			return
		}
		f(code, b[4:4+n:4+n])
		b = b[min(pad4(4+n), len(b)):]
	}
}

// common takes the options that every block may have.
func (r *Reader) common(blk *Block, code uint16, v []byte) {
	switch code {
	case optComment:
		blk.Comments = append(blk.Comments, string(v))
	case optCustomText, optCustomBytes, optTextKeep, optBytesKeep:
		if len(v) >= 4 {
			blk.Custom = append(blk.Custom, Custom{r.order.Uint32(v), v[4:]})
		}
	}
}

func (r *Reader) names(blk *Block, b []byte) string {
	for len(b) >= 4 {
		typ, n := r.order.Uint16(b), int(r.order.Uint16(b[2:]))
		if typ == 0 {
			return ""
		}
		if 4+n > len(b) {
			return fmt.Sprintf("a name record of %d bytes in a block that has %d left", n, len(b)-4)
		}
		size := map[uint16]int{1: 4, 2: 16}[typ]
		if v := b[4 : 4+n]; size > 0 && n > size && len(blk.Names) < maxNames {
			name := Name{Address: bytes.Clone(v[:size])}
			for _, s := range bytes.Split(bytes.TrimRight(v[size:], "\x00"), []byte{0}) {
				name.Names = append(name.Names, string(s))
			}
			blk.Names = append(blk.Names, name)
		}
		b = b[min(pad4(4+n), len(b)):]
	}
	return ""
}
