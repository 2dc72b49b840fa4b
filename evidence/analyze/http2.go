package analyze

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"peel/clock"
	"peel/evidence/capture"
	"peel/trace"
	"peel/wire/hpack"
	"peel/wire/http2"
)

// h2conn reads the HTTP/2 frames of one connection.
type h2conn struct {
	l       *layer
	dec     [2]*hpack.Decoder
	streams map[uint32]*h2stream
	open    int
	begun   bool // the preface was seen
	block   [2]headerBlock
	stopped [2]bool  // a direction is not read on
	window  [2]int64 // what each side may still send on the connection
	facts   trace.HTTP2
	// unacked holds the table sizes of each SETTINGS frame of a side that the
	// other has not acknowledged yet.
	unacked [2][][]uint32
	// highest is the highest of the client's streams on which a side sent fields,
	// as far as was seen, and promised the highest of the server's.
	highest  [2]uint32
	promised uint32

	grid [2]grid // where frames begin, when that is not known
	// holes tells that bytes are missing: of what they held nothing is known.
	// Those of a connection whose beginning was not captured are, too.
	holes [2]bool

	// How it ended: what each side said in GOAWAY, the first thing by which a
	// side broke the protocol, and who sends no more.
	goAway [2]*http2.GoAway
	broke  [2]*http2.ConnError
	over   [2]bool
	// struck are the streams that were open when the server broke the protocol.
	struck []*h2stream
	// goAways counts the server's; a few say all that there is to say.
	goAways int
	// sure are streams of which nothing is missing so far, by the side that sends.
	sure [2][]*h2stream
	// noPush tells that the client has said that it takes no pushes, and frameMax
	// how large a frame each side takes.
	noPush   bool
	frameMax [2]uint32
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

	head     int64  // size of the request's fields
	length   int64  // of the response's content-length, -1 when there is none
	bodiless string // why the response has no body, if so
	// illegal is how the response breaks the rules; inHead tells that its head
	// does.
	illegal string
	inHead  bool
	lost    [2]bool // bytes of it may be missing
	tunnel  bool    // it carries another connection (CONNECT)
	// websocket tells that a WebSocket was asked for (RFC 8441), which above
	// reads.
	websocket bool
	above     decoder
}

var http2Protocol = protocol{
	name: trace.ProtocolHTTP2, layer: trace.LayerHTTP2, upgrade: "h2c",
	fields: func(t *trace.Trace, e *trace.Event) []trace.Field {
		switch e.Name {
		case trace.EventHTTP2Preface, trace.EventHTTP2Resumed, trace.LayerHTTP2.Malformed():
			return nil
		}
		return append(http2.Fields(e.Raw), headerFields(t, e)...)
	},
	recognise: looksLikeHTTP2,
	open:      openH2,
}

var preface = []byte(http2.Preface)

// looksLikeHTTP2 tells the connection preface (RFC 9113 §3.4), or whole frames
// where the beginning was not captured.
func looksLikeHTTP2(o *opening) guess {
	switch {
	case bytes.HasPrefix(o.out, preface):
		return yes
	case len(o.out) > 0 && bytes.HasPrefix(preface, o.out):
		return perhaps
	case !o.late || o.datagram:
		return no
	}
	if g := max(lateHTTP2(o.out), lateHTTP2(o.in)); g != perhaps || !o.waited {
		return g
	}
	return no
}

// lateHTTP2 tells whether bytes in the middle of a connection are frames.
func lateHTTP2(b []byte) guess {
	any := streamRules{client: maxLateStream, server: maxLateStream, frame: 1 << 14}
	g, _ := any.frames(b)
	return g
}

// openH2 begins HTTP/2: at its preface, in its middle, or where a request of
// HTTP/1.1 was upgraded to it (RFC 7540 §3.2): that becomes stream 1.
func openH2(l *layer, from *exchange) decoder {
	h := newH2(l)
	switch early := join(l.early[capture.Out]); {
	case from != nil:
		from.informational = append(from.informational, 101)
		from.tr.Response, from.respFirst, from.respLast = nil, nil, nil
		from.tr.Protocol, from.tr.Stream = trace.ProtocolHTTP2, 1
		s := &h2stream{id: 1, x: from, length: -1}
		s.ended[capture.Out] = true
		h.streams[1], h.highest[capture.Out] = s, 1
		h.open++
	case !bytes.HasPrefix(early, preface):
		// What the HPACK tables hold is not known, and where the first frame
		// begins has to be found out.
		h.begun = true
		for dir := range h.dec {
			h.holes[dir] = true
			h.grid[dir].seeking = true
			h.dec[dir].Lose()
		}
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
	if h.stopped[dir] {
		f.offset += int64(len(b))
		return
	}
	if b = h.more(t, dir, b); !h.grid[dir].seeking {
		f.add(t, b)
	} else if !h.seek(t, dir, b) {
		return
	}
	if dir == capture.Out && !h.begun {
		if len(f.buf) < len(preface) {
			return
		}
		h.l.message(t, trace.LayerHTTP2, trace.EventHTTP2Preface, "connection preface", dir, f.offset, len(preface), f.buf[:len(preface)])
		f.take(len(preface), t)
		h.begun = true
	}
	if g := &h.grid[dir]; g.verify && len(f.buf) >= http2.FrameHeaderLen {
		if g.verify = false; !h.rules(dir).fits(f.buf) {
			h.astray(t, dir)
			return
		}
	}
	pos := 0
	for !h.stopped[dir] && len(f.buf)-pos >= http2.FrameHeaderLen {
		fh := http2.ParseFrameHeader(f.buf[pos:])
		size := http2.FrameHeaderLen + int(fh.Length)
		if size > maxFrame {
			h.violation(t, dir, fh.StreamID, http2.ErrCodeFrameSize, fmt.Sprintf("%v of %d bytes, larger than is read", fh.Type, fh.Length), f.offset+int64(pos), http2.FrameHeaderLen)
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
	if h.stopped[dir] {
		f.take(len(f.buf), t)
	}
}

// frame takes one whole frame. first is when its first byte came, t its last.
func (h *h2conn) frame(first, t clock.Time, dir capture.Direction, fh http2.FrameHeader, raw []byte, offset int64) {
	counts := h.facts.FramesOut
	if dir == capture.In {
		counts = h.facts.FramesIn
	}
	fresh := len(counts) == 0 && !h.holes[dir]
	counts[fh.Type.String()]++
	payload := raw[http2.FrameHeaderLen:]
	h.check(t, dir, fh, raw, offset, fresh)
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
		h.headerFrame(e, t, dir, fh, raw, offset)
	case http2.FrameSettings:
		h.settings(dir, fh, payload)
	case http2.FrameWindowUpdate:
		if fh.StreamID == 0 && len(payload) == 4 {
			h.window[1-dir] += int64(binary.BigEndian.Uint32(payload) & 0x7fffffff)
		}
	case http2.FrameRSTStream:
		if len(payload) == 4 {
			h.reset(e, dir, fh.StreamID, http2.ErrCode(binary.BigEndian.Uint32(payload)))
		}
	case http2.FrameGoAway:
		if g, err := http2.ParseGoAway(payload); err == nil {
			h.goneAway(e, dir, g)
		}
	}
}

// check looks for what a frame breaks of the protocol, as far as it can be told
// without knowing all that was sent.
func (h *h2conn) check(t clock.Time, dir capture.Direction, fh http2.FrameHeader, raw []byte, offset int64, fresh bool) {
	code, what := http2.CheckFrame(fh, raw[http2.FrameHeaderLen:])
	b := &h.block[dir]
	switch {
	case what != "":
	case b.open && (fh.Type != http2.FrameContinuation || fh.StreamID != b.wire):
		code, what = http2.ErrCodeProtocol, fmt.Sprintf("%v on stream %d inside of the header block of stream %d", fh.Type, fh.StreamID, b.wire)
	case fresh && fh.Type != http2.FrameSettings:
		code, what = http2.ErrCodeProtocol, fmt.Sprintf("the first frame is %v, not SETTINGS", fh.Type)
	case !b.open && fh.Type == http2.FrameContinuation && !h.holes[dir]:
		code, what = http2.ErrCodeProtocol, "CONTINUATION without a header block before it"
	case fh.Type == http2.FramePushPromise && h.pushForbidden(dir):
		code, what = http2.ErrCodeProtocol, "PUSH_PROMISE, which was not allowed"
	case dir == capture.In && h.idle(fh):
		code, what = http2.ErrCodeProtocol, fmt.Sprintf("%v on stream %d, which is idle", fh.Type, fh.StreamID)
	}
	if what != "" {
		h.violation(t, dir, fh.StreamID, code, what, offset, len(raw))
	}
}

// idle tells whether a frame of the server is on a stream that the client has
// not opened.
func (h *h2conn) idle(fh http2.FrameHeader) bool {
	switch fh.Type {
	case http2.FrameData, http2.FrameHeaders, http2.FrameRSTStream, http2.FrameWindowUpdate:
		return fh.StreamID%2 == 1 && fh.StreamID > h.highest[capture.Out] && !h.behind()
	}
	return false
}

// pushForbidden tells whether the client has said that it takes no pushes, and
// the server has acknowledged that.
func (h *h2conn) pushForbidden(dir capture.Direction) bool {
	if dir == capture.Out {
		return true
	}
	return h.noPush && len(h.unacked[capture.Out]) == 0
}

// violation says by what a side broke the protocol, and where. The frame's own
// event has its bytes.
func (h *h2conn) violation(t clock.Time, dir capture.Direction, stream uint32, code http2.ErrCode, what string, offset int64, length int) {
	text := fmt.Sprintf("the %s broke the protocol: %v: %s", sideName(dir), code, what)
	if h.holes[dir] {
		// Bytes are missing before it: it may be the reader who is wrong.
		text = fmt.Sprintf("behind the missing bytes this cannot be read: %v: %s", code, what)
	}
	e := h.l.message(t, trace.LayerHTTP2, trace.LayerHTTP2.Malformed(), text, dir, offset, length, nil)
	e.Stream = stream
	if s := h.streams[stream]; s != nil {
		e.Exchange = s.x.tr.ID
	}
	if h.broke[dir] != nil || h.holes[dir] {
		return
	}
	h.broke[dir] = &http2.ConnError{Code: code, What: what}
	if dir == capture.In {
		h.struck = h.inOrder()
	}
}

// maxSettings bounds the settings of a side that are listed among a connection's
// facts: a peer may send them again and again.
const maxSettings = 1000

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
		told := &h.facts.ServerSettings
		if dir == capture.Out {
			told = &h.facts.ClientSettings
		}
		if len(*told) < maxSettings { // events tell of all
			*told = append(*told, trace.Setting{Name: s.ID.String(), Value: s.Value})
		}
		switch s.ID {
		case http2.SettingHeaderTableSize:
			tables = append(tables, s.Value)
		case http2.SettingMaxFrameSize:
			h.frameMax[dir] = max(h.frameMax[dir], s.Value)
		case http2.SettingEnablePush:
			h.noPush = dir == capture.Out && s.Value == 0
		}
	}
	if len(h.unacked[dir]) < maxUnacked {
		h.unacked[dir] = append(h.unacked[dir], tables)
	}
}

// release lets go of what only a running connection needs.
func (h *h2conn) release() {
	h.tables()
	for _, s := range h.streams {
		s.x.coded.drop(h.l.c.a)
	}
	h.dec = [2]*hpack.Decoder{}
	h.streams, h.struck, h.sure = nil, nil, [2][]*h2stream{}
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
