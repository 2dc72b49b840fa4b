package capture

import (
	"bytes"
	"encoding/binary"
	"io"
	"net/netip"
	"strconv"
	"strings"

	"peel/clock"
	"peel/wire/pcap"
)

// A capture is stored as pcapng. Packets are packets and key-log lines are
// Decryption Secrets Blocks, which any reader understands; decisions are
// custom blocks, which other readers skip.
//
// Where only the bytes of sockets were seen, they are stored as packets of an
// interface of their own, with IP and TCP or UDP headers that nobody saw. Each
// says so in a custom option, by which it is read back as the socket's bytes.

// enterprise is the number under which custom blocks stand. peel has none of
// its own; 32473 is for documentation (RFC 5612), so each block begins with a
// word that tells.
const enterprise = 32473

var mark = []byte("peel\x01")

// streamsName is the interface that bytes of sockets are stored under.
const streamsName = "sockets"

const streamsText = "bytes that sockets wrote and read; no packet was seen: the IP, TCP and UDP headers are made up"

// commentMark begins the packet comments that FileWriter adds for the readers
// of other programs.
const commentMark = "peel: "

// appendDecision appends what parseDecision reads.
func appendDecision(b []byte, d *Decision, attrs []Attr) []byte {
	b = binary.LittleEndian.AppendUint32(b, d.Exchange)
	b = binary.LittleEndian.AppendUint32(b, d.Lookup)
	b = binary.LittleEndian.AppendUint32(b, d.Stream)
	b = appendString(b, d.Name)
	for i := range attrs {
		b = appendString(b, attrs[i].Key)
		b = appendString(b, attrs[i].Value)
	}
	return b
}

// block is the content of a custom block: mark, kind, direction, time, socket,
// length and data of a record.
func block(r *Record, data []byte) []byte {
	b := append([]byte{}, mark...)
	b = append(b, byte(r.Kind), byte(r.Dir), 0)
	b = binary.LittleEndian.AppendUint64(b, uint64(r.Time))
	b = binary.LittleEndian.AppendUint32(b, r.Socket)
	b = binary.LittleEndian.AppendUint32(b, uint32(r.Length))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(data)))
	return append(b, data...)
}

const blockHead = 5 + 3 + 8 + 4 + 4 + 4

// parseBlock reads what block wrote.
func parseBlock(b []byte) (Record, bool) {
	if len(b) < blockHead || !bytes.HasPrefix(b, mark) {
		return Record{}, false
	}
	r := Record{Kind: Kind(b[5]), Dir: Direction(b[6] & 1), Time: clock.Time(binary.LittleEndian.Uint64(b[8:])), Socket: binary.LittleEndian.Uint32(b[16:]),
		Length: int(binary.LittleEndian.Uint32(b[20:]))}
	n := binary.LittleEndian.Uint32(b[24:])
	if uint64(n) > uint64(len(b)-blockHead) || n > 2*maxDecision {
		return Record{}, false
	}
	data := b[blockHead : blockHead+n]
	switch r.Kind {
	case Decided:
		if len(data) < 12 {
			return Record{}, false
		}
		r.Decision = parseDecision(data)
		r.Decision.Socket = r.Socket
	case Secret, Stream:
		r.Data = data
	case Lost:
	default:
		return Record{}, false
	}
	return r, true
}

// FileOptions say what a FileWriter stores.
type FileOptions struct {
	// Application is named in the file, such as "peel 1.0".
	Application string
	// Secrets are stored only when asked for: with them anyone can read what
	// the packets carry.
	Secrets bool
	// Redact, when set, takes what is private out of a decision.
	Redact func(*Decision)
}

// FileWriter stores a capture. Records are held back up to 16 MiB: readers in
// one pass need secrets to stand before the packets that they open.
type FileWriter struct {
	w       *pcap.Writer
	o       FileOptions
	ifaces  map[iface]int
	held    []Record
	size    int
	sockets map[uint32]*socketPackets
	notes   []string
	lookups map[uint32]string // names being looked up
	last    clock.Time
}

type iface struct {
	where string
	link  pcap.LinkType
}

const holdBack = 16 << 20

// NewFileWriter begins a file.
func NewFileWriter(w io.Writer, o FileOptions) *FileWriter {
	return &FileWriter{w: pcap.NewWriter(w, o.Application), o: o, ifaces: map[iface]int{}, sockets: map[uint32]*socketPackets{}, lookups: map[uint32]string{}}
}

// Write takes the next record. Its data must stay valid for as long as it is
// referenced, as a Cursor's does.
func (f *FileWriter) Write(r Record) error {
	f.held = append(f.held, r)
	f.size += len(r.Data) + 64
	if f.size > holdBack {
		f.flush()
	}
	return f.w.Err()
}

// Statistics stores how many packets were received and dropped.
func (f *FileWriter) Statistics(received, dropped uint64) {
	f.flush()
	if len(f.ifaces) > 0 {
		f.w.Statistics(0, f.last, received, dropped) // the counts are of all interfaces together
	}
}

// Close stores what is held back. It does not close the file.
func (f *FileWriter) Close() error {
	f.flush()
	return f.w.Err()
}

func (f *FileWriter) flush() {
	if f.o.Secrets {
		var lines []byte
		for i := range f.held {
			if f.held[i].Kind == Secret {
				lines = append(append(lines, bytes.TrimRight(f.held[i].Data, "\n")...), '\n')
			}
		}
		if len(lines) > 0 {
			f.w.Secrets(pcap.SecretsTLS, lines)
		}
	}
	for i := range f.held {
		f.store(&f.held[i])
	}
	f.held, f.size = f.held[:0], 0
}

func (f *FileWriter) store(r *Record) {
	f.last = r.Time
	switch r.Kind {
	case Packet:
		b := pcap.Block{Interface: f.iface(r.Link.Where, r.Link.Type, "", nil), Time: r.Time, Data: r.Data, Length: r.Length, Outbound: r.Link.Sent, Inbound: r.Link.Received, Comments: r.Link.Comments}
		if r.Link.Partial {
			b.Custom = []pcap.Custom{{Number: enterprise, Data: append(bytes.Clone(mark), "partial checksum"...)}}
		}
		f.packet(&b)
	case Stream:
		f.stream(r)
	case Secret:
		if f.o.Secrets && r.Socket != 0 {
			f.w.Custom(pcap.Custom{Number: enterprise, Data: block(r, r.Data)})
		}
	case Decided:
		d := r.Decision
		if f.o.Redact != nil {
			f.o.Redact(&d)
		}
		f.learn(r, &d)
		f.w.Custom(pcap.Custom{Number: enterprise, Data: block(r, appendDecision(nil, &d, d.Attrs))})
	case Lost:
		f.w.Custom(pcap.Custom{Number: enterprise, Data: block(r, nil)})
	}
}

// packet writes a packet with what was decided since the last as comments.
func (f *FileWriter) packet(b *pcap.Block) {
	b.Comments = append(b.Comments[:len(b.Comments):len(b.Comments)], f.notes...)
	f.notes = f.notes[:0]
	f.w.Packet(b)
}

func (f *FileWriter) iface(where string, link pcap.LinkType, text string, custom []pcap.Custom) int {
	k := iface{where, link}
	n, ok := f.ifaces[k]
	if !ok {
		n = f.w.Interface(pcap.Interface{Name: where, Link: link, Description: text, Custom: custom})
		f.ifaces[k] = n
	}
	return n
}

// maxNotes bounds the comments on one packet.
const maxNotes = 16

// learn keeps what a decision says for the packets and names to come.
func (f *FileWriter) learn(r *Record, d *Decision) {
	if len(f.notes) < maxNotes {
		s := commentMark + d.Name
		for _, k := range []string{"why", "text", "error", "seen", "reason"} {
			if v := d.Get(k); v != "" {
				s += ": " + v
				break
			}
		}
		f.notes = append(f.notes, s)
	}
	switch d.Name {
	case "connect.done", "socket.open":
		local, err1 := netip.ParseAddrPort(d.Get("local"))
		remote, err2 := netip.ParseAddrPort(d.Get("remote"))
		if err1 == nil && err2 == nil {
			f.sockets[r.Socket] = &socketPackets{local: local, remote: remote, udp: strings.HasPrefix(d.Get("network"), "udp")}
		}
	case "lookup.start":
		f.lookups[d.Lookup] = strings.TrimSuffix(d.Get("name"), ".")
	case "lookup.end":
		name := f.lookups[d.Lookup]
		delete(f.lookups, d.Lookup)
		names := map[netip.Addr][]string{}
		var order []netip.Addr
		for _, a := range d.All("address") {
			ip, _, _ := strings.Cut(a, "\t")
			if addr, err := netip.ParseAddr(ip); err == nil && name != "" && ip != name {
				names[addr] = []string{name}
				order = append(order, addr)
			}
		}
		if len(order) > 0 {
			f.w.Names(names, order)
		}
	}
}

// FileReader reads a capture from a pcap or pcapng file, whoever wrote it.
// The data of its records is valid until the next is read.
type FileReader struct {
	r       *pcap.Reader
	streams map[int]bool // interfaces of socket bytes
	// Received and Dropped are what the file says of its interfaces.
	Received, Dropped int64
	// Damaged counts the places that could not be read.
	Damaged int
	last    clock.Time
}

// NewFileReader begins to read a capture file, which may be compressed with
// gzip or zstd.
func NewFileReader(src io.Reader) (*FileReader, error) {
	r, err := pcap.NewReader(src)
	if err != nil {
		return nil, err
	}
	return &FileReader{r: r, streams: map[int]bool{}, Received: -1, Dropped: -1}, nil
}

// Close lets go of what decompression holds.
func (f *FileReader) Close() { f.r.Close() }

// Offset is how far reading has come, in bytes after decompression.
func (f *FileReader) Offset() int64 { return f.r.Offset() }

// Next returns the next record, or false at the end. What is wrong with the
// file comes as a decision named "capture.damage".
func (f *FileReader) Next(bool) (Record, bool) {
	for {
		b, err := f.r.Next()
		if err != nil {
			return Record{}, false
		}
		if r, ok := f.record(&b); ok {
			f.last = r.Time
			return r, true
		}
	}
}

func (f *FileReader) decision(name string, attrs ...Attr) (Record, bool) {
	return Record{Time: f.last, Kind: Decided, Decision: Decision{Name: name, Attrs: attrs}}, true
}

func (f *FileReader) record(b *pcap.Block) (Record, bool) {
	switch b.Kind {
	case pcap.KindPacket:
		if f.streams[b.Interface] {
			return f.streamBytes(b)
		}
		i := &f.r.Interfaces()[b.Interface]
		r := Record{Time: b.Time, Kind: Packet, Length: b.Length, Data: b.Data, Link: Link{Type: i.Link, Where: i.Name, Sent: b.Outbound, Received: b.Inbound}}
		for _, c := range b.Custom {
			if c.Number == enterprise && bytes.HasPrefix(c.Data, mark) {
				r.Link.Partial = true
			}
		}
		for _, c := range b.Comments {
			if !strings.HasPrefix(c, commentMark) {
				r.Link.Comments = append(r.Link.Comments, c)
			}
		}
		return r, true
	case pcap.KindInterface:
		for _, c := range f.r.Interfaces()[b.Interface].Custom {
			if c.Number == enterprise && bytes.HasPrefix(c.Data, mark) {
				f.streams[b.Interface] = true
			}
		}
	case pcap.KindSecrets:
		if b.SecretsType == pcap.SecretsTLS {
			return Record{Time: f.last, Kind: Secret, Data: b.Data, Length: len(b.Data)}, true
		}
	case pcap.KindCustom:
		if b.Custom[0].Number == enterprise {
			return parseBlock(b.Custom[0].Data)
		}
	case pcap.KindNames:
		var attrs []Attr
		for _, n := range b.Names {
			if a, ok := netip.AddrFromSlice(n.Address); ok {
				attrs = append(attrs, Attr{a.String(), strings.Join(n.Names, " ")})
			}
		}
		return f.decision("capture.names", attrs...)
	case pcap.KindSection:
		if len(b.Comments) > 0 {
			return f.decision("capture.comment", Attr{"text", strings.Join(b.Comments, "; ")})
		}
	case pcap.KindStatistics:
		f.Received, f.Dropped = max(f.Received, b.Received), max(f.Dropped, 0)+max(b.Dropped, 0)
		if b.Dropped > 0 {
			return f.decision("capture.dropped", Attr{"packets", strconv.FormatInt(b.Dropped, 10)}, Attr{"where", f.r.Interfaces()[b.Interface].Name})
		}
	case pcap.KindDamage:
		f.Damaged++
		return f.decision("capture.damage", Attr{"text", strings.TrimPrefix(b.Err.Error(), "pcap: ")}, Attr{"cut", strconv.FormatBool(b.Err.Cut)})
	}
	return Record{}, false
}

// Merged gives the records of several sources in the order of their times.
// Each source's own order is kept.
type Merged struct {
	src  []Source
	head []Record
	has  []bool
	last int // whose head was returned: its data is in use until now
}

// Merge joins sources. The data of a record is valid until the next is asked
// for.
func Merge(src ...Source) *Merged {
	m := &Merged{src: src, head: make([]Record, len(src)), has: make([]bool, len(src)), last: -1}
	for i := range src {
		m.head[i], m.has[i] = src[i].Next(true)
	}
	return m
}

// Next returns the earliest record.
func (m *Merged) Next(wait bool) (Record, bool) {
	if m.last >= 0 {
		m.head[m.last], m.has[m.last] = m.src[m.last].Next(wait)
		m.last = -1
	}
	best := -1
	for i := range m.src {
		if m.has[i] && (best < 0 || m.head[i].Time < m.head[best].Time) {
			best = i
		}
	}
	if best < 0 {
		return Record{}, false
	}
	m.last = best
	return m.head[best], true
}
