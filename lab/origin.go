package lab

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"peel/server"
	"peel/wire/httpfield"
)

const page = `<!doctype html>
<html lang="en"><head><title>Example</title></head>
<body><h1>Example</h1><p>This page is served inside the lab.</p></body></html>
`

var users = `[{"id":1,"name":"Ada Lovelace"},{"id":2,"name":"Grace Hopper"},{"id":3,"name":"Radia Perlman"}]` + "\n"

// limits of what a path may ask for.
const (
	maxBytes = 1 << 30
	maxSlow  = 60_000 // ms
)

// Origin is the handler of the lab's web server: a page, an API, and paths
// that behave in each way a client must know.
func Origin() server.Handler { return server.HandlerFunc(serve) }

func serve(w *server.ResponseWriter, r *server.Request) {
	first, rest, _ := strings.Cut(strings.TrimPrefix(r.Path, "/"), "/")
	n, _ := strconv.ParseInt(rest, 10, 64)
	switch first {
	case "":
		send(w, "text/html; charset=utf-8", page)
	case "api":
		api(w, rest)
	case "redirect":
		to := "/"
		if n > 1 {
			to = fmt.Sprintf("/redirect/%d", n-1)
		}
		w.Header.Add("Location", to)
		w.WriteHeader(302)
	case "redirect-loop":
		w.Header.Add("Location", "/redirect-loop")
		w.WriteHeader(302)
	case "gzip", "br", "zstd", "deflate":
		encoded(w, first)
	case "chunked":
		w.Header.Add("Content-Type", "text/plain")
		for i := range 5 {
			fmt.Fprintf(w, "chunk %d\n", i)
			w.Flush()
		}
	case "trailers":
		w.Header.Add("Trailer", "X-Checksum")
		w.WriteString("with a trailer\n")
		w.Flush()
		w.SetTrailer("X-Checksum", "1234")
	case "bytes":
		zeros(w, min(max(n, 0), maxBytes))
	case "slow":
		select {
		case <-time.After(time.Duration(min(max(n, 0), maxSlow)) * time.Millisecond):
		case <-r.Context().Done():
		}
		send(w, "text/plain", "slow\n")
	case "echo":
		if t := r.Header.Value("Content-Type"); t != "" {
			w.Header.Add("Content-Type", t)
		}
		io.Copy(w, r.Body)
	case "status":
		w.WriteHeader(int(min(max(n, 200), 599)))
	case "cookie":
		w.Header.Add("Set-Cookie", "session=4f3a9c1e; Path=/; HttpOnly; SameSite=Lax")
		send(w, "text/plain", "you sent: "+r.Header.Value("Cookie")+"\n")
	case "basic-auth":
		if r.Header.Value("Authorization") != "Basic dXNlcjpwYXNz" { // user:pass
			w.Header.Add("WWW-Authenticate", `Basic realm="lab"`)
			w.WriteHeader(401)
			return
		}
		send(w, "text/plain", "welcome\n")
	case "early-hints":
		w.WriteInformational(103, httpfield.List{{Name: "Link", Value: "</style.css>; rel=preload"}})
		send(w, "text/html; charset=utf-8", page)
	case "short-body":
		w.Header.Add("Content-Length", "1000")
		w.WriteString("only this")
		w.Flush()
		panic(server.Abort)
	case "close-early":
		panic(server.Abort)
	default:
		w.WriteHeader(404)
		send(w, "application/json", `{"error":"not found"}`+"\n")
	}
}

func send(w *server.ResponseWriter, typ, body string) {
	w.Header.Add("Content-Type", typ)
	w.WriteString(body)
}

func api(w *server.ResponseWriter, path string) {
	if path == "users" {
		w.Header.Add("Cache-Control", "max-age=60")
		send(w, "application/json", users)
		return
	}
	for i, u := range strings.Split(strings.Trim(strings.TrimSpace(users), "[]"), "},") {
		if path == fmt.Sprintf("users/%d", i+1) {
			send(w, "application/json", strings.TrimSuffix(u, "}")+"}\n")
			return
		}
	}
	w.WriteHeader(404)
	send(w, "application/json", `{"error":"no such user"}`+"\n")
}

func encoded(w *server.ResponseWriter, coding string) {
	var b bytes.Buffer
	var z io.WriteCloser
	switch coding {
	case "gzip":
		z = gzip.NewWriter(&b)
	case "br":
		z = brotli.NewWriter(&b)
	case "zstd":
		z, _ = zstd.NewWriter(&b, zstd.WithEncoderConcurrency(1))
	case "deflate":
		z = zlib.NewWriter(&b) // RFC 9110 §8.4.1.2: zlib's format
	}
	io.WriteString(z, strings.Repeat("the same line again and again\n", 200))
	z.Close()
	w.Header.Add("Content-Type", "text/plain")
	w.Header.Add("Content-Encoding", coding)
	w.Write(b.Bytes())
}

func zeros(w *server.ResponseWriter, n int64) {
	w.Header.Add("Content-Type", "application/octet-stream")
	w.Header.Add("Content-Length", strconv.FormatInt(n, 10))
	block := make([]byte, 64<<10)
	for n > 0 {
		k, err := w.Write(block[:min(n, int64(len(block)))])
		if err != nil {
			return
		}
		n -= int64(k)
	}
}
