package main

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"peel/evidence/explain"
	"peel/internal/needs"
	"peel/trace"
	"peel/wire/http2"
)

// What a server of the tests sends on HTTP/2.

func h2Frame(typ http2.FrameType, flags http2.Flags, stream uint32, payload string) string {
	return string(rawFrame(byte(typ), byte(flags), stream, []byte(payload)))
}

// h2OK is the head of a 200 response on stream 1, with these fields.
func h2OK(fields ...string) string {
	return h2Frame(http2.FrameHeaders, http2.FlagEndHeaders, 1, "\x88"+strings.Join(fields, ""))
}

func h2Literal(name, value string) string {
	return "\x00" + string(rune(len(name))) + name + string(rune(len(value))) + value
}

func h2Data(flags http2.Flags, text string) string { return h2Frame(http2.FrameData, flags, 1, text) }

func h2Numbers(n ...uint32) string { return string(uint32s(n...)) }

func h2Reset(code http2.ErrCode) string {
	return h2Frame(http2.FrameRSTStream, 0, 1, h2Numbers(uint32(code)))
}

func h2GoAway(last uint32, code http2.ErrCode, debug string) string {
	return h2Frame(http2.FrameGoAway, 0, 0, h2Numbers(last, uint32(code))+debug)
}

// answeringHTTP2 is a server that reads a request and then sends these frames.
// It ends the connection then as told.
func answeringHTTP2(t *testing.T, frames string, end func(*net.TCPConn)) (url string) {
	t.Helper()
	return "http://" + listening(t, func(c *net.TCPConn) {
		defer c.Close()
		play(c, []byte(frames))
		end(c)
	}) + "/"
}

// withFindings adds to a trace what is found in it.
func withFindings(tr *trace.Trace) *trace.Trace {
	tr.Findings = append(tr.Findings, explain.Findings(tr)...)
	return tr
}

// Who ended a request on HTTP/2, and how, is said in the same words by the client
// that met it, by its capture, and by the packets alone.
func TestEndsOfHTTP2(t *testing.T) {
	needs.Root(t)
	const again = "try again"
	large := []string{"-H", "X-Large: " + strings.Repeat("x", 9000)}
	for _, c := range []struct {
		name   string
		frames string
		reset  bool
		args   []string
		seen   string // of the first request
		try    string
		id     trace.FindingID
		not    []string
	}{
		{name: "a field of HTTP/1", frames: h2OK(h2Literal("upgrade", "h2,h2c")) + h2Data(http2.FlagEndStream, "hello\n"),
			seen: "the response on stream 1 breaks the rules of HTTP/2: upgrade is a field of HTTP/1 connections (RFC 9113 §8.2.2)", id: "H2-MALFORMED", not: []string{"the server reset"}},
		{name: "upper case", frames: h2OK(h2Literal("Content-Type", "text/plain")) + h2Data(http2.FlagEndStream, "hello\n"),
			seen: `the field name "Content-Type" has upper-case letters`, id: "H2-MALFORMED", not: []string{"the server reset"}},
		{name: "a bad value", frames: h2OK(h2Literal("csp", "a\nb")) + h2Data(http2.FlagEndStream, "hello\n"),
			seen: "the value of csp has control bytes or white space at an end", id: "H2-MALFORMED", not: []string{"the server reset"}},
		{name: "no status", frames: h2Frame(http2.FrameHeaders, http2.FlagEndHeaders|http2.FlagEndStream, 1, h2Literal("a", "b")),
			seen: "a response without :status", id: "H2-MALFORMED"},
		{name: "a body that is too short", frames: h2OK(h2Literal("content-length", "10")) + h2Data(http2.FlagEndStream, "hello\n"),
			seen: "content-length announces 10 bytes, but 6 came", id: "H2-MALFORMED"},
		{name: "a body that is too long", frames: h2OK(h2Literal("content-length", "2")) + h2Data(http2.FlagEndStream, "hello\n"),
			seen: "content-length announces 2 bytes, but 6 came", id: "H2-MALFORMED"},
		{name: "a body of 204", frames: h2Frame(http2.FrameHeaders, http2.FlagEndHeaders, 1, "\x89") + h2Data(http2.FlagEndStream, "body"),
			seen: "a response with status 204 has no body, but 4 bytes came", id: "H2-MALFORMED"},
		{name: "a body of HEAD", frames: h2OK() + h2Data(http2.FlagEndStream, "body"), args: []string{"-I"},
			seen: "the response to HEAD has no body, but 4 bytes came", id: "H2-MALFORMED"},
		{name: "a body before the head", frames: h2Data(http2.FlagEndStream, "hello"),
			seen: "DATA before the response's head", id: "H2-MALFORMED"},
		{name: "a stream that is reset", frames: h2Reset(http2.ErrCodeInternal),
			seen: "the server reset stream 1 with INTERNAL_ERROR", id: "H2-STREAM-RESET"},
		{name: "a stream that is reset in its body", frames: h2OK() + h2Data(0, "part") + h2Reset(http2.ErrCodeInternal),
			seen: "the server reset stream 1 with INTERNAL_ERROR after 4 bytes of body", id: "H2-STREAM-RESET"},
		{name: "a stream that is refused", frames: h2Reset(http2.ErrCodeRefusedStream),
			seen: "the server reset stream 1 with REFUSED_STREAM", try: "did not process the request: try again", id: "H2-STREAM-RESET"},
		{name: "HTTP/1.1 is wanted", frames: h2Reset(http2.ErrCodeHTTP11Required),
			seen: "the server reset stream 1 with HTTP_1_1_REQUIRED", try: "the server wants HTTP/1.1 for this", id: "H2-STREAM-RESET"},
		{name: "GOAWAY before the request was looked at", frames: h2GoAway(0, http2.ErrCodeNo, ""),
			seen: "the server said GOAWAY NO_ERROR, naming 0 as the last stream that it looks at: stream 1 was not processed", try: "that can do no harm", id: "H2-GOAWAY", not: []string{"reset stream", "RST_STREAM"}},
		{name: "GOAWAY and no answer", frames: h2GoAway(1, http2.ErrCodeNo, ""),
			seen: "the server said GOAWAY NO_ERROR and closed the connection before it sent a response on stream 1", try: "is not known", id: "H2-GOAWAY", not: []string{again}},
		{name: "too busy", frames: h2GoAway(0, http2.ErrCodeEnhanceYourCalm, "calm down"),
			seen: `the server said GOAWAY ENHANCE_YOUR_CALM ("calm down"), naming 0 as the last stream that it looks at`, try: "send less at once, or wait", id: "H2-GOAWAY", not: []string{again, "no harm"}},
		{name: "a head that is too large", frames: h2GoAway(1, http2.ErrCodeEnhanceYourCalm, ""), args: large,
			seen: "the server said GOAWAY ENHANCE_YOUR_CALM and closed the connection before it sent a response on stream 1", try: "the request's header fields are 9", id: "H2-GOAWAY", not: []string{again}},
		{name: "an end without an answer",
			seen: "the server closed the connection before it sent a response on stream 1", try: again},
		{name: "an end in the body", frames: h2OK() + h2Data(0, "part"),
			seen: "the server closed the connection after 4 bytes of body", id: "HTTP-TRUNCATED"},
		{name: "a reset without an answer", reset: true, seen: "the connection was reset before it sent a response on stream 1"},
		{name: "a reset in the body", frames: h2OK() + h2Data(0, "part"), reset: true,
			seen: "the connection was reset after 4 bytes of body", id: "HTTP-TRUNCATED"},
		{name: "a header block that is cut", frames: h2Frame(http2.FrameHeaders, http2.FlagEndHeaders, 1, "\xff\xff\xff\xff"),
			seen: "the server broke the protocol: COMPRESSION_ERROR: hpack: block ends within a field", id: "H2-MALFORMED"},
		{name: "a PING of three bytes", frames: h2Frame(http2.FramePing, 0, 0, "abc"),
			seen: "the server broke the protocol: FRAME_SIZE_ERROR: PING of 3 bytes, not 8", id: "H2-MALFORMED"},
		{name: "a stream that nobody opened", frames: h2Frame(http2.FrameData, 0, 7, "abc"),
			seen: "the server broke the protocol: PROTOCOL_ERROR: DATA on stream 7, which is idle", id: "H2-MALFORMED"},
		{name: "a push that was forbidden", frames: h2Frame(http2.FramePushPromise, http2.FlagEndHeaders, 1, h2Numbers(2)+"\x82\x86\x84\x41\x01a") + h2OK() + h2Data(http2.FlagEndStream, "hello\n"),
			seen: "the server broke the protocol: PROTOCOL_ERROR: PUSH_PROMISE, which was not allowed", id: "H2-MALFORMED"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "f.pcapng")
			args := append([]string{"--http2-prior-knowledge", "--pcap", file}, c.args...)
			end := leave
			if c.reset {
				end = soon(reset)
			}
			live := traced(t, append(args, answeringHTTP2(t, c.frames, end))...)
			if live.trace == nil {
				t.Fatal(live.stderr)
			}
			story := unwrapped(live.stderr)
			for _, want := range []string{c.seen, c.try} {
				if !strings.Contains(story, want) {
					t.Errorf("the story does not say %q:\n%s", want, live.stderr)
				}
			}
			for _, not := range c.not {
				if strings.Contains(story, not) {
					t.Errorf("the story says %q:\n%s", not, live.stderr)
				}
			}
			same := func(what string, tr *trace.Trace) {
				t.Helper()
				f, told := tr.Exchanges[0].Failure, live.trace.Exchanges[0].Failure
				if f == nil || told == nil || *f != *told || !strings.Contains(f.Seen, c.seen) {
					t.Errorf("%s: the failure is\n%+v, live\n%+v", what, f, told)
				}
				if got, want := http2Findings(tr), http2Findings(live.trace); !slices.Equal(got, want) {
					t.Errorf("%s: findings\n%s\nlive\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
				}
				if c.id != "" && !slices.ContainsFunc(tr.Findings, func(f *trace.Finding) bool { return f.ID == c.id && len(f.Evidence) > 0 }) {
					t.Errorf("%s: no finding %s with evidence in %v", what, c.id, http2Findings(tr))
				}
			}
			same("live", live.trace)
			same("stored", withFindings(readCapture(t, file, "", nil)))
			stored, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			packets := writeFile(t, "packets.pcapng", packetsAlone(t, stored))
			same("packets alone", withFindings(readCapture(t, packets, "", nil)))
			out, _, _ := runPeel(t, "read", packets)
			for _, not := range c.not {
				if strings.Contains(unwrapped(out), not) {
					t.Errorf("of the packets it says %q:\n%s", not, out)
				}
			}
			if !c.reset && len(live.trace.Exchanges) == 1 && !strings.Contains(unwrapped(out), c.seen) {
				t.Errorf("of the packets it does not say %q:\n%s", c.seen, out)
			}
		})
	}
}

// http2Findings are the findings about HTTP, without the numbers of what they
// are about.
func http2Findings(tr *trace.Trace) (out []string) {
	for _, f := range tr.Findings {
		if strings.HasPrefix(string(f.ID), "H2-") || strings.HasPrefix(string(f.ID), "HTTP-TRUNC") {
			out = append(out, string(f.Severity)+" "+string(f.ID)+": "+f.Title+" "+f.Explanation+" "+f.WhatToDo)
		}
	}
	slices.Sort(out)
	return out
}
