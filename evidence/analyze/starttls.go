package analyze

import (
	"bytes"
	"encoding/binary"

	"peel/clock"
	"peel/evidence/capture"
	"peel/trace"
)

// Protocols that begin in the clear and change to TLS when the client asks for
// it. They are known by their first words, and not read but for that.

// starts makes such a protocol. begins recognises it, and asks tells whether
// what the client says last asks for TLS.
func starts(name trace.Protocol, begins func(o *opening) guess, asks func(said []byte) bool) protocol {
	return protocol{name: name, layer: trace.LayerTLS,
		recognise: func(o *opening) guess {
			if o.secure {
				return no
			}
			return begins(o)
		},
		open: func(l *layer, _ *exchange) decoder { return &clearConn{l: l, name: name, asks: asks} }}
}

var (
	smtpProtocol       = starts(trace.ProtocolSMTP, greets("220", "EHLO ", "HELO ", "LHLO "), command("STARTTLS"))
	ftpProtocol        = starts(trace.ProtocolFTP, greets("220", "USER ", "AUTH ", "FEAT\r", "OPTS ", "SYST\r"), command("AUTH TLS", "AUTH TLS-C", "AUTH SSL", "AUTH TLS-P"))
	pop3Protocol       = starts(trace.ProtocolPOP3, greets("+OK", "USER ", "APOP ", "CAPA\r", "STLS\r", "AUTH", "QUIT\r"), command("STLS"))
	imapProtocol       = starts(trace.ProtocolIMAP, greets("* OK"), tagged("STARTTLS"))
	xmppProtocol       = starts(trace.ProtocolXMPP, looksLikeXMPP, func(said []byte) bool { return bytes.Contains(said, []byte("<starttls")) })
	ldapProtocol       = starts(trace.ProtocolLDAP, looksLikeLDAP, func(said []byte) bool { return bytes.Contains(said, []byte(ldapStartTLS)) })
	postgreSQLProtocol = starts(trace.ProtocolPostgreSQL, looksLikePostgreSQL, func(said []byte) bool { return bytes.Equal(said, postgreSQLAsks) })
	mySQLProtocol      = starts(trace.ProtocolMySQL, looksLikeMySQL, mySQLAsks)
)

// greets is for protocols in which the server speaks first, and the client
// answers with one of some commands, or any text when none is given.
func greets(greeting string, commands ...string) func(o *opening) guess {
	return func(o *opening) guess {
		switch in := o.in; {
		case !bytes.HasPrefix(in, []byte(greeting)[:min(len(in), len(greeting))]):
			return no
		case len(in) == 0 && len(o.out) > 0:
			return no
		case len(in) <= len(greeting):
			return perhaps
		case in[len(greeting)] != ' ' && in[len(greeting)] != '-' && in[len(greeting)] != '\r':
			return no
		case len(o.out) == 0:
			return perhaps
		case len(commands) == 0 && o.out[0] > ' ' && o.out[0] <= '~':
			return yes
		}
		best := no
		for _, c := range commands {
			n := min(len(o.out), len(c))
			if bytes.EqualFold(o.out[:n], []byte(c)[:n]) {
				best = perhaps
				if n == len(c) {
					return yes
				}
			}
		}
		return best
	}
}

// command tells whether the last line is one of some commands.
func command(list ...string) func(said []byte) bool {
	return func(said []byte) bool {
		line := lastLine(said)
		for _, c := range list {
			if bytes.EqualFold(line, []byte(c)) {
				return true
			}
		}
		return false
	}
}

// tagged is for commands with a tag before them (RFC 9051 §2.2.1).
func tagged(c string) func(said []byte) bool {
	return func(said []byte) bool {
		_, line, _ := bytes.Cut(lastLine(said), []byte(" "))
		return bytes.EqualFold(line, []byte(c))
	}
}

func lastLine(said []byte) []byte {
	if !bytes.HasSuffix(said, []byte("\n")) {
		return nil
	}
	said = bytes.TrimRight(said, "\r\n")
	return bytes.TrimRight(said[bytes.LastIndexByte(said, '\n')+1:], " ")
}

func looksLikeXMPP(o *opening) guess {
	b := o.out
	for _, begin := range []string{"<?xml", "<stream:stream"} {
		n := min(len(b), len(begin))
		switch {
		case n == 0 || string(b[:n]) != begin[:n]:
		case bytes.Contains(b, []byte("<stream:stream")):
			return yes
		case len(b) < maxGuess:
			return perhaps
		}
	}
	return no
}

// ldapStartTLS is the name of LDAP's extended operation (RFC 4511 §4.14.1).
const ldapStartTLS = "1.3.6.1.4.1.1466.20037"

// looksLikeLDAP recognises an LDAPMessage with a request that can be the first:
// bind, search, extended (RFC 4511 §4.1.1).
func looksLikeLDAP(o *opening) guess {
	b := o.out
	if len(b) == 0 || b[0] != 0x30 {
		return no
	}
	at := 2
	if len(b) > 1 && b[1] >= 0x80 {
		if b[1] > 0x84 || b[1] == 0x80 {
			return no
		}
		at += int(b[1] & 0x7f)
	}
	if len(b) > at && b[at] != 2 || len(b) > at+1 && (b[at+1] == 0 || b[at+1] > 4) {
		return no
	}
	if len(b) < at+2 || len(b) <= at+2+int(b[at+1]) {
		return perhaps
	}
	switch b[at+2+int(b[at+1])] {
	case 0x60, 0x63, 0x77:
		return yes
	}
	return no
}

// postgreSQLAsks is the SSLRequest message: its length and a number that no
// version has.
var postgreSQLAsks = []byte{0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f}

// looksLikePostgreSQL recognises what a client begins with: a request for TLS,
// for GSSAPI encryption, or the start-up message of version 3.
func looksLikePostgreSQL(o *opening) guess {
	b := o.out
	if len(b) == 0 || b[0] != 0 || len(b) > 1 && b[1] != 0 {
		return no
	}
	if len(b) < 8 {
		return perhaps
	}
	size := binary.BigEndian.Uint32(b)
	switch code := binary.BigEndian.Uint32(b[4:]); {
	case size == 8 && (code == 80877103 || code == 80877104), code == 3<<16 && size > 8 && size < 10_000:
		return yes
	}
	return no
}

// looksLikeMySQL recognises the server's first packet: number 0, protocol 10,
// its version as text.
func looksLikeMySQL(o *opening) guess {
	b := o.in
	switch {
	case len(b) == 0, len(b) < 6 && len(o.out) > 0: // the server speaks first
		return no
	case len(b) > 2 && b[2] != 0 || len(b) > 3 && b[3] != 0 || len(b) > 4 && b[4] != 10 || len(b) > 5 && (b[5] < '0' || b[5] > '9'):
		return no
	case len(b) < 6 || len(o.out) < 4:
		return perhaps
	case o.out[3] != 1: // the packet that answers
		return no
	}
	return yes
}

// mySQLAsks recognises the SSLRequest packet: 32 bytes, with the flag
// CLIENT_SSL.
func mySQLAsks(said []byte) bool {
	return len(said) == 36 && said[0] == 32 && said[1] == 0 && said[2] == 0 && said[5]&0x08 != 0
}

// clearConn waits for the client to ask for TLS, and for the ClientHello that
// comes when the server agrees.
type clearConn struct {
	silent
	l     *layer
	name  trace.Protocol
	asks  func(said []byte) bool
	asked bool
}

// gap: what comes behind it can be read as well as what came before.
func (c *clearConn) gap(_ clock.Time, dir capture.Direction, n int64) bool {
	f := &c.l.in[dir]
	f.offset += int64(len(f.buf)) + n
	f.buf = nil
	return true
}

// maxSaid bounds what is kept of what the client said last.
const maxSaid = 1024

func (c *clearConn) input(t clock.Time, dir capture.Direction, b []byte) {
	f := &c.l.in[dir]
	f.add(t, b)
	switch {
	case dir == capture.In:
		f.take(len(f.buf), t) // the answers are not read
	case c.asked && len(f.buf) == 1 && f.buf[0] == 0x16:
		// One more byte tells.
	case c.asked && looksLikeTLS(f.buf) == yes:
		c.l.startTLS(t)
	case c.asked && len(b) > 0:
		c.asked = false // it was refused, and goes on in the clear
		f.take(len(f.buf), t)
	case !c.asked && c.asks(f.buf):
		c.asked = true
		c.l.message(t, trace.LayerTLS, trace.EventTLSAsked, "the client asks for TLS, as "+string(c.name)+" can", dir, f.offset, len(f.buf), f.buf)
		f.take(len(f.buf), t)
	case bytes.HasSuffix(f.buf, []byte("\n")) || len(f.buf) > maxSaid:
		f.take(len(f.buf), t)
	}
}

// startTLS goes on with TLS: its first record is there.
func (l *layer) startTLS(t clock.Time) {
	f := &l.in[capture.Out]
	l.dec, l.late = nil, false
	l.early[capture.Out] = []chunk{{t, bytes.Clone(f.buf)}}
	f.buf = nil
	l.open(&tlsProtocol, nil)
}

// Protocols over UDP that are recognised, so that they can be named, and not
// read.
var (
	quicProtocol = protocol{name: trace.ProtocolQUIC, over: overDatagrams, recognise: looksLikeQUIC, open: func(l *layer, _ *exchange) decoder { return unread{l: l} }}
	dtlsProtocol = protocol{name: trace.ProtocolDTLS, over: overDatagrams, recognise: looksLikeDTLS, open: func(l *layer, _ *exchange) decoder { return unread{l: l} }}
)

// looksLikeQUIC recognises a long header of a version that is known (RFC 9000
// §17.2, RFC 9369).
func looksLikeQUIC(o *opening) guess {
	b := o.out
	if len(b) < 7 || b[0]&0xc0 != 0xc0 {
		return no
	}
	version := binary.BigEndian.Uint32(b[1:])
	if n := int(b[5]); version != 1 && version != 0x6b3343cf && version>>8 != 0xff0000 || n > 20 || len(b) < 7+n || int(b[6+n]) > 20 {
		return no
	}
	return yes
}

// looksLikeDTLS recognises a record of a handshake (RFC 6347 §4.1).
func looksLikeDTLS(o *opening) guess {
	b := o.out
	if len(b) < 13 || b[0] != 0x16 || b[1] != 0xfe || b[2] != 0xff && b[2] != 0xfd || len(b) < 13+int(b[11])<<8+int(b[12]) {
		return no
	}
	return yes
}
