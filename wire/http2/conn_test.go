package http2

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	xhttp2 "golang.org/x/net/http2"
	xhpack "golang.org/x/net/http2/hpack"

	"peel/clock"
	"peel/wire/httpfield"
)

// rig is an engine with x/net's framer and HPACK as its peer: what the engine
// sends is read, and what it receives is written, by another implementation.
type rig struct {
	t    testing.TB
	c    *Conn
	now  clock.Time
	in   bytes.Buffer
	fr   *xhttp2.Framer
	enc  *xhpack.Encoder
	hbuf bytes.Buffer
	dec  *xhpack.Decoder
	// answers are the engine's frames as lines.
	answers []string
	err     error
	events  []Event
}

func newRig(t testing.TB, cfg Config) *rig {
	r := &rig{t: t, now: 1e9, dec: xhpack.NewDecoder(4096, nil)}
	r.c = NewConn(r.now, cfg)
	r.fr = xhttp2.NewFramer(&r.in, nil)
	r.fr.AllowIllegalWrites = true
	r.enc = xhpack.NewEncoder(&r.hbuf)
	return r
}

// server is a server's engine past the preface and the SETTINGS of both.
func server(t testing.TB, cfg Config) *rig {
	cfg.Server = true
	r := newRig(t, cfg)
	r.in.WriteString(Preface)
	r.fr.WriteSettings()
	r.fr.WriteSettingsAck()
	r.run()
	r.answers = nil
	return r
}

// client is a client's engine with one request sent on stream 1.
func client(t testing.TB, cfg Config, settings ...xhttp2.Setting) *rig {
	r := newRig(t, cfg)
	r.fr.WriteSettings(settings...)
	r.fr.WriteSettingsAck()
	r.run()
	if id, err := r.c.OpenStream(r.now, request("GET"), true); id != 1 || err != nil {
		t.Fatal(id, err)
	}
	r.run()
	r.answers = nil
	return r
}

func request(method string) httpfield.List {
	return httpfield.List{{Name: ":method", Value: method}, {Name: ":scheme", Value: "https"}, {Name: ":authority", Value: "example.com"}, {Name: ":path", Value: "/"}}
}

// block encodes fields, "name: value" each.
func (r *rig) block(fields ...string) []byte {
	r.hbuf.Reset()
	for _, f := range fields {
		i := strings.Index(f[1:], ": ") + 1
		r.enc.WriteField(xhpack.HeaderField{Name: f[:i], Value: f[i+2:]})
	}
	return bytes.Clone(r.hbuf.Bytes())
}

var get = []string{":method: GET", ":scheme: https", ":path: /", ":authority: example.com"}

func (r *rig) headers(id uint32, end bool, fields ...string) {
	r.fr.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: id, BlockFragment: r.block(fields...), EndHeaders: true, EndStream: end})
}

func (r *rig) raw(typ FrameType, flags Flags, id uint32, payload ...byte) {
	r.in.Write(append(AppendFrameHeader(nil, FrameHeader{uint32(len(payload)), typ, flags, id}), payload...))
}

// run gives the engine what was written and reads its answers. Events are
// copied, as they last only until the next Input.
func (r *rig) run() {
	evs, err := r.c.Input(r.now, r.in.Bytes())
	r.in.Reset()
	for _, e := range evs {
		e.Fields, e.Data = e.Fields.Clone(), bytes.Clone(e.Data)
		r.events = append(r.events, e)
	}
	if err != nil {
		r.err = err
	}
	r.read()
}

func (r *rig) read() {
	out := r.c.TakeOutput(nil)
	out = bytes.TrimPrefix(out, []byte(Preface))
	fr := xhttp2.NewFramer(nil, bytes.NewReader(out))
	for {
		f, err := fr.ReadFrame()
		if err == io.EOF {
			return
		}
		if err != nil {
			r.t.Fatalf("x/net cannot read what the engine sent: %v in % x", err, out)
		}
		line := fmt.Sprintf("%v %d", f.Header().Type, f.Header().StreamID)
		switch f := f.(type) {
		case *xhttp2.RSTStreamFrame:
			line += " " + f.ErrCode.String()
		case *xhttp2.GoAwayFrame:
			line += fmt.Sprintf(" %d %v", f.LastStreamID, f.ErrCode)
		case *xhttp2.WindowUpdateFrame:
			line += fmt.Sprintf(" %d", f.Increment)
		case *xhttp2.DataFrame:
			line += fmt.Sprintf(" %d", len(f.Data()))
			if f.StreamEnded() {
				line += " end"
			}
		case *xhttp2.SettingsFrame:
			if f.IsAck() {
				line += " ack"
			}
		case *xhttp2.PingFrame:
			if f.IsAck() {
				line += " ack"
			}
		case *xhttp2.HeadersFrame:
			fields, err := r.dec.DecodeFull(f.HeaderBlockFragment())
			if err != nil && f.HeadersEnded() {
				r.t.Fatalf("x/net cannot decode the engine's header block: %v", err)
			}
			for _, h := range fields {
				line += fmt.Sprintf(" %s=%s", h.Name, h.Value)
			}
			if f.StreamEnded() {
				line += " end"
			}
		}
		r.answers = append(r.answers, line)
	}
}

func (r *rig) saw(want string) bool {
	for _, a := range r.answers {
		if strings.HasPrefix(a, want) {
			return true
		}
	}
	return false
}

func (r *rig) event(t EventType) *Event {
	for i := range r.events {
		if r.events[i].Type == t {
			return &r.events[i]
		}
	}
	return nil
}

// connError demands that the connection ended with code.
func (r *rig) connError(code ErrCode) {
	r.t.Helper()
	var e *ConnError
	if !errors.As(r.err, &e) || e.Code != code {
		r.t.Errorf("the connection ended with %v, want %v", r.err, code)
		return
	}
	if !r.saw("GOAWAY") {
		r.t.Errorf("no GOAWAY: %v", r.answers)
	}
}

func (r *rig) streamError(id uint32, code ErrCode) {
	r.t.Helper()
	if r.err != nil || !r.saw(fmt.Sprintf("RST_STREAM %d %v", id, code)) {
		r.t.Errorf("want RST_STREAM %d %v; error %v, answers %v", id, code, r.err, r.answers)
	}
}

func TestServerAnswersARequest(t *testing.T) {
	r := server(t, Config{})
	r.headers(1, false, append(get, "x-a: b", "content-length: 4")...)
	r.fr.WriteData(1, true, []byte("body"))
	r.run()
	req, data := r.event(EventRequest), r.event(EventData)
	if req == nil || req.Fields.Value(":path") != "/" || req.Fields.Value("x-a") != "b" || data == nil || string(data.Data) != "body" || !data.EndStream {
		t.Fatalf("%+v %+v %v", req, data, r.err)
	}
	r.c.SendHeaders(1, httpfield.List{{Name: ":status", Value: "200"}, {Name: "X-Upper", Value: "1"}}, false)
	r.c.SendData(r.now, 1, []byte("hello"), false)
	r.c.SendHeaders(1, httpfield.List{{Name: "x-sum", Value: "5"}}, true)
	r.read()
	if got := strings.Join(r.answers, "; "); got != "HEADERS 1 :status=200 x-upper=1; DATA 1 5; HEADERS 1 x-sum=5 end" {
		t.Error(got)
	}
	if r.c.Streams() != 0 {
		t.Error("the stream is not closed")
	}
}

func TestClientReadsAResponse(t *testing.T) {
	r := client(t, Config{})
	r.headers(1, false, ":status: 103", "link: </x>")
	r.headers(1, false, ":status: 200", "content-type: text/plain")
	r.fr.WriteDataPadded(1, false, []byte("hello"), make([]byte, 9))
	r.headers(1, true, "x-sum: 5")
	r.run()
	var got []string
	for _, e := range r.events {
		got = append(got, fmt.Sprint(e.Type, " ", e.EndStream))
	}
	want := fmt.Sprint([]string{fmt.Sprint(EventSettings, " false"), fmt.Sprint(EventInformational, " false"),
		fmt.Sprint(EventResponse, " false"), fmt.Sprint(EventData, " false"), fmt.Sprint(EventTrailers, " true")})
	if fmt.Sprint(got) != want || r.err != nil {
		t.Errorf("%v, want %v; %v", got, want, r.err)
	}
}

// rules are faults of a client and what RFC 9113 demands of a server.
var rules = []struct {
	name   string
	do     func(r *rig)
	conn   ErrCode // the connection ends
	stream ErrCode // stream 1 ends
}{
	{"4.2 frame larger than allowed", func(r *rig) { r.headers(1, false, get...); r.raw(FrameData, 0, 1, make([]byte, 16385)...) }, ErrCodeFrameSize, 0},
	{"4.3 header block that cannot be decoded", func(r *rig) { r.raw(FrameHeaders, FlagEndHeaders, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff) }, ErrCodeCompression, 0},
	{"5.1 DATA on an idle stream", func(r *rig) { r.fr.WriteData(1, true, []byte("x")) }, ErrCodeProtocol, 0},
	{"5.1 RST_STREAM on an idle stream", func(r *rig) { r.fr.WriteRSTStream(1, xhttp2.ErrCodeCancel) }, ErrCodeProtocol, 0},
	{"5.1 WINDOW_UPDATE on an idle stream", func(r *rig) { r.fr.WriteWindowUpdate(1, 1) }, ErrCodeProtocol, 0},
	{"5.1 DATA after END_STREAM", func(r *rig) { r.headers(1, true, get...); r.fr.WriteData(1, true, []byte("x")) }, 0, ErrCodeStreamClosed},
	{"5.1.1 even stream identifier", func(r *rig) { r.headers(2, true, get...) }, ErrCodeProtocol, 0},
	{"5.1.1 identifier that went down", func(r *rig) { r.headers(3, true, get...); r.headers(1, true, get...) }, ErrCodeStreamClosed, 0},
	{"5.3.1 stream that depends on itself", func(r *rig) { r.raw(FramePriority, 0, 1, 0, 0, 0, 1, 0) }, 0, ErrCodeProtocol},
	{"6.1 DATA on stream 0", func(r *rig) { r.raw(FrameData, 0, 0, 'x') }, ErrCodeProtocol, 0},
	{"6.1 padding longer than the payload", func(r *rig) { r.headers(1, false, get...); r.raw(FrameData, FlagPadded, 1, 9, 'x') }, ErrCodeProtocol, 0},
	{"6.2 HEADERS on stream 0", func(r *rig) { r.headers(0, true, get...) }, ErrCodeProtocol, 0},
	{"6.2 frame inside of a header block", func(r *rig) { r.raw(FrameHeaders, 0, 1, 0x82); r.fr.WritePing(false, [8]byte{}) }, ErrCodeProtocol, 0},
	{"6.3 PRIORITY of four bytes", func(r *rig) { r.raw(FramePriority, 0, 1, 0, 0, 0, 0) }, 0, ErrCodeFrameSize},
	{"6.4 RST_STREAM of three bytes", func(r *rig) { r.headers(1, false, get...); r.raw(FrameRSTStream, 0, 1, 0, 0, 0) }, ErrCodeFrameSize, 0},
	{"6.5 SETTINGS ACK with a payload", func(r *rig) { r.raw(FrameSettings, FlagAck, 0, 0, 1, 0, 0, 0, 0) }, ErrCodeFrameSize, 0},
	{"6.5 SETTINGS on a stream", func(r *rig) { r.raw(FrameSettings, 0, 1) }, ErrCodeProtocol, 0},
	{"6.5 SETTINGS of five bytes", func(r *rig) { r.raw(FrameSettings, 0, 0, 0, 1, 0, 0, 0) }, ErrCodeFrameSize, 0},
	{"6.5.2 ENABLE_PUSH is 2", func(r *rig) { r.fr.WriteSettings(xhttp2.Setting{ID: xhttp2.SettingEnablePush, Val: 2}) }, ErrCodeProtocol, 0},
	{"6.5.2 INITIAL_WINDOW_SIZE above 2^31-1", func(r *rig) { r.fr.WriteSettings(xhttp2.Setting{ID: xhttp2.SettingInitialWindowSize, Val: 1 << 31}) }, ErrCodeFlowControl, 0},
	{"6.5.2 MAX_FRAME_SIZE is 0 (CVE-2026-33814)", func(r *rig) { r.fr.WriteSettings(xhttp2.Setting{ID: xhttp2.SettingMaxFrameSize, Val: 0}) }, ErrCodeProtocol, 0},
	{"6.5.2 MAX_FRAME_SIZE above 2^24-1", func(r *rig) { r.fr.WriteSettings(xhttp2.Setting{ID: xhttp2.SettingMaxFrameSize, Val: 1 << 24}) }, ErrCodeProtocol, 0},
	{"6.6 PUSH_PROMISE from a client", func(r *rig) {
		r.headers(1, false, get...)
		r.raw(FramePushPromise, FlagEndHeaders, 1, 0, 0, 0, 2, 0x82)
	}, ErrCodeProtocol, 0},
	{"6.7 PING of seven bytes", func(r *rig) { r.raw(FramePing, 0, 0, 1, 2, 3, 4, 5, 6, 7) }, ErrCodeFrameSize, 0},
	{"6.7 PING on a stream", func(r *rig) { r.raw(FramePing, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8) }, ErrCodeProtocol, 0},
	{"6.8 GOAWAY on a stream", func(r *rig) { r.raw(FrameGoAway, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0) }, ErrCodeProtocol, 0},
	{"6.9 WINDOW_UPDATE of 0", func(r *rig) { r.raw(FrameWindowUpdate, 0, 0, 0, 0, 0, 0) }, ErrCodeProtocol, 0},
	{"6.9 WINDOW_UPDATE of 0 on a stream", func(r *rig) { r.headers(1, false, get...); r.raw(FrameWindowUpdate, 0, 1, 0, 0, 0, 0) }, 0, ErrCodeProtocol},
	{"6.9.1 window above 2^31-1", func(r *rig) { r.raw(FrameWindowUpdate, 0, 0, 0x7f, 0xff, 0xff, 0xff) }, ErrCodeFlowControl, 0},
	{"6.9.1 stream window above 2^31-1", func(r *rig) { r.headers(1, false, get...); r.raw(FrameWindowUpdate, 0, 1, 0x7f, 0xff, 0xff, 0xff) }, 0, ErrCodeFlowControl},
	{"6.10 CONTINUATION without HEADERS", func(r *rig) { r.raw(FrameContinuation, FlagEndHeaders, 1, 0x82) }, ErrCodeProtocol, 0},
	{"8.1 second HEADERS without END_STREAM", func(r *rig) { r.headers(1, false, get...); r.headers(1, false, "x: y") }, 0, ErrCodeProtocol},
	{"8.1.1 content-length and DATA differ", func(r *rig) {
		r.headers(1, false, append(get, "content-length: 3")...)
		r.fr.WriteData(1, true, []byte("four"))
	}, 0, ErrCodeProtocol},
	{"8.1.1 content-length without DATA", func(r *rig) { r.headers(1, true, append(get, "content-length: 3")...) }, 0, ErrCodeProtocol},
	{"8.2.1 upper case in a name", func(r *rig) { r.headers(1, true, append(get, "X-A: b")...) }, 0, ErrCodeProtocol},
	{"8.2.1 line break in a value", func(r *rig) { r.headers(1, true, append(get, "x-a: b\r\nc: d")...) }, 0, ErrCodeProtocol},
	{"8.2.1 NUL in a value", func(r *rig) { r.headers(1, true, append(get, "x-a: b\x00")...) }, 0, ErrCodeProtocol},
	{"8.2.1 space before a value", func(r *rig) { r.headers(1, true, append(get, "x-a:  b")...) }, 0, ErrCodeProtocol},
	{"8.2.2 connection field", func(r *rig) { r.headers(1, true, append(get, "connection: close")...) }, 0, ErrCodeProtocol},
	{"8.2.2 transfer-encoding", func(r *rig) { r.headers(1, true, append(get, "transfer-encoding: chunked")...) }, 0, ErrCodeProtocol},
	{"8.2.2 te other than trailers", func(r *rig) { r.headers(1, true, append(get, "te: gzip")...) }, 0, ErrCodeProtocol},
	{"8.3 pseudo-header after a field", func(r *rig) { r.headers(1, true, "x: y", ":method: GET", ":scheme: https", ":path: /") }, 0, ErrCodeProtocol},
	{"8.3 unknown pseudo-header", func(r *rig) { r.headers(1, true, append([]string{":x: y"}, get...)...) }, 0, ErrCodeProtocol},
	{"8.3.1 no :path", func(r *rig) { r.headers(1, true, ":method: GET", ":scheme: https") }, 0, ErrCodeProtocol},
	{"8.3.1 empty :path", func(r *rig) { r.headers(1, true, ":method: GET", ":scheme: https", ":path: ") }, 0, ErrCodeProtocol},
	{"8.3.1 :path with a space", func(r *rig) { r.headers(1, true, ":method: GET", ":scheme: https", ":path: / HTTP/1.1") }, 0, ErrCodeProtocol},
	{"8.3.1 two :method", func(r *rig) { r.headers(1, true, append([]string{":method: GET"}, get...)...) }, 0, ErrCodeProtocol},
	{"8.3.1 CONNECT with :path", func(r *rig) { r.headers(1, true, ":method: CONNECT", ":authority: a:1", ":path: /", ":scheme: https") }, 0, ErrCodeProtocol},
	{"8.1 pseudo-header in trailers", func(r *rig) { r.headers(1, false, get...); r.headers(1, true, ":method: GET") }, 0, ErrCodeProtocol},
}

func TestRFC9113_RulesForServers(t *testing.T) {
	for _, rule := range rules {
		t.Run(rule.name, func(t *testing.T) {
			r := server(t, Config{})
			rule.do(r)
			r.run()
			if rule.conn != 0 {
				r.connError(rule.conn)
			} else {
				r.streamError(1, rule.stream)
			}
		})
	}
}

func TestRFC9113_3_4_Preface(t *testing.T) {
	r := newRig(t, Config{Server: true})
	r.in.WriteString("GET / HTTP/1.1\r\n\r\n")
	r.run()
	r.connError(ErrCodeProtocol)
	r = newRig(t, Config{Server: true})
	r.in.WriteString(Preface)
	r.fr.WritePing(false, [8]byte{})
	r.run()
	r.connError(ErrCodeProtocol) // the first frame must be SETTINGS
}

// clientRules are faults of a server.
var clientRules = []struct {
	name   string
	do     func(r *rig)
	conn   ErrCode
	stream ErrCode
}{
	{"5.1 DATA on an idle stream", func(r *rig) { r.fr.WriteData(3, true, nil) }, ErrCodeProtocol, 0},
	{"5.1 HEADERS on an idle stream", func(r *rig) { r.headers(3, true, ":status: 200") }, ErrCodeProtocol, 0},
	{"5.1 HEADERS on a closed stream", func(r *rig) { r.headers(1, true, ":status: 200"); r.headers(1, true, ":status: 200") }, ErrCodeStreamClosed, 0},
	{"6.5.2 ENABLE_PUSH from a server", func(r *rig) { r.fr.WriteSettings(xhttp2.Setting{ID: xhttp2.SettingEnablePush, Val: 1}) }, ErrCodeProtocol, 0},
	{"6.6 PUSH_PROMISE", func(r *rig) { r.raw(FramePushPromise, FlagEndHeaders, 1, 0, 0, 0, 2, 0x82) }, ErrCodeProtocol, 0},
	{"6.8 GOAWAY whose last stream went up", func(r *rig) { r.fr.WriteGoAway(1, 0, nil); r.fr.WriteGoAway(5, 0, nil) }, ErrCodeProtocol, 0},
	{"8.1 DATA before HEADERS", func(r *rig) { r.fr.WriteData(1, true, []byte("x")) }, 0, ErrCodeProtocol},
	{"8.1.1 informational response that ends", func(r *rig) { r.headers(1, true, ":status: 103") }, 0, ErrCodeProtocol},
	{"8.3.2 no :status", func(r *rig) { r.headers(1, true, "x: y") }, 0, ErrCodeProtocol},
	{"8.3.2 :status of letters", func(r *rig) { r.headers(1, true, ":status: abc") }, 0, ErrCodeProtocol},
	{"8.3.2 request's pseudo-header", func(r *rig) { r.headers(1, true, ":status: 200", ":path: /") }, 0, ErrCodeProtocol},
	{"8.6 status 101", func(r *rig) { r.headers(1, false, ":status: 101") }, 0, ErrCodeProtocol},
	{"8.1.1 body shorter than announced", func(r *rig) {
		r.headers(1, false, ":status: 200", "content-length: 9")
		r.fr.WriteData(1, true, []byte("x"))
	}, 0, ErrCodeProtocol},
}

func TestRFC9113_RulesForClients(t *testing.T) {
	for _, rule := range clientRules {
		t.Run(rule.name, func(t *testing.T) {
			r := client(t, Config{})
			rule.do(r)
			r.run()
			if rule.conn != 0 {
				r.connError(rule.conn)
			} else {
				r.streamError(1, rule.stream)
				if e := r.event(EventReset); e == nil || !e.Reset.Ours || e.Reset.Why == "" {
					t.Errorf("the driver is not told: %+v", e)
				}
			}
		})
	}
}

func TestRFC9113_6_9_2_WindowMayBecomeNegative(t *testing.T) {
	r := client(t, Config{})
	id, err := r.c.OpenStream(r.now, request("POST"), false)
	if err != nil {
		t.Fatal(err)
	}
	if n, _ := r.c.SendData(r.now, id, make([]byte, 70000), false); n != 65535 {
		t.Fatalf("%d bytes went into a window of 65535", n)
	}
	r.fr.WriteSettings(xhttp2.Setting{ID: xhttp2.SettingInitialWindowSize, Val: 10})
	r.fr.WriteWindowUpdate(0, 100000)
	r.fr.WriteWindowUpdate(id, 65525)
	r.run()
	if n, _ := r.c.SendData(r.now, id, []byte("x"), false); n != 0 || r.event(EventWindowOpened) != nil {
		t.Fatalf("%d bytes went into a window of 0", n)
	}
	r.fr.WriteWindowUpdate(id, 5)
	r.run()
	if n, _ := r.c.SendData(r.now, id, []byte("0123456789"), false); n != 5 || r.event(EventWindowOpened) == nil {
		t.Fatalf("%d bytes went into a window of 5", n)
	}
}

func TestConnectionCreditComesBackForUnreadAndResetStreams(t *testing.T) {
	r := client(t, Config{StreamWindow: 100000, ConnectionWindow: 100000})
	r.headers(1, false, ":status: 200")
	for range 5 {
		r.fr.WriteData(1, false, make([]byte, 10000)) // never read
	}
	r.run()
	if !r.saw("WINDOW_UPDATE 0 ") || r.saw("WINDOW_UPDATE 1 ") {
		t.Errorf("answers %v", r.answers)
	}
	r.c.Consumed(1, 50000)
	r.c.Reset(1, ErrCodeCancel)
	r.answers = nil
	for range 5 {
		r.fr.WriteData(1, false, make([]byte, 10000)) // on its way when it was reset
	}
	r.run()
	if r.err != nil || !r.saw("WINDOW_UPDATE 0 ") {
		t.Errorf("%v, answers %v", r.err, r.answers)
	}
}

func TestRFC9113_6_9_1_PeerThatIgnoresTheWindow(t *testing.T) {
	r := client(t, Config{StreamWindow: 1000, ConnectionWindow: 65535})
	r.headers(1, false, ":status: 200")
	r.fr.WriteData(1, false, make([]byte, 1001))
	r.run()
	r.streamError(1, ErrCodeFlowControl)
}

func TestRFC9113_6_8_GoAwayTellsWhatWasNotProcessed(t *testing.T) {
	r := client(t, Config{})
	r.c.OpenStream(r.now, request("POST"), true) // stream 3
	r.fr.WriteGoAway(1, xhttp2.ErrCodeNo, []byte("bye"))
	r.run()
	e := r.event(EventReset)
	if e == nil || e.StreamID != 3 || !e.Reset.Unprocessed {
		t.Fatalf("%+v", e)
	}
	if _, err := r.c.OpenStream(r.now, request("GET"), true); !errors.Is(err, ErrGoingAway) {
		t.Error(err)
	}
	r.headers(1, true, ":status: 200")
	r.run()
	if r.event(EventResponse) == nil {
		t.Error("stream 1 does not end normally")
	}
}

func TestRFC9113_6_8_GracefulShutdownTakesTwoGoAways(t *testing.T) {
	r := server(t, Config{})
	r.c.Drain(r.now)
	r.headers(1, true, get...)
	r.run()
	if !r.saw("GOAWAY 0 2147483647 NO_ERROR") || r.event(EventRequest) == nil {
		t.Fatalf("%v", r.answers)
	}
	r.now = r.c.Deadline()
	r.c.Poll(r.now)
	r.read()
	if !r.saw("GOAWAY 0 1 NO_ERROR") {
		t.Fatalf("%v", r.answers)
	}
	r.c.SendHeaders(1, httpfield.List{{Name: ":status", Value: "200"}}, true)
	if !r.c.Closed() {
		t.Error("not closed after the last stream")
	}
}

func TestSilentPeerIsAskedByPingAndThenGivenUp(t *testing.T) {
	r := client(t, Config{})
	r.now = r.c.Deadline()
	r.c.Poll(r.now)
	r.read()
	if !r.saw("PING 0") {
		t.Fatalf("no PING at %v: %v", r.now, r.answers)
	}
	r.now = r.c.Deadline()
	if _, err := r.c.Poll(r.now); err == nil {
		t.Fatal("a silent peer is not given up")
	}
	q := newRig(t, Config{})
	if _, err := q.c.Poll(q.c.Deadline()); err == nil || !strings.Contains(err.Error(), "SETTINGS_TIMEOUT") {
		t.Error(err)
	}
}

func TestRFC9113_5_1_2_StreamLimits(t *testing.T) {
	r := client(t, Config{}, xhttp2.Setting{ID: xhttp2.SettingMaxConcurrentStreams, Val: 2})
	if _, err := r.c.OpenStream(r.now, request("GET"), true); err != nil {
		t.Fatal(err)
	}
	if _, err := r.c.OpenStream(r.now, request("GET"), true); !errors.Is(err, ErrStreamLimit) || r.c.Room() != 0 {
		t.Fatal(err)
	}
	r.headers(1, true, ":status: 200")
	r.run()
	if r.c.Room() != 1 {
		t.Errorf("room for %d", r.c.Room())
	}
	s := server(t, Config{MaxStreams: 2})
	for id := uint32(1); id <= 5; id += 2 {
		s.headers(id, false, get...)
	}
	s.run()
	s.streamError(5, ErrCodeRefusedStream)
}

// attacks are floods that every server met; each must end with
// ENHANCE_YOUR_CALM within a bound of frames, memory and output.
var attacks = map[string]func(r *rig, i int){
	"rapid reset (CVE-2023-44487)": func(r *rig, i int) {
		id := uint32(2*i + 1)
		r.headers(id, true, get...)
		r.fr.WriteRSTStream(id, xhttp2.ErrCodeCancel)
	},
	"MadeYouReset (CVE-2025-8671)": func(r *rig, i int) {
		id := uint32(2*i + 1)
		r.headers(id, false, get...)
		r.raw(FrameWindowUpdate, 0, id, 0, 0, 0, 0)
	},
	"PING flood (CVE-2019-9512)":            func(r *rig, i int) { r.fr.WritePing(false, [8]byte{}) },
	"SETTINGS flood (CVE-2019-9515)":        func(r *rig, i int) { r.fr.WriteSettings() },
	"empty DATA flood (CVE-2019-9518)":      func(r *rig, i int) { open(r, i); r.fr.WriteData(1, false, nil) },
	"PRIORITY flood (CVE-2019-9513)":        func(r *rig, i int) { r.raw(FramePriority, 0, 1, 0, 0, 0, 0, 1) },
	"WINDOW_UPDATE of 1":                    func(r *rig, i int) { open(r, i); r.fr.WriteWindowUpdate(1, 1) },
	"unknown frames":                        func(r *rig, i int) { r.raw(0x77, 0, 0) },
	"CONTINUATION flood (CVE-2023-45288)":   continuation([]byte{0x00, 1, 'a', 1, 'b'}),
	"empty CONTINUATION frames":             continuation(nil),
	"HPACK bomb of references (2016, 2026)": func(r *rig, i int) { bomb(r, uint32(2*i+1)) },
}

func open(r *rig, i int) {
	if i == 0 {
		r.headers(1, false, get...)
	}
}

func continuation(p []byte) func(*rig, int) {
	return func(r *rig, i int) {
		if i == 0 {
			r.raw(FrameHeaders, 0, 1, 0x82)
			return
		}
		r.raw(FrameContinuation, 0, 1, p...)
	}
}

// bomb is a block that puts one field into the table and refers to it as often
// as fits.
func bomb(r *rig, id uint32) {
	block := append([]byte{0x82, 0x87, 0x84, 0x40, 6, 'c', 'o', 'o', 'k', 'i', 'e', 0x7f, 0xa1, 0x1e}, bytes.Repeat([]byte{'v'}, 4000)...)
	block = append(block, bytes.Repeat([]byte{0xbe}, 12000)...)
	r.raw(FrameHeaders, FlagEndHeaders|FlagEndStream, id, block...)
}

func TestFloodsEndWithinABound(t *testing.T) {
	for name, step := range attacks {
		t.Run(name, func(t *testing.T) {
			r := server(t, Config{})
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			frames, most := 0, 0
			for ; r.err == nil && frames < 20000; frames++ {
				step(r, frames)
				_, err := r.c.Input(r.now, r.in.Bytes())
				r.in.Reset()
				if err != nil {
					r.err = err
				}
				out := r.c.TakeOutput(nil)
				most = max(most, len(out))
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			var e *ConnError
			if !errors.As(r.err, &e) || e.Code != ErrCodeEnhanceYourCalm {
				t.Fatalf("after %d frames: %v", frames, r.err)
			}
			if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 10<<20 {
				t.Errorf("%d bytes of memory are held", grown)
			}
			t.Logf("ended after %d rounds", frames)
		})
	}
}

func TestPeerThatDoesNotReadIsGivenUp(t *testing.T) {
	r := server(t, Config{})
	for i := 0; r.err == nil && i < 200; i++ {
		r.now = r.now.Add(time.Second) // within the rate that is allowed
		for range 400 {
			r.fr.WritePing(false, [8]byte{})
		}
		_, r.err = r.c.Input(r.now, r.in.Bytes())
		r.in.Reset()
	}
	var e *ConnError
	if !errors.As(r.err, &e) || len(r.c.out) > outputMax+64<<10 {
		t.Errorf("%v, %d bytes wait to be sent", r.err, len(r.c.out))
	}
}

func TestHeldWindowIsReaped(t *testing.T) {
	r := server(t, Config{StallTimeout: 8 * time.Second})
	r.fr.WriteSettings(xhttp2.Setting{ID: xhttp2.SettingInitialWindowSize, Val: 0})
	r.headers(1, true, get...)
	r.run()
	r.c.SendHeaders(1, httpfield.List{{Name: ":status", Value: "200"}}, false)
	if n, err := r.c.SendData(r.now, 1, []byte("x"), true); n != 0 || err != nil {
		t.Fatal(n, err)
	}
	for range 20 {
		r.now = r.now.Add(time.Second)
		r.fr.WritePing(false, [8]byte{}) // the peer is alive
		r.run()
		evs, err := r.c.Poll(r.now)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range evs {
			if e.Type == EventReset && e.Reset.Ours {
				return
			}
		}
	}
	t.Error("a stream whose window is held at 0 lives on")
}

func TestHeaderListOverTheLimitIsToldAndCut(t *testing.T) {
	r := server(t, Config{})
	fields := get
	for i := range 200 {
		fields = append(fields, fmt.Sprintf("x-%d: %s", i, strings.Repeat("v", 40)))
	}
	r.headers(1, true, fields...)
	r.run()
	e := r.event(EventRequest)
	if r.err != nil || e == nil || !e.TooLarge || len(e.Fields) > 128 {
		t.Errorf("%v %+v", r.err, e)
	}
}

func TestBytesCutAnyhowGiveTheSameEvents(t *testing.T) {
	build := func() []byte {
		r := server(t, Config{})
		r.headers(1, false, append(get, "content-length: 5")...)
		r.raw(FrameHeaders, 0, 3, r.block(get[:2]...)...)
		r.raw(FrameContinuation, FlagEndHeaders, 3, r.block(get[2:]...)...)
		r.fr.WriteData(1, true, []byte("hello"))
		r.fr.WritePing(false, [8]byte{1})
		return bytes.Clone(r.in.Bytes())
	}()
	play := func(sizes ...int) string {
		r := server(t, Config{})
		b := build
		for i := 0; len(b) > 0; i++ {
			n := min(sizes[i%len(sizes)], len(b))
			r.in.Write(b[:n])
			r.run()
			b = b[n:]
		}
		var s strings.Builder
		for _, e := range r.events {
			fmt.Fprintf(&s, "%d %d %v %q\n", e.Type, e.StreamID, e.EndStream, e.Data)
		}
		return s.String() + strings.Join(r.answers, ";")
	}
	whole := play(len(build))
	for _, sizes := range [][]int{{1}, {2, 3}, {9}, {10, 1}, {64}} {
		if got := play(sizes...); got != whole {
			t.Errorf("cut into %v:\n%s\nwhole:\n%s", sizes, got, whole)
		}
	}
}

func FuzzReceive(f *testing.F) {
	for _, rule := range rules {
		r := server(f, Config{})
		rule.do(r)
		f.Add(r.in.Bytes(), true, uint8(3))
	}
	for _, rule := range clientRules {
		r := client(f, Config{})
		rule.do(r)
		f.Add(r.in.Bytes(), false, uint8(200))
	}
	f.Fuzz(func(t *testing.T, b []byte, isServer bool, cut uint8) {
		play := func(size int) (string, *Conn) {
			var r *rig
			if isServer {
				r = server(t, Config{})
			} else {
				r = client(t, Config{})
			}
			var s strings.Builder
			for rest := b; len(rest) > 0; {
				n := min(size, len(rest))
				evs, err := r.c.Input(r.now, rest[:n])
				for _, e := range evs {
					fmt.Fprintf(&s, "%d %d %v %v %d;", e.Type, e.StreamID, e.EndStream, e.Fields, len(e.Data))
				}
				if err != nil {
					fmt.Fprint(&s, err)
					break
				}
				rest = rest[n:]
			}
			fmt.Fprintf(&s, "%x", r.c.TakeOutput(nil))
			return s.String(), r.c
		}
		whole, c := play(len(b) + 1)
		if cutUp, _ := play(int(cut) + 1); cutUp != whole {
			t.Fatalf("cut into %d:\n%s\nwhole:\n%s", int(cut)+1, cutUp, whole)
		}
		if len(c.streams) > 200 || len(c.in) > 17000 {
			t.Fatalf("%d streams, %d bytes kept", len(c.streams), len(c.in))
		}
	})
}

func FuzzFields(f *testing.F) {
	f.Add(AppendSettings(nil, Setting{SettingMaxFrameSize, 16384}))
	f.Add(AppendGoAway(nil, 3, ErrCodeCancel, "debug"))
	f.Add([]byte{0, 0, 3, 0, 8, 0, 0, 0, 1, 9, 1, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, fd := range Fields(b) {
			if fd.Offset < 0 || fd.Length < 0 || fd.Offset+fd.Length > len(b) {
				t.Fatalf("%s stands at %d+%d of %d bytes", fd.Name, fd.Offset, fd.Length, len(b))
			}
		}
		if len(b) >= FrameHeaderLen {
			Describe(ParseFrameHeader(b), b[FrameHeaderLen:])
			ParseGoAway(b[FrameHeaderLen:])
			ParseSettings(b[FrameHeaderLen:])
			HeaderFragment(ParseFrameHeader(b), b[FrameHeaderLen:])
		}
	})
}

// Two engines exchange 100 GETs at a time.
func BenchmarkRequest(b *testing.B) {
	now := clock.Time(1e9)
	cl, sv := NewConn(now, Config{}), NewConn(now, Config{Server: true})
	var x, y []byte
	pump := func(onServer, onClient func(*Event)) {
		for cl.HasOutput() || sv.HasOutput() {
			x = cl.TakeOutput(x[:0])
			evs, err := sv.Input(now, x)
			if err != nil {
				b.Fatal(err)
			}
			for i := range evs {
				onServer(&evs[i])
			}
			y = sv.TakeOutput(y[:0])
			if evs, err = cl.Input(now, y); err != nil {
				b.Fatal(err)
			}
			for i := range evs {
				onClient(&evs[i])
			}
		}
	}
	fields := append(request("GET"), httpfield.Field{Name: "user-agent", Value: "bench"}, httpfield.Field{Name: "accept", Value: "*/*"})
	status := httpfield.List{{Name: ":status", Value: "200"}, {Name: "content-type", Value: "text/plain"}, {Name: "content-length", Value: "128"}}
	body := make([]byte, 128)
	answer := func(e *Event) {
		if e.Type == EventRequest {
			sv.SendHeaders(e.StreamID, status, false)
			sv.SendData(now, e.StreamID, body, true)
		}
	}
	done := 0
	count := func(e *Event) {
		if e.Type == EventData && e.EndStream {
			done++
		}
	}
	b.ReportAllocs()
	want := 0
	for b.Loop() {
		now += clock.Time(time.Millisecond)
		for range 100 {
			if _, err := cl.OpenStream(now, fields, true); err != nil {
				b.Fatal(err)
			}
		}
		want += 100
		pump(answer, count)
		if done != want {
			b.Fatalf("%d of %d done", done, want)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(done), "ns/request")
}
