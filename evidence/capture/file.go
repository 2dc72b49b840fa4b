package capture

import (
	"bytes"
	"encoding/binary"
	"io"
	"net/netip"
	"strings"

	"peel/clock"
	"peel/evidence/decision"
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

var mark = []byte("peel\x02")

// format is the last byte of mark. Formats differ in how decisions are stored,
// and in nothing else so far: in format 1 they were lists of words.
const format = 2

// marked tells that peel put a custom option or block into the file, in
// whatever format.
func marked(c pcap.Custom) bool {
	return c.Number == enterprise && len(c.Data) >= len(mark) && bytes.HasPrefix(c.Data, mark[:len(mark)-1])
}

// streamsName is the interface that bytes of sockets are stored under.
const streamsName = "sockets"

const streamsText = "bytes that sockets wrote and read; no packet was seen: the IP, TCP and UDP headers are made up"

// commentMark begins the packet comments that FileWriter adds for the readers
// of other programs.
const commentMark = "peel: "

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

// maxBlock is more than the data of any block.
const maxBlock = decisionHead + 1 + maxName + decision.MaxEncoded

// parseBlock reads what block wrote. A decision of another format is nil.
func parseBlock(b []byte) (Record, bool) {
	if len(b) < blockHead {
		return Record{}, false
	}
	r := Record{Kind: Kind(b[5]), Dir: Direction(b[6] & 1), Time: clock.Time(binary.LittleEndian.Uint64(b[8:])), Socket: binary.LittleEndian.Uint32(b[16:]),
		Length: int(binary.LittleEndian.Uint32(b[20:]))}
	n := binary.LittleEndian.Uint32(b[24:])
	if uint64(n) > uint64(len(b)-blockHead) || n > maxBlock {
		return Record{}, false
	}
	data := b[blockHead : blockHead+n]
	switch r.Kind {
	case Decided:
		return r, b[len(mark)-1] != format || readDecision(&r, data)
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
	// Redact, when set, takes what is private out of each text of a decision.
	Redact func(text string) string
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
			d = decision.Redact(d, f.o.Redact)
		}
		f.learn(r, d)
		f.w.Custom(pcap.Custom{Number: enterprise, Data: block(r, appendDecision(nil, About{Exchange: r.Exchange, Lookup: r.Lookup, Stream: r.Stream}, d))})
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
func (f *FileWriter) learn(r *Record, d decision.Decision) {
	if len(f.notes) < maxNotes {
		s := commentMark + string(d.Name())
		if n := decision.Note(d); n != "" {
			s += ": " + n
		}
		f.notes = append(f.notes, s)
	}
	switch d := d.(type) {
	case *decision.ConnectDone:
		f.opened(r.Socket, d.Local, d.Remote, false)
	case *decision.SocketOpened:
		f.opened(r.Socket, d.Local, d.Remote, d.Transport == decision.UDP)
	case *decision.LookupStarted:
		f.lookups[r.Lookup] = strings.TrimSuffix(d.Host, ".")
	case *decision.LookupEnded:
		name := f.lookups[r.Lookup]
		delete(f.lookups, r.Lookup)
		names := map[netip.Addr][]string{}
		var order []netip.Addr
		for _, a := range d.Addresses {
			if a.IP.IsValid() && name != "" && a.IP.String() != name {
				names[a.IP] = []string{name}
				order = append(order, a.IP)
			}
		}
		if len(order) > 0 {
			f.w.Names(names, order)
		}
	}
}

func (f *FileWriter) opened(socket uint32, local, remote netip.AddrPort, udp bool) {
	if local.IsValid() && remote.IsValid() {
		f.sockets[socket] = &socketPackets{local: local, remote: remote, udp: udp}
	}
}

// FileReader reads a capture from a pcap or pcapng file, whoever wrote it.
// The data of its records is valid until the next is read.
type FileReader struct {
	r       *pcap.Reader
	streams map[int]bool // interfaces of socket bytes
	// Received and Dropped are what the file says of its interfaces.
	Received, Dropped int64
	last              clock.Time
	other             bool // decisions of another format were met
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
// file comes as a decision.CaptureDamaged.
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

func (f *FileReader) decided(d decision.Decision) (Record, bool) {
	return Record{Time: f.last, Kind: Decided, Decision: d}, true
}

// custom reads a block of our own. Of other formats the first decision gives a
// remark, and secrets are read only from the block that all readers know: a
// socket says nothing where no decision tells of it.
func (f *FileReader) custom(b []byte) (Record, bool) {
	r, ok := parseBlock(b)
	if v := b[len(mark)-1]; ok && v != format && r.Kind != Stream && r.Kind != Lost {
		if r.Kind == Secret || f.other {
			return Record{}, false
		}
		f.other = true
		return f.decided(&decision.CaptureFormat{Format: uint32(v), Known: format})
	}
	return r, ok
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
			if marked(c) {
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
			if marked(c) {
				f.streams[b.Interface] = true
			}
		}
	case pcap.KindSecrets:
		if b.SecretsType == pcap.SecretsTLS {
			return Record{Time: f.last, Kind: Secret, Data: b.Data, Length: len(b.Data)}, true
		}
	case pcap.KindCustom:
		if marked(b.Custom[0]) {
			return f.custom(b.Custom[0].Data)
		}
	case pcap.KindNames:
		d := &decision.CaptureNames{}
		for _, n := range b.Names {
			if a, ok := netip.AddrFromSlice(n.Address); ok {
				d.Hosts = append(d.Hosts, decision.HostNames{IP: a, Names: n.Names})
			}
		}
		return f.decided(d)
	case pcap.KindSection:
		if len(b.Comments) > 0 {
			return f.decided(&decision.CaptureComment{Text: strings.Join(b.Comments, "; ")})
		}
	case pcap.KindStatistics:
		f.Received, f.Dropped = max(f.Received, b.Received), max(f.Dropped, 0)+max(b.Dropped, 0)
		if b.Dropped > 0 {
			return f.decided(&decision.CaptureDropped{Packets: b.Dropped, Where: f.r.Interfaces()[b.Interface].Name})
		}
	case pcap.KindDamage:
		return f.decided(&decision.CaptureDamaged{Text: strings.TrimPrefix(b.Err.Error(), "pcap: "), Cut: b.Err.Cut})
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
