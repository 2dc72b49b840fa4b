package analyze

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"peel/clock"
	"peel/evidence/capture"
	"peel/trace"
	"peel/wire/hpack"
	"peel/wire/http2"
	"peel/wire/httpfield"
	"peel/wire/tcp"
)

// dialogue is a conversation in HTTP/2 without TLS, of which packets are made.
type dialogue struct {
	enc     [2]*hpack.Encoder
	packets [][]byte
	seq     [2]uint32
	segment int // bytes in a packet; 0 is all that is said at once
}

func newDialogue() *dialogue {
	k := &dialogue{enc: [2]*hpack.Encoder{hpack.NewEncoder(4096), hpack.NewEncoder(4096)}, seq: [2]uint32{100, 500}}
	k.add(capture.Out, tcp.SYN, "")
	k.seq[capture.Out]++
	k.add(capture.In, tcp.SYN|tcp.ACK, "")
	k.seq[capture.In]++
	k.says(capture.Out, http2.Preface, k.frame(http2.FrameSettings, 0, 0, ""))
	k.says(capture.In, k.frame(http2.FrameSettings, 0, 0, ""), k.frame(http2.FrameSettings, http2.FlagAck, 0, ""))
	k.says(capture.Out, k.frame(http2.FrameSettings, http2.FlagAck, 0, ""))
	return k
}

func (k *dialogue) add(dir capture.Direction, flags tcp.Flags, payload string) {
	ends := [2]netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:40000"), netip.MustParseAddrPort("192.0.2.2:80")}
	h := tcp.Header{Seq: k.seq[dir], Flags: flags, Window: 60000}
	if flags != tcp.SYN {
		h.Ack, h.Flags = k.seq[1-dir], flags|tcp.ACK
	}
	k.packets = append(k.packets, tcpPacket(ends[dir], ends[1-dir], uint16(len(k.packets)), h, payload))
	k.seq[dir] += uint32(len(payload))
}

// says sends frames of one side, and the other acknowledges them.
func (k *dialogue) says(dir capture.Direction, frames ...string) {
	all := strings.Join(frames, "")
	for n := k.segment; n > 0 && len(all) > n; all = all[n:] {
		k.add(dir, tcp.PSH, all[:n])
	}
	k.add(dir, tcp.PSH, all)
	k.add(1-dir, 0, "")
}

// leaves ends a side's sending.
func (k *dialogue) leaves(dir capture.Direction) {
	k.add(dir, tcp.FIN, "")
	k.seq[dir]++
}

func (k *dialogue) resets(dir capture.Direction) { k.add(dir, tcp.RST, "") }

func (k *dialogue) frame(typ http2.FrameType, flags http2.Flags, stream uint32, payload string) string {
	return string(http2.AppendFrameHeader(nil, http2.FrameHeader{Length: uint32(len(payload)), Type: typ, Flags: flags, StreamID: stream})) + payload
}

// block writes fields, names and values, as a header block.
func (k *dialogue) block(dir capture.Direction, fields ...string) string {
	var l httpfield.List
	for i := 0; i < len(fields); i += 2 {
		l.Add(fields[i], fields[i+1])
	}
	return string(k.enc[dir].AppendBlock(nil, l))
}

const endHeaders, endBoth = http2.FlagEndHeaders, http2.FlagEndHeaders | http2.FlagEndStream

func (k *dialogue) request(stream uint32, flags http2.Flags, path string, more ...string) string {
	return k.frame(http2.FrameHeaders, flags, stream, k.block(capture.Out, append([]string{":method", "GET", ":scheme", "http", ":authority", "www.example.com", ":path", path, "x-kept", "by the table"}, more...)...))
}

func (k *dialogue) response(stream uint32, flags http2.Flags, status string, more ...string) string {
	return k.frame(http2.FrameHeaders, flags, stream, k.block(capture.In, append([]string{":status", status, "server", "one that the table keeps"}, more...)...))
}

func (k *dialogue) data(stream uint32, flags http2.Flags, body string) string {
	return k.frame(http2.FrameData, flags, stream, body)
}

func code(n ...uint32) string {
	var b []byte
	for _, v := range n {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	return string(b)
}

func (k *dialogue) reset(stream uint32, c http2.ErrCode) string {
	return k.frame(http2.FrameRSTStream, 0, stream, code(uint32(c)))
}

// apart makes records of packets, a millisecond apart.
func apart(packets [][]byte) (list []capture.Record) {
	for i, p := range packets {
		if p != nil {
			list = append(list, captured(clock.Time(1e9+i*1e6), p))
		}
	}
	return list
}

func read(t testing.TB, packets [][]byte) *trace.Trace { return whole(t, apart(packets)) }

func (k *dialogue) trace(t testing.TB) *trace.Trace { return read(t, k.packets) }

// outcome says in a line what became of an exchange.
func outcome(x *trace.Exchange) string {
	s := fmt.Sprintf("%d %s %s", x.Stream, x.Method, x.URL)
	if r := x.Response; r != nil {
		s += fmt.Sprintf(": %d, %d bytes", r.Status, r.Body.WireSize)
		if r.Body.Missing > 0 {
			s += fmt.Sprintf(" (%d missing)", r.Body.Missing)
		}
		if !r.Body.Complete {
			s += ", incomplete"
		}
	}
	if x.Cause != "" {
		s += fmt.Sprintf(" [%s of %d]", x.Cause, x.Predecessor)
	}
	if x.Failure != nil {
		s += " FAILED " + string(x.Failure.Code) + ": " + x.Failure.Seen
	}
	return s
}

func outcomes(tr *trace.Trace) (out []string) {
	for _, x := range tr.Exchanges {
		out = append(out, outcome(x))
	}
	return out
}

// How the streams of a capture ended, and who ended them.
func TestEndsOfStreams(t *testing.T) {
	const a, b = "http://www.example.com/a", "http://www.example.com/b"
	for _, c := range []struct {
		name string
		talk func(*dialogue)
		want []string
	}{
		{"a client that has had enough", func(k *dialogue) {
			k.says(0, k.request(1, endBoth, "/a"))
			k.says(1, k.response(1, endHeaders, "200"), k.data(1, 0, "part"))
			k.says(0, k.reset(1, http2.ErrCodeCancel))
		}, []string{"1 GET " + a + ": 200, 4 bytes, incomplete"}},
		{"a client that gives up", func(k *dialogue) {
			k.says(0, k.request(1, endBoth, "/a"))
			k.says(0, k.reset(1, http2.ErrCodeCancel))
		}, []string{"1 GET " + a + " FAILED cancelled: the client reset stream 1 with CANCEL before a response came"}},
		{"a client that objects to what is not seen", func(k *dialogue) {
			k.says(0, k.request(1, endBoth, "/a"))
			k.says(1, k.response(1, endHeaders, "200"), k.data(1, 0, "part"))
			k.says(0, k.reset(1, http2.ErrCodeFlowControl))
		}, []string{"1 GET " + a + ": 200, 4 bytes, incomplete FAILED stream_reset: the client reset stream 1 with FLOW_CONTROL_ERROR after 4 bytes of body"}},
		{"a client that objects to a field", func(k *dialogue) {
			k.says(0, k.request(1, endBoth, "/a"))
			k.says(1, k.response(1, endBoth, "200", "connection", "close"))
			k.says(0, k.reset(1, http2.ErrCodeProtocol))
		}, []string{"1 GET " + a + ": 200, 0 bytes FAILED malformed_response: the response on stream 1 breaks the rules of HTTP/2: connection is a field of HTTP/1 connections (RFC 9113 §8.2.2)"}},
		{"a server that wants no more of the request", func(k *dialogue) {
			k.says(0, k.request(1, endHeaders, "/a"), k.data(1, 0, "upload"))
			k.says(1, k.response(1, endBoth, "413"), k.reset(1, http2.ErrCodeNo))
		}, []string{"1 GET " + a + ": 413, 0 bytes"}},
		{"a server that resets one of two", func(k *dialogue) {
			k.says(0, k.request(1, endBoth, "/a"), k.request(3, endBoth, "/b"))
			k.says(1, k.reset(1, http2.ErrCodeInternal), k.response(3, endHeaders, "200"), k.data(3, http2.FlagEndStream, "body"))
		}, []string{"1 GET " + a + " FAILED stream_reset: the server reset stream 1 with INTERNAL_ERROR", "3 GET " + b + ": 200, 4 bytes"}},
		{"GOAWAY with streams below and above", func(k *dialogue) {
			k.says(0, k.request(1, endBoth, "/a"), k.request(3, endBoth, "/b"))
			k.says(1, k.frame(http2.FrameGoAway, 0, 0, code(1, 0)))
			k.leaves(1)
		}, []string{"1 GET " + a + " FAILED goaway: the server said GOAWAY NO_ERROR and closed the connection before it sent a response on stream 1",
			"3 GET " + b + " FAILED goaway: the server said GOAWAY NO_ERROR, naming 1 as the last stream that it looks at: stream 3 was not processed"}},
		{"GOAWAY of a server that ends what it has begun", func(k *dialogue) {
			k.says(0, k.request(1, endBoth, "/a"))
			k.says(1, k.frame(http2.FrameGoAway, 0, 0, code(1<<31-1, 0)), k.frame(http2.FrameGoAway, 0, 0, code(1, 0)), k.response(1, endHeaders, "200"), k.data(1, http2.FlagEndStream, "body"))
			k.leaves(1)
		}, []string{"1 GET " + a + ": 200, 4 bytes"}},
		{"a server that closes", func(k *dialogue) {
			k.says(0, k.request(1, endBoth, "/a"), k.request(3, endBoth, "/b"))
			k.says(1, k.response(1, endHeaders, "200"), k.data(1, 0, "part"))
			k.leaves(1)
		}, []string{"1 GET " + a + ": 200, 4 bytes, incomplete FAILED closed_early: the server closed the connection after 4 bytes of body",
			"3 GET " + b + " FAILED closed_early: the server closed the connection before it sent a response on stream 3"}},
		{"a server that resets the connection", func(k *dialogue) {
			k.says(0, k.request(1, endBoth, "/a"))
			k.resets(1)
		}, []string{"1 GET " + a + " FAILED reset: the connection was reset before it sent a response on stream 1"}},
		{"a client that closes first", func(k *dialogue) {
			k.says(0, k.request(1, endBoth, "/a"), k.request(3, endBoth, "/b"))
			k.says(1, k.response(1, endHeaders, "200"), k.data(1, 0, "part"))
			k.leaves(0)
			k.leaves(1)
		}, []string{"1 GET " + a + ": 200, 4 bytes, incomplete", "3 GET " + b + " FAILED cancelled: the client closed the connection before a response came on stream 3"}},
		{"a client that resets the connection", func(k *dialogue) {
			k.says(0, k.request(1, endBoth, "/a"))
			k.resets(0)
		}, []string{"1 GET " + a + " FAILED cancelled: the client reset the connection before a response came on stream 1"}},
		{"a client whose complaint is all that tells", func(k *dialogue) {
			k.says(0, k.request(1, endBoth, "/a"))
			k.says(0, k.frame(http2.FrameGoAway, 0, 0, code(0, uint32(http2.ErrCodeSettingsTimeout))+"too slow"))
			k.leaves(0)
			k.leaves(1)
		}, []string{`1 GET ` + a + ` FAILED goaway: the client ended the connection with GOAWAY SETTINGS_TIMEOUT ("too slow")`}},
		{"a header block that cannot be read", func(k *dialogue) {
			k.says(0, k.request(1, endBoth, "/a"), k.request(3, endBoth, "/b"))
			k.says(1, k.frame(http2.FrameHeaders, endBoth, 1, "\xff\xff\xff\xff\xff\xff"))
			k.says(0, k.frame(http2.FrameGoAway, 0, 0, code(0, uint32(http2.ErrCodeCompression))))
			k.leaves(0)
			k.leaves(1)
		}, []string{"1 GET " + a + " FAILED protocol_error: the server broke the protocol: COMPRESSION_ERROR: hpack: integer too large: 34359738494 is above 4294967295, at byte 0",
			"3 GET " + b + " FAILED protocol_error: the server broke the protocol: COMPRESSION_ERROR: hpack: integer too large: 34359738494 is above 4294967295, at byte 0"}},
		{"a capture that ends before the answer", func(k *dialogue) { k.says(0, k.request(1, endBoth, "/a")) }, []string{"1 GET " + a}},
		{"trailers", func(k *dialogue) {
			k.says(0, k.request(1, endBoth, "/a"))
			k.says(1, k.response(1, endHeaders, "103"), k.response(1, endHeaders, "200"), k.data(1, 0, "body"), k.frame(http2.FrameHeaders, endBoth, 1, k.block(1, "grpc-status", "0")))
		}, []string{"1 GET " + a + ": 200, 4 bytes"}},
		{"a pseudo-header field in trailers", func(k *dialogue) {
			k.says(0, k.request(1, endBoth, "/a"))
			k.says(1, k.response(1, endHeaders, "200"), k.data(1, 0, "body"), k.frame(http2.FrameHeaders, endBoth, 1, k.block(1, ":status", "200")))
		}, []string{"1 GET " + a + `: 200, 4 bytes FAILED malformed_body: the response on stream 1 breaks the rules of HTTP/2: pseudo-header ":status" in trailers`}},
		{"HEAD has the length and not the body", func(k *dialogue) {
			k.says(0, k.frame(http2.FrameHeaders, endBoth, 1, k.block(0, ":method", "HEAD", ":scheme", "http", ":authority", "www.example.com", ":path", "/a")))
			k.says(1, k.response(1, endBoth, "200", "content-length", "1000"))
		}, []string{"1 HEAD " + a + ": 200, 0 bytes"}},
		{"a push", func(k *dialogue) {
			k.says(0, k.request(1, endBoth, "/a"))
			k.says(1, k.frame(http2.FramePushPromise, endHeaders, 1, code(2)+k.block(1, ":method", "GET", ":scheme", "http", ":authority", "www.example.com", ":path", "/b")),
				k.response(1, endHeaders, "200"), k.data(1, http2.FlagEndStream, "body"), k.response(2, endHeaders, "200"), k.data(2, http2.FlagEndStream, "pushed"))
		}, []string{"1 GET " + a + ": 200, 4 bytes", "2 GET " + b + ": 200, 6 bytes [push of 1]"}},
		{"padding, a priority, and a head in pieces", func(k *dialogue) {
			head := k.block(0, ":method", "GET", ":scheme", "http", ":authority", "www.example.com", ":path", "/a")
			k.says(0, k.frame(http2.FrameHeaders, http2.FlagPadded|http2.FlagPriority|http2.FlagEndStream, 1, "\x03"+code(0)+"\x10"+head[:2]+"\x00\x00\x00"),
				k.frame(http2.FrameContinuation, 0, 1, head[2:3]), k.frame(http2.FrameContinuation, http2.FlagEndHeaders, 1, head[3:]))
			k.says(1, k.response(1, endHeaders, "200"), k.data(1, http2.FlagPadded|http2.FlagEndStream, "\x04body\x00\x00\x00\x00"))
		}, []string{"1 GET " + a + ": 200, 4 bytes"}},
		{"CONNECT", func(k *dialogue) {
			k.says(0, k.frame(http2.FrameHeaders, endHeaders, 1, k.block(0, ":method", "CONNECT", ":authority", "db.example.com:5432")))
			k.says(1, k.response(1, endHeaders, "200"), k.data(1, 0, "through"))
			k.leaves(1)
		}, []string{"1 CONNECT db.example.com:5432: 200, 7 bytes, incomplete"}},
		{"a WebSocket", func(k *dialogue) {
			k.says(0, k.frame(http2.FrameHeaders, endHeaders, 1, k.block(0, ":method", "CONNECT", ":protocol", "websocket", ":scheme", "http", ":authority", "www.example.com", ":path", "/chat")))
			k.says(1, k.response(1, endHeaders, "200"), k.data(1, 0, "\x81\x02hi"))
		}, []string{"1 CONNECT http://www.example.com/chat: 200, 4 bytes, incomplete"}},
	} {
		k := newDialogue()
		c.talk(k)
		tr := k.trace(t)
		if got := outcomes(tr); !slices.Equal(got, c.want) {
			t.Errorf("%s:\n%s\nwant\n%s", c.name, strings.Join(got, "\n"), strings.Join(c.want, "\n"))
		}
	}
}

// Where one side alone was captured, nothing is said of the other.
func TestOneSideOfHTTP2(t *testing.T) {
	k := many(0)
	k.resets(0)
	all := k.trace(t)
	for dir, port := range []byte{40000 & 0xff, 80} {
		var packets [][]byte
		for _, p := range k.packets {
			if p[21] == port {
				packets = append(packets, p)
			}
		}
		tr := read(t, packets)
		faults, _ := contradicts(tr, all)
		if len(tr.Exchanges) != 12 || len(faults) > 0 {
			t.Errorf("side %d: %q\n%s", dir, faults, strings.Join(outcomes(tr), "\n"))
		}
	}
}

// The frames of a WebSocket on a stream are listed as those behind an upgrade
// are, and name their bytes.
func TestWebSocketOnAStream(t *testing.T) {
	k := newDialogue()
	k.says(0, k.frame(http2.FrameHeaders, endHeaders, 1, k.block(0, ":method", "CONNECT", ":protocol", "websocket", ":scheme", "http", ":authority", "www.example.com", ":path", "/chat")))
	k.says(1, k.response(1, endHeaders, "200"), k.data(1, 0, "\x81\x05Hel"), k.data(1, 0, "lo\x89\x00"))
	k.says(0, k.data(1, 0, "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"))
	tr := k.trace(t)
	var got []string
	for _, e := range tr.Events {
		if e.Layer == trace.LayerWebSocket {
			got = append(got, fmt.Sprintf("%s %s, exchange %d, %d bytes, fields %v", e.Direction, e.Text, e.Exchange, e.Bytes[0].Length, len(Fields(tr, e)) > 0))
		}
	}
	want := []string{"in text, 5 bytes: Hello, exchange 1, 5 bytes, fields true", "in ping, 0 bytes, exchange 1, 2 bytes, fields true", "out text, 5 bytes: Hello, exchange 1, 11 bytes, fields true"}
	if !slices.Equal(got, want) {
		t.Errorf("%q\nwant\n%q", got, want)
	}
}

// What breaks a rule is named with the byte where it stands.
func TestFaultsNameTheirBytes(t *testing.T) {
	k := newDialogue()
	k.says(0, k.request(1, endBoth, "/a"))
	k.says(1, k.frame(http2.FrameHeaders, endHeaders, 1, "\x88\x00\x01a\x01b\x00\x0cContent-Type\x01x"), k.frame(http2.FramePing, 0, 0, "short"))
	tr := k.trace(t)
	var got []string
	for _, e := range tr.Events {
		if e.Name == "http2.malformed" {
			got = append(got, fmt.Sprintf("%d+%d %s", e.Bytes[0].Offset, e.Bytes[0].Length, e.Text))
		}
	}
	// SETTINGS and its acknowledgement, and the head of HEADERS are 9 bytes each.
	want := []string{`33+16 the response breaks the rules: the field name "Content-Type" has upper-case letters`,
		"49+14 the server broke the protocol: FRAME_SIZE_ERROR: PING of 5 bytes, not 8"}
	if !slices.Equal(got, want) {
		t.Errorf("%q\nwant\n%q", got, want)
	}
}

// many is a long conversation: requests one after the other, whose header
// blocks refer to those before them.
func many(segment int) *dialogue {
	k := newDialogue()
	k.segment = segment
	for i := range 12 {
		stream := uint32(2*i + 1)
		k.says(0, k.request(stream, endBoth, fmt.Sprintf("/%d", i)))
		size := 40 + i*i*300
		body := strings.Repeat(string(rune('a'+i)), size)
		frames := []string{k.response(stream, endHeaders, "200", "content-length", fmt.Sprint(size), "x-number", fmt.Sprint(i%3))}
		for ; len(body) > 9000; body = body[9000:] {
			frames = append(frames, k.data(stream, 0, body[:9000]))
		}
		k.says(1, append(frames, k.data(stream, http2.FlagEndStream, body))...)
	}
	return k
}

// contradicts says what in a trace of a part of a capture is not so in the
// whole, and counts its exchanges that are whole.
func contradicts(part, all *trace.Trace) (faults []string, good int) {
	byStream := map[uint32]*trace.Exchange{}
	for _, x := range all.Exchanges {
		byStream[x.Stream] = x
	}
	fault := func(x *trace.Exchange, what string, got, want any) {
		faults = append(faults, fmt.Sprintf("stream %d: %s is %v, not %v", x.Stream, what, got, want))
	}
	fields := func(x *trace.Exchange, got, want []trace.Header) {
		if len(got) > 0 && len(got) != len(want) {
			fault(x, "the number of fields", len(got), len(want))
			return
		}
		for i, h := range got {
			w := want[i]
			if h.Unknown != trace.UnknownField && h.Value != w.Value || h.Unknown == "" && h.Name != w.Name || h.Unknown != "" && h.Name != "" {
				fault(x, "a field", h, w)
			}
		}
	}
	for _, x := range part.Exchanges {
		w := byStream[x.Stream]
		delete(byStream, x.Stream)
		if w == nil {
			faults = append(faults, fmt.Sprintf("stream %d is not there, or twice", x.Stream))
			continue
		}
		if x.Method != w.Method && x.Method != notKnown && x.Method != "" {
			fault(x, "the method", x.Method, w.Method)
		}
		if x.URL != w.URL && x.URL != notCapturedURL && !strings.Contains(x.URL, notKnown) {
			fault(x, "the URL", x.URL, w.URL)
		}
		fields(x, x.Request.Headers, w.Request.Headers)
		if x.Failure != nil && x.Failure.Code != trace.FailNotCaptured {
			fault(x, "the failure", x.Failure, "what was captured")
		}
		r := x.Response
		if r == nil {
			continue
		}
		if r.Status != w.Response.Status && r.Status != 0 {
			fault(x, "the status", r.Status, w.Response.Status)
		}
		fields(x, r.Headers, w.Response.Headers)
		if r.Body.Complete && (r.Body.WireSize != w.Response.Body.WireSize || r.Body.Missing == 0 && string(r.Body.Content) != string(w.Response.Body.Content)) {
			fault(x, "the body", r.Body.WireSize, w.Response.Body.WireSize)
		}
		if r.Body.Complete && x.Failure == nil && r.Status == w.Response.Status {
			good++
		}
	}
	for _, e := range part.Events {
		if e.Name == "http2.malformed" {
			faults = append(faults, e.Text)
		}
	}
	return faults, good
}

// Behind packets that are missing, all that is whole is read, and nothing is
// told that is not so.
func TestHTTP2BehindMissingPackets(t *testing.T) {
	for _, segment := range []int{0, 1000} {
		k := many(segment)
		all := k.trace(t)
		if len(all.Exchanges) != 12 {
			t.Fatal(outcomes(all))
		}
		for i := 2; i < len(k.packets); i++ {
			packets := slices.Clone(k.packets)
			packets[i] = nil
			part := read(t, packets)
			faults, good := contradicts(part, all)
			if len(faults) > 0 || good < 11 || len(part.Exchanges) < 11 {
				t.Errorf("segments of %d, packet %d: %d exchanges, %d whole, %q\n%s", segment, i, len(part.Exchanges), good, faults, strings.Join(outcomes(part), "\n"))
			}
		}
		// Of a connection that was joined in the middle, all from there on.
		for i := 3; i < len(k.packets); i++ {
			part := read(t, k.packets[i:])
			faults, good := contradicts(part, all)
			if len(faults) > 0 {
				t.Errorf("segments of %d, from packet %d: %q\n%s", segment, i, faults, strings.Join(outcomes(part), "\n"))
			}
			if whole := wholeFrom(k.packets[i:]); good < whole {
				t.Errorf("segments of %d, from packet %d: %d whole, of %d", segment, i, good, whole)
			}
		}
	}
}

// wholeFrom counts the requests in packets.
func wholeFrom(packets [][]byte) (n int) {
	for _, p := range packets {
		if b := p[40:]; len(b) > 9 && p[20] == 40000>>8 && b[3] == byte(http2.FrameHeaders) {
			n++
		}
	}
	return n
}

// What is not known is said: of fields, of URLs, and how much.
func TestUnknownFieldsAreSaid(t *testing.T) {
	k := many(0)
	packets := slices.Clone(k.packets)
	lost := slices.IndexFunc(packets, func(p []byte) bool { return len(p) > 49 && p[20] == 40000>>8 && p[43] == byte(http2.FrameHeaders) })
	packets[lost] = nil
	tr := read(t, packets)
	if got := outcomes(tr)[:2]; got[0] != "1  (request not captured): 200, 40 bytes FAILED not_captured: bytes of the connection are missing from the capture" ||
		got[1] != "3 GET http://(unknown)/1: 200, 340 bytes" {
		t.Errorf("%q", got)
	}
	var unknown []string
	for _, h := range tr.Exchanges[1].Request.Headers {
		unknown = append(unknown, h.Name+"="+h.Value+"/"+string(h.Unknown))
	}
	if want := []string{":method=GET/", ":scheme=http/", "=/name and value", ":path=/1/", "=/name and value"}; !slices.Equal(unknown, want) {
		t.Errorf("%q, want %q", unknown, want)
	}
	resumed := 0
	for _, e := range tr.Events {
		if e.Name == trace.EventHTTP2Resumed {
			resumed++
			if !strings.Contains(e.Text, "bytes before were not captured, 0 were passed over") {
				t.Error(e.Text)
			}
		}
	}
	if resumed != 1 {
		t.Errorf("%d times read on", resumed)
	}
}

// FuzzHTTP2 drops, cuts and changes packets of a conversation.
func FuzzHTTP2(f *testing.F) {
	f.Add([]byte{10, 0, 12, 200}, false)
	f.Add([]byte{5, 1, 6, 60, 20, 3}, true)
	long, short := many(0).packets, many(700).packets
	f.Fuzz(func(t *testing.T, how []byte, pieces bool) {
		packets := slices.Clone(long)
		if pieces {
			packets = slices.Clone(short)
		}
		for ; len(how) >= 2; how = how[2:] {
			i := int(how[0]) % len(packets)
			if len(packets[i]) == 0 {
				continue
			}
			p := slices.Clone(packets[i])
			switch n := int(how[1]); {
			case n < 80:
				p = nil
			case n < 140 && len(p) > 60:
				p = p[:40+n%20] // the capture cut it
			case len(p) > 40:
				p[40+n%(len(p)-40)] ^= byte(n)
				p[36], p[37] = 0, 0 // as a network card's
			}
			packets[i] = p
		}
		read(t, packets)
	})
}

// Settings that are sent without end do not pile up.
func TestSettingsWithoutEnd(t *testing.T) {
	k := newDialogue()
	for range 3 * maxSettings / 100 {
		k.says(capture.In, k.frame(http2.FrameSettings, 0, 0, strings.Repeat("\x00\x03\x00\x00\x00\x64", 100)))
	}
	if n := len(k.trace(t).Connections[0].HTTP2.ServerSettings); n != maxSettings {
		t.Errorf("%d settings are listed, want %d", n, maxSettings)
	}
}
