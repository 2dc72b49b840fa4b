package analyze

import (
	"fmt"
	"time"

	"peel/clock"
	"peel/evidence/capture"
	"peel/evidence/decision"
	words "peel/evidence/failure"
	"peel/trace"
	"peel/wire/icmp"
	"peel/wire/tcp"
)

// How a connection did not come about, as its packets tell.

// synPatience is how long a SYN has been sent again when it is said that nothing
// answers. The first comes again after a second (RFC 6298 §2).
const synPatience = 500 * time.Millisecond

// refusal tells whether an RST answers the client's SYN (RFC 9293 §3.10.7.1):
// it comes from the server, which has sent nothing else and of which the client
// has acknowledged nothing, and it acknowledges the SYN.
func (f *flow) refusal(dir capture.Direction, s tcp.Segment) bool {
	client, server := &f.analysis.Sides[0], &f.analysis.Sides[1]
	if dir != capture.In || !client.SawSYN || server.SawSYN || server.Bytes > 0 || f.acks[0] > 0 || !s.Flags().Has(tcp.ACK) {
		return false
	}
	// With Fast Open data on the SYN is acknowledged, or not.
	n := s.Ack() - client.ISN
	return n >= 1 && int64(n) <= 1+client.Bytes
}

// rejects takes an ICMP error about a packet of the flow that its client sent.
func (f *flow) rejects(m icmp.Message, r trace.Rejection) {
	client, server := &f.analysis.Sides[0], &f.analysis.Sides[1]
	if f.rejected == nil && m.EndsAttempt() && client.SawSYN && !server.SawSYN && server.Segments == 0 && f.acks[0] == 0 {
		r.Local = r.From == f.conn.tr.LocalAddr.Addr()
		f.rejected = &r
	}
}

// verdict is why the connection did not open, or nil: where it opened, where the
// capture does not show it, and while an answer may still come.
func (f *flow) verdict() *trace.Failure {
	client, server := &f.analysis.Sides[0], &f.analysis.Sides[1]
	to := f.conn.tr.RemoteAddr
	var v trace.Failure
	switch {
	case !client.SawSYN || server.SawSYN || server.Bytes > 0 || f.acks[0] > 0:
		return nil
	case f.refused:
		v = words.Refused(to.String())
	case f.rejected != nil:
		v = words.Rejected(to, *f.rejected)
	case server.Segments > 0 || f.lastSYN.Sub(f.firstSYN) < synPatience:
		return nil // the capture may end before the answer
	default:
		v = words.Unanswered(to.String(), f.lastSYN.Sub(f.firstSYN))
	}
	return &v
}

// isOneWay tells whether one side's segments only are in the capture, although
// they acknowledge what the other side sent meanwhile: the handshake, or more
// than at the beginning.
func (f *flow) isOneWay() bool {
	for d := range f.analysis.Sides {
		mine, other := &f.analysis.Sides[d], &f.analysis.Sides[1-d]
		if other.Segments > 0 || f.acks[d] == 0 {
			continue
		}
		return d == 0 && mine.SawSYN || f.acks[d] > 1
	}
	return false
}

// tellOneWay makes an event of it when the flow has ended.
func (f *flow) tellOneWay(now clock.Time) {
	if f.oneWay != nil || !f.isOneWay() {
		return
	}
	seen, missing := capture.Out, capture.In
	if f.analysis.Sides[0].Segments == 0 {
		seen, missing = missing, seen
	}
	f.oneWay = f.a.event(now, trace.LayerCapture, trace.EventTCPOneWay, fmt.Sprintf("only what the %s sent was captured; it acknowledges what the %s sent", sideName(seen), sideName(missing)))
	f.oneWay.Connection = f.conn.tr.ID
}

// unopened takes what the program was told of why its attempt failed.
func (c *conn) unopened(d *decision.ConnectFailed) {
	to := c.tr.RemoteAddr
	var v trace.Failure
	switch {
	case d.From.IsValid():
		r := trace.Rejection{From: d.From, V6: d.V6, Type: d.Type, Code: d.Code, Local: d.Local}
		c.tr.Rejected = &r
		v = words.Rejected(to, r)
	case d.Outcome == decision.Refused && d.Reset:
		c.tr.ResetBy = trace.ByServer
		v = words.Refused(to.String())
	case d.Outcome == decision.Refused:
		v = words.RefusedSomehow(to.String())
	case d.Outcome == decision.Timeout && len(c.tr.Attempts) > 0:
		v = words.Unanswered(to.String(), trace.Elapsed(c.tr.Attempts[0].Start, c.tr.Attempts[0].End).Std())
	default:
		return
	}
	c.tr.Failure = &v
}

// Bounds of what an acknowledgement can be of that the capture does not have: so
// much at once, and so much more for each nanosecond since the last, 100 Gb/s.
const (
	maxAhead   = 1 << 20
	unseenRate = 12
)

// believes tells whether an acknowledgement can be right. One of more than the
// other side can have sent says nothing of what is missing.
func (f *flow) believes(now clock.Time, dir capture.Direction, ack uint32) bool {
	other := &f.analysis.Sides[1-dir]
	if other.Segments == 0 {
		return true
	}
	ahead := int64(int32(ack - f.analysis.Next(int(1-dir))))
	switch {
	case ahead <= 0:
		return true
	case dir == capture.Out && f.acks[0] == 0 && other.SawSYN:
		// The server sends nothing before this, or with Fast Open one window.
		return ahead <= int64(f.synWindow)
	case f.ackTime[dir] == 0:
		return ahead <= maxAhead
	}
	return ahead <= maxAhead+unseenRate*int64(max(now-f.ackTime[dir], 0))
}
