package analyze_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"peel/client"
	"peel/clock"
	"peel/evidence/analyze"
	"peel/evidence/capture"
	"peel/internal/needs"
	"peel/trace"
	"peel/wire/httpfield"
)

// These tests let Wireshark read the same connections as peel does, from
// packets instead of from inside, and compare what both saw.

// sniffer is a tcpdump of one port of the loopback interface.
type sniffer struct {
	cmd  *exec.Cmd
	err  *bufio.Reader
	file string
}

func sniff(t *testing.T, port string) *sniffer {
	t.Helper()
	needs.Tools(t, "tcpdump", "tshark")
	s := &sniffer{file: filepath.Join(t.TempDir(), "packets")}
	s.cmd = exec.Command("tcpdump", "-i", "lo", "-n", "--immediate-mode", "-U", "-B", "32768", "-w", s.file, "tcp port "+port)
	pipe, err := s.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.err = bufio.NewReader(pipe)
	for {
		line, err := s.err.ReadString('\n')
		if strings.Contains(line, "listening on") {
			return s
		}
		if err != nil {
			s.cmd.Wait()
			needs.Missing(t, "tcpdump may not capture: %s", line)
		}
	}
}

// stop ends the capture when everything has arrived.
func (s *sniffer) stop(t *testing.T) {
	t.Helper()
	// The last segments are on their way to the file until it stops growing.
	for last, same := int64(-1), 0; same < 5; time.Sleep(40 * time.Millisecond) {
		size := int64(0)
		if info, err := os.Stat(s.file); err == nil {
			size = info.Size()
		}
		if same++; size != last {
			last, same = size, 0
		}
	}
	s.cmd.Process.Signal(os.Interrupt)
	said, _ := io.ReadAll(s.err)
	if err := s.cmd.Wait(); err != nil {
		t.Fatalf("tcpdump: %v: %s", err, said)
	}
	if m := regexp.MustCompile(`(\d+) packets dropped by kernel`).FindSubmatch(said); m == nil || string(m[1]) != "0" {
		needs.Missing(t, "tcpdump lost packets: %s", said)
	}
}

// packet is what tshark says of one packet: the values of each field asked
// for, in the order of the packet.
type packet struct {
	dir    trace.Direction // as a trace says it
	values map[string][]string
}

// separator stands between the values of a field; no test sends it.
const separator = "\x1f"

func (s *sniffer) dissect(t *testing.T, port, keys string, fields ...string) []packet {
	t.Helper()
	args := []string{"-n", "-r", s.file, "-o", "tls.keylog_file:" + keys, "-o", "tcp.reassemble_out_of_order:TRUE",
		"-d", "tcp.port==" + port + ",tls", "-T", "fields", "-E", "separator=/t", "-E", "aggregator=" + separator, "-e", "tcp.dstport"}
	for _, f := range fields {
		args = append(args, "-e", f)
	}
	cmd := exec.Command("tshark", args...)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("tshark: %v: %s", err, said.Bytes())
	}
	var packets []packet
	for line := range strings.Lines(string(out)) {
		cols := strings.Split(strings.TrimRight(line, "\n"), "\t")
		p := packet{dir: trace.In, values: map[string][]string{}}
		if cols[0] == port {
			p.dir = trace.Out
		}
		for i, f := range fields {
			if i+1 < len(cols) && cols[i+1] != "" {
				p.values[f] = strings.Split(cols[i+1], separator)
			}
		}
		packets = append(packets, p)
	}
	return packets
}

// all gives the values of a field of every packet of a direction.
func all(packets []packet, dir trace.Direction, field string) (out []string) {
	for _, p := range packets {
		if p.dir == dir {
			out = append(out, p.values[field]...)
		}
	}
	return out
}

// watched is a server, a client of it whose doings are captured, and a
// sniffer between them.
type watched struct {
	*client.Client
	server *httptest.Server
	rec    *capture.Recorder
	sniff  *sniffer
	port   string
}

func watch(t *testing.T, version uint16, h2 bool) *watched {
	t.Helper()
	m := http.NewServeMux()
	m.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Method", r.Method)
		w.Header()["X-Twice"] = []string{"one, two", "three"}
		w.Write(b)
	})
	m.HandleFunc("/big", func(w http.ResponseWriter, r *http.Request) { w.Write(make([]byte, 300<<10)) })
	m.HandleFunc("/trailers", func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Trailer", "X-Sum")
		io.WriteString(w, "body")
		w.(http.Flusher).Flush()
		w.Header().Set("X-Sum", r.Trailer.Get("X-Sum")+" back")
	})
	w := &watched{server: httptest.NewUnstartedServer(m)}
	w.server.EnableHTTP2 = h2
	w.server.TLS = &tls.Config{MaxVersion: version}
	w.server.StartTLS()
	t.Cleanup(w.server.Close)
	u, _ := url.Parse(w.server.URL)
	w.port = u.Port()
	w.sniff = sniff(t, w.port)

	roots := x509.NewCertPool()
	roots.AddCert(w.server.Certificate())
	real := clock.NewReal()
	w.rec = capture.NewRecorder(real, capture.Options{})
	w.Client = client.New(client.Options{Clock: real, Recorder: w.rec, Roots: roots})
	t.Cleanup(w.Client.Close)
	return w
}

// do makes a request; a body makes it a POST.
func (w *watched) do(t *testing.T, target, body string, header ...httpfield.Field) {
	t.Helper()
	port, _ := strconv.Atoi(w.port)
	req := &client.Request{Method: "GET", Origin: client.Origin{Scheme: "https", Host: "127.0.0.1", Port: uint16(port)},
		Authority: "127.0.0.1:" + w.port, Target: target, Header: header}
	if body != "" {
		req.Method, req.Body, req.ContentLength = "POST", strings.NewReader(body), int64(len(body))
	}
	if httpfield.List(header).Has("Trailer") {
		req.ContentLength = -1
		req.Trailer = func() httpfield.List { return httpfield.List{{Name: "X-Sum", Value: "42"}} }
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	resp, err := w.Do(ctx, req)
	if err != nil {
		t.Errorf("%s: %v", target, err)
		return
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Errorf("%s: %v", target, err)
	}
	resp.Body.Close()
}

// end closes everything and returns peel's trace and tshark's key log.
func (w *watched) end(t *testing.T) (tr *trace.Trace, keys string) {
	t.Helper()
	w.Client.Close()
	w.server.Close() // waits for the connections
	w.sniff.stop(t)
	var log bytes.Buffer
	a := analyze.New(analyze.Limits{DataEvents: 1 << 20})
	for c := w.rec.Cursor(); ; {
		r, ok := c.Next(false)
		if !ok {
			break
		}
		if r.Kind == capture.Secret {
			log.Write(append(bytes.Clone(r.Data), '\n'))
		}
		a.Add(r)
	}
	keys = filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(keys, log.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return a.Trace(), keys
}

// handshakeNumbers are the IANA numbers of the messages, written down here
// once more so that the test does not believe the code.
var handshakeNumbers = map[string]string{"ClientHello": "1", "ServerHello": "2", "NewSessionTicket": "4", "EncryptedExtensions": "8",
	"Certificate": "11", "ServerKeyExchange": "12", "ServerHelloDone": "14", "CertificateVerify": "15", "ClientKeyExchange": "16", "Finished": "20"}

func compareHandshake(t *testing.T, tr *trace.Trace, packets []packet) {
	t.Helper()
	for _, dir := range []trace.Direction{trace.Out, trace.In} {
		var types, lengths []string
		for _, c := range tr.Connections {
			if c.TLS == nil {
				continue
			}
			for _, m := range c.TLS.Messages {
				if m.Direction == dir {
					types, lengths = append(types, handshakeNumbers[m.Type]), append(lengths, strconv.Itoa(m.Size-4))
				}
			}
		}
		if want := all(packets, dir, "tls.handshake.type"); !reflect.DeepEqual(types, want) || len(want) == 0 {
			t.Errorf("handshake messages %s: peel saw %q, tshark %q", dir, types, want)
		}
		if want := all(packets, dir, "tls.handshake.length"); !reflect.DeepEqual(lengths, want) {
			t.Errorf("lengths of handshake messages %s: peel saw %q, tshark %q", dir, lengths, want)
		}
	}
}

func lines(h []trace.Header) (out []string) {
	for _, f := range h {
		out = append(out, f.Name+": "+f.Value)
	}
	return out
}

func TestTsharkSeesTheSameHTTP2OverTLS13(t *testing.T) {
	w := watch(t, tls.VersionTLS13, true)
	w.do(t, "/echo?q=1", "")
	w.do(t, "/echo", strings.Repeat("a body that is posted ", 5000))
	w.do(t, "/trailers", "with a trailer", httpfield.Field{Name: "Trailer", Value: "X-Sum"})
	var parallel sync.WaitGroup
	for i := range 8 {
		parallel.Go(func() { w.do(t, "/big", "", httpfield.Field{Name: "X-Number", Value: strconv.Itoa(i)}) })
		parallel.Go(func() {
			w.do(t, "/echo", strings.Repeat("x", 1000*i+1), httpfield.Field{Name: "Cookie", Value: "a=1; b=2"})
		})
	}
	parallel.Wait()
	tr, keys := w.end(t)
	packets := w.sniff.dissect(t, w.port, keys, "tls.handshake.type", "tls.handshake.length", "tls.handshake.ciphersuite",
		"http2.type", "http2.streamid", "http2.length", "http2.flags", "http2.header.count", "http2.header.name", "http2.header.value")
	compareHandshake(t, tr, packets)

	for _, dir := range []trace.Direction{trace.Out, trace.In} {
		var frames []string
		for _, e := range tr.Events {
			if e.Layer == trace.LayerHTTP2 && e.Direction == dir && e.Name != "http2.preface" {
				frames = append(frames, fmt.Sprintf("type %d stream %d length %d flags 0x%02x", e.Raw[3], e.Stream, e.RawLength-9, e.Raw[4]))
			}
		}
		typ, id, size, flags := all(packets, dir, "http2.type"), all(packets, dir, "http2.streamid"), all(packets, dir, "http2.length"), all(packets, dir, "http2.flags")
		if len(id) != len(typ) || len(size) != len(typ) || len(flags) != len(typ) {
			t.Fatalf("tshark names %d types, %d streams, %d lengths, %d flags", len(typ), len(id), len(size), len(flags))
		}
		var want []string
		for i := range typ {
			want = append(want, fmt.Sprintf("type %s stream %s length %s flags %s", typ[i], id[i], size[i], flags[i]))
		}
		differ(t, "frames "+string(dir), frames, want)
		t.Logf("%d frames %s", len(frames), dir)
	}

	// Header lists, by stream and direction: head, then trailers.
	got := map[string][][]string{}
	for _, x := range tr.Exchanges {
		out, in := fmt.Sprint("out ", x.Stream), fmt.Sprint("in ", x.Stream)
		got[out] = append(got[out], lines(x.Request.Headers))
		if x.Request.Trailers != nil {
			got[out] = append(got[out], lines(x.Request.Trailers))
		}
		if x.Response != nil {
			got[in] = append(got[in], lines(x.Response.Headers))
			if x.Response.Trailers != nil {
				got[in] = append(got[in], lines(x.Response.Trailers))
			}
		}
	}
	want := map[string][][]string{}
	for _, p := range packets {
		names, values := p.values["http2.header.name"], p.values["http2.header.value"]
		counts := p.values["http2.header.count"]
		for i, typ := range p.values["http2.type"] {
			if typ != "1" {
				continue
			}
			n, _ := strconv.Atoi(counts[0])
			counts = counts[1:]
			var list []string
			for range n {
				list = append(list, names[0]+": "+values[0])
				names, values = names[1:], values[1:]
			}
			key := string(p.dir) + " " + p.values["http2.streamid"][i]
			want[key] = append(want[key], list)
		}
	}
	for key := range want {
		if !reflect.DeepEqual(got[key], want[key]) {
			t.Errorf("headers %s:\n   peel %q\n tshark %q", key, got[key], want[key])
		}
	}
	if len(got) != len(want) || len(want) != 2*19 {
		t.Errorf("peel saw %d heads, tshark %d, 38 were sent", len(got), len(want))
	}
}

func TestTsharkSeesTheSameHTTP1OverTLS12(t *testing.T) {
	w := watch(t, tls.VersionTLS12, false)
	w.do(t, "/echo?q=1", "", httpfield.Field{Name: "x-Case", Value: "kept"}, httpfield.Field{Name: "Accept", Value: "a, b"})
	w.do(t, "/echo", strings.Repeat("a body that is posted ", 5000))
	w.do(t, "/big", "")
	w.do(t, "/trailers", "with a trailer", httpfield.Field{Name: "Trailer", Value: "X-Sum"})
	tr, keys := w.end(t)
	packets := w.sniff.dissect(t, w.port, keys, "tls.handshake.type", "tls.handshake.length", "http.request.method", "http.request.uri",
		"http.request.line", "http.response.code", "http.response.phrase", "http.response.line", "http.chunked_trailer_part")
	compareHandshake(t, tr, packets)

	var start, sent, received []string
	for _, x := range tr.Exchanges {
		start = append(start, x.Method+" "+x.Request.Target)
		sent = append(sent, lines(x.Request.Headers)...)
		sent = append(sent, lines(x.Request.Trailers)...)
		received = append(received, fmt.Sprint(x.Response.Status, " ", x.Response.Reason))
		received = append(received, lines(x.Response.Headers)...)
		received = append(received, lines(x.Response.Trailers)...)
	}
	var wantStart, wantSent, wantReceived []string
	for _, p := range packets {
		if m := p.values["http.request.method"]; m != nil {
			wantStart = append(wantStart, m[0]+" "+p.values["http.request.uri"][0])
		}
		wantSent = append(wantSent, fieldLines(p.values["http.request.line"])...)
		if c := p.values["http.response.code"]; c != nil {
			wantReceived = append(wantReceived, c[0]+" "+p.values["http.response.phrase"][0])
		}
		wantReceived = append(wantReceived, fieldLines(p.values["http.response.line"])...)
		trailer := fieldLines(p.values["http.chunked_trailer_part"])
		if p.dir == trace.Out {
			wantSent = append(wantSent, trailer...)
		} else {
			wantReceived = append(wantReceived, trailer...)
		}
	}
	differ(t, "requests", start, wantStart)
	differ(t, "request fields", sent, wantSent)
	differ(t, "responses", received, wantReceived)
}

// fieldLines removes the line ends, which tshark shows as escapes.
func fieldLines(in []string) (out []string) {
	for _, l := range in {
		out = append(out, strings.TrimSuffix(strings.TrimSpace(l), `\r\n`))
	}
	return out
}

// differ compares two lists and tells of the first difference.
func differ(t *testing.T, what string, peel, tshark []string) {
	t.Helper()
	for i := range max(len(peel), len(tshark)) {
		a, b := "nothing", "nothing"
		if i < len(peel) {
			a = peel[i]
		}
		if i < len(tshark) {
			b = tshark[i]
		}
		if a != b {
			t.Errorf("%s: number %d: peel saw %q, tshark %q (%d and %d in all)", what, i, a, b, len(peel), len(tshark))
			return
		}
	}
	if len(tshark) == 0 {
		t.Errorf("%s: tshark saw nothing", what)
	}
}
