// Package network makes what happens in a network of our own part of a
// capture: its frames, and what its links and hosts decide.
package network

import (
	"strconv"

	"peel/evidence/capture"
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
		attrs := []capture.Attr{{Key: "where", Value: h.Where}, {Key: "packet", Value: strconv.FormatUint(h.Packet.ID, 10)}, {Key: "text", Value: h.Where + ": " + h.Verdict.String()}}
		if h.Reason != "" {
			attrs[2].Value += ": " + h.Reason
		}
		if h.Wait > 0 {
			attrs = append(attrs, capture.Attr{Key: "wait", Value: h.Wait.String()})
		}
		e.rec.Decide(capture.Decision{Name: "link." + h.Verdict.String(), Attrs: attrs})
		return
	}
	b := h.Packet.Bytes()
	e.rec.Packet(h.Time, l, len(b), b)
}

// Decisions makes what hosts decide, and no packet shows, decisions of the
// capture. It is for host.Options.Observe.
func Decisions(rec *capture.Recorder) func(host.Event) {
	return func(e host.Event) {
		attrs := make([]capture.Attr, 0, 12)
		add := func(k, v string) {
			if v != "" {
				attrs = append(attrs, capture.Attr{Key: k, Value: v})
			}
		}
		add("host", e.Host)
		add("interface", e.Interface)
		if e.Local.IsValid() {
			add("local", e.Local.String())
			add("remote", e.Remote.String())
		}
		if e.TCP != nil {
			e.Text = e.TCP.String()
		}
		add("text", e.Text)
		name := "host." + e.Name
		if e.TCP != nil {
			e.TCP.Attrs(add)
		}
		rec.Decide(capture.Decision{Name: name, Attrs: attrs})
	}
}
