package http1

import (
	"strings"
	"testing"
)

const benchRequest = "GET /search?q=abc HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nAccept: text/html,*/*;q=0.8\r\n" +
	"Accept-Language: en\r\nAccept-Encoding: gzip, br\r\nReferer: https://www.example.com/\r\nConnection: keep-alive\r\nCookie: a=b; c=d\r\nDNT: 1\r\nCache-Control: max-age=0\r\n\r\n"
const benchResponse = "HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Fri, 20 Nov 2026 10:00:00 GMT\r\nContent-Type: text/html\r\nContent-Length: 0\r\nLast-Modified: Fri, 20 Nov 2026 09:00:00 GMT\r\n" +
	"Connection: keep-alive\r\nETag: \"abc\"\r\nVary: Accept-Encoding\r\nCache-Control: no-cache\r\nX-Id: 12345\r\n\r\n"

func BenchmarkReadRequest(b *testing.B)  { benchRead(b, ServerRole, benchRequest) }
func BenchmarkReadResponse(b *testing.B) { benchRead(b, ClientRole, benchResponse) }
func BenchmarkReadChunks(b *testing.B) {
	benchRead(b, ClientRole, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"+strings.Repeat("2000\r\n"+strings.Repeat("x", 0x2000)+"\r\n", 16)+"0\r\n\r\n")
}

func benchRead(b *testing.B, role Role, in string) {
	var r Reader
	r.Reset(role, Limits{})
	msg := []byte(in)
	b.ReportAllocs()
	b.SetBytes(int64(len(msg)))
	for b.Loop() {
		if role == ClientRole {
			r.ExpectResponseTo("GET")
		}
		for p := msg; ; {
			ev, n, err := r.Next(p, false)
			if err != nil {
				b.Fatal(err)
			}
			p = p[n:]
			if ev.Kind == End {
				break
			}
		}
	}
}
