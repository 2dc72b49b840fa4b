package analyze

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"peel/clock"
	"peel/evidence/capture"
	words "peel/evidence/failure"
	"peel/trace"
	"peel/wire/tlswire"
)

// tlsConn reads the TLS of one connection, and hands what it decrypts to the
// application protocol above.
type tlsConn struct {
	c         *conn
	l         *layer // its own
	above     *layer // what it holds
	dec       *tlswire.Decoder
	records   [2][]trace.TLSRecord
	plain     [2]int64 // application bytes so far
	sessionID []byte   // of the ClientHello
	offered   []byte   // master secret of the session that would be resumed
	resumed   bool     // that session was resumed just now
	unnamed   [][]byte // sessions of this connection whose secret is to come
	random    string   // client random that shared secrets were looked up by
	opened    bool     // they were given to the decoder just now
	outcome   tlsOutcome
	messages  []*trace.Event      // of the handshake
	inside    bool                // of other TLS
	chain     []*x509.Certificate // of the server, until the connection ends
	gapped    [2]bool             // bytes are missing that reading has not got over
	early2    bool                // a hello in the form of SSL 2.0 is to come,
	mayBe2    bool                // and the server may answer in it

	// Of a connection whose handshake was before the capture.
	midway bool
	tried  [2]bool
	first  [2][]byte // bytes up to the end of the first record
}

// maxMessages bounds the handshake messages and the alerts of one connection
// that are listed among its facts; events tell of all.
const maxMessages = 1000

// maxRecords bounds the map from plaintext to records, per direction. Bytes
// past it keep their place in the plaintext and lose the way to the record.
const maxRecords = 1 << 16

var tlsProtocol = protocol{
	layer: trace.LayerTLS, fields: tlsFields,
	recognise: func(o *opening) guess {
		if o.secure && !o.tunnelled {
			return no // but through a proxy, TLS is not spoken inside of TLS
		}
		g := max(looksLikeTLS(o.out), looksLikeTLS(o.in), looksLikeSSL2(o.out))
		if o.late && g != yes {
			g = max(g, insideTLS(o.out), insideTLS(o.in))
		}
		return g
	},
	open: func(l *layer, _ *exchange) decoder { return openTLS(l) },
}

// looksLikeTLS recognises the first bytes of a connection: a handshake or
// alert record of version 3.x (RFC 8446 §5.1), or application data where the
// handshake was before the capture.
func looksLikeTLS(b []byte) guess {
	switch {
	case len(b) == 0 || len(b) > 1 && b[1] != 3:
		return no
	case len(b) == 1 && (b[0] == 0x16 || b[0] == 0x15):
		return perhaps
	case len(b) == 1:
		return no
	case b[0] == 0x16, b[0] == 0x15, b[0] == 0x17 && len(b) >= 5 && b[2] <= 4 && int(b[3])<<8|int(b[4]) <= 1<<14+2048:
		return yes
	}
	return no
}

// insideTLS recognises bytes that begin inside of a record, by the heads of the
// next two: the capture began in between.
func insideTLS(b []byte) guess {
	if len(b) == 0 {
		return no
	}
	if at, ok := tlswire.FindRecord(b); ok && at > 0 {
		return yes
	}
	if len(b) < maxInside {
		return perhaps
	}
	return no
}

// maxInside is what two records take: in so many bytes one of them begins.
const maxInside = 2 * (5 + 1<<14 + 2048)

func openTLS(l *layer) *tlsConn {
	c := &tlsConn{c: l.c, l: l, dec: tlswire.NewDecoder(tlswire.Limits{Budget: &l.c.a.keys.search})}
	first := join(l.early[capture.Out])
	if len(first) == 0 {
		first = join(l.early[capture.In])
	}
	c.midway = len(first) > 0 && (first[0] == 0x17 || (l.late || l.c.late()) && looksLikeTLS(first) == no && looksLikeSSL2(first) == no)
	c.early2 = len(first) > 0 && first[0]&0x80 != 0
	c.inside = l.secure
	c.above = &layer{c: l.c, space: trace.SpaceTLS, below: c.carried, under: l, secure: true, late: c.midway}
	if c.inside {
		// The secrets of the socket can be of either; those of a key log are found
		// by what the ClientHello says.
		c.above.space = trace.SpaceInside
		return c
	}
	l.c.secure, l.c.keyed = true, c
	for _, line := range l.c.secrets {
		c.secret(line)
	}
	l.c.secrets = nil
	return c
}

func (c *tlsConn) secret(line []byte) {
	c.c.bySocket = true
	if c.dec == nil {
		return
	}
	c.dec.Secret(line)
	keys := c.unnamed
	c.unnamed = nil
	for _, k := range keys {
		c.remember(k)
	}
	c.take(c.dec.Drain())
}

func (c *tlsConn) input(t clock.Time, dir capture.Direction, b []byte) {
	offset := c.l.in[dir].offset
	c.l.in[dir].offset += int64(len(b))
	if c.inside {
		c.c.plain -= int64(len(b)) // what it adds is TLS as well
	}
	if c.dec == nil {
		return
	}
	switch {
	case c.early2 && dir == capture.Out:
		if b, offset = c.hello2(t, b, offset); b == nil {
			return
		}
	case c.midway && !c.tried[dir]:
		if b, offset = c.join(dir, b, offset); b == nil {
			return
		}
	}
	if dir == capture.In && c.server2(t, b, offset) {
		return
	}
	c.take(c.dec.Input(tlswire.Dir(dir), b, offset, t))
	if c.resumed || c.opened {
		c.resumed, c.opened = false, false
		c.take(c.dec.Drain())
	}
}

// release lets go of the decoder of a connection that has ended.
func (c *tlsConn) release() {
	if f := c.facts(); c.dec != nil && f.Undecryptable == "" {
		f.Undecryptable = c.dec.Waits() // the capture ends before the connection
	}
	c.dec, c.chain = nil, nil
	c.above.release()
}

func (c *tlsConn) end(t clock.Time, dir capture.Direction) {
	if c.dec != nil {
		c.take(c.dec.Close(tlswire.Dir(dir)))
		c.ended(dir)
	}
	c.above.end(t, dir)
}

// gap: behind missing bytes the decoder looks for a record that it can open.
// What is above is told when it has found one, or that there is none.
func (c *tlsConn) gap(t clock.Time, dir capture.Direction, n int64) bool {
	c.l.in[dir].offset += n
	ok := false
	if n > 0 && c.dec != nil && !(c.midway && !c.tried[dir]) {
		var events []tlswire.Event
		events, ok = c.dec.Gap(tlswire.Dir(dir), n, t)
		c.take(events)
	}
	c.gapped[dir] = ok
	if !ok {
		c.above.gap(t, dir, 0)
	}
	return c.dec != nil && n > 0
}

func (c *tlsConn) take(events []tlswire.Event) {
	for i := range events {
		c.event(&events[i])
	}
}

func (c *tlsConn) event(ev *tlswire.Event) {
	f := c.facts()
	dir := capture.Direction(ev.Dir)
	switch ev.Kind {
	case tlswire.KindHandshake:
		c.handshake(f, dir, ev)
	case tlswire.KindApplicationData:
		if ev.Refused {
			// 0-RTT data that the server did not take: the client sends it
			// again, and only that is part of the conversation.
			c.low(ev, dir, trace.EventTLSEarlyDataRefused, fmt.Sprintf("%d bytes of 0-RTT data that the server did not take", len(ev.Data)))
			return
		}
		if len(c.records[dir]) < maxRecords {
			c.records[dir] = append(c.records[dir], trace.TLSRecord{PlainOffset: c.plain[dir], PlainLength: int64(len(ev.Data)),
				Offset: ev.Offset, Length: int64(ev.Length), Time: c.c.a.time(ev.Time)})
		}
		c.plain[dir] += int64(len(ev.Data))
		c.c.plain += int64(len(ev.Data))
		f.Decrypted = true
		c.above.input(ev.Time, dir, ev.Data)
	case tlswire.KindGap:
		c.low(ev, dir, trace.EventTLSGap, ev.Reason)
		c.gapped[dir] = false
		c.plain[dir] += ev.Missing
		c.above.gap(ev.Time, dir, ev.Missing)
	case tlswire.KindAlert:
		text := ev.Alert.String()
		if len(f.Alerts) < maxMessages {
			f.Alerts = append(f.Alerts, trace.Alert{Direction: dirNames[dir], Code: ev.Alert.Description, Text: text})
		}
		c.low(ev, dir, trace.EventTLSAlert, "alert: "+text)
		c.alerted(dir, ev)
	case tlswire.KindChangeCipherSpec:
		c.low(ev, dir, trace.EventTLSChangeCipherSpec, "ChangeCipherSpec")
	case tlswire.KindUndecryptable:
		if f.Undecryptable == "" {
			f.Undecryptable = ev.Reason
			c.low(ev, dir, trace.EventTLSUndecryptable, ev.Reason)
		}
		if c.gapped[dir] {
			c.gapped[dir] = false
			c.above.gap(ev.Time, dir, 0)
		}
	case tlswire.KindMalformed:
		c.low(ev, dir, trace.LayerTLS.Malformed(), ev.Reason)
		if dir == capture.In && c.outcome.hello && c.dec.Outline(tlswire.FromServer) == (tlswire.Outline{}) {
			c.fail(words.NotTLS(c.server(), ev.Data))
		}
		c.outcome.malformed = true
	}
}

// facts are those of this TLS, of which a connection can have two.
func (c *tlsConn) facts() *trace.TLS {
	if !c.inside {
		return c.c.facts()
	}
	if c.c.tr.Inside == nil {
		c.c.tr.Inside = &trace.TLS{Messages: []trace.TLSMessage{}}
	}
	return c.c.tr.Inside
}

// low adds an event whose bytes are records.
func (c *tlsConn) low(ev *tlswire.Event, dir capture.Direction, name trace.EventName, text string) *trace.Event {
	e := c.c.a.event(ev.Time, trace.LayerTLS, name, text)
	e.Connection, e.Direction = c.c.tr.ID, dirNames[dir]
	e.Bytes = c.l.ranges(dir, ev.Offset, int64(ev.Length))
	e.Raw = bytes.Clone(ev.Data[:min(len(ev.Data), c.c.a.lim.Raw)])
	e.RawLength = len(ev.Data)
	return e
}

func (c *tlsConn) handshake(f *trace.TLS, dir capture.Direction, ev *tlswire.Event) {
	typ := ev.Type
	e := c.low(ev, dir, typ.Event(), tlswire.Summary(ev.Version, ev.Data))
	if ev.Encrypted {
		e.Text += " (encrypted)"
	}
	if len(f.Messages) < maxMessages {
		f.Messages = append(f.Messages, trace.TLSMessage{Type: typ.String(), Direction: dirNames[dir], Time: e.Time, Size: len(ev.Data), Encrypted: ev.Encrypted})
		c.messageEvents(e)
	}
	if c.c.tlsStart == nil {
		c.c.tlsStart = e
	}
	if !c.inside && typ != tlswire.TypeNewSessionTicket && c.plain == [2]int64{} {
		c.c.tlsLast = e
	}
	switch typ {
	case tlswire.TypeClientHello:
		if h, err := tlswire.ParseClientHello(ev.Data); err == nil {
			f.SNI, f.ALPNOffered = h.ServerName, h.ALPN
			c.outcome.offered(&h)
			c.sessionID = bytes.Clone(h.SessionID)
			c.offered = c.c.a.sessions[string(h.Ticket)]
			if c.offered == nil {
				c.offered = c.c.a.sessions[string(h.SessionID)]
			}
			c.open()
		}
	case tlswire.TypeServerHello:
		if h, err := tlswire.ParseServerHello(ev.Data); err == nil {
			c.outcome.agreed = true
			f.Version, f.Suite = tlswire.VersionName(h.Version), tlswire.SuiteName(h.CipherSuite)
			if h.Group != 0 {
				f.Group = tlswire.GroupName(h.Group)
			}
			if h.HelloRetryRequest {
				f.HelloRetry = true
				return
			}
			// TLS 1.2 resumes by giving the client's session ID back (RFC 5246
			// §7.4.1.3); in 1.3 that is compatibility only and a PSK tells.
			f.Resumed = h.PSK || h.Version == 0x0303 && len(h.SessionID) > 0 && bytes.Equal(h.SessionID, c.sessionID)
			if h.ALPN != "" {
				f.ALPN = h.ALPN
			}
			if h.Version == 0x0303 {
				c.session(f.Resumed, h.SessionID)
			}
		}
	case tlswire.TypeEncryptedExtensions:
		if h, err := tlswire.ParseEncryptedExtensions(ev.Data); err == nil {
			f.ALPN = h.ALPN
		}
	case tlswire.TypeCertificateRequest:
		c.outcome.wanted = true
	case tlswire.TypeFinished:
		c.outcome.finished[dir] = true
	case tlswire.TypeCertificate, tlswire.TypeCompressedCert:
		msg := ev.Data
		if typ == tlswire.TypeCompressedCert {
			msg = unpackCertificate(msg)
		}
		certificates := parseChain(ev.Version, msg)
		if dir == capture.Out {
			c.outcome.given = len(certificates) > 0
			return
		}
		f.Chain = describe(certificates)
		c.certificates(f, certificates)
	case tlswire.TypeCertificateVerify:
		if dir == capture.In {
			f.Signature = tlswire.SignatureName(tlswire.SignatureScheme(ev.Data))
		}
	case tlswire.TypeServerKeyExchange:
		if k, err := tlswire.ParseServerKeyExchange(ev.Data); err == nil {
			f.Group, f.Signature = tlswire.GroupName(k.Group), tlswire.SignatureName(k.Signature)
		}
	case tlswire.TypeNewSessionTicket:
		f.Tickets++
		if t, err := tlswire.ParseNewSessionTicket(ev.Version, ev.Data); err == nil && ev.Version == 0x0303 {
			c.remember(t.Ticket)
		}
	}
}

// session follows TLS 1.2 sessions over connections: a resumed one has the
// master secret of the one before, which a key log need not repeat.
func (c *tlsConn) session(resumed bool, id []byte) {
	if !resumed {
		c.remember(id)
		return
	}
	c.dec.Resume(c.offered)
	c.resumed = true
}

// maxSessions bounds the TLS 1.2 sessions remembered, and maxUnnamed those of one
// connection that wait for their secret.
const (
	maxSessions = 1024
	maxUnnamed  = 16
)

func (c *tlsConn) remember(key []byte) {
	if m := c.dec.Master(); m != nil && len(key) > 0 && len(c.c.a.sessions) < maxSessions {
		c.c.a.sessions[string(key)] = m
		return
	}
	// The secret may come after the message that names the session.
	if len(key) > 0 && len(c.unnamed) < maxUnnamed {
		c.unnamed = append(c.unnamed, bytes.Clone(key))
	}
}

// messageEvents ties handshake messages to their events; the IDs of events
// are known only at the end.
func (c *tlsConn) messageEvents(e *trace.Event) { c.messages = append(c.messages, e) }

// sentCertificate is one of a Certificate message; x509 is nil when it cannot
// be read, which err says.
type sentCertificate struct {
	der  []byte
	x509 *x509.Certificate
	err  error
}

func parseChain(version uint16, msg []byte) []sentCertificate {
	ders, err := tlswire.ParseCertificate(version, msg)
	if err != nil {
		return nil
	}
	var out []sentCertificate
	for _, der := range ders {
		x, err := x509.ParseCertificate(der)
		out = append(out, sentCertificate{der, x, err})
	}
	return out
}

// describe tells of the certificates of a Certificate message.
func describe(list []sentCertificate) []trace.Certificate {
	var out []trace.Certificate
	for _, c := range list {
		sum := sha256.Sum256(c.der)
		tc := trace.Certificate{SHA256: hex.EncodeToString(sum[:])}
		x := c.x509
		if x == nil {
			tc.Subject = "not readable: " + c.err.Error()
			out = append(out, tc)
			continue
		}
		tc.Subject, tc.Issuer = x.Subject.String(), x.Issuer.String()
		tc.Names = append(tc.Names, x.DNSNames...)
		for _, ip := range x.IPAddresses {
			tc.Names = append(tc.Names, ip.String())
		}
		tc.NotBefore, tc.NotAfter = x.NotBefore.UTC().Format(time.RFC3339), x.NotAfter.UTC().Format(time.RFC3339)
		tc.Key, tc.Signature = keyName(x), x.SignatureAlgorithm.String()
		tc.Serial, tc.IsCA = x.SerialNumber.Text(16), x.IsCA
		out = append(out, tc)
	}
	return out
}

func keyName(x *x509.Certificate) string {
	switch k := x.PublicKey.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA %d", k.N.BitLen())
	case *ecdsa.PublicKey:
		return "ECDSA " + k.Curve.Params().Name
	case ed25519.PublicKey:
		return "Ed25519"
	}
	return strings.ToUpper(x.PublicKeyAlgorithm.String())
}

// carried returns the stretch of the TCP stream whose records carried those
// application bytes.
func (c *tlsConn) carried(dir capture.Direction, offset, length int64) (trace.Range, bool) {
	recs := c.records[dir]
	i := sort.Search(len(recs), func(i int) bool { return recs[i].PlainOffset+recs[i].PlainLength > offset })
	j := sort.Search(len(recs), func(j int) bool { return recs[j].PlainOffset >= offset+max(length, 1) })
	if i >= j {
		return trace.Range{}, false
	}
	return c.l.place(dir, recs[i].Offset, recs[j-1].Offset+recs[j-1].Length-recs[i].Offset), true
}

func (c *tlsConn) finish(t *trace.Connection) {
	of, out, in := &t.TLS, &t.RecordsOut, &t.RecordsIn
	if c.inside {
		of, out, in = &t.Inside, &t.InsideOut, &t.InsideIn
	}
	*out, *in = slices.Clip(c.records[capture.Out]), slices.Clip(c.records[capture.In])
	c.above.finish(t)
	if *of == nil {
		return
	}
	facts := **of
	if c.c.tlsFailed != nil {
		// A client that breaks the handshake off never makes the keys for
		// what the server has sent ahead: nothing is missing.
		facts.Undecryptable = ""
	}
	facts.Alerts = slices.Clip(facts.Alerts)
	facts.Messages = append([]trace.TLSMessage{}, facts.Messages...)
	for i, e := range c.messages {
		facts.Messages[i].Event = e.ID
	}
	*of = &facts
}
