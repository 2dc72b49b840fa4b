package failure

import (
	"strings"
	"testing"

	"peel/trace"
)

// What answers instead of HTTP is named for what it is, and what helps.
func TestAnswersThatAreNotHTTP(t *testing.T) {
	for _, c := range []struct{ first, seen, try string }{
		{"SSH-2.0-OpenSSH_9.2\r\n", `an SSH server answers, "SSH-2.0-OpenSSH_9.2"`, "SSH client"},
		{"\x15\x03\x01\x00\x02\x02\x28", "a TLS alert, handshake_failure(40): this port expects TLS", "https://"},
		{"\x15\x03", "begins with", "HTTP server?"},
		{"\x16\x03\x03garbage", "this port speaks TLS", "https://"},
		{"\x00\x00\x12\x04\x00\x00\x00\x00\x00", "an HTTP/2 SETTINGS frame", "HTTP/2"},
		{"220 mail.example ESMTP ready\r\n", `"220 mail.example ESMTP ready"`, "port"},
		{"+OK ready\r\n", "POP3", "port"},
		{"* OK ready\r\n", "IMAP", "port"},
		{"ICY 200 OK\r\n", "SHOUTcast", "player"},
		{"http/1.1 200 OK\r\n", `it begins with "http/1.1 200 OK"`, "server"},
		{"<html>", `a body without a head, as HTTP/0.9 had it; it begins with "<html>"`, "HTTP server?"},
		{"", `it begins with ""`, "HTTP server?"},
	} {
		f := NotHTTP([]byte(c.first))
		if f.Code != trace.FailNotHTTP || !strings.Contains(f.Seen, c.seen) || !strings.Contains(f.Try, c.try) {
			t.Errorf("%q: %+v", c.first, f)
		}
	}
}
