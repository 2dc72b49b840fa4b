package main

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"peel/dns"
	"peel/internal/pki"
	"peel/wire/icmp"
)

// Gaps that several cases have.
const (
	noVerdict = "the alert says that the certificate is not taken, and not why: what is wrong with it to see is told beside"
	noFailure = "what answers the preface is no HTTP/2, and no exchange is made of it"
	noICMP    = "that the query was rejected is told in the words of ICMP, not in those of the socket's error"
	noLookup  = "that no connection over TCP came about is no failure of the lookup"
	noRetry   = "that the second request is the first again, only its sender knows"
	tooSoon   = "the capture ends with the wait: whether an answer was to come, it does not show"
	oneLimit  = "how long to wait is the client's own affair"
)

const (
	okLine  = "HTTP/1.1 200 OK\r\n"
	day     = 24 * time.Hour
	oneName = "nameserver 127.0.0.53\noptions timeout:1 attempts:1\n"
)

var wwwName = dns.MustName("www.peel.test.")

func address(n dns.Name, a ...byte) dns.Resource {
	typ := dns.TypeA
	if len(a) == 16 {
		typ = dns.TypeAAAA
	}
	return dns.Resource{Name: n, Type: typ, Class: dns.ClassIN, TTL: 60, Data: string(a)}
}

func nameServer(answer func(*dns.Message) []byte) map[string]func(*dns.Message) []byte {
	return map[string]func(*dns.Message) []byte{"127.0.0.53": answer}
}

var failings = []failing{
	// Connections.
	{name: "refused", is: "connection_refused", meet: func(t *testing.T) scene { return with("http://127.0.0.1:" + freePort(t) + "/") }},
	{name: "rejected by port", is: "tcp", meet: beyond(rejected(icmp.PortUnreachable4))},
	{name: "rejected by a firewall", is: "tcp", meet: beyond(rejected(icmp.Prohibited4))},
	{name: "host unreachable", is: "unreachable", meet: beyond(rejected(icmp.HostUnreachable4))},
	{name: "network unreachable", is: "unreachable", meet: beyond(rejected(icmp.NetUnreachable4))},
	{name: "SYN unanswered", is: "CONNECT-TIMEOUT", meet: beyond(func([]byte) []byte { return nil }, "--connect-timeout", "1.5"), otherwise: oneLimit},
	{name: "IPv6 refused, IPv4 not", is: "CONNECT-ONE-FAMILY", meet: func(t *testing.T) scene {
		addr := listening(t, func(c *net.TCPConn) {
			readHead(c)
			c.Write([]byte(okLine + "Content-Length: 2\r\nConnection: close\r\n\r\nok"))
			leave(c)
		})
		_, port, _ := net.SplitHostPort(addr)
		return with("--resolve", "peel.test:"+port+":[::1],127.0.0.1", "http://peel.test:"+port+"/")
	}},

	// Names.
	{name: "name does not exist", is: "DNS-NXDOMAIN", meet: asked(oneName, nameServer(reply{rcode: dns.RcodeNXDomain}.to), "http://www.peel.test/")},
	{name: "name of the lab does not exist", is: "DNS-NXDOMAIN", meet: func(*testing.T) scene { return with("--lab", "http://nosuch.example.com/") }},
	{name: "SERVFAIL", is: "DNS-SERVFAIL", meet: asked(oneName, nameServer(reply{rcode: dns.RcodeServFail}.to), "http://www.peel.test/")},
	{name: "query refused", is: "DNS-REFUSED", meet: asked(oneName, nameServer(reply{rcode: dns.RcodeRefused}.to), "http://www.peel.test/")},
	{name: "name server does not implement", is: "dns", meet: asked(oneName, nameServer(reply{rcode: dns.RcodeNotImp}.to), "http://www.peel.test/")},
	{name: "name server finds the query malformed", is: "dns", meet: asked(oneName, nameServer(reply{rcode: dns.RcodeFormErr}.to), "http://www.peel.test/")},
	{name: "no address", is: "DNS-EMPTY", meet: asked(oneName, nameServer(reply{}.to), "http://www.peel.test/")},
	{name: "no address of IPv4", is: "DNS-EMPTY", meet: asked(oneName, nameServer(reply{answers: []dns.Resource{address(wwwName, net.IPv6loopback...)}}.to), "-4", "http://www.peel.test/")},
	{name: "name server silent", is: "DNS-TIMEOUT", unseen: tooSoon, meet: asked(oneName, nameServer(silent), "http://www.peel.test/")},
	{name: "first name server silent", is: "DNS-TIMEOUT", meet: asked("nameserver 127.0.0.54\n"+oneName, map[string]func(*dns.Message) []byte{
		"127.0.0.54": silent, "127.0.0.53": reply{answers: []dns.Resource{address(wwwName, 127, 0, 0, 1)}}.to}, "http://www.peel.test/")},
	{name: "no name server there", is: "dns", gap: noICMP, meet: asked(oneName, nil, "http://www.peel.test/")},
	{name: "answer that is no DNS", is: "dns", unseen: tooSoon, meet: asked(oneName, nameServer(func(q *dns.Message) []byte { return []byte{byte(q.ID >> 8), byte(q.ID), 'h', 'e', 'l', 'l', 'o'} }), "http://www.peel.test/")},
	{name: "alias in a circle", is: "dns", meet: asked(oneName, nameServer(reply{answers: []dns.Resource{
		{Name: wwwName, Type: dns.TypeCNAME, Class: dns.ClassIN, TTL: 60, Data: "\x01a\x04peel\x04test\x00"},
		{Name: dns.MustName("a.peel.test."), Type: dns.TypeCNAME, Class: dns.ClassIN, TTL: 60, Data: "\x03www\x04peel\x04test\x00"}}}.to), "http://www.peel.test/")},
	{name: "answer truncated, no TCP", is: "dns", gap: noLookup, meet: asked(oneName, nameServer(reply{truncated: true}.to), "http://www.peel.test/")},
	{name: "search list", is: "DNS-SEARCH-STORM", instead: "name_not_found", meet: asked("search a.test b.test c.test\noptions ndots:5\n"+oneName, nameServer(func(q *dns.Message) []byte {
		if q.Questions[0].Name.String() != wwwName.String() {
			return reply{rcode: dns.RcodeNXDomain}.to(q)
		}
		return reply{answers: []dns.Resource{address(wwwName, 127, 0, 0, 1)}}.to(q)
	}), "http://www.peel.test/")},

	// TLS.
	{name: "closed after ClientHello", is: "closed_early", meet: hello(leave)},
	{name: "reset after ClientHello", is: "reset", meet: hello(reset)},
	{name: "HTTP on a TLS port", is: "TLS-NOT-TLS", meet: hello(func(c *net.TCPConn) {
		c.Write([]byte("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\nspeak HTTP\n"))
		leave(c)
	})},
	{name: "SSH on a TLS port", is: "TLS-NOT-TLS", meet: hello(func(c *net.TCPConn) {
		c.Write([]byte("SSH-2.0-OpenSSH_9.2\r\n"))
		leave(c)
	})},
	{name: "alert close_notify", is: "tls", meet: alert(0)},
	{name: "alert unexpected_message", is: "alert", meet: alert(10)},
	{name: "alert handshake_failure", is: "TLS-CIPHER", meet: alert(40)},
	{name: "alert bad_certificate", is: "tls", meet: alert(42)},
	{name: "alert illegal_parameter", is: "alert", meet: alert(47)},
	{name: "alert access_denied", is: "alert", meet: alert(49)},
	{name: "alert decode_error", is: "alert", meet: alert(50)},
	{name: "alert protocol_version", is: "TLS-VERSION", meet: alert(70)},
	{name: "alert insufficient_security", is: "tls", meet: alert(71)},
	{name: "alert internal_error", is: "alert", meet: alert(80)},
	{name: "alert unrecognized_name", is: "TLS-WRONG-NAME", meet: alert(112)},
	{name: "alert no_application_protocol", is: "TLS-ALPN", meet: alert(120)},
	{name: "no version in common", is: "TLS-VERSION", meet: secure(&tls.Config{MaxVersion: tls.VersionTLS12}, "--tlsv1.3")},
	{name: "no suite in common", is: "TLS-CIPHER", meet: secure(&tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384}},
		"--tls-max", "1.2", "--ciphers", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256")},
	{name: "no protocol in common", is: "TLS-ALPN", meet: secure(&tls.Config{NextProtos: []string{"http/1.1"}}, "--http2")},
	{name: "no protocol chosen", is: "alpn", meet: secure(&tls.Config{}, "--http2"), unseen: "only the client knows that it takes nothing but HTTP/2"},
	{name: "certificate expired, TLS 1.2", is: "TLS-EXPIRED", gap: noVerdict, meet: certificate(pki.Leaf{NotBefore: time.Now().Add(-300 * day), NotAfter: time.Now().Add(-day)}, "1.2", false)},
	{name: "certificate expired, TLS 1.3", is: "TLS-EXPIRED", gap: noVerdict, meet: certificate(pki.Leaf{NotBefore: time.Now().Add(-300 * day), NotAfter: time.Now().Add(-day)}, "1.3", false)},
	{name: "certificate not yet valid, TLS 1.2", is: "TLS-CLOCK", gap: noVerdict, meet: certificate(pki.Leaf{NotBefore: time.Now().Add(day), NotAfter: time.Now().Add(300 * day)}, "1.2", false)},
	{name: "certificate not yet valid, TLS 1.3", is: "TLS-CLOCK", gap: noVerdict, meet: certificate(pki.Leaf{NotBefore: time.Now().Add(day), NotAfter: time.Now().Add(300 * day)}, "1.3", false)},
	{name: "certificate of another name, TLS 1.2", is: "TLS-WRONG-NAME", gap: noVerdict, meet: certificate(pki.Leaf{Names: []string{"other.example"}}, "1.2", false)},
	{name: "certificate of another name, TLS 1.3", is: "TLS-WRONG-NAME", gap: noVerdict, meet: certificate(pki.Leaf{Names: []string{"other.example"}}, "1.3", false)},
	{name: "certificate self-signed, TLS 1.2", is: "TLS-SELF-SIGNED", gap: noVerdict, meet: certificate(pki.Leaf{SelfSigned: true}, "1.2", false)},
	{name: "certificate self-signed, TLS 1.3", is: "TLS-SELF-SIGNED", gap: noVerdict, meet: certificate(pki.Leaf{SelfSigned: true}, "1.3", false)},
	{name: "certificate of an unknown root, TLS 1.2", is: "TLS-UNKNOWN-ROOT", gap: noVerdict, meet: certificate(pki.Leaf{}, "1.2", true)},
	{name: "certificate of an unknown root, TLS 1.3", is: "TLS-UNKNOWN-ROOT", gap: noVerdict, meet: certificate(pki.Leaf{}, "1.3", true)},
	{name: "certificate without its intermediate, TLS 1.2", is: "TLS-NO-INTERMEDIATE", gap: noVerdict, meet: certificate(pki.Leaf{OmitIntermediate: true}, "1.2", false)},
	{name: "certificate without its intermediate, TLS 1.3", is: "TLS-NO-INTERMEDIATE", gap: noVerdict, meet: certificate(pki.Leaf{OmitIntermediate: true}, "1.3", false)},
	{name: "certificate for clients, TLS 1.2", is: "TLS-KEY-USAGE", gap: noVerdict, meet: certificate(pki.Leaf{Client: true}, "1.2", false)},
	{name: "certificate expired and accepted", is: "TLS-EXPIRED", meet: certificate(pki.Leaf{NotBefore: time.Now().Add(-300 * day), NotAfter: time.Now().Add(-day)}, "1.2", false, "-k")},
	{name: "client certificate wanted, TLS 1.2", is: "tls", meet: secure(&tls.Config{ClientAuth: tls.RequireAnyClientCert, MaxVersion: tls.VersionTLS12})},
	{name: "client certificate wanted, TLS 1.3", is: "TLS-MTLS", meet: secure(&tls.Config{ClientAuth: tls.RequireAnyClientCert})},
	{name: "one more round trip", is: "TLS-HELLO-RETRY", meet: secure(&tls.Config{CurvePreferences: []tls.CurveID{tls.CurveP521}})},
	{name: "TLS ended without close_notify", is: "TLS-NO-CLOSE-NOTIFY", meet: inside("http/1.1", func(s io.ReadWriter, c *net.TCPConn) {
		readHead(s)
		io.WriteString(s, okLine+"\r\nabc")
		leave(c)
	})},
	{name: "body shorter than announced, in TLS", is: "HTTP-TRUNCATED", meet: inside("http/1.1", func(s io.ReadWriter, c *net.TCPConn) {
		readHead(s)
		io.WriteString(s, okLine+"Content-Length: 100\r\n\r\nabc")
		leave(c)
	})},

	// HTTP/1.
	{name: "empty reply", is: "closed_early", meet: response("")},
	{name: "reset before the response", is: "reset", meet: ending("", reset)},
	{name: "closed within the head", is: "http1", meet: response(okLine + "Content-")},
	{name: "reset within the head", is: "reset", meet: ending(okLine+"Content-", soon(reset))},
	{name: "reset within the body", is: "reset", meet: ending(okLine+"Content-Length: 1000\r\n\r\nonly this", soon(reset))},
	{name: "body shorter than announced", is: "HTTP-TRUNCATED", meet: response(okLine + "Content-Length: 1000\r\n\r\nonly this")},
	{name: "chunks without an end", is: "HTTP-TRUNCATED", meet: response(okLine + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")},
	{name: "chunk that is none", is: "malformed_body", meet: response(okLine + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nxyz\r\n")},
	{name: "chunk longer than announced", is: "malformed_body", meet: response(okLine + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello, world\r\n0\r\n\r\n")},
	{name: "SSH on a plain port", is: "http1", meet: response("SSH-2.0-OpenSSH_9.2\r\n")},
	{name: "a page without a head", is: "http1", meet: response("<html>http/0.9</html>\n")},
	{name: "TLS on a plain port", is: "http1", meet: response("\x15\x03\x01\x00\x02\x02\x46")},
	{name: "HTTP/2 on a plain port", is: "http1", meet: response("\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64")},
	{name: "status that is none", is: "malformed_response", meet: response("HTTP/1.1 abc Strange\r\n\r\n")},
	{name: "ICY", is: "http1", meet: response("ICY 200 OK\r\nContent-Length: 2\r\n\r\nhi")},
	{name: "Content-Length below zero", is: "malformed_response", meet: response(okLine + "Content-Length: -5\r\n\r\nhello")},
	{name: "two Content-Lengths", is: "malformed_response", meet: response(okLine + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!")},
	{name: "blank before the colon", is: "", meet: response(okLine + "X-A : b\r\nContent-Length: 2\r\n\r\nok")},
	{name: "head too large", is: "head_too_large", meet: response(okLine + "X: " + strings.Repeat("a", 400_000) + "\r\n\r\nhi")},
	{name: "gzip that is none", is: "content_encoding", meet: response(okLine + "Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello")},
	{name: "gzip cut off", is: "content_encoding", meet: response(okLine + "Content-Encoding: gzip\r\nContent-Length: 12\r\n\r\n" + "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff\xcb\x48")},
	{name: "body after 204", is: "HTTP-DESYNC", meet: response("HTTP/1.1 204 No Content\r\n\r\nhello")},
	{name: "body after 304", is: "HTTP-DESYNC", meet: response("HTTP/1.1 304 Not Modified\r\n\r\nhello")},
	{name: "body after HEAD", is: "HTTP-DESYNC", meet: response(okLine+"Content-Length: 5\r\n\r\nhello", "-I")},
	{name: "text uncompressed", is: "HTTP-NO-COMPRESSION", meet: response(okLine + "Content-Type: text/plain\r\nContent-Length: 120000\r\n\r\n" + strings.Repeat("a", 120_000))},
	{name: "never answered", is: "timeout", meet: ending("", untilLeft, "-m", "2"), unseen: oneLimit, instead: "client_closed"},
	{name: "body stalls", is: "http1", gap: "who closed first is not asked", meet: ending(okLine+"Content-Length: 10\r\n\r\nhello", untilLeft, "--stall-time", "0.5"), unseen: oneLimit, instead: "client_closed"},
	{name: "redirect to no URL", is: "bad_redirect", meet: response("HTTP/1.1 302 Found\r\nLocation: http://[\r\nContent-Length: 0\r\n\r\n", "-L"), unseen: "whether a redirect is followed is the client's own affair"},
	{name: "redirect loop", is: "HTTP-REDIRECT-LOOP", meet: func(*testing.T) scene {
		return with("--lab", "-L", "--max-redirs", "5", "http://example.com/redirect-loop")
	},
		unseen: "how many redirects are too many is the client's own affair"},
	{name: "interim responses without end", is: "malformed_response", meet: response(strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", 3000))},
	{name: "connection dies as the second request leaves", is: "HTTP-REUSE-RACE", unseen: noRetry, instead: "reset", meet: dying},

	// HTTP/2.
	{name: "RST_STREAM REFUSED_STREAM", is: "stream_reset", meet: frames(answerAgain, rawFrame(3, 0, 1, uint32s(7)))},
	{name: "RST_STREAM PROTOCOL_ERROR", is: "stream_reset", meet: frames(leave, rawFrame(3, 0, 1, uint32s(1)))},
	{name: "RST_STREAM INTERNAL_ERROR within the body", is: "stream_reset", meet: frames(leave, headers(0, ":status", "200"), rawFrame(0, 0, 1, []byte("part")), rawFrame(3, 0, 1, uint32s(2)))},
	{name: "RST_STREAM ENHANCE_YOUR_CALM", is: "stream_reset", meet: frames(leave, rawFrame(3, 0, 1, uint32s(11)))},
	{name: "RST_STREAM HTTP_1_1_REQUIRED", is: "stream_reset", meet: frames(leave, rawFrame(3, 0, 1, uint32s(13)))},
	{name: "RST_STREAM NO_ERROR before the response", is: "stream_reset", meet: frames(leave, rawFrame(3, 0, 1, uint32s(0)))},
	{name: "GOAWAY ENHANCE_YOUR_CALM", is: "H2-GOAWAY", meet: frames(leave, rawFrame(7, 0, 0, append(uint32s(0, 11), "calm down"...)))},
	{name: "GOAWAY PROTOCOL_ERROR", is: "H2-GOAWAY", meet: frames(leave, rawFrame(7, 0, 0, uint32s(1, 1)))},
	{name: "GOAWAY NO_ERROR without the stream", is: "http2", meet: frames(leave, rawFrame(7, 0, 0, uint32s(0, 0)))},
	{name: "HTTP/2 closed before the response", is: "http2", meet: frames(leave)},
	{name: "HTTP/2 reset before the response", is: "http2", meet: frames(reset)},
	{name: "HTTP/2 closed within the body", is: "http2", meet: frames(leave, headers(0, ":status", "200"), rawFrame(0, 0, 1, []byte("part")))},
	{name: "HTTP/2 body shorter than announced", is: "http2", meet: frames(leave, headers(0, ":status", "200", "content-length", "10"), rawFrame(0, endStream, 1, []byte("hello")))},
	{name: "HTTP/2 body longer than announced", is: "http2", meet: frames(leave, headers(0, ":status", "200", "content-length", "3"), rawFrame(0, endStream, 1, []byte("hello")))},
	{name: "HTTP/2 field upgrade", is: "http2", meet: frames(leave, headers(0, ":status", "200", "upgrade", "h2,h2c"), rawFrame(0, endStream, 1, []byte("hello")))},
	{name: "HTTP/2 field in upper case", is: "http2", meet: frames(leave, headers(0, ":status", "200", "Content-Type", "text/plain"), rawFrame(0, endStream, 1, []byte("hello")))},
	{name: "HTTP/2 field with a line break", is: "http2", meet: frames(leave, headers(0, ":status", "200", "csp", "a\nb"), rawFrame(0, endStream, 1, []byte("hello")))},
	{name: "HTTP/2 without a status", is: "http2", meet: frames(leave, headers(endStream, "server", "x"))},
	{name: "HTTP/2 fields that are no HPACK", is: "http2", meet: frames(leave, rawFrame(1, endHeaders, 1, []byte("\xff\xff\xff\xff")))},
	{name: "HTTP/2 frame of stream 0", is: "http2", meet: frames(leave, rawFrame(0, 0, 0, []byte("x")))},
	{name: "HTTP/2 gzip that is none", is: "content_encoding", meet: frames(leave, headers(0, ":status", "200", "content-encoding", "gzip"), rawFrame(0, endStream, 1, []byte("hello")))},
	{name: "HTTP/2 body shorter than announced, of the lab", is: "http2", meet: func(*testing.T) scene { return with("--lab", "https://example.com/short-body") }},
	{name: "closed before the response, of the lab", is: "closed_early", meet: func(*testing.T) scene { return with("--lab", "http://example.com/close-early") }},
	{name: "HTTP/2 aborted before the response, of the lab", is: "http2", meet: func(*testing.T) scene { return with("--lab", "https://example.com/close-early") }},
	{name: "GOAWAY ENHANCE_YOUR_CALM, in TLS", is: "H2-GOAWAY", meet: inside("h2", func(s io.ReadWriter, c *net.TCPConn) {
		play(s, rawFrame(7, 0, 0, append(uint32s(0, 11), "calm down"...)))
		leave(c)
	})},
	{name: "HTTP/1 to one who speaks HTTP/2", is: "http2", gap: noFailure, meet: response("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", "--http2-prior-knowledge")},
	{name: "HTTP/2 interim responses without end", is: "http2", meet: frames(leave, bytes.Repeat(headers(0, ":status", "103"), 3000))},
}

// soon ends a connection when the client has had time to read what was
// written: a reset throws away what the client's kernel still holds.
func soon(end func(*net.TCPConn)) func(*net.TCPConn) {
	return func(c *net.TCPConn) {
		time.Sleep(200 * time.Millisecond)
		end(c)
	}
}

// untilLeft waits until the client has left.
func untilLeft(c *net.TCPConn) {
	io.Copy(io.Discard, c)
	c.Close()
}

// dying is a server that answers one request of a connection and resets it at
// the second, once.
func dying(t *testing.T) scene {
	first := make(chan bool, 1)
	first <- true
	addr := listening(t, func(c *net.TCPConn) {
		for {
			readHead(c)
			c.Write([]byte(okLine + "Content-Length: 2\r\n\r\nok"))
			select {
			case <-first:
				readHead(c)
				reset(c)
				return
			default:
			}
		}
	})
	return with("http://"+addr+"/", "-o", "/dev/null", "http://"+addr+"/")
}
