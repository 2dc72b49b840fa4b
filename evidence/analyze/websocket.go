package analyze

import (
	"bytes"
	"strconv"

	"peel/clock"
	"peel/evidence/capture"
	"peel/trace"
	"peel/wire/websocket"
)

// wsconn lists the WebSocket frames of a connection that HTTP/1.1 was
// upgraded on.
type wsconn struct {
	silent
	l      *layer
	x      *exchange
	skip   [2]int64 // of a payload that is passed over
	broken [2]bool
	frames [2]int
	more   [2]*trace.Event
}

var webSocketProtocol = protocol{
	name: trace.ProtocolWebSocket, layer: trace.LayerWebSocket, upgrade: "websocket",
	fields: func(_ *trace.Trace, e *trace.Event) []trace.Field { return websocket.Fields(e.Raw) },
	open:   func(l *layer, from *exchange) decoder { return &wsconn{l: l, x: from} },
}

// maxFrames bounds the frames of one direction that become events of their
// own; the rest are counted.
const maxFrames = 1000

// shownPayload is how much of a payload is waited for to be shown.
const shownPayload = 512

func (w *wsconn) input(t clock.Time, dir capture.Direction, b []byte) {
	f := &w.l.in[dir]
	f.add(t, b)
	for !w.broken[dir] && len(f.buf) > 0 {
		if n := min(w.skip[dir], int64(len(f.buf))); n > 0 {
			w.skip[dir] -= n
			f.take(int(n), t)
			continue
		}
		h, ok, err := websocket.ParseHeader(f.buf)
		if err != nil {
			e := w.l.message(t, trace.LayerWebSocket, trace.LayerWebSocket.Malformed(), err.Error(), dir, f.offset, min(len(f.buf), websocket.MaxHeader), f.buf[:min(len(f.buf), websocket.MaxHeader)])
			e.Exchange = w.x.tr.ID
			w.broken[dir] = true
			return
		}
		shown := int(min(h.Length, shownPayload))
		if !ok || len(f.buf) < h.Len+shown {
			return
		}
		w.frame(t, dir, h, f, shown)
		if w.l.at == nil {
			w.l.c.content += h.Length // else it was counted as a body
		}
		w.skip[dir] = h.Length
		f.take(h.Len, t)
	}
}

func (w *wsconn) frame(t clock.Time, dir capture.Direction, h websocket.Header, f *stretch, shown int) {
	w.frames[dir]++
	if w.frames[dir] > maxFrames && w.more[dir] != nil {
		w.more[dir].Text = "more frames: " + strconv.Itoa(w.frames[dir]-maxFrames)
		return
	}
	payload := bytes.Clone(f.buf[h.Len : h.Len+shown])
	h.Unmask(payload, 0)
	e := w.l.message(t, trace.LayerWebSocket, h.Opcode.Event(), websocket.Describe(h, payload), dir, f.offset, int(min(int64(h.Len)+h.Length, 1<<31-1)), f.buf[:h.Len+shown])
	e.Exchange = w.x.tr.ID
	if w.frames[dir] > maxFrames {
		w.more[dir] = e
	}
}
