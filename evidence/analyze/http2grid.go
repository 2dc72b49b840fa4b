package analyze

import (
	"fmt"

	"peel/clock"
	"peel/evidence/capture"
	"peel/trace"
	"peel/wire/hpack"
	"peel/wire/http2"
)

// grid is what is known of where the frames of one direction begin, where bytes
// are missing. A frame begins with one of what carried it, a TLS record or a
// segment, more often than not: only there it is looked for.
type grid struct {
	seeking bool
	starts  []int // of what came, in the bytes that wait
	from    int64 // where the seeking began
	missing int64 // bytes that are missing before that
	need    int   // bytes that have to wait before they can tell more
	// broken is the event of a DATA frame that bytes are missing of; rest bytes
	// of it are to come.
	broken *trace.Event
	frame  http2.FrameHeader
	rest   int64
	verify bool // that the next frame begins behind it
}

// maxSeek bounds the bytes that wait to be recognised as frames: two of the
// largest and what is around them.
const maxSeek = 64 << 10

// maxLateStream bounds the streams of a connection whose beginning is not
// known; few have so many.
const maxLateStream = 1 << 24

// maxUnseen is how many streams may have been opened in what is missing.
const maxUnseen = 2000

// gap is n bytes that are missing (0: not known how many). Inside of a frame
// whose head came, the next one begins where its length says; else it has to be
// looked for.
func (h *h2conn) gap(t clock.Time, dir capture.Direction, n int64) bool {
	if h.stopped[dir] || h.dec[dir] == nil {
		return false
	}
	f, g := &h.l.in[dir], &h.grid[dir]
	have := int64(len(f.buf))
	if g.seeking {
		f.offset += have + n
		f.buf, g.starts, g.need = nil, nil, 0
		g.missing += n
		return true
	}
	if dir == capture.Out && !h.begun {
		h.begun, have = true, 0 // of the preface
	}
	if n > 0 && g.rest >= n {
		h.lost(t, dir, n)
		return true
	}
	if g.rest == 0 && n > 0 && have >= http2.FrameHeaderLen {
		fh := http2.ParseFrameHeader(f.buf)
		if size := http2.FrameHeaderLen + int64(fh.Length); n <= size-have && fh.Type == http2.FrameData && !fh.Flags.Has(http2.FlagPadded) {
			h.cutFrame(t, dir, fh)
			h.lost(t, dir, n)
			return true
		}
	}
	h.missed(dir)
	f.offset += int64(len(f.buf)) + n
	f.buf = nil
	*g = grid{seeking: true, from: f.offset, missing: n}
	return true
}

// cutFrame takes the beginning of a DATA frame that bytes are missing of: what is
// missing is content, and nothing else.
func (h *h2conn) cutFrame(t clock.Time, dir capture.Direction, fh http2.FrameHeader) {
	f, g := &h.l.in[dir], &h.grid[dir]
	have := f.buf
	counts := h.facts.FramesOut
	if dir == capture.In {
		counts = h.facts.FramesIn
	}
	counts[fh.Type.String()]++
	h.window[dir] -= int64(fh.Length)
	*g = grid{frame: fh, verify: true, rest: http2.FrameHeaderLen + int64(fh.Length) - int64(len(have))}
	s := h.streams[fh.StreamID]
	if s != nil {
		if h.l.below != nil {
			s.unsure(dir) // how much plaintext is missing is not known to the byte
		}
		g.broken = h.dataEvent(t, s, dir, fh, have, f.offset, http2.FrameHeaderLen+int(fh.Length))
		g.broken.Text = fmt.Sprintf("DATA, %d bytes, of which some were not captured", fh.Length)
		s.x.apart = true
	}
	h.rest(t, dir, have[http2.FrameHeaderLen:], 0)
	f.offset += int64(len(have))
	f.buf = nil
}

// lost takes n bytes of a frame that were not captured.
func (h *h2conn) lost(t clock.Time, dir capture.Direction, n int64) {
	h.grid[dir].rest -= n
	h.rest(t, dir, nil, n)
	h.l.in[dir].offset += n
}

// more takes what came of a frame that bytes are missing of, and returns what
// came behind it.
func (h *h2conn) more(t clock.Time, dir capture.Direction, b []byte) []byte {
	n := min(h.grid[dir].rest, int64(len(b)))
	if n == 0 {
		return b
	}
	h.grid[dir].rest -= n
	h.rest(t, dir, b[:n], 0)
	h.l.in[dir].offset += n
	return b[n:]
}

// rest takes a part of the content of a frame that bytes are missing of.
func (h *h2conn) rest(t clock.Time, dir capture.Direction, b []byte, missing int64) {
	g := &h.grid[dir]
	if s := h.streams[g.frame.StreamID]; s != nil && g.broken != nil {
		at := h.l.in[dir].offset
		if len(h.l.in[dir].buf) > 0 {
			at += http2.FrameHeaderLen
		}
		h.content(g.broken, t, s, dir, at, b, missing, g.rest == 0 && g.frame.Flags.Has(http2.FlagEndStream))
	}
}

// missed says that nothing is known of what passed in a direction: not what
// became of the streams that are open, nor of the HPACK table.
func (h *h2conn) missed(dir capture.Direction) {
	h.holes[dir] = true
	h.dec[dir].Lose()
	h.block[dir] = headerBlock{}
	for _, s := range h.sure[dir] {
		if h.streams[s.id] == s && !s.ended[dir] {
			s.unsure(dir)
		}
	}
	h.sure[dir] = nil
}

// unsure says that bytes of one side of a stream may be missing.
func (s *h2stream) unsure(dir capture.Direction) {
	s.lost[dir] = true
	if s.x.fault == nil {
		f := notCaptured
		s.x.fault = &f
	}
}

// astray is for a frame that does not begin where it should.
func (h *h2conn) astray(t clock.Time, dir capture.Direction) {
	f := &h.l.in[dir]
	h.missed(dir)
	h.grid[dir] = grid{seeking: true, from: f.offset}
	f.take(len(f.buf), t)
}

// notCaptured is of a request of which bytes may be missing.
var notCaptured = trace.Failure{Layer: trace.LayerCapture, Code: trace.FailNotCaptured, Seen: "bytes of the connection are missing from the capture",
	Try: "capture without a snap length, with a larger buffer, and on the machine itself"}

// seek takes bytes that came in one piece, and tells whether it is known by now
// where frames begin: those from there on are the ones that wait.
func (h *h2conn) seek(t clock.Time, dir capture.Direction, b []byte) bool {
	f, g := &h.l.in[dir], &h.grid[dir]
	if len(b) == 0 {
		return false
	}
	g.starts = append(g.starts, len(f.buf))
	f.add(t, b)
	if len(f.buf) < g.need {
		return false
	}
	rules := h.rules(dir)
	for len(g.starts) > 0 {
		at := g.starts[0]
		switch guess, need := rules.frames(f.buf[at:]); {
		case guess == yes:
			h.resume(t, dir, at)
			return true
		case guess == perhaps && len(f.buf)-at <= maxSeek:
			f.take(at, t)
			for i := range g.starts {
				g.starts[i] -= at
			}
			g.need = need
			return false
		}
		g.starts = g.starts[1:]
	}
	f.take(len(f.buf), t)
	g.need = 0
	return false
}

// resume reads on at a frame that was found.
func (h *h2conn) resume(t clock.Time, dir capture.Direction, at int) {
	f, g := &h.l.in[dir], &h.grid[dir]
	passed := f.offset + int64(at) - g.from
	text := fmt.Sprintf("frames are read on here: %d bytes before were not captured, %d were passed over", g.missing, passed)
	if g.missing == 0 && g.from == 0 {
		text = fmt.Sprintf("frames are read from here on, in the middle of the connection: %d bytes were passed over", passed)
	}
	f.take(at, t)
	h.l.message(t, trace.LayerHTTP2, trace.EventHTTP2Resumed, text+"; header fields that refer to what came before are not known", dir, f.offset, 0, nil)
	*g = grid{}
}

// rules are those that frames of one direction have to keep, by what is known
// of the connection.
func (h *h2conn) rules(dir capture.Direction) streamRules {
	r := streamRules{client: h.highest[capture.Out], server: h.promised, frame: 1 << 14}
	if dir == capture.Out || h.behind() {
		r.client = max(r.client, h.highest[capture.In]) + 2*maxUnseen
		if len(h.facts.ClientSettings)+len(h.facts.ServerSettings) == 0 {
			r.client = maxLateStream
		}
	}
	if h.pushForbidden(capture.In) {
		r.server = 0
	} else if h.holes[capture.In] {
		r.server += 2 * maxUnseen
	}
	r.frame = max(r.frame, min(h.frameMax[1-dir], maxFrame))
	return r
}

// streamRules say which frames there can be: the highest streams of either
// side, and the largest frame.
type streamRules struct {
	client, server, frame uint32
}

// enoughFrames is how many frames in a row are no chance.
const enoughFrames = 3

// frames tells whether bytes are frames from the first one on: so many in a
// row that they can be nothing else, or such that they end where the bytes do.
// need is how many bytes it takes to tell more.
func (r streamRules) frames(b []byte) (g guess, need int) {
	at := 0
	for n := 0; len(b)-at >= http2.FrameHeaderLen; {
		if !r.fits(b[at:]) {
			return no, 0
		}
		h := http2.ParseFrameHeader(b[at:])
		size := http2.FrameHeaderLen + int(h.Length)
		switch {
		case len(b)-at < size && n == enoughFrames-1:
			return yes, 0 // the last one's head will do
		case len(b)-at < size:
			return perhaps, at + size
		case !wholeFrame(h, b[at+http2.FrameHeaderLen:at+size]):
			return no, 0
		}
		at += size
		if n++; n == enoughFrames || at == len(b) {
			return yes, 0
		}
	}
	return perhaps, at + http2.FrameHeaderLen
}

// fits tells whether there can be a frame that begins so.
func (r streamRules) fits(b []byte) bool {
	h := http2.ParseFrameHeader(b)
	if b[5]&0x80 != 0 {
		return false // the reserved bit
	}
	if h.Length > r.frame || !http2.KnownFlags(h) {
		return false
	}
	limit := r.client
	if h.StreamID%2 == 0 {
		limit = r.server
	}
	if h.StreamID > limit {
		return false
	}
	switch h.Type {
	case http2.FrameData, http2.FrameHeaders, http2.FrameContinuation, http2.FramePushPromise:
		return h.StreamID != 0
	case http2.FramePriority:
		return h.StreamID != 0 && h.Length == 5
	case http2.FrameRSTStream:
		return h.StreamID != 0 && h.Length == 4
	case http2.FrameWindowUpdate:
		return h.Length == 4
	case http2.FrameSettings:
		return h.StreamID == 0 && h.Length%6 == 0 && h.Length < 6*64
	case http2.FramePing:
		return h.StreamID == 0 && h.Length == 8
	case http2.FrameGoAway:
		return h.StreamID == 0 && h.Length >= 8
	}
	return h.Length < 4096
}

// checkedBlock bounds the header blocks that are looked into for that.
const checkedBlock = 1024

// wholeFrame tells whether a frame with its payload can be one.
func wholeFrame(h http2.FrameHeader, p []byte) bool {
	if _, what := http2.CheckFrame(h, p); what != "" {
		return false
	}
	if h.Type != http2.FrameHeaders || !h.Flags.Has(http2.FlagEndHeaders) {
		return true
	}
	block, _, err := http2.HeaderFragment(h, p)
	if err != nil || len(block) == 0 || len(block) > checkedBlock {
		return err == nil && len(block) > 0
	}
	d := hpack.NewDecoder(hpack.DefaultTableSize)
	d.Lose()
	_, err = d.Explain(block, hpack.Limits{})
	return err == nil
}
