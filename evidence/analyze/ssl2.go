package analyze

import (
	"errors"
	"fmt"

	"peel/clock"
	"peel/evidence/capture"
	"peel/trace"
	"peel/wire/tlswire"
)

// What clients of old begin with: a ClientHello in the form of SSL 2.0. It is
// named; what follows is SSL 3.0 or TLS 1.0, or SSL 2.0 itself, which is not
// read.

func looksLikeSSL2(b []byte) guess {
	if len(b) == 0 {
		return no
	}
	switch _, _, err := tlswire.ParseHello2(b); {
	case err == nil:
		return yes
	case errors.Is(err, tlswire.ErrShort):
		return perhaps
	}
	return no
}

// hello2 takes the hello off the client's bytes, which openTLS has seen whole.
func (c *tlsConn) hello2(t clock.Time, b []byte, offset int64) ([]byte, int64) {
	c.first[capture.Out] = append(c.first[capture.Out], b...)
	all := c.first[capture.Out]
	start := offset + int64(len(b)) - int64(len(all))
	h, n, err := tlswire.ParseHello2(all)
	if err != nil {
		return nil, 0
	}
	c.early2, c.first[capture.Out] = false, nil
	f := c.facts()
	e := c.low(&tlswire.Event{Time: t, Offset: start, Length: n, Data: all[:n]}, capture.Out, trace.EventTLSHello2,
		fmt.Sprintf("ClientHello in the form of SSL 2.0: up to %s, %d cipher suites", tlswire.VersionName(h.Version), h.Suites))
	f.Messages = append(f.Messages, trace.TLSMessage{Type: tlswire.TypeClientHello.String(), Direction: trace.Out, Time: e.Time, Size: n - 2})
	c.messageEvents(e)
	c.c.tlsStart = e
	c.outcome.hello, c.outcome.versions = true, []string{tlswire.VersionName(h.Version)}
	if c.mayBe2 = true; len(all) == n {
		return nil, 0
	}
	return all[n:], start + int64(n)
}

// server2 tells whether the server goes on in SSL 2.0, which is not read.
func (c *tlsConn) server2(t clock.Time, b []byte, offset int64) bool {
	if !c.mayBe2 {
		return false
	}
	c.mayBe2 = false
	if is, _ := tlswire.IsServerHello2(b); !is {
		return false
	}
	f := c.facts()
	f.Version, f.Undecryptable = tlswire.VersionName(2), "SSL 2.0 is not read"
	c.low(&tlswire.Event{Time: t, Offset: offset, Length: len(b), Data: b}, capture.In, trace.EventTLSUndecryptable, f.Undecryptable)
	c.dec = nil
	return true
}
