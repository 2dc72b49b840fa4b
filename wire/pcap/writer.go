package pcap

import (
	"encoding/binary"
	"io"
	"net/netip"

	"peel/clock"
)

// Writer writes a pcapng file, little-endian, with times in nanoseconds.
type Writer struct {
	w      io.Writer
	b      []byte
	ifaces uint32
	err    error
}

// NewWriter begins a file with a section header that names the application.
func NewWriter(w io.Writer, application string) *Writer {
	wr := &Writer{w: w}
	wr.begin(blockSection)
	wr.b = binary.LittleEndian.AppendUint32(wr.b, byteOrderMagic)
	wr.b = binary.LittleEndian.AppendUint16(wr.b, 1)
	wr.b = binary.LittleEndian.AppendUint16(wr.b, 0)
	wr.b = binary.LittleEndian.AppendUint64(wr.b, ^uint64(0))
	wr.option(4, []byte(application))
	wr.endOptions()
	wr.end()
	return wr
}

// Err returns the first error of writing.
func (w *Writer) Err() error { return w.err }

func (w *Writer) begin(typ uint32) {
	w.b = binary.LittleEndian.AppendUint32(w.b[:0], typ)
	w.b = append(w.b, 0, 0, 0, 0)
}

func (w *Writer) end() {
	for len(w.b)%4 != 0 {
		w.b = append(w.b, 0)
	}
	n := uint32(len(w.b) + 4)
	binary.LittleEndian.PutUint32(w.b[4:], n)
	w.b = binary.LittleEndian.AppendUint32(w.b, n)
	if w.err == nil {
		_, w.err = w.w.Write(w.b)
	}
}

func (w *Writer) option(code uint16, v []byte) {
	if len(v) == 0 {
		return
	}
	v = v[:min(len(v), 65535)]
	w.b = binary.LittleEndian.AppendUint16(w.b, code)
	w.b = binary.LittleEndian.AppendUint16(w.b, uint16(len(v)))
	w.b = append(w.b, v...)
	for len(w.b)%4 != 0 {
		w.b = append(w.b, 0)
	}
}

func (w *Writer) custom(list []Custom) {
	for _, c := range list {
		w.option(optCustomBytes, append(binary.LittleEndian.AppendUint32(nil, c.Number), c.Data...))
	}
}

func (w *Writer) endOptions() { w.b = append(w.b, 0, 0, 0, 0) }

// Interface describes an interface and returns its number.
func (w *Writer) Interface(i Interface) int {
	w.begin(blockInterface)
	w.b = binary.LittleEndian.AppendUint16(w.b, uint16(i.Link))
	w.b = append(w.b, 0, 0)
	w.b = binary.LittleEndian.AppendUint32(w.b, i.Snap)
	w.option(2, []byte(i.Name))
	w.option(3, []byte(i.Description))
	w.option(9, []byte{9}) // nanoseconds
	w.custom(i.Custom)
	w.endOptions()
	w.end()
	w.ifaces++
	return int(w.ifaces - 1)
}

// Packet writes an Enhanced Packet Block of b.Interface, with its time, data,
// length, direction, comments and custom options.
func (w *Writer) Packet(b *Block) {
	w.begin(blockEnhanced)
	w.b = binary.LittleEndian.AppendUint32(w.b, uint32(b.Interface))
	w.time(b.Time)
	w.b = binary.LittleEndian.AppendUint32(w.b, uint32(len(b.Data)))
	w.b = binary.LittleEndian.AppendUint32(w.b, uint32(max(b.Length, len(b.Data))))
	w.b = append(w.b, b.Data...)
	for len(w.b)%4 != 0 {
		w.b = append(w.b, 0)
	}
	mark := len(w.b)
	if b.Inbound {
		w.option(2, []byte{1, 0, 0, 0})
	} else if b.Outbound {
		w.option(2, []byte{2, 0, 0, 0})
	}
	for _, c := range b.Comments {
		w.option(optComment, []byte(c))
	}
	w.custom(b.Custom)
	if len(w.b) > mark {
		w.endOptions()
	}
	w.end()
}

func (w *Writer) time(t clock.Time) {
	w.b = binary.LittleEndian.AppendUint32(w.b, uint32(uint64(t)>>32))
	w.b = binary.LittleEndian.AppendUint32(w.b, uint32(t))
}

// Secrets writes a Decryption Secrets Block: for SecretsTLS, key-log lines
// (RFC 9850).
func (w *Writer) Secrets(typ uint32, data []byte) {
	w.begin(blockSecrets)
	w.b = binary.LittleEndian.AppendUint32(w.b, typ)
	w.b = binary.LittleEndian.AppendUint32(w.b, uint32(len(data)))
	w.b = append(w.b, data...)
	w.end()
}

// Names writes a Name Resolution Block.
func (w *Writer) Names(names map[netip.Addr][]string, order []netip.Addr) {
	w.begin(blockNames)
	for _, a := range order {
		raw := a.Unmap().AsSlice()
		typ := uint16(1)
		if len(raw) == 16 {
			typ = 2
		}
		for _, n := range names[a] {
			raw = append(append(raw, n...), 0)
		}
		w.option(typ, raw)
	}
	w.endOptions()
	w.end()
}

// Custom writes a custom block, which other readers skip.
func (w *Writer) Custom(c Custom) {
	w.begin(blockCustom)
	w.b = binary.LittleEndian.AppendUint32(w.b, c.Number)
	w.b = append(w.b, c.Data...)
	w.end()
}

// Statistics writes what an interface received and dropped.
func (w *Writer) Statistics(iface int, at clock.Time, received, dropped uint64) {
	w.begin(blockStatistics)
	w.b = binary.LittleEndian.AppendUint32(w.b, uint32(iface))
	w.time(at)
	w.option(4, binary.LittleEndian.AppendUint64(nil, received))
	w.option(5, binary.LittleEndian.AppendUint64(nil, dropped))
	w.endOptions()
	w.end()
}
