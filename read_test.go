package peel_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/gob"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"peel"
	"peel/evidence/analyze"
	"peel/evidence/capture"
	"peel/internal/needs"
	"peel/server"
	"peel/trace"
)

const (
	captureH1 = "evidence/analyze/testdata/h1.pcapng"
	captureH2 = "evidence/analyze/testdata/h2.pcapng"
)

func TestReadIsTheSameFromFilesAndReaders(t *testing.T) {
	ctx := context.Background()
	files, err := peel.ReadFiles(ctx, peel.ReadOptions{}, captureH1)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(captureH1)
	if err != nil {
		t.Fatal(err)
	}
	readers, err := peel.Read(ctx, peel.ReadOptions{}, bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if len(files.Exchanges) == 0 || text(t, files) != text(t, readers) {
		t.Error("a file and its bytes give two traces")
	}
	_, err = peel.ReadFiles(ctx, peel.ReadOptions{}, filepath.Join(t.TempDir(), "none"))
	if !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if _, err = peel.Read(ctx, peel.ReadOptions{}, strings.NewReader("no capture at all")); err == nil {
		t.Error("what is no capture was read")
	}
	if _, err = peel.Read(ctx, peel.ReadOptions{}); err == nil {
		t.Error("nothing was read")
	}
	if _, err = peel.ReadFiles(ctx, peel.ReadOptions{Follow: true}, captureH1, captureH2); err == nil {
		t.Error("two files were followed")
	}
}

func TestReadFollowsAFileThatGrows(t *testing.T) {
	b, err := os.ReadFile(captureH1)
	if err != nil {
		t.Fatal(err)
	}
	in, out := io.Pipe()
	go func() {
		out.Write(b[:len(b)/2])
		time.Sleep(20 * time.Millisecond)
		out.Write(b[len(b)/2:])
		out.Close()
	}()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	whole, _ := peel.ReadFiles(ctx, peel.ReadOptions{}, captureH1)
	n := 0
	tr, err := peel.Read(ctx, peel.ReadOptions{Follow: true, OnPacket: func(p *trace.Packet) {
		if n++; n == whole.Account.Packets {
			cancel() // nothing ends it but the context
		}
	}}, in)
	if err != nil || text(t, tr) != text(t, whole) {
		t.Errorf("%d packets: %v", n, err)
	}
}

// record stores what happens when URLs of a lab are fetched.
func record(t *testing.T, urls ...string) (live *trace.Trace, file []byte) {
	t.Helper()
	l, err := peel.NewLab(context.Background(), peel.LabOptions{RecordOptions: peel.RecordOptions{Whole: true}})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := l.Client(peel.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := c.Recording().Store(&b, capture.FileOptions{Secrets: true}); err != nil {
		t.Fatal(err)
	}
	for _, url := range urls {
		if _, err := fetch(&http.Client{Transport: c}, url); err != nil {
			t.Fatal(err)
		}
	}
	c.Close()
	if err := c.Recording().Close(); err != nil {
		t.Fatal(err)
	}
	return c.Trace(), b.Bytes()
}

// What a recording stores gives the same trace as the recording.
func TestStoredRecordingReadsTheSame(t *testing.T) {
	live, file := record(t, "https://www.example.com/")
	read, err := peel.Read(context.Background(), peel.ReadOptions{}, bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	if len(live.Exchanges) != 1 || text(t, live) != text(t, read) {
		t.Errorf("live  %s\nread  %s", text(t, live), text(t, read))
	}
	// Only what is whole is stored.
	r, err := peel.Record(peel.RecordOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if r.Store(io.Discard, capture.FileOptions{}) == nil {
		t.Error("a recording that drops evidence is stored")
	}
}

// Two recordings number their connections and requests alike; read together
// they stay two, and a redirect keeps its own predecessor.
func TestRecordingsReadTogetherStayApart(t *testing.T) {
	one, first := record(t, "http://example.com/", "https://www.example.com/")
	two, second := record(t, "https://example.org/", "http://example.org/redirect/1")
	both, err := peel.Read(context.Background(), peel.ReadOptions{}, bytes.NewReader(first), bytes.NewReader(second))
	if err != nil {
		t.Fatal(err)
	}
	if len(both.Exchanges) != len(one.Exchanges)+len(two.Exchanges) || len(both.Connections) != len(one.Connections)+len(two.Connections) || len(both.Lookups) != len(one.Lookups)+len(two.Lookups) {
		t.Errorf("together %d requests on %d connections with %d lookups", len(both.Exchanges), len(both.Connections), len(both.Lookups))
	}
	for i, x := range append(one.Exchanges, two.Exchanges...) {
		y := both.Exchanges[i]
		if x.URL != y.URL || y.Response == nil || x.Response.Status != y.Response.Status {
			t.Errorf("request %d: %s, and together %s", i+1, x.URL, y.URL)
		}
		if p := both.Exchange(y.Predecessor); x.Predecessor != 0 && (p == nil || p.URL != two.Exchange(x.Predecessor).URL) {
			t.Errorf("%s was led to by %+v", y.URL, p)
		}
	}
}

// With packets the trace goes down to them, and one that is asked for in
// between has those of what is over.
func TestPacketsAreCapturedForLibraryUsersToo(t *testing.T) {
	l, err := peel.NewLab(context.Background(), peel.LabOptions{RecordOptions: peel.RecordOptions{Packets: peel.TryPackets, Limits: analyze.Limits{Packets: 1000}}})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := l.Client(peel.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if why := c.Recording().Blind(); why != nil {
		needs.Missing(t, "packets are not captured: %v", why)
	}
	resp, err := fetch(&http.Client{Transport: c}, "http://example.com/")
	if err != nil {
		t.Fatal(err)
	}
	tr, x := traceOf(t, resp)
	if x.Response == nil || len(tr.Packets) == 0 || tr.Connection(x.Connection).Segments == nil {
		t.Errorf("%d packets, %+v", len(tr.Packets), x)
	}
}

// A server's trace shows the requests that came in as their clients made them.
func TestServerHasATrace(t *testing.T) {
	peer, o := newServer(t, nil)
	for scheme, protocol := range map[string]string{"http": "HTTP/1.1", "https": "HTTP/2"} {
		s, err := peel.NewServer(peel.ServeOptions{TLSConfig: &tls.Config{Certificates: peer.TLS.Certificates},
			Handler: server.HandlerFunc(func(w *server.ResponseWriter, r *server.Request) { io.WriteString(w, "hello") })})
		if err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if scheme == "https" {
			go s.ServeTLS(l)
		} else {
			go s.Serve(l)
		}
		url := scheme + "://" + l.Addr().String() + "/x"
		c := newClient(t, o)
		if _, err := fetch(&http.Client{Transport: c}, url); err != nil {
			t.Fatal(err)
		}
		c.Close()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		tr := s.Trace()
		if len(tr.Exchanges) != 1 || len(tr.Connections) != 1 {
			t.Fatalf("trace: %s", text(t, tr))
		}
		x, conn := tr.Exchanges[0], tr.Connections[0]
		if x.URL != url || string(x.Protocol) != protocol || x.Response == nil || x.Response.Body.WireSize != 5 || conn.RemoteAddr.String() != l.Addr().String() || conn.BytesIn == 0 {
			t.Errorf("trace: %s", text(t, tr))
		}
	}
	if _, err := peel.NewServer(peel.ServeOptions{}); err == nil {
		t.Error("a server without a handler")
	}
}

// What a trace holds stays as it was while more is read, down to what no JSON
// shows: bodies, and the places of their bytes.
func TestTraceStaysWhileReadingGoesOn(t *testing.T) {
	for _, name := range []string{captureH1, captureH2, "evidence/analyze/testdata/h1tls13.pcapng"} {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		r := peel.NewReading(peel.ReadOptions{Limits: analyze.Limits{Packets: 1000, PacketBytes: 1 << 20, Body: 1 << 20}})
		if err := r.Open(context.Background(), f); err != nil {
			t.Fatal(err)
		}
		var traces, copies []*trace.Trace
		for r.Next() {
			tr := r.Trace()
			traces, copies = append(traces, tr), append(copies, clone(t, tr))
		}
		r.Close()
		for i := range traces {
			if now := clone(t, traces[i]); !reflect.DeepEqual(now, copies[i]) {
				t.Fatalf("%s: the trace after record %d changed\nwas %s\nis  %s", name, i+1, text(t, copies[i]), text(t, now))
			}
		}
	}
}

func clone(t *testing.T, tr *trace.Trace) *trace.Trace {
	t.Helper()
	var b bytes.Buffer
	var c trace.Trace
	if err := gob.NewEncoder(&b).Encode(tr); err != nil {
		t.Fatal(err)
	}
	if err := gob.NewDecoder(&b).Decode(&c); err != nil {
		t.Fatal(err)
	}
	return &c
}

func text(t *testing.T, tr *trace.Trace) string {
	t.Helper()
	b, err := json.Marshal(tr)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// What is handed out as it ends is what the trace of the whole has.
func TestReadHandsOutWhatHasEnded(t *testing.T) {
	ctx := context.Background()
	whole, err := peel.ReadFiles(ctx, peel.ReadOptions{}, captureH1, captureH2)
	if err != nil {
		t.Fatal(err)
	}
	var urls []string
	conns := 0
	rest, err := peel.ReadFiles(ctx, peel.ReadOptions{OnEnd: func(p *trace.Trace) {
		for _, x := range p.Exchanges {
			urls = append(urls, x.URL)
		}
		conns += len(p.Connections)
	}}, captureH1, captureH2)
	if err != nil || len(urls) != len(whole.Exchanges) || conns != len(whole.Connections) || len(rest.Exchanges)+len(rest.Connections) != 0 {
		t.Errorf("%q on %d connections, %d and %d left, %v; want %d and %d", urls, conns, len(rest.Exchanges), len(rest.Connections), err, len(whole.Exchanges), len(whole.Connections))
	}
}
