package analyze

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"peel/clock"
	"peel/evidence/capture"
	"peel/evidence/decision"
	"peel/trace"
	"peel/wire/tcp"
)

// talk is a connection of 192.0.2.1 with port 80 of 192.0.2.2, in packets a
// millisecond apart.
type talk struct {
	at   clock.Time
	next [2]uint32 // sequence numbers
	list []capture.Record
	snap int // bytes of a packet that are captured; 0 is all
	off  int // of the client's port
}

func newTalk() *talk { return &talk{at: 1e9, next: [2]uint32{1000, 5000}} }

// begun is one whose handshake was captured.
func begun() *talk {
	k := newTalk()
	k.send(capture.Out, tcp.SYN, "")
	k.send(capture.In, tcp.SYN|tcp.ACK, "")
	k.send(capture.Out, tcp.ACK, "")
	return k
}

func (k *talk) send(dir capture.Direction, flags tcp.Flags, payload string) *talk {
	ends := [2]netip.AddrPort{netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), uint16(40000+k.off)), netip.MustParseAddrPort("192.0.2.2:80")}
	h := tcp.Header{Seq: k.next[dir], Flags: flags, Window: 60000}
	if flags.Has(tcp.ACK) {
		h.Ack = k.next[1-dir]
	}
	r := captured(k.at, tcpPacket(ends[dir], ends[1-dir], 0, h, payload))
	if k.snap > 0 {
		r.Data = r.Data[:min(len(r.Data), k.snap)]
	}
	k.list = append(k.list, r)
	k.at += 1e6
	k.next[dir] += uint32(len(payload))
	if flags.Any(tcp.SYN | tcp.FIN) {
		k.next[dir]++
	}
	return k
}

func (k *talk) out(payload string) *talk { return k.send(capture.Out, tcp.ACK|tcp.PSH, payload) }
func (k *talk) in(payload string) *talk  { return k.send(capture.In, tcp.ACK|tcp.PSH, payload) }

// ack is the client's, for all that came.
func (k *talk) ack() *talk { return k.send(capture.Out, tcp.ACK, "") }

// lose takes the newest packet out of the capture.
func (k *talk) lose() *talk {
	k.list = k.list[:len(k.list)-1]
	return k
}

// closed ends both sides, the server's first.
func (k *talk) closed() *talk {
	return k.send(capture.In, tcp.FIN|tcp.ACK, "").send(capture.Out, tcp.FIN|tcp.ACK, "").send(capture.In, tcp.ACK, "")
}

func (k *talk) trace() *trace.Trace {
	a := New(Limits{Body: 1 << 20})
	for _, r := range k.list {
		a.Add(r)
	}
	a.End()
	return a.Trace()
}

// rows are the requests of a trace in a line each: method, URL, status, size of
// the body, and what failed.
func rows(t *trace.Trace) string {
	var out []string
	for _, x := range t.Exchanges {
		s := strings.TrimSpace(x.Method + " " + strings.TrimPrefix(x.URL, "http://a"))
		if r := x.Response; r != nil {
			s += fmt.Sprintf(" %d %d", r.Status, r.Body.WireSize)
			if !r.Body.Complete {
				s += "…"
			}
			if r.Body.Missing > 0 {
				s += fmt.Sprintf(" without %d", r.Body.Missing)
			}
		}
		if x.Failure != nil {
			s += " " + string(x.Failure.Code)
		}
		out = append(out, strings.TrimSpace(s))
	}
	return strings.Join(out, "; ")
}

func ask(path string) string { return "GET " + path + " HTTP/1.1\r\nHost: a\r\n\r\n" }

func answer(body string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// What was captured whole is read, whatever is missing between.
func TestHTTP1IsReadOnBehindGaps(t *testing.T) {
	rest := func(k *talk) *trace.Trace {
		return k.out(ask("/8")).in(answer("eight")).out(ask("/9")).in(answer("nine")).ack().closed().trace()
	}
	const tail = "GET /8 200 5; GET /9 200 4"
	for _, c := range []struct {
		name  string
		trace *trace.Trace
		want  string
	}{
		{"a response", rest(begun().out(ask("/1")).in(answer("one")).lose()), "GET /1; " + tail},
		{"the first of a response in two", rest(begun().out(ask("/1")).in(answer("one")).lose().in(strings.Repeat("x", 600))), "GET /1; " + tail},
		{"a request", rest(begun().out(ask("/1")).lose().in(answer("one"))), "200 3; " + tail},
		{"both", rest(begun().out(ask("/1")).in(answer("one")).out(ask("/2")).lose().in(answer("two")).lose()), "GET /1 200 3; " + tail},
		{"a response and the next request", rest(begun().out(ask("/1")).in(answer("one")).lose().out(ask("/2")).lose().in(answer("two"))), "GET /1; 200 3; " + tail},
		{"of a body with a length", rest(begun().out(ask("/1")).in("HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n1234").in("5678").lose().in("9abc")), "GET /1 200 12 without 4; " + tail},
		{"of a chunk", rest(begun().out(ask("/1")).in("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nc\r\n1234").in("5678").lose().in("9abc\r\n0\r\n\r\n")), "GET /1 200 12 without 4; " + tail},
		{"a chunk's size", rest(begun().out(ask("/1")).in("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n1234\r\n").in("5\r\n").lose().in("56789\r\n0\r\n\r\n")), "GET /1 200 4…; " + tail},
		{"of a request's body", rest(begun().out("POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n").out("abc").lose().out("defghi").in(answer("ok"))), "POST /1 200 2; " + tail},
		{"a head in the middle", rest(begun().out(ask("/1")).in("HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n").in("\r\nabc").lose()), "GET /1 404 0…; " + tail},
		{"three responses", rest(begun().out(ask("/1")).in(answer("1")).lose().out(ask("/2")).in(answer("2")).lose().out(ask("/3")).in(answer("3")).lose()), "GET /1; GET /2; GET /3; " + tail},
		{"what looks like a response in a body", rest(begun().out(ask("/1")).in("HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n").lose().in(answer("false")).in(strings.Repeat("x", 900-len(answer("false"))))), "GET /1; " + tail},
		{"a response of two that were asked for at once", rest(begun().out(ask("/1") + ask("/2")).in(answer("1")).lose().in(answer("2"))), "GET /1; GET /2; 200 1; " + tail},
	} {
		if got := rows(c.trace); sorted(got) != sorted(c.want) {
			t.Errorf("%s is missing:\n%s\nwant\n%s", c.name, got, c.want)
		}
		missing := 0
		for _, e := range c.trace.Events {
			if e.Name == trace.EventTCPGap {
				missing++
			}
		}
		if missing == 0 {
			t.Errorf("%s is missing, and not told", c.name)
		}
	}
}

func sorted(rows string) string {
	list := strings.Split(rows, "; ")
	for i := range list {
		for j := i; j > 0 && list[j] < list[j-1]; j-- {
			list[j], list[j-1] = list[j-1], list[j]
		}
	}
	return strings.Join(list, "; ")
}

// The times of what stands behind a gap are those of its packets.
func TestTimesBehindAGap(t *testing.T) {
	k := begun().out(ask("/1")).in(answer("one")).lose()
	for i := range 5 {
		k.out(ask(fmt.Sprint("/", i))).in(answer("x")).ack()
	}
	for _, x := range k.closed().trace().Exchanges[1:] {
		if total := x.Timings.Total; total == nil || total.Duration != 1e6 {
			t.Errorf("%s took %v", x.URL, total)
		}
	}
}

// A capture can begin in the middle of a connection, and of a message.
func TestHTTP1FromTheMiddle(t *testing.T) {
	for _, c := range []struct {
		name string
		talk *talk
		want string
	}{
		{"between messages", newTalk().out(ask("/1")).in(answer("one")), "GET /1 200 3"},
		{"before a response", newTalk().in(answer("one")).out(ask("/2")).in(answer("two")), "200 3; GET /2 200 3"},
		{"in a response", newTalk().in("rest of a body").in("and more").ack().out(ask("/2")).in(answer("two")), "GET /2 200 3"},
		{"in a request", newTalk().out("rest of a body").in(answer("one")).out(ask("/2")).in(answer("two")), "200 3; GET /2 200 3"},
		{"responses alone", newTalk().in(answer("one")).in(answer("two")), "200 3; 200 3"},
		{"requests alone", newTalk().out(ask("/1")).out(ask("/2")), "GET /1; GET /2"},
	} {
		if got := rows(c.talk.trace()); got != c.want {
			t.Errorf("from %s: %s, want %s", c.name, got, c.want)
		}
	}
}

// Packets that were cut give what they hold.
func TestHTTP1OfCutPackets(t *testing.T) {
	for _, c := range []struct {
		snap int
		want string
	}{
		{40 + len("GET /index.html HTT"), "GET /index.html 200 0…; GET /index.html 200 0…"},
		{40 + len("GET /index.ht"), ""},
	} {
		k := newTalk()
		k.snap = c.snap
		k.send(capture.Out, tcp.SYN, "").send(capture.In, tcp.SYN|tcp.ACK, "").ack()
		for range 2 {
			k.out(ask("/index.html")).in(answer(strings.Repeat("x", 500))).ack()
		}
		got := rows(k.closed().trace())
		got = strings.ReplaceAll(got, "http://192.0.2.2", "") // no Host was captured
		if c.want == "" {
			if strings.Contains(got, "index") {
				t.Errorf("a target that is cut is shown: %s", got)
			}
		} else if got != c.want {
			t.Errorf("%d bytes of each packet: %s, want %s", c.snap, got, c.want)
		}
	}
}

// What is wrong is named as a client of the same server names it, and stands in
// the row of its request.
func TestHTTP1FailuresInPackets(t *testing.T) {
	const reset = tcp.RST | tcp.ACK
	for _, c := range []struct {
		talk       *talk
		want, seen string
	}{
		{begun().out(ask("/")).closed(), "GET / closed_early", "the server closed the connection before it sent a response"},
		{begun().out(ask("/")).send(capture.In, reset, ""), "GET / reset", "the connection was reset before it sent a response"},
		{begun().out(ask("/")).send(capture.Out, reset, ""), "GET / client_reset", "the client reset the connection before a response came"},
		{begun().out(ask("/")).send(capture.Out, tcp.FIN|tcp.ACK, "").closed(), "GET / client_closed", "the client closed the connection before a response came"},
		{begun().out(ask("/")).in("HTTP/1.1 200 OK\r\nContent-Le").closed(), "GET / 200 0… malformed_response", "the server closed the connection in the middle of the response's head"},
		{begun().out(ask("/")).in("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1234").closed(), "GET / 200 4… body_truncated", "the connection ended after 4 of 9 announced bytes of the body"},
		{begun().out(ask("/")).in("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1234").send(capture.In, reset, ""), "GET / 200 4… reset", "the connection was reset after 4 bytes of body"},
		{begun().out(ask("/")).in("HTTP/1.1 200 OK\r\n\r\n1234").send(capture.In, reset, ""), "GET / 200 4… reset", "the connection was reset after 4 bytes of body"},
		{begun().out(ask("/")).in("HTTP/1.1 200 OK\r\n\r\n1234").closed(), "GET / 200 4", ""},
		{begun().out(ask("/")).in("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n f\r\n"), "GET / 200 0… malformed_body", `after 0 bytes of body: at byte 47: " f" is not a chunk size`},
		{begun().out(ask("/")).in("HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n").closed(), "GET / 200 0… malformed_response", `at byte 17: Content-Length is "-5"`},
		{begun().out(ask("/")).in("SSH-2.0-OpenSSH_9.2\r\n").closed(), "GET / not_http", `an SSH server answers, "SSH-2.0-OpenSSH_9.2"`},
		{begun().out(ask("/a b")).in("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").closed(), "GET /a b 400 0 malformed_request", `at byte 7: "b HTTP/1.1" is not an HTTP version`},
		{begun().out("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nab").in("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").out(ask("/2")).in(answer("2")), "POST / 400 0 malformed_request; GET /2 200 1", "at byte 45: two different Content-Length: 2 and 3"},
		{begun().out("GET/ HTTP/1.1\r\nHost: a\r\n\r\n").in("HTTP/1.0 400 Bad Request\r\n\r\n").closed(), "400 0 malformed_request", "is not a request line"},
		{begun().out("GET / HTTP/1.1\r\nHost: a\r\nX: ").in("HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n").closed(), "GET / 408 0 client_closed", "the client did not send its request to the end"},
		{begun().out("GET / HTTP/1.1\r\nHost: a\r\nX: ").in("HTTP/1.1 100 Continue\r\n\r\n").out("y\r\n\r\n").in(answer("ok")), "GET / 200 2", ""},
		{begun().out(ask("/")), "GET /", ""}, // the capture ended, which says nothing
	} {
		tr := c.talk.trace()
		if got := rows(tr); got != c.want {
			t.Errorf("%s\nwant\n%s (%s)", got, c.want, c.seen)
			continue
		}
		if f := tr.Exchanges[0].Failure; f != nil && !strings.Contains(f.Seen, c.seen) {
			t.Errorf("%s: %s, want %s", c.want, f.Seen, c.seen)
		}
	}
}

// Where the capture lacks bytes, an end says nothing about what was sent.
func TestEndsBehindGapsAreNoFailures(t *testing.T) {
	for _, k := range []*talk{
		begun().out(ask("/")).in(answer("one")).lose().ack().closed(),
		begun().out(ask("/")).in(answer("one")).lose().ack().send(capture.In, tcp.RST|tcp.ACK, ""),
	} {
		if got := rows(k.trace()); got != "GET /" {
			t.Errorf("%s", got)
		}
	}
	// One side alone was captured.
	k := newTalk()
	k.send(capture.Out, tcp.SYN, "").send(capture.In, tcp.SYN|tcp.ACK, "").lose().ack().out(ask("/")).in(answer("one")).lose().ack().send(capture.Out, tcp.RST|tcp.ACK, "")
	if tr := k.trace(); len(tr.Exchanges) != 1 || tr.Exchanges[0].Failure != nil && tr.Exchanges[0].Failure.Layer == trace.LayerHTTP1 {
		t.Errorf("%s: %+v", rows(tr), tr.Exchanges[0].Failure)
	}
}

// Bytes that no request asked for are named for what they are.
func TestUnaskedBytesAreNamed(t *testing.T) {
	head := func(path string) string { return "HEAD " + path + " HTTP/1.1\r\nHost: a\r\n\r\n" }
	for _, c := range []struct {
		talk       *talk
		want, text string
	}{
		{begun().out(ask("/")).in("HTTP/1.1 204 No Content\r\n\r\nhello").closed(), "GET / 204 0", "5 bytes behind the 204 response, which has no body"},
		{begun().out(ask("/")).in("HTTP/1.1 304 Not Modified\r\n\r\nhello").ack().out(ask("/2")).in(answer("2")), "GET / 304 0; GET /2 200 1", "5 bytes behind the 304 response, which has no body"},
		{begun().out(head("/")).in(answer("hello")).ack().out(ask("/2")).in(answer("2")), "HEAD / 200 0; GET /2 200 1", "5 bytes behind the response to HEAD, which has no body"},
		{begun().out(ask("/")).in("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n1234567").closed(), "GET / 200 3", "4 bytes more than the Content-Length of 3 announced"},
		{begun().out(ask("/")).in(answer("one")).in("HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n").closed(), "GET / 200 3; 408 0", "a response that no request asked for: HTTP/1.1 408 Request Timeout"},
	} {
		tr := c.talk.trace()
		if got := rows(tr); got != c.want {
			t.Errorf("%s, want %s", got, c.want)
		}
		told := ""
		for _, e := range tr.Events {
			if e.Name == trace.EventHTTP1Unsolicited {
				told += e.Text
			}
		}
		if told != c.text {
			t.Errorf("%q, want %q", told, c.text)
		}
	}
}

// A body is decoded when it is whole, and what it is not is said.
func TestBodiesAreDecoded(t *testing.T) {
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	fmt.Fprint(z, strings.Repeat("hello ", 1000))
	z.Close()
	coded := func(coding, body string) *talk {
		return begun().out(ask("/")).in(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Encoding: %s\r\nContent-Length: %d\r\n\r\n", coding, len(body))).in(body)
	}
	for _, c := range []struct {
		name string
		talk *talk
		size int64
		code trace.FailureCode
	}{
		{"gzip", coded("gzip", zipped.String()), 6000, ""},
		{"no gzip", coded("gzip", "<html>plain"), 0, trace.FailContentEncoding},
		{"cut gzip", coded("gzip", zipped.String()[:zipped.Len()-9]), 6000, trace.FailContentEncoding},
		{"a coding nobody knows", coded("sdch", "abc"), -1, ""},
		{"bytes that were not captured", coded("gzip", zipped.String()).lose().in("").ack(), -1, ""},
	} {
		x := c.talk.trace().Exchanges[0]
		code := trace.FailureCode("")
		if x.Failure != nil {
			code = x.Failure.Code
		}
		if x.Response == nil || code != c.code || c.code == "" && x.Response.Body.DecodedSize != c.size {
			t.Errorf("%s: %+v, %+v", c.name, x.Response, x.Failure)
		}
	}
}

// Bombs cost no more than a multiple of what a capture is.
func TestBombsAreBounded(t *testing.T) {
	a := New(Limits{})
	a.decoded = freeDecoded
	x := &exchange{}
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	z.Write(make([]byte, 1<<24))
	z.Close()
	for range 3 {
		x.coded = coded{on: true}
		x.coded.add(a, zipped.Bytes())
		if size, err, done := x.coded.decode(a, "gzip"); done {
			t.Errorf("%d bytes, %v", size, err)
		}
		if a.coded != 0 || a.decoded-freeDecoded > a.decodable+1<<16 {
			t.Errorf("%d bytes kept, %d decoded of %d", a.coded, a.decoded-freeDecoded, a.decodable)
		}
	}
}

// What waits to be decoded and will not be is let go of: else no body would be
// decoded any more once they are many.
func TestBodiesWithoutAnEndAreLetGo(t *testing.T) {
	head := "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3000\r\n\r\n"
	part := strings.Repeat("x", 1000)
	begins := func() *talk { return begun().out(ask("/")).in(head).in(part) }
	http2Body := func(end func(*dialogue)) []capture.Record {
		k := newDialogue()
		k.says(capture.Out, k.request(1, endBoth, "/"))
		k.says(capture.In, k.response(1, endHeaders, "200", "content-encoding", "gzip"), k.data(1, 0, part))
		end(k)
		return apart(k.packets)
	}
	for name, list := range map[string][]capture.Record{
		"the end of the connection":         begins().closed().list,
		"a reset":                           begins().send(capture.In, tcp.RST|tcp.ACK, "").list,
		"a gap in the body":                 begins().in(part).lose().in(part).ack().list,
		"a gap behind which another begins": begins().in(strings.Repeat("x", 5000)).lose().in(part).ack().list,
		"the end of the capture":            begins().list,
		"the end of HTTP/2":                 http2Body(func(k *dialogue) { k.leaves(capture.In); k.leaves(capture.Out) }),
		"a reset of HTTP/2":                 http2Body(func(k *dialogue) { k.resets(capture.In) }),
	} {
		a := New(Limits{})
		most := 0
		for _, r := range list {
			a.Add(r)
			most = max(most, a.coded)
		}
		a.End()
		if most == 0 || a.coded != 0 {
			t.Errorf("%s: %d bytes kept, of %d", name, a.coded, most)
		}
	}
}

// Whoever read a response had all of it, whatever of its packets was captured.
func TestWhatWasReadIsWhole(t *testing.T) {
	about := func(d decision.Decision) capture.Record {
		return capture.Record{Time: 1e9, Kind: capture.Decided, Exchange: 1, Socket: 1, Decision: d}
	}
	for _, c := range []struct {
		name string
		talk *talk
		want string
	}{
		{"all", begun().out(ask("/")).in("HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n1234").in("56789abc").ack(), "GET / 200 12"},
		{"but the end", begun().out(ask("/")).in("HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n1234").in("56789abc").lose().ack().closed(), "GET / 200 12 without 8"},
		{"but a chunk's size", begun().out(ask("/")).in("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").in("c\r\n").lose().in("123456789abc\r\n0\r\n\r\n").ack().closed(), "GET / 200 12 without 12"},
		{"but the head", begun().out(ask("/")).in("HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n1234").lose().in("56789abc").ack().closed(), "GET / 200 12 without 12"},
	} {
		a := New(Limits{})
		a.Add(about(&decision.RequestStarted{Method: "GET", Scheme: "http", Authority: "a", Target: "/"}))
		a.Add(about(&decision.SocketBound{Port: 40000}))
		a.Add(about(&decision.RequestBound{}))
		for _, r := range c.talk.list {
			a.Add(r)
		}
		a.Add(about(&decision.BodyRead{Status: 200, Size: 12}))
		a.End()
		if got := rows(a.Trace()); got != c.want {
			t.Errorf("%s was captured: %s, want %s", c.name, got, c.want)
		}
	}
}

// RFC 9112 §3.2 and §3.3: the four forms of a target, and what is none of them.
func TestRFC9112_3_3_TargetURI(t *testing.T) {
	for _, c := range []struct{ line, host, want string }{
		{"GET /a?b=http://c/", "a", "http://a/a?b=http://c/"},
		{"GET http://www.example.com/a", "other", "http://www.example.com/a"},
		{"GET HTTPS://x/", "a", "HTTPS://x/"},
		{"CONNECT www.example.com:443", "a", "www.example.com:443"},
		{"OPTIONS *", "a:8080", "http://a:8080"},
		{"GET /x", "", "http://192.0.2.2/x"},
		{"GET ?q", "a", "http://a?q"},
		{"GET index.html", "a", "index.html"},
	} {
		request := c.line + " HTTP/1.1\r\n"
		if c.host != "" {
			request += "Host: " + c.host + "\r\n"
		}
		tr := begun().out(request + "\r\n").trace()
		if len(tr.Exchanges) != 1 || tr.Exchanges[0].URL != c.want {
			t.Errorf("%s, Host %q: %v, want %s", c.line, c.host, rows(tr), c.want)
		}
	}
}

// The protocol of an exchange is that of its response.
func TestProtocolIsTheResponses(t *testing.T) {
	tr := begun().out(ask("/")).in("HTTP/1.0 200 OK\r\n\r\nhi").closed().trace()
	if x := tr.Exchanges[0]; x.Protocol != trace.ProtocolHTTP10 {
		t.Errorf("%s", x.Protocol)
	}
}

// Cutting any packets out of a capture never gives a response to another's
// request.
func TestNoGapMovesAResponse(t *testing.T) {
	whole := begun()
	for i := range 6 {
		whole.out(ask(fmt.Sprint("/", i)))
		whole.in(fmt.Sprintf("HTTP/1.1 200 OK\r\nX-Of: /%d\r\nContent-Length: 20\r\n\r\n", i)).in(strings.Repeat("x", 20)).ack()
	}
	whole.closed()
	n := len(whole.list)
	for first := range n {
		for length := 1; length <= 7 && first+length <= n; length++ {
			k := &talk{}
			k.list = append(append(k.list, whole.list[:first]...), whole.list[first+length:]...)
			seen := 0
			for _, x := range k.trace().Exchanges {
				if x.Response == nil {
					continue
				}
				for _, h := range x.Response.Headers {
					if h.Name == "X-Of" && x.Method != "" {
						if seen++; !strings.HasSuffix(x.URL, h.Value) {
							t.Errorf("without packets %d to %d: %s answers %s", first, first+length-1, h.Value, x.URL)
						}
					}
				}
			}
			if seen < 6-(length+7)/4-1 {
				t.Errorf("without packets %d to %d: %d responses of 6", first, first+length-1, seen)
			}
		}
	}
}

// Whatever becomes of packets on the way into a capture, no response is given to
// another's request.
func FuzzHTTP1Gaps(f *testing.F) {
	whole := begun()
	for i := range 8 {
		switch i % 4 {
		case 0:
			whole.out(ask(fmt.Sprint("/", i))).in(fmt.Sprintf("HTTP/1.1 200 OK\r\nX-Of: /%d\r\nContent-Length: 20\r\n\r\n", i)).in(strings.Repeat("x", 20)).ack()
		case 1:
			whole.out(fmt.Sprintf("POST /%d HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n", i)).in("HTTP/1.1 100 Continue\r\n\r\n").out("body")
			whole.in(fmt.Sprintf("HTTP/1.1 201 Created\r\nX-Of: /%d\r\nTransfer-Encoding: chunked\r\n\r\n", i)).in("5\r\nhello\r\n").in("0\r\n\r\n")
		case 2:
			whole.out(fmt.Sprintf("HEAD /%d HTTP/1.1\r\nHost: a\r\n\r\n", i)).in(fmt.Sprintf("HTTP/1.1 200 OK\r\nX-Of: /%d\r\nContent-Length: 20\r\n\r\n", i)).ack()
		case 3:
			whole.out(ask(fmt.Sprint("/", i))).in(fmt.Sprintf("HTTP/1.1 304 Not Modified\r\nX-Of: /%d\r\n\r\n", i))
		}
	}
	whole.closed()
	f.Add([]byte{0, 0, 0, 1, 0, 0, 1, 0, 0, 2})
	f.Add([]byte{1, 0, 0, 0, 0, 1, 1, 3, 0, 4, 0, 0, 0, 2})
	f.Fuzz(func(t *testing.T, what []byte) {
		k := &talk{}
		for i, r := range whole.list {
			do := byte(0)
			if i < len(what) {
				do = what[i]
			}
			switch do % 6 {
			case 1: // lost
			case 2: // twice
				k.list = append(k.list, r, r)
			case 3: // before the one before it
				if n := len(k.list); n > 0 {
					last := k.list[n-1]
					last.Time, r.Time = r.Time, last.Time
					k.list = append(k.list[:n-1], r, last)
				}
			case 4: // cut
				r.Data = r.Data[:min(len(r.Data), 40+int(do)/6)]
				k.list = append(k.list, r)
			case 5: // late
				r.Time += 300e6
				k.list = append(k.list, r)
			default:
				k.list = append(k.list, r)
			}
		}
		for _, x := range k.trace().Exchanges {
			if x.Response == nil || x.Method == "" {
				continue
			}
			for _, h := range x.Response.Headers {
				if h.Name == "X-Of" && len(h.Value) > 1 && !strings.HasSuffix(x.URL, h.Value) {
					t.Errorf("%s answers %s", h.Value, x.URL)
				}
			}
		}
	})
}
