package peel_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"peel"
	"peel/clock"
	"peel/evidence/capture"
	"peel/trace"
)

// fetch makes a request and reads the body to its end.
func fetch(hc *http.Client, url string) (*http.Response, error) {
	resp, err := hc.Get(url)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp, err
}

// fetchMany makes n requests at the same time, each for a URL of its own, and
// tells check of each response.
func fetchMany(t *testing.T, c *peel.Client, base string, n int, check func(url string, resp *http.Response)) {
	t.Helper()
	hc := &http.Client{Transport: c}
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			url := fmt.Sprintf("%s/unique/%d", base, i)
			resp, err := fetch(hc, url)
			if err != nil {
				t.Error(err)
				return
			}
			check(url, resp)
		})
	}
	all.Wait()
}

// Numbers of exchanges are given out before anything is recorded, so under
// load they appear in another order than that of the numbers.
func TestEachResponseHasItsOwnTrace(t *testing.T) {
	for _, version := range []string{"HTTP/2", "HTTP/1.1"} {
		t.Run(version, func(t *testing.T) {
			s, o := newServer(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.URL.Path) })
			if version == "HTTP/1.1" {
				o.Version = onlyHTTP1
			}
			c := newClient(t, o)
			fetchMany(t, c, s.URL, 400, func(url string, resp *http.Response) {
				tr, err := peel.TraceOf(resp)
				if err != nil {
					t.Error(err)
				} else if x := tr.Exchanges[len(tr.Exchanges)-1]; x.URL != url || x.Response == nil || x.Response.Status != 200 || string(x.Protocol) != version {
					t.Errorf("the trace of %s is of %s: %+v", url, x.URL, x.Response)
				}
			})
		})
	}
}

// When the recorder overflows, a trace is of its own exchange and says what
// was dropped, or there is none and the error says so.
func TestDroppedEvidenceIsToldAndNeverMistaken(t *testing.T) {
	large := strings.Repeat("x", 40_000)
	for _, version := range []string{"HTTP/2", "HTTP/1.1", "HTTP/1.1 in clear"} {
		t.Run(version, func(t *testing.T) {
			handler := func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("X-Path", r.URL.Path)
				io.WriteString(w, large)
			}
			s, o := newServer(t, handler)
			base := s.URL
			switch version {
			case "HTTP/1.1":
				o.Version = onlyHTTP1
			case "HTTP/1.1 in clear":
				base = newClearServer(t, handler)
			}
			o.Evidence = 1 // as little as there can be
			c := newClient(t, o)
			var own, none atomic.Int64
			check := func(url string, resp *http.Response) {
				tr, err := peel.TraceOf(resp)
				switch {
				case errors.Is(err, peel.ErrNoEvidence):
					none.Add(1)
					if len(tr.Exchanges) != 0 || !found(tr, "CAPTURE-LOSS") {
						t.Errorf("%s: no evidence, and %+v", url, tr.Findings)
					}
				case err != nil:
					t.Error(err)
				default:
					own.Add(1)
					x := tr.Exchanges[len(tr.Exchanges)-1]
					if x.URL != url && (x.URL != "" || !found(tr, "CAPTURE-LOSS")) {
						t.Errorf("the trace of %s is of %s", url, x.URL)
					}
					if p := pathOf(x); p != "" && !strings.HasSuffix(url, p) {
						t.Errorf("the trace of %s has the response for %s", url, p)
					}
					if x.Response == nil && !found(tr, "CAPTURE-LOSS") {
						t.Errorf("%s has no response, and nothing says why", url)
					}
				}
			}
			var responses sync.Map
			fetchMany(t, c, base, 200, check) // evidence is lost between traces
			for range 2 {                     // and before the first of them; connections are used again after it
				fetchMany(t, c, base, 200, func(url string, resp *http.Response) { responses.Store(resp, url) })
				responses.Range(func(resp, url any) bool { check(url.(string), resp.(*http.Response)); return true })
			}
			if tr := c.Trace(); !found(tr, "CAPTURE-LOSS") {
				t.Error("evidence was dropped, and nothing says so")
			}
			t.Logf("%d with a trace of their own, %d without", own.Load(), none.Load())
		})
	}
}

func found(tr *trace.Trace, id string) bool {
	for _, f := range tr.Findings {
		if string(f.ID) == id {
			return true
		}
	}
	return false
}

// pathOf is the path that a response says it is for.
func pathOf(x *trace.Exchange) string {
	if x.Response != nil {
		for _, h := range x.Response.Headers {
			if strings.EqualFold(h.Name, "X-Path") {
				return h.Value
			}
		}
	}
	return ""
}

// A client's timeout wraps the body, and redirects are several exchanges.
func TestTraceOfThroughHTTPClient(t *testing.T) {
	s, o := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		if n := len(r.URL.Path); n < 4 {
			http.Redirect(w, r, r.URL.Path+"x", http.StatusFound)
		}
	})
	c := newClient(t, o)
	resp, err := fetch(&http.Client{Transport: c, Timeout: patience}, s.URL+"/")
	if err != nil {
		t.Fatal(err)
	}
	tr, last := traceOf(t, resp)
	var urls []string
	for _, x := range tr.Exchanges {
		urls = append(urls, strings.TrimPrefix(x.URL, s.URL))
	}
	if got := strings.Join(urls, " "); got != "/ /x /xx /xxx" || last.Cause != "redirect" {
		t.Errorf("%s, the last by %q", got, last.Cause)
	}
}

// A request that a dead connection swallowed is sent again; both attempts are
// in the trace.
func TestTraceOfARepeatedRequest(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			b := bufio.NewReader(nc)
			if r, err := http.ReadRequest(b); err == nil {
				io.WriteString(nc, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
				if r.URL.Path == "/first" {
					http.ReadRequest(b) // and no answer
				}
			}
			nc.Close()
		}
	}()
	hc := &http.Client{Transport: newClient(t, peel.Options{})}
	base := "http://" + l.Addr().String()
	if _, err := fetch(hc, base+"/first"); err != nil {
		t.Fatal(err)
	}
	resp, err := fetch(hc, base+"/second")
	if err != nil {
		t.Fatal(err)
	}
	tr, x := traceOf(t, resp)
	if len(tr.Exchanges) != 2 || x.Cause != "retry" || x.Predecessor != tr.Exchanges[0].ID || tr.Exchanges[0].Failure == nil || x.URL != base+"/second" {
		t.Errorf("%d exchanges, the last %+v", len(tr.Exchanges), x)
	}
}

func TestTraceOfPastTheLimit(t *testing.T) {
	s, o := newServer(t, func(http.ResponseWriter, *http.Request) {})
	o.Limits.Exchanges = 1
	hc := &http.Client{Transport: newClient(t, o)}
	for i := range 2 {
		resp, err := fetch(hc, s.URL)
		if err != nil {
			t.Fatal(err)
		}
		tr, err := peel.TraceOf(resp)
		if cut := i > 0; cut != errors.Is(err, peel.ErrNoEvidence) || cut != found(tr, "TRACE-CUT") {
			t.Errorf("request %d: %v, %+v", i, err, tr.Findings)
		}
	}
}

// A trace that was returned does not change while requests go on: the race
// detector looks on, and its JSON stays the same.
func TestTracesCanBeReadWhileRequestsRun(t *testing.T) {
	handler := func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Length", strconv.Itoa(4*len(b)))
		for range 4 {
			w.Write(b)
			w.(http.Flusher).Flush()
			time.Sleep(time.Millisecond)
		}
	}
	s, o := newServer(t, handler)
	urls := []string{s.URL, newClearServer(t, handler)}
	for _, whole := range []bool{false, true} {
		o.Whole = whole
		o.Limits.Body = 1 << 16
		c := newClient(t, o)
		done := make(chan struct{})
		var reading sync.WaitGroup
		reading.Go(func() {
			var before *trace.Trace
			var was []byte
			var copied *trace.Trace
			for {
				tr := c.Trace()
				b, err := json.Marshal(tr)
				if err != nil {
					t.Error(err)
				}
				if before != nil {
					if now, _ := json.Marshal(before); string(now) != string(was) || !reflect.DeepEqual(clone(t, before), copied) {
						t.Error("a trace changed after it was returned")
					}
				}
				before, was, copied = tr, b, clone(t, tr)
				for _, x := range tr.Exchanges {
					if x.Response != nil {
						_ = string(x.Response.Body.Content)
						for _, p := range x.Response.Body.Pieces {
							tr.Down(p.Bytes)
						}
					}
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
		hc := &http.Client{Transport: c}
		var sending sync.WaitGroup
		for range 4 {
			sending.Go(func() {
				for i := range 16 {
					resp, err := hc.Post(urls[i%2], "text/plain", strings.NewReader(strings.Repeat("y", 5000)))
					if err != nil {
						t.Error(err)
						return
					}
					io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
			})
		}
		sending.Wait()
		close(done)
		reading.Wait()
		if tr := c.Trace(); len(tr.Exchanges) != 64 || found(tr, "CAPTURE-LOSS") {
			t.Errorf("%d exchanges", len(tr.Exchanges))
		}
	}
}

func TestOptionsThatContradictEachOther(t *testing.T) {
	rec := capture.NewRecorder(clock.NewReal(), capture.Options{})
	recording, err := peel.Record(peel.RecordOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer recording.Close()
	with := func(change func(*peel.Options)) peel.Options {
		var o peel.Options
		change(&o)
		return o
	}
	for name, o := range map[string]peel.Options{
		"Evidence":  with(func(o *peel.Options) { o.Recorder, o.Evidence = rec, 1<<20 }),
		"Clock":     with(func(o *peel.Options) { o.Recorder, o.Clock = rec, clock.NewReal() }),
		"Whole":     with(func(o *peel.Options) { o.Recorder, o.Whole = rec, true }),
		"Packets":   with(func(o *peel.Options) { o.Recorder, o.Packets = rec, peel.TryPackets }),
		"Recording": with(func(o *peel.Options) { o.Recording, o.Evidence = recording, 1<<20 }),
		"0 or more": with(func(o *peel.Options) { o.Evidence = -1 }),
	} {
		if _, err := peel.NewClient(o); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The recorder's clock is the client's.
	c := newClient(t, with(func(o *peel.Options) { o.Recorder = rec }))
	if c.Recording().Clock() != rec.Clock() {
		t.Error("the client has another clock than its recorder")
	}
}
