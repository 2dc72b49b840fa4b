package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
	xhttp2 "golang.org/x/net/http2"

	"peel/client"
	"peel/clock"
	"peel/evidence/capture"
	"peel/wire/httpfield"
)

// play is what a process started by measure does.
func play(role, addr, url string, n int, length time.Duration) error {
	kind, name, _ := strings.Cut(role, "-")
	if kind == "serve" {
		return serve(name, addr)
	}
	do, err := requester(name, url, n)
	if err != nil {
		return err
	}
	return drive(do, n, length)
}

// drive keeps n requests in flight and reports the CPU time they took, after
// a warm-up.
func drive(do func() error, n int, length time.Duration) error {
	var count atomic.Int64
	var stop atomic.Bool
	errs := make(chan error, n)
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			for !stop.Load() {
				if err := do(); err != nil {
					errs <- err
					return
				}
				count.Add(1)
			}
		})
	}
	wait := func(d time.Duration) error {
		select {
		case err := <-errs:
			return err
		case <-time.After(d):
			return nil
		}
	}
	if err := wait(length / 4); err != nil {
		return err
	}
	n0, c0, t0 := count.Load(), usage(), time.Now()
	if err := wait(length); err != nil {
		return err
	}
	n1, c1, t1 := count.Load(), usage(), time.Now()
	stop.Store(true)
	report(os.Stdout, int(n1-n0), c1-c0, t1.Sub(t0))
	return nil
}

// requester returns a function that makes one request and reads its body.
func requester(name, url string, n int) (func() error, error) {
	insecure := &tls.Config{InsecureSkipVerify: true}
	switch name {
	case "peel", "peel-bare":
		return peelRequester(name, url, n)
	case "nethttp":
		t := &http.Transport{TLSClientConfig: insecure, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: n, MaxConnsPerHost: 0, DisableCompression: true}
		return stdRequester(t, url), nil
	case "nethttp-h1":
		t := &http.Transport{TLSClientConfig: insecure, TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{}, MaxIdleConnsPerHost: n, DisableCompression: true}
		return stdRequester(t, url), nil
	case "xnet":
		return stdRequester(&xhttp2.Transport{TLSClientConfig: insecure, DisableCompression: true}, url), nil
	case "fasthttp":
		c := &fasthttp.Client{MaxConnsPerHost: n, TLSConfig: insecure, NoDefaultUserAgentHeader: true}
		return func() error {
			req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
			defer fasthttp.ReleaseRequest(req)
			defer fasthttp.ReleaseResponse(resp)
			req.SetRequestURI(url)
			if err := c.Do(req, resp); err != nil {
				return err
			}
			return status(resp.StatusCode())
		}, nil
	}
	return nil, fmt.Errorf("no client %q", name)
}

func status(code int) error {
	if code != 200 {
		return fmt.Errorf("status %d", code)
	}
	return nil
}

func stdRequester(t http.RoundTripper, url string) func() error {
	return func() error {
		req, err := http.NewRequest("GET", url, nil)
		if err != nil {
			return err
		}
		resp, err := t.RoundTrip(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			return err
		}
		return status(resp.StatusCode)
	}
}

// peelRequester asks with peel's client; unless it is bare, everything is
// recorded: stream bytes, secrets and decisions.
func peelRequester(name, url string, n int) (func() error, error) {
	o := client.Options{Insecure: true, MaxConnections: n, MaxIdle: n, Clock: clock.NewReal()}
	if name == "peel" {
		o.Recorder = capture.NewRecorder(o.Clock, capture.Options{Limit: 64 << 20})
	}
	if strings.HasPrefix(url, "https+h1:") {
		url = "https" + strings.TrimPrefix(url, "https+h1")
		o.Version = client.OnlyHTTP1
	}
	c := client.New(o)
	scheme, rest, _ := strings.Cut(url, "://")
	authority, path, _ := strings.Cut(rest, "/")
	host, port, _ := strings.Cut(authority, ":")
	origin := client.Origin{Scheme: scheme, Host: host}
	fmt.Sscanf(port, "%d", &origin.Port)
	header := httpfield.List{{Name: "User-Agent", Value: "bench"}, {Name: "Accept", Value: "*/*"}}
	bufs := sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}
	return func() error {
		resp, err := c.Do(context.Background(), &client.Request{Method: "GET", Origin: origin, Authority: authority, Target: "/" + path, Header: header})
		if err != nil {
			return err
		}
		b := bufs.Get().(*[]byte)
		defer bufs.Put(b)
		for {
			if _, err := resp.Body.Read(*b); err == io.EOF {
				break
			} else if err != nil {
				return err
			}
		}
		resp.Body.Close()
		return status(resp.Status)
	}, nil
}
