package explain

import (
	"fmt"
	"strings"
	"time"

	"peel/trace"
	"peel/wire/tcp"
)

// lossy is the share of segments sent again from which it is worth telling.
const lossy = 0.005

func retransmissions(t *facts) []*trace.Finding {
	var out []*trace.Finding
	for _, c := range t.Connections {
		g := c.Segments
		if g == nil {
			continue
		}
		for _, s := range []struct {
			who         string
			side, other *trace.SegmentSide
			dir         trace.Direction
		}{{"client", &g.Client, &g.Server, trace.Out}, {"server", &g.Server, &g.Client, trace.In}} {
			// What the receiver had already was not lost.
			lost := s.side.Retransmissions - max(s.side.Spurious, s.other.DSACKs)
			evidence := pick(t.connections[c.ID], func(e *trace.Event) bool {
				return e.Name == tcp.Retransmission.Event() && e.Direction == s.dir
			})
			if lost < 2 || s.side.Bytes == 0 || float64(lost) < lossy*float64(s.side.Segments) || len(evidence) == 0 {
				continue
			}
			var how []string
			if s.side.Fast > 0 {
				how = append(how, fmt.Sprintf("%d of them were asked for by duplicate ACKs", s.side.Fast))
			}
			if s.side.LongestWait > 0 {
				how = append(how, fmt.Sprintf("the longest time from sending a segment to sending it again was %v", s.side.LongestWait))
			}
			why := "A sender sends again what is not acknowledged in time."
			if len(how) > 0 {
				why = sentence(strings.Join(how, "; "))
			}
			out = append(out, &trace.Finding{ID: TCPLoss, Severity: trace.Warning, Connection: c.ID, Evidence: evidence,
				Title:       fmt.Sprintf("%.1f %% of the %s's segments on connection #%d were sent again (%d of %d)", 100*float64(lost)/float64(s.side.Segments), s.who, c.ID, lost, s.side.Segments),
				Explanation: why,
				WhatToDo:    "Look for a full queue, a bad cable or radio link, or a policer between the two.", Source: "RFC 5681 §3.2, RFC 6298 §5"})
		}
		if n := g.Client.OutOfOrder + g.Server.OutOfOrder; n >= 3 && float64(n) > 0.01*float64(g.Client.Segments+g.Server.Segments) {
			out = append(out, &trace.Finding{ID: Reordered, Severity: trace.Warning, Connection: c.ID, Evidence: ofConnection(t, c.ID, tcp.OutOfOrder.Event(), tcp.DSACK.Event()),
				Title:       fmt.Sprintf("%d segments of connection #%d arrived out of order, %d were sent again for nothing", n, c.ID, g.Client.Spurious+g.Server.Spurious),
				Explanation: "A sender takes reordering for loss: it sends again and slows down. Packets that take different paths, or queues of one network card, cause it.",
				WhatToDo:    "Let the packets of one connection take one path (hash by 4-tuple), and one queue.", Source: "RFC 4653, RFC 2883"})
		}
	}
	return out
}

func zeroWindow(t *facts) []*trace.Finding {
	var out []*trace.Finding
	for _, c := range t.Connections {
		g := c.Segments
		if g == nil {
			continue
		}
		for _, s := range []struct {
			who  string
			side *trace.SegmentSide
			dir  trace.Direction
		}{{"client", &g.Client, trace.Out}, {"server", &g.Server, trace.In}} {
			if s.side.ZeroWindows == 0 {
				continue
			}
			if s.side.Stalled < trace.Duration(stall) {
				continue // a window closes for a moment in any fast transfer
			}
			evidence := pick(t.connections[c.ID], func(e *trace.Event) bool {
				return e.Direction == s.dir && e.Name == tcp.ZeroWindow.Event() || e.Direction != s.dir && e.Name == tcp.ZeroWindowProbe.Event()
			})
			if len(evidence) == 0 {
				continue
			}
			out = append(out, &trace.Finding{ID: ZeroWindow, Severity: trace.Warning, Connection: c.ID, Evidence: evidence,
				Title:       fmt.Sprintf("the %s of connection #%d stopped reading: its window was closed for %v (window 0 in %s)", s.who, c.ID, s.side.Stalled, counted(s.side.ZeroWindows, "segment", "segments")),
				Explanation: "Its receive buffer was full: the slow side is the " + s.who + "'s program, not the network.",
				WhatToDo:    "Look at what the " + s.who + " does with the data; a larger buffer only puts it off.", Source: "RFC 9293 §3.8.6"})
		}
	}
	return out
}

// stall is how long a window is closed when it is worth telling.
const stall = 200 * time.Millisecond

// tooBig: a router told that packets do not fit.
func tooBig(t *facts) []*trace.Finding {
	ids := events(t, func(e *trace.Event) bool { return e.ICMP != nil && e.ICMP.NextMTU > 0 })
	if len(ids) == 0 {
		return nil
	}
	return []*trace.Finding{{ID: PathMTUReduced, Severity: trace.Info, Evidence: ids,
		Title:       "a router says that packets are too big: " + t.Event(ids[0]).Text,
		Explanation: "Path MTU discovery works: the sender learns of the narrow link and sends smaller packets. Where such messages are filtered, connections hang instead.",
		WhatToDo:    "Nothing, as long as the sender obeys. See to it that no firewall drops these messages.", Source: "RFC 1191, RFC 8201"}}
}

// incomplete: what the capture itself lacks.
func incomplete(t *facts) []*trace.Finding {
	var out []*trace.Finding
	var missing int64
	var conns int
	for _, c := range t.Connections {
		if g := c.Segments; g != nil {
			if g.Missing > 0 && !g.OneWay { // of one direction, the other is missing whole
				missing += g.Missing
				conns++
			}
		}
	}
	if missing > 0 {
		out = append(out, &trace.Finding{ID: CaptureGap, Severity: trace.Warning, Evidence: events(t, func(e *trace.Event) bool { return e.Name == trace.EventTCPGap }),
			Title:       fmt.Sprintf("%d bytes of %s are missing from the capture", missing, counted(conns, "connection", "connections")),
			Explanation: "They were sent, as their receivers acknowledged them or the capture has their packets without them: it dropped them, cut them off, or did not see that path.",
			WhatToDo:    "Capture with a larger buffer (tcpdump -B), without a snap length (-s 0), at one end of the connection."})
	}
	if dropped := events(t, func(e *trace.Event) bool { return e.Name == trace.EventCaptureDropped }); len(dropped) > 0 {
		out = append(out, &trace.Finding{ID: CaptureDropped, Severity: trace.Warning, Evidence: dropped, Title: t.Event(dropped[0]).Text,
			Explanation: "What they carried is missing here.", WhatToDo: "Capture with a larger buffer, or with a narrower filter."})
	}
	if damage := events(t, func(e *trace.Event) bool { return e.Name == trace.EventCaptureDamage }); len(damage) > 0 {
		out = append(out, &trace.Finding{ID: CaptureDamaged, Severity: trace.Warning, Evidence: damage, Title: "the capture file is damaged: " + t.Event(damage[0]).Text,
			Explanation: "What could be read is shown; the rest was passed over.", WhatToDo: "Copy the file again, or end the capturing program before you read it."})
	}
	return out
}

// checksums: segments that their receiver would drop, if they were so on the
// wire.
func checksums(t *facts) []*trace.Finding {
	var bad, whole int
	for _, c := range t.Connections {
		if c.Segments == nil {
			continue
		}
		for _, s := range []*trace.SegmentSide{&c.Segments.Client, &c.Segments.Server} {
			bad += s.BadChecksums
			if s.GoodChecksums == 0 {
				whole += s.BadChecksums
			}
		}
	}
	evidence := events(t, func(e *trace.Event) bool { return e.Name == trace.EventTCPChecksum })
	if bad == 0 || len(evidence) == 0 {
		return nil
	}
	why := "The bytes were damaged on the way, or the capture changed them; their receivers drop such segments."
	what := "Compare with a capture at the other end."
	switch {
	case whole == bad:
		why = "Their senders have none with a right one: where a capture is made on the sender, its network card fills the checksums in afterwards, and nothing is wrong. A capture that was edited looks like this, too."
		what = "Nothing, where the capture was made on the sender; ethtool -K DEVICE tx off shows whether it is offloading."
	case whole > 0:
		why = fmt.Sprintf("%d of them are of senders that have none with a right one: there the network card fills them in after the capture. The others were damaged on the way, and their receivers drop them.", whole)
	}
	return []*trace.Finding{{ID: ChecksumWrong, Severity: trace.Info, Evidence: evidence,
		Title: fmt.Sprintf("the TCP checksum of %s is wrong", counted(bad, "segment", "segments")), Explanation: why, WhatToDo: what, Source: "RFC 9293 §3.1"}}
}

// oneWay: what the other side sent was captured of no connection, or not of some.
func oneWay(t *facts) []*trace.Finding {
	n, all := 0, 0
	for _, c := range t.Connections {
		if c.Segments != nil {
			all++
			if c.Segments.OneWay {
				n++
			}
		}
	}
	evidence := events(t, func(e *trace.Event) bool { return e.Name == trace.EventTCPOneWay })
	if n == 0 || len(evidence) == 0 {
		return nil
	}
	title := "only one direction was captured"
	if n < all {
		title = fmt.Sprintf("of %d of %d connections only one direction was captured", n, all)
	}
	return []*trace.Finding{{ID: CaptureOneWay, Severity: trace.Warning, Evidence: evidence, Title: title,
		Explanation: "The packets that were captured acknowledge others that were not: they took another way, or the capture's filter or mirror port passes one direction only. Answers, and what happened to the requests, are not in it.",
		WhatToDo:    "Capture on the client or the server itself, or mirror both directions."}}
}

// copies: packets that are in the capture more than once.
func copies(t *facts) []*trace.Finding {
	evidence := events(t, func(e *trace.Event) bool { return e.Name == trace.EventCaptureCopy })
	if t.Copies < 3 || t.Account == nil || len(evidence) == 0 {
		return nil
	}
	return []*trace.Finding{{ID: CaptureCopies, Severity: trace.Info, Evidence: evidence,
		Title:       fmt.Sprintf("%d of %d packets are in the capture a second time", t.Copies, t.Account.Packets),
		Explanation: "They have the same bytes, and came within moments: the capture saw them at two places (two interfaces, a bridge and its port, before and after a router). They were not sent again; each is analysed once.",
		WhatToDo:    "Capture on one interface, to see them once."}}
}

// clockSteps: times of the capture that do not fit together.
func clockSteps(t *facts) []*trace.Finding {
	evidence := events(t, func(e *trace.Event) bool { return e.Name == trace.EventCaptureClock })
	if len(evidence) == 0 {
		return nil
	}
	return []*trace.Finding{{ID: CaptureClock, Severity: trace.Info, Evidence: evidence, Title: t.Event(evidence[0]).Text,
		Explanation: "The clock of the machine that captured was set, or the file was joined from several. Durations across such a step mean nothing, and are left out.",
		WhatToDo:    "Read the parts of the capture by themselves."}}
}
