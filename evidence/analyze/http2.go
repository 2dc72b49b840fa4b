package analyze

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"peel/clock"
	"peel/evidence/capture"
	"peel/trace"
	"peel/wire/hpack"
	"peel/wire/http2"
	"peel/wire/httpfield"
)

// h2conn reads the HTTP/2 frames of one connection.
type h2conn struct {
	silent
	l       *layer
	dec     [2]*hpack.Decoder
	streams map[uint32]*h2stream
	open    int
	begun   bool // the preface was seen
	// late tells that the connection's beginning was not captured: what the
	// HPACK tables hold is not known, and nothing is guessed.
	late    bool
	block   [2]headerBlock
	stopped [2]bool
	window  [2]int64 // what each side may still send on the connection
	facts   trace.HTTP2
	// unacked holds the table sizes of each SETTINGS frame of a side that the
	// other has not acknowledged yet.
	unacked [2][][]uint32
}

// maxUnacked bounds the SETTINGS frames remembered.
const maxUnacked = 64

// maxStreams bounds the streams of a connection that are open at once, which
// a peer's SETTINGS bound far lower.
const maxStreams = 20_000

// h2stream is a stream with its exchange.
type h2stream struct {
	x      *exchange
	id     uint32
	ended  [2]bool
	frames [2]int          // DATA frames
	more   [2]*trace.Event // stands for those past the limit
}

// headerBlock is a header block that CONTINUATION frames may go on with.
type headerBlock struct {
	open   bool
	stream uint32
	flags  http2.Flags
	first  clock.Time
	offset int64 // of the HEADERS frame
	frames int   // bytes of all frames of the block, with their headers
	block  []byte
	parts  []part // where the fragments stand
}

// part says that block bytes from at stand at offset of the stream.
type part struct {
	at     int
	offset int64
}

var http2Protocol = protocol{
	name: trace.ProtocolHTTP2, layer: trace.LayerHTTP2, upgrade: "h2c",
	fields: func(t *trace.Trace, e *trace.Event) []trace.Field {
		if e.Name == trace.EventHTTP2Preface {
			return nil
		}
		return append(http2.Fields(e.Raw), headerFields(t, e)...)
	},
	recognise: looksLikeHTTP2,
	open:      openH2,
}

var preface = []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")

// looksLikeHTTP2 tells the connection preface (RFC 9113 §3.4), or whole frames
// where the beginning was not captured.
func looksLikeHTTP2(o *opening) guess {
	switch {
	case len(o.out) == 0:
		return no
	case bytes.HasPrefix(o.out, preface), o.late && looksLikeFrames(o.out):
		return yes
	case bytes.HasPrefix(preface, o.out):
		return perhaps
	}
	return no
}

// looksLikeFrames tells whether bytes are HTTP/2 frames from their first byte
// on: one or more whole ones of known types.
func looksLikeFrames(b []byte) bool {
	n := 0
	for len(b) >= http2.FrameHeaderLen {
		h := http2.ParseFrameHeader(b)
		if h.Type > http2.FrameContinuation || h.Length > 1<<14 || b[5]&0x80 != 0 || h.StreamID > 1<<24 {
			return false
		}
		n++
		b = b[min(http2.FrameHeaderLen+int(h.Length), len(b)):]
	}
	return n > 0
}

// openH2 begins HTTP/2: at its preface, in its middle, or where a request of
// HTTP/1.1 was upgraded to it (RFC 7540 §3.2): that becomes stream 1.
func openH2(l *layer, from *exchange) decoder {
	h := newH2(l)
	switch early := join(l.early[capture.Out]); {
	case from != nil:
		from.informational = append(from.informational, 101)
		from.tr.Response, from.respFirst, from.respLast = nil, nil, nil
		from.tr.Protocol, from.tr.Stream = "HTTP/2", 1
		s := &h2stream{id: 1, x: from}
		s.ended[capture.Out] = true
		h.streams[1] = s
		h.open++
	case !bytes.HasPrefix(early, preface):
		h.begun, h.late = true, true
	}
	return h
}

func newH2(l *layer) *h2conn {
	h := &h2conn{l: l, streams: map[uint32]*h2stream{}}
	// RFC 9113 §6.5.2 and §6.9.2: the defaults before any SETTINGS.
	h.dec = [2]*hpack.Decoder{hpack.NewDecoder(4096), hpack.NewDecoder(4096)}
	h.window = [2]int64{65535, 65535}
	h.facts = trace.HTTP2{ClientSettings: []trace.Setting{}, ServerSettings: []trace.Setting{}, FramesOut: map[string]int{}, FramesIn: map[string]int{}}
	return h
}

// maxFrame bounds a frame that is waited for; a longer one is an error of the
// peer that the engines reject, and nothing to store.
const maxFrame = 1 << 20

func (h *h2conn) input(t clock.Time, dir capture.Direction, b []byte) {
	f := &h.l.in[dir]
	f.add(t, b)
	if dir == capture.Out && !h.begun {
		if len(f.buf) < len(preface) {
			return
		}
		h.l.message(t, trace.LayerHTTP2, trace.EventHTTP2Preface, "connection preface", dir, f.offset, len(preface), f.buf[:len(preface)])
		f.take(len(preface), t)
		h.begun = true
	}
	pos := 0
	for !h.stopped[dir] && len(f.buf)-pos >= http2.FrameHeaderLen {
		fh := http2.ParseFrameHeader(f.buf[pos:])
		size := http2.FrameHeaderLen + int(fh.Length)
		if size > maxFrame {
			e := h.l.message(t, trace.LayerHTTP2, trace.LayerHTTP2.Malformed(), fmt.Sprintf("a frame of %d bytes is larger than is read", size), dir, f.offset+int64(pos), http2.FrameHeaderLen, f.buf[pos:])
			e.Stream = fh.StreamID
			h.stopped[dir] = true
			break
		}
		if len(f.buf)-pos < size {
			break
		}
		first := f.first
		h.frame(first, t, dir, fh, f.buf[pos:pos+size], f.offset+int64(pos))
		pos += size
		f.first = t
	}
	if pos > 0 {
		f.take(pos, t)
	}
}

// frame takes one whole frame. first is when its first byte came, t its last.
func (h *h2conn) frame(first, t clock.Time, dir capture.Direction, fh http2.FrameHeader, raw []byte, offset int64) {
	if dir == capture.Out {
		h.facts.FramesOut[fh.Type.String()]++
	} else {
		h.facts.FramesIn[fh.Type.String()]++
	}
	payload := raw[http2.FrameHeaderLen:]
	if fh.Type == http2.FrameData {
		h.data(first, t, dir, fh, raw, offset)
		return
	}
	text := http2.Describe(fh, payload)
	e := h.l.message(t, trace.LayerHTTP2, fh.Type.Event(), text, dir, offset, len(raw), raw)
	e.Stream = fh.StreamID
	s := h.streams[fh.StreamID]
	if s != nil {
		e.Exchange = s.x.tr.ID
	}
	switch fh.Type {
	case http2.FrameHeaders, http2.FrameContinuation, http2.FramePushPromise:
		h.headerFrame(e, first, t, dir, fh, raw, offset)
	case http2.FrameSettings:
		h.settings(dir, fh, payload)
	case http2.FrameWindowUpdate:
		if fh.StreamID == 0 && len(payload) == 4 {
			h.window[1-dir] += int64(uint32(payload[0]&0x7f)<<24 | uint32(payload[1])<<16 | uint32(payload[2])<<8 | uint32(payload[3]))
		}
	case http2.FrameRSTStream:
		if s != nil {
			h.close(s, capture.In)
			h.close(s, capture.Out)
			if s.x.respFirst != nil {
				s.x.respLast = e
			}
		}
	case http2.FrameGoAway:
		if g, err := http2.ParseGoAway(payload); err == nil {
			h.facts.GoAway = &trace.GoAway{Direction: dirNames[dir], LastStream: g.LastStreamID, Code: g.Code.String(), Debug: string(g.Debug)}
		}
	}
}

func (h *h2conn) settings(dir capture.Direction, fh http2.FrameHeader, payload []byte) {
	if fh.Flags.Has(http2.FlagAck) {
		// From here on this side writes its blocks by the other's limits.
		if p := h.unacked[1-dir]; len(p) > 0 {
			for _, n := range p[0] {
				h.dec[dir].SetAllowedMaxTableSize(n)
			}
			h.unacked[1-dir] = p[1:]
		}
		return
	}
	list, err := http2.ParseSettings(payload)
	if err != nil {
		return
	}
	var tables []uint32
	for _, s := range list {
		ts := trace.Setting{Name: s.ID.String(), Value: s.Value}
		if dir == capture.Out {
			h.facts.ClientSettings = append(h.facts.ClientSettings, ts)
		} else {
			h.facts.ServerSettings = append(h.facts.ServerSettings, ts)
		}
		if s.ID == http2.SettingHeaderTableSize {
			tables = append(tables, s.Value)
		}
	}
	if len(h.unacked[dir]) < maxUnacked {
		h.unacked[dir] = append(h.unacked[dir], tables)
	}
}

// headerFrame gathers a header block.
func (h *h2conn) headerFrame(e *trace.Event, first, t clock.Time, dir capture.Direction, fh http2.FrameHeader, raw []byte, offset int64) {
	b := &h.block[dir]
	frag, at, err := http2.HeaderFragment(fh, raw[http2.FrameHeaderLen:])
	if err != nil {
		e.Text += ": " + err.Error()
		return
	}
	if fh.Type != http2.FrameContinuation {
		*b = headerBlock{open: true, stream: fh.StreamID, flags: fh.Flags, first: first, offset: offset}
		if fh.Type == http2.FramePushPromise {
			b.stream = 0 // peel's client refuses push; the block is decoded for the table's sake
		}
	} else if !b.open {
		return
	}
	b.parts = append(b.parts, part{len(b.block), offset + http2.FrameHeaderLen + int64(at)})
	b.block = append(b.block, frag...)
	b.frames += len(raw)
	if len(b.block) > maxFrame {
		h.stopped[dir] = true
		return
	}
	if fh.Flags.Has(http2.FlagEndHeaders) {
		b.open = false
		h.headers(e, t, dir, b)
	}
}

// headers takes a complete header block.
func (h *h2conn) headers(e *trace.Event, t clock.Time, dir capture.Direction, b *headerBlock) {
	if h.late {
		e.Text += fmt.Sprintf(": %d bytes of HPACK, whose table was begun before the capture", len(b.block))
		return
	}
	reps, err := h.dec[dir].Explain(b.block, hpack.Limits{})
	if err != nil {
		e.Text += ": " + err.Error()
		h.stopped[dir] = true
		return
	}
	var fields httpfield.List
	var list []trace.Header
	for _, r := range reps {
		if r.Kind == hpack.SizeUpdate {
			continue
		}
		fields = append(fields, r.Field)
		hd := trace.Header{Name: r.Field.Name, Value: r.Field.Value, Size: r.Length, Coding: r.Coding()}
		if off, ok := b.place(r.Offset); ok {
			rg := h.l.ranges(dir, off, int64(r.Length))[0]
			hd.Bytes = &rg
		}
		list = append(list, hd)
	}
	plain := 0
	for _, f := range fields {
		plain += len(f.Name) + len(f.Value) + 4
	}
	if b.stream == 0 {
		return
	}
	s := h.streams[b.stream]
	if s == nil {
		if dir == capture.In || len(h.streams) >= maxStreams {
			return
		}
		s = &h2stream{id: b.stream, x: h.l.c.request(b.stream)}
		s.x.tr.Stream = b.stream
		h.streams[b.stream] = s
		h.open++
		h.facts.MaxConcurrent = max(h.facts.MaxConcurrent, h.open)
	}
	x := s.x
	e.Exchange = x.tr.ID
	e.Text += fmt.Sprintf(": %s, %d fields in %d bytes (%d in HTTP/1)", headline(fields), len(fields), len(b.block), plain)
	end := b.flags.Has(http2.FlagEndStream)
	switch {
	case dir == capture.Out && x.sendFirst == nil:
		x.tr.Protocol = trace.ProtocolHTTP2
		x.tr.Method = fields.Value(":method")
		x.tr.URL = fields.Value(":scheme") + "://" + fields.Value(":authority") + fields.Value(":path")
		x.tr.Request = trace.Request{Method: x.tr.Method, Target: fields.Value(":path"), Headers: list, HeadersSize: int64(len(b.block)), Body: h2Body(fields, end)}
		x.sendFirst, x.sendLast = e, e
		h.l.dnsHead(t, x, dir, e)
	case dir == capture.Out:
		x.tr.Request.Trailers = list
		x.sendLast = e
	case x.tr.Response == nil:
		status := 0
		fmt.Sscanf(fields.Value(":status"), "%d", &status)
		if status >= 100 && status < 200 {
			x.informational = append(x.informational, status)
			return
		}
		x.tr.Response = &trace.Response{Status: status, Headers: list, HeadersSize: int64(len(b.block)), Body: h2Body(fields, end)}
		x.respFirst, x.respLast = e, e
		h.l.dnsHead(t, x, dir, e)
	default:
		x.tr.Response.Trailers = list
		x.respLast = e
	}
	if end {
		h.endStream(t, s, dir)
	}
}

// place maps an offset in the block to the application stream.
func (b *headerBlock) place(at int) (int64, bool) {
	for i := len(b.parts) - 1; i >= 0; i-- {
		if at >= b.parts[i].at {
			return b.parts[i].offset + int64(at-b.parts[i].at), true
		}
	}
	return 0, false
}

func headline(f httpfield.List) string {
	if s, ok := f.Get(":status"); ok {
		return s
	}
	if m, ok := f.Get(":method"); ok {
		return m + " " + f.Value(":path")
	}
	return "trailers"
}

func h2Body(f httpfield.List, ended bool) trace.Body {
	b := emptyBody()
	b.Encoding = f.Value("content-encoding")
	if v, ok := f.Get("content-length"); ok {
		fmt.Sscanf(v, "%d", &b.Announced)
	}
	if ended {
		b.Complete = true
	} else {
		b.Framing = trace.FramingEndStream
	}
	return b
}

// data takes a DATA frame. Past a limit the frames of a stream share one
// event, so that a large body does not become thousands.
func (h *h2conn) data(first, t clock.Time, dir capture.Direction, fh http2.FrameHeader, raw []byte, offset int64) {
	h.window[dir] -= int64(fh.Length)
	payload, err := http2.DataPayload(fh, raw[http2.FrameHeaderLen:])
	s := h.streams[fh.StreamID]
	if s == nil || err != nil {
		e := h.l.message(t, trace.LayerHTTP2, http2.FrameData.Event(), http2.Describe(fh, raw[http2.FrameHeaderLen:]), dir, offset, len(raw), raw[:min(len(raw), 512)])
		e.Stream = fh.StreamID
		return
	}
	s.frames[dir]++
	at := offset + http2.FrameHeaderLen
	if fh.Flags.Has(http2.FlagPadded) {
		at++
	}
	var e *trace.Event
	if s.frames[dir] <= h.l.c.a.lim.DataEvents {
		e = h.l.message(t, trace.LayerHTTP2, http2.FrameData.Event(), http2.Describe(fh, raw[http2.FrameHeaderLen:]), dir, offset, len(raw), raw[:min(len(raw), 512)])
	} else {
		if s.more[dir] == nil {
			s.more[dir] = h.l.message(t, trace.LayerHTTP2, http2.FrameData.Event(), "", dir, offset, len(raw), raw[:min(len(raw), 64)])
		} else {
			// The event moves on with the frames that it stands for.
			s.more[dir].Time = h.l.c.a.time(t)
			s.more[dir].RawLength += len(raw)
		}
		e = s.more[dir]
		e.Text = fmt.Sprintf("DATA, %d more frames, %d bytes in all", s.frames[dir]-h.l.c.a.lim.DataEvents, e.RawLength)
	}
	e.Stream, e.Exchange = s.id, s.x.tr.ID
	end := fh.Flags.Has(http2.FlagEndStream)
	if dir == capture.Out {
		h.l.piece(&s.x.tr.Request.Body, dir, at, payload)
		s.x.tr.Request.Body.Complete = end
		s.x.sendLast = e
	} else if r := s.x.tr.Response; r != nil {
		h.l.piece(&r.Body, dir, at, payload)
		r.Body.Complete = end
		s.x.respLast = e
	}
	if end {
		h.endStream(t, s, dir)
	}
}

// endStream takes an END_STREAM flag.
func (h *h2conn) endStream(t clock.Time, s *h2stream, dir capture.Direction) {
	if dir == capture.Out {
		s.x.tr.Request.Body.Complete = true
	} else if s.x.tr.Response != nil {
		s.x.tr.Response.Body.Complete = true
	}
	h.l.dnsEnd(t, s.x, dir)
	h.close(s, dir)
}

// close closes one side of a stream; with both closed it is forgotten.
func (h *h2conn) close(s *h2stream, dir capture.Direction) {
	s.ended[dir] = true
	if s.ended[0] && s.ended[1] && h.streams[s.id] == s {
		delete(h.streams, s.id)
		h.open--
	}
}

// release lets go of what only a running connection needs.
func (h *h2conn) release() {
	h.tables()
	h.dec = [2]*hpack.Decoder{}
	h.streams = nil
	h.block = [2]headerBlock{}
	h.stopped = [2]bool{true, true}
}

func (h *h2conn) tables() {
	if h.dec[0] != nil {
		h.facts.HeaderTableOut, h.facts.HeaderTableIn = h.dec[capture.Out].Size(), h.dec[capture.In].Size()
	}
}

func (h *h2conn) finish(t *trace.Connection) {
	h.tables()
	f := h.facts
	f.FramesOut, f.FramesIn = maps.Clone(f.FramesOut), maps.Clone(f.FramesIn)
	f.ClientSettings, f.ServerSettings = slices.Clip(f.ClientSettings), slices.Clip(f.ServerSettings)
	f.WindowOut, f.WindowIn = h.window[capture.Out], h.window[capture.In]
	t.HTTP2 = &f
}
