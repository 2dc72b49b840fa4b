package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"peel/evidence/capture"
	"peel/evidence/explain"
	"peel/internal/needs"
	"peel/trace"
)

// What a person is told of captures in which HTTP/1 is not as it should be.
func TestReadTellsWhatIsWrongWithHTTP1(t *testing.T) {
	for _, c := range []struct {
		file string
		says []string
		not  string
	}{
		{"chunk-size-invalid", []string{"200 OK", "HTTP-MALFORMED", "after 0 bytes of body: at byte 47:", `" f" is not a chunk size`}, "HTTP-TRUNCATED"},
		{"empty-reply", []string{"GET http://a.example/", "the server closed the connection before it sent a response", "HTTP-EMPTY-REPLY"}, "no response seen"},
		{"gzip-mislabelled", []string{"200 OK", "HTTP-ENCODING", "gzip: invalid header"}, ""},
		{"request-space-in-target", []string{"GET http://a.example/a b", "400 Bad Request", "HTTP-MALFORMED", "at byte 7:", "This one answered 400"}, "without a request"},
		{"request-two-content-lengths", []string{"POST http://a.example/", "400 Bad Request", "HTTP-MALFORMED", "two different Content-Length: 2 and 3"}, "without a request"},
		{"url-absolute-doubled", []string{"GET http://www.example.com/a\n"}, ""},
		{"url-connect-doubled", []string{"CONNECT www.example.com:443\n"}, ""},
		{"first-response-missing", []string{"1 none", "2 200", "10 200", "CAPTURE-GAP", "HTTP-NOT-CAPTURED", "the capture lacks 1 response"}, "failed"},
		{"gap-then-more-requests", []string{"1 200", "2 200", "3 none", "4 200", "10 200", "the capture lacks 1 response"}, "failed"},
	} {
		r := plain(t, "read", filepath.Join(testdata(t), "captures", c.file+".pcap"))
		text := unwrapped(r.stdout)
		for _, s := range c.says {
			if !strings.Contains(text, s) && !strings.Contains(unfolded(text), s) {
				t.Errorf("%s does not tell %q:\n%s", c.file, s, r.stdout)
			}
		}
		if c.not != "" && strings.Contains(text, c.not) {
			t.Errorf("%s tells %q:\n%s", c.file, c.not, r.stdout)
		}
	}
}

// What fails while peel asks fails in the same words in the file that it keeps,
// and when the packets of that file are all that is known.
func TestHTTP1FailuresLiveAndRead(t *testing.T) {
	needs.Root(t)
	reset := func(c net.Conn) { reset(c.(*net.TCPConn)) }
	slow := func(first string, then func(net.Conn)) func(net.Conn) {
		return func(c net.Conn) {
			fmt.Fprint(c, first)
			time.Sleep(50 * time.Millisecond)
			then(c)
		}
	}
	const ok = "HTTP/1.1 200 OK\r\n"
	for _, c := range []struct {
		name  string
		serve func(net.Conn)
		code  trace.FailureCode
		id    trace.FindingID
	}{
		{"nothing", func(net.Conn) {}, trace.FailClosedEarly, explain.HTTPEmptyReply},
		{"a reset", reset, trace.FailReset, explain.HTTPReset},
		{"a reset in the body", slow(ok+"Content-Length: 9\r\n\r\nabc", reset), trace.FailReset, explain.HTTPTruncated},
		{"half a head", says(ok + "Content-"), trace.FailMalformedResponse, explain.HTTPMalformed},
		{"half a body", says(ok + "Content-Length: 9\r\n\r\nabc"), trace.FailBodyTruncated, explain.HTTPTruncated},
		{"half of the chunks", says(ok + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"), trace.FailBodyTruncated, explain.HTTPTruncated},
		{"a chunk of no size", says(ok + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n0\r\n\r\n"), trace.FailMalformedBody, explain.HTTPMalformed},
		{"a negative length", says(ok + "Content-Length: -5\r\n\r\nabc"), trace.FailMalformedResponse, explain.HTTPMalformed},
		{"a head without end", says(ok + "X: " + strings.Repeat("a", 100_000) + "\r\n\r\n"), trace.FailHeadTooLarge, explain.HTTPMalformed},
		{"SSH", says("SSH-2.0-OpenSSH_9.2\r\n"), trace.FailNotHTTP, explain.HTTPNotHTTP},
		{"TLS", says("\x15\x03\x01\x00\x02\x02\x0a"), trace.FailNotHTTP, explain.HTTPNotHTTP},
		{"HTTP/2", says("\x00\x00\x00\x04\x00\x00\x00\x00\x00"), trace.FailNotHTTP, explain.HTTPNotHTTP},
		{"no gzip", says(ok + "Content-Encoding: gzip\r\nContent-Length: 9\r\n\r\nnot gzip!"), trace.FailContentEncoding, explain.HTTPEncoding},
		{"gzip that is not said", says(ok + "Content-Type: text/html\r\nContent-Length: 10\r\n\r\n\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03"), "", explain.HTTPEncoding},
		{"a body behind 204", says("HTTP/1.1 204 No Content\r\n\r\nhello"), "", explain.HTTPDesync},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "f.pcapng")
			live := traced(t, "--packets=on", "-o", os.DevNull, "--pcap", file, answering(t, c.serve)).trace
			read := withFindings(readCapture(t, file, "", nil))
			alone := withFindings(readCapture(t, file, "", func(list []capture.Record) []capture.Record {
				return slices.DeleteFunc(list, func(r capture.Record) bool { return r.Kind == capture.Decided })
			}))
			want := ""
			for _, of := range []struct {
				name string
				tr   *trace.Trace
			}{{"live", live}, {"read", read}, {"packets alone", alone}} {
				if len(of.tr.Exchanges) != 1 {
					t.Fatalf("%s: %d requests", of.name, len(of.tr.Exchanges))
				}
				x := of.tr.Exchanges[0]
				told := "no failure"
				if f := x.Failure; f != nil {
					told = fmt.Sprintf("%s %s; %s", f.Code, f.Seen, f.Try)
					if f.Code != c.code {
						t.Errorf("%s: %s, want %s", of.name, f.Code, c.code)
					}
				} else if c.code != "" {
					t.Errorf("%s: no failure, want %s", of.name, c.code)
				}
				found := false
				for _, f := range of.tr.Findings {
					told += fmt.Sprintf("\n%s %s", f.ID, f.Title)
					if found = found || f.ID == c.id; f.ID == c.id && (f.Exchange != x.ID || len(f.Evidence) == 0) {
						t.Errorf("%s: %s names request %d, evidence %v", of.name, f.ID, f.Exchange, f.Evidence)
					}
				}
				if !found {
					t.Errorf("%s: no %s:\n%s", of.name, c.id, told)
				}
				if want == "" {
					want = told
				} else if told != want {
					t.Errorf("%s:\n%s\nlive:\n%s", of.name, told, want)
				}
			}
		})
	}
}

// An old server's version is the headline's, whatever it was asked in.
func TestHeadlineIsTheResponsesVersion(t *testing.T) {
	r := traced(t, answering(t, says("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi")))
	if !strings.Contains(r.stderr, "200 OK  HTTP/1.0  2 B") {
		t.Errorf("%s", r.stderr)
	}
}
