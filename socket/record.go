package socket

import (
	"peel/capture"
	"peel/clock"
	"peel/host"
	"peel/link"
	"peel/pcap"
)

// Evidence makes a recorder an observer of a network: frames that pass at the
// places where it is attached become packets of the capture.
func Evidence(rec *capture.Recorder) link.Observer { return evidence{rec} }

type evidence struct{ rec *capture.Recorder }

func (e evidence) Observe(h link.Hop) {
	l := capture.Link{Type: pcap.LinkEthernet, Where: h.Where}
	switch h.Verdict {
	case link.Sent:
		l.Sent = true
	case link.Delivered:
		l.Received = true
	case link.Queued:
		return // it is Sent next
	default:
		l.Comments = []string{h.Verdict.String() + ": " + h.Reason}
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

// Clock is the network's time, for whoever records it.
func (n *Network) Clock() clock.Clock { return n.time }
