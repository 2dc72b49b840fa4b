package peel_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"

	"peel"
	"peel/evidence/capture"
	"peel/server"
)

// A request, and what happened on its way. The lab stands for the internet
// here; without it, NewClient is all that is needed.
func ExampleClient() {
	lab, err := peel.NewLab(context.Background(), peel.LabOptions{})
	if err != nil {
		log.Fatal(err)
	}
	defer lab.Close()
	c, err := lab.Client(peel.Options{})
	if err != nil {
		log.Fatal(err)
	}
	resp, err := (&http.Client{Transport: c}).Get("https://www.example.com/")
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		log.Fatal(err)
	}

	t, err := peel.TraceOf(resp)
	if err != nil {
		log.Fatal(err)
	}
	x := t.Exchanges[len(t.Exchanges)-1]
	fmt.Println(x.Method, x.URL, x.Response.Status, "over", x.Protocol)
	fmt.Println("looked up:", t.Lookup(x.Lookup).Name)
	fmt.Println("secured by:", t.Connection(x.Connection).TLS.Version)
	// Each header can be followed down to the bytes that carried it.
	h := x.Response.Headers[0]
	fmt.Println(h.Name, "stands in TLS records:", len(t.Down(*h.Bytes)))
	// Output:
	// GET https://www.example.com/ 200 over HTTP/2
	// looked up: www.example.com
	// secured by: TLS 1.3
	// :status stands in TLS records: 1
}

// What failed, at which layer.
func ExampleError() {
	c, err := peel.NewClient(peel.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	_, err = (&http.Client{Transport: c}).Get("http://127.0.0.1:1/")
	var e *peel.Error
	if errors.As(err, &e) {
		fmt.Println(e.Layer, e.Code)
	}
	for _, f := range c.Trace().Findings {
		fmt.Println(f.ID)
	}
	// Output:
	// tcp connection_refused
	// CONNECT-REFUSED
}

// The requests of a capture file. Its secrets open it; others come from a key
// log, by ReadOptions.KeyLogs.
func ExampleReadFiles() {
	t, err := peel.ReadFiles(context.Background(), peel.ReadOptions{}, "evidence/analyze/testdata/h2.pcapng")
	if err != nil {
		log.Fatal(err)
	}
	for _, x := range t.Exchanges {
		fmt.Println(x.Method, x.URL, x.Response.Status, x.Protocol)
	}
	// Output:
	// POST https://example.com/api/users 200 HTTP/2
	// POST https://example.com/trailers 200 HTTP/2
}

// A recording that is stored as it goes, and read again.
func ExampleRecording() {
	r, err := peel.Record(peel.RecordOptions{Whole: true})
	if err != nil {
		log.Fatal(err)
	}
	var file bytes.Buffer
	if err := r.Store(&file, capture.FileOptions{Secrets: true}); err != nil {
		log.Fatal(err)
	}
	lab, err := peel.NewLab(context.Background(), peel.LabOptions{Recording: r})
	if err != nil {
		log.Fatal(err)
	}
	c, err := lab.Client(peel.Options{})
	if err != nil {
		log.Fatal(err)
	}
	if resp, err := (&http.Client{Transport: c}).Get("http://example.org/"); err == nil {
		resp.Body.Close()
	}
	lab.Close()
	if err := r.Close(); err != nil {
		log.Fatal(err)
	}

	t, err := peel.Read(context.Background(), peel.ReadOptions{}, &file)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(t.Exchanges), "request in the file:", t.Exchanges[0].URL)
	// Output:
	// 1 request in the file: http://example.org/
}

// What came in, as its clients made it.
func ExampleServer() {
	s, err := peel.NewServer(peel.ServeOptions{Handler: server.HandlerFunc(func(w *server.ResponseWriter, r *server.Request) {
		io.WriteString(w, "hello")
	})})
	if err != nil {
		log.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go s.Serve(l)
	if resp, err := http.Get("http://" + l.Addr().String() + "/greeting"); err == nil {
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	s.Close()
	for _, x := range s.Trace().Exchanges {
		fmt.Println(x.Request.Method, x.Request.Target, x.Response.Status, x.Response.Body.WireSize, "bytes")
	}
	// Output:
	// GET /greeting 200 5 bytes
}

// A small internet in this process.
func ExampleLab() {
	lab, err := peel.NewLab(context.Background(), peel.LabOptions{})
	if err != nil {
		log.Fatal(err)
	}
	defer lab.Close()
	c, err := lab.HTTPClient()
	if err != nil {
		log.Fatal(err)
	}
	for _, url := range []string{"https://example.com/", "https://nowhere.example.com/"} {
		if resp, err := c.Get(url); err == nil {
			resp.Body.Close()
		}
	}
	for _, x := range lab.Trace().Exchanges {
		if x.Failure != nil {
			fmt.Println(x.URL, "failed:", x.Failure.Layer, x.Failure.Code)
			continue
		}
		fmt.Println(x.URL, x.Response.Status)
	}
	// Output:
	// https://example.com/ 200
	// https://nowhere.example.com/ failed: dns name_not_found
}
