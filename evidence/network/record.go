// Package network makes what happens in a network of our own part of a
// capture: its frames, and what its links and hosts decide.
package network

import (
	"strings"

	"peel/evidence/capture"
	"peel/evidence/decision"
	"peel/stack/host"
	"peel/stack/link"
	"peel/wire/pcap"
)

// Evidence makes a recorder an observer of a network: frames that are sent and
// delivered at the places where it is attached become packets of the capture,
// and what else became of frames there becomes decisions.
func Evidence(rec *capture.Recorder) link.Observer { return evidence{rec} }

type evidence struct{ rec *capture.Recorder }

func (e evidence) Observe(h link.Hop) {
	l := capture.Link{Type: pcap.LinkEthernet, Where: h.Where}
	switch h.Verdict {
	case link.Sent:
		l.Sent = true
	case link.Delivered:
		l.Received = true
	default:
		// No further packet: it was seen, or will be.
		e.rec.Decide(capture.About{}, &decision.FrameHandled{Verdict: h.Verdict.String(), Where: h.Where, Packet: h.Packet.ID, Reason: h.Reason, Wait: max(h.Wait, 0)})
		return
	}
	b := h.Packet.Bytes()
	e.rec.Packet(h.Time, l, len(b), b)
}

// Decisions makes what hosts decide, and no packet shows, decisions of the
// capture. It is for host.Options.Observe.
func Decisions(rec *capture.Recorder) func(host.Event) {
	return func(e host.Event) {
		var d decision.Decision = &decision.HostDecided{What: e.Name, Host: e.Host, Interface: e.Interface, Local: e.Local, Remote: e.Remote, Text: e.Text}
		if t := e.TCP; t != nil {
			d = &decision.TCPDecided{What: strings.TrimPrefix(t.Kind.String(), "tcp."), Host: e.Host, Local: e.Local, Remote: e.Remote,
				State: t.State.String(), Why: t.Why, From: t.From, To: t.To, Wait: t.Wait, Old: int64(t.Old), New: int64(t.New),
				Cwnd: int64(t.Cwnd), Ssthresh: int64(t.Ssthresh), Flight: int64(t.Flight), Text: t.String()}
		}
		rec.Decide(capture.About{}, d)
	}
}
