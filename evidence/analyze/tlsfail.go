package analyze

import (
	"peel/evidence/capture"
	words "peel/evidence/failure"
	"peel/trace"
	"peel/wire/tlswire"
)

// tlsOutcome is what was seen of a handshake by which its end is judged.
type tlsOutcome struct {
	leaving       bool // the server has said close_notify
	hello         bool // a ClientHello came
	agreed        bool // so did a ServerHello
	wanted, given bool // a client certificate
	malformed     bool // records were, so that it is not known what followed
	finished      [2]bool
	versions      []string // offered
}

func (o *tlsOutcome) offered(h *tlswire.ClientHello) {
	o.hello, o.versions = true, nil
	for _, v := range h.Versions {
		if !tlswire.IsGREASE(v) {
			o.versions = append(o.versions, tlswire.VersionName(v))
		}
	}
}

// minFinished is the least that the record of a Finished message of TLS 1.3
// takes behind its head: the message has the hash's length (RFC 8446 §4.4.4), and
// the shortest tag is that of AES-CCM-8.
const minFinished = 4 + 32 + 1 + 8

// completed tells whether the handshake was seen to come to its end. Where the
// messages are encrypted and no keys are there, records tell as much as that
// the client has sent what a Finished takes.
func (c *tlsConn) completed() bool {
	if c.plain != [2]int64{} || c.outcome.finished == [2]bool{true, true} {
		return true
	}
	out, in := c.dec.Outline(tlswire.FromClient), c.dec.Outline(tlswire.FromServer)
	switch c.dec.Version() {
	case 0:
		return false
	case 0x0300, 0x0301, 0x0302, 0x0303:
		return out.Behind > 0 && in.Behind > 0
	case 0x0304:
		if c.outcome.finished[capture.In] {
			return c.outcome.finished[capture.Out] // it was decrypted
		}
		return out.Data >= minFinished && in.Data >= minFinished
	}
	return true // of a version that is not known nothing is claimed
}

// server is the one that TLS is spoken with, as it was asked for.
func (c *tlsConn) server() string {
	if p := c.c.tr.Proxy; p != nil && c.l.tunnelled {
		return p.Target
	}
	return addrText(c.c.tr.RemoteAddr)
}

// fail says why the connection failed, if nothing else has before: of several
// things that go wrong the first is the cause.
func (c *tlsConn) fail(f trace.Failure) {
	if c.c.tr.Failure == nil {
		c.c.tr.Failure = &f
	}
}

const closeNotify, userCanceled = 0, 90

// fatal tells whether an alert ends the connection. In TLS 1.3 its level says
// nothing, and all but two do (RFC 8446 §6).
func fatal(version uint16, a tlswire.Alert) bool {
	if a.Description == closeNotify || a.Description == userCanceled {
		return false
	}
	return a.Level == 2 || version == 0x0304
}

const unknownCA = 48

// alerted takes an alert: what ends a connection is its failure.
func (c *tlsConn) alerted(dir capture.Direction, ev *tlswire.Event) {
	if dir == capture.In && ev.Alert.Description == closeNotify {
		c.outcome.leaving = true
	}
	switch {
	case !fatal(ev.Version, ev.Alert), !c.outcome.hello && c.plain == [2]int64{}: // of what no TLS was seen before
	case dir == capture.Out:
		if ev.Alert.Description == unknownCA {
			c.distrusted()
		}
		c.fail(words.ClientAlert(ev.Alert.Description))
	default:
		o := &c.outcome
		a := words.TLSAlert{From: c.server(), Description: ev.Alert.Description, Name: c.facts().SNI, Protocols: c.facts().ALPNOffered,
			Versions: o.versions, Agreed: o.agreed, Wanted: o.wanted, Given: o.given}
		if c.completed() {
			// As a client meets it that takes its handshake for done.
			a.From, a.Protocols, a.Versions = "the server", nil, nil
		}
		c.fail(words.Alert(a))
	}
}

// ended takes the end of one direction: a connection that ends before the
// handshake is done has failed. Where packets are not seen, the program that
// met the end tells it.
func (c *tlsConn) ended(dir capture.Direction) {
	f := c.c.flow
	if f == nil || c.c.tr.Failure != nil || c.midway || !c.outcome.hello || c.outcome.malformed || f.missing > 0 || f.analysis.Sides[capture.In].Segments == 0 || c.completed() {
		return
	}
	out := c.dec.Outline(tlswire.FromClient)
	switch {
	case out.AlertSized() && out.Data < minFinished:
		c.fail(words.EndedUnread())
	case c.outcome.leaving: // whoever closes TCP first
		c.fail(words.Closed(trace.LayerTLS, words.DuringHandshake))
	case f.cut && c.c.rst != nil && c.c.rst.Direction == trace.Out:
		c.fail(words.ClientReset())
	case f.cut:
		c.fail(words.Reset(trace.LayerTLS, words.DuringHandshake))
	case dir == capture.Out:
		c.fail(words.ClientClosed())
	default:
		c.fail(words.Closed(trace.LayerTLS, words.DuringHandshake))
	}
}
