package explain

import (
	"fmt"
	"strings"

	"peel/trace"
)

// refusedSeen and unanswered are what packets tell of connections that no
// program told of.
func refusedSeen(t *trace.Trace) []*trace.Finding {
	var out []*trace.Finding
	for _, c := range t.Connections {
		if g := c.Segments; g == nil || len(c.Attempts) > 0 || c.ClosedBy != "reset" || c.Connected != nil || g.Server.Segments == 0 || !g.Complete || c.BytesIn+c.BytesOut > 0 {
			continue
		}
		out = append(out, &trace.Finding{ID: "CONNECT-REFUSED", Severity: "error", Evidence: ofConnection(t, c.ID, "tcp.syn", "tcp.rst"),
			Title:       c.RemoteAddr + " refused the connection (RST to the SYN)",
			Explanation: "The reset came instead of a SYN-ACK: nothing listens on that port, or a firewall rejects it.",
			WhatToDo:    "Check the port, and that the server runs and listens on this address.", Source: "RFC 9293 §3.10.7.1"})
	}
	return out
}

func unanswered(t *trace.Trace) []*trace.Finding {
	var out []*trace.Finding
	for _, c := range t.Connections {
		g := c.Segments
		if g == nil || len(c.Attempts) > 0 || !g.Complete || g.Server.Segments > 0 || g.Client.Retransmissions == 0 {
			continue
		}
		out = append(out, &trace.Finding{ID: "CONNECT-TIMEOUT", Severity: "error", Evidence: ofConnection(t, c.ID, "tcp.syn"),
			Title:       fmt.Sprintf("%s did not answer %d SYNs", c.RemoteAddr, g.Client.Segments),
			Explanation: "Neither a SYN-ACK nor a reset nor an ICMP error came. A firewall that drops silently looks like this, and so does a machine that is down.",
			WhatToDo:    "Capture nearer to the server, to see how far the SYNs come.", Source: "RFC 9293 §3.8.3"})
	}
	return out
}

// lossy is the share of segments sent again from which it is worth telling.
const lossy = 0.005

func retransmissions(t *trace.Trace) []*trace.Finding {
	var out []*trace.Finding
	for _, c := range t.Connections {
		g := c.Segments
		if g == nil {
			continue
		}
		for _, s := range []struct {
			who  string
			side *trace.SegmentSide
		}{{"client", &g.Client}, {"server", &g.Server}} {
			lost := s.side.Retransmissions - s.side.Spurious
			if lost < 2 || s.side.Bytes == 0 || float64(lost) < lossy*float64(s.side.Segments) {
				continue
			}
			f := &trace.Finding{ID: "TCP-LOSS", Severity: "warning", Evidence: ofConnection(t, c.ID, "tcp.retransmission", "tcp.lost_segment"),
				Title:       fmt.Sprintf("%.1f %% of the %s's segments on connection #%d were sent again (%d of %d)", 100*float64(lost)/float64(s.side.Segments), s.who, c.ID, lost, s.side.Segments),
				Explanation: fmt.Sprintf("%d of them were asked for by duplicate ACKs; the others waited for a timeout, which costs 200 ms and more each.", s.side.Fast),
				WhatToDo:    "Look for a full queue, a bad cable or radio link, or a policer between the two.", Source: "RFC 5681 §3.2, RFC 6298 §5"}
			out = append(out, f)
		}
		if n := g.Client.OutOfOrder + g.Server.OutOfOrder; n >= 3 && float64(n) > 0.01*float64(g.Client.Segments+g.Server.Segments) {
			out = append(out, &trace.Finding{ID: "REORDER-DUP", Severity: "warning", Evidence: ofConnection(t, c.ID, "tcp.out_of_order", "tcp.dsack"),
				Title:       fmt.Sprintf("%d segments of connection #%d arrived out of order, %d were sent again for nothing", n, c.ID, g.Client.Spurious+g.Server.Spurious),
				Explanation: "A sender takes reordering for loss: it sends again and slows down. Packets that take different paths, or queues of one network card, cause it.",
				WhatToDo:    "Let the packets of one connection take one path (hash by 4-tuple), and one queue.", Source: "RFC 4653, RFC 2883"})
		}
	}
	return out
}

func zeroWindow(t *trace.Trace) []*trace.Finding {
	var out []*trace.Finding
	for _, c := range t.Connections {
		g := c.Segments
		if g == nil {
			continue
		}
		for _, s := range []struct {
			who  string
			side *trace.SegmentSide
		}{{"client", &g.Client}, {"server", &g.Server}} {
			first, last, n := stalled(t, c.ID, map[string]string{"client": trace.Out, "server": trace.In}[s.who])
			if s.side.ZeroWindows == 0 || n == 0 || last.Time-first.Time < trace.Time(200e6) {
				continue // a window closes for a moment in any fast transfer
			}
			out = append(out, &trace.Finding{ID: "ZERO-WINDOW", Severity: "warning", Evidence: ofConnection(t, c.ID, "tcp.zero_window", "tcp.zero_window_probe"),
				Title:       fmt.Sprintf("the %s of connection #%d stopped reading: window 0 %d times, over %v", s.who, c.ID, s.side.ZeroWindows, trace.Duration(last.Time-first.Time).Std()),
				Explanation: "Its receive buffer was full: the slow side is the " + s.who + "'s program, not the network.",
				WhatToDo:    "Look at what the " + s.who + " does with the data; a larger buffer only puts it off.", Source: "RFC 9293 §3.8.6"})
		}
	}
	return out
}

func stalled(t *trace.Trace, connection int, direction string) (first, last *trace.Event, n int) {
	for _, e := range t.Events {
		if e.Connection == connection && e.Direction == direction && e.Name == "tcp.zero_window" {
			if first == nil {
				first = e
			}
			last = e
			n++
		}
	}
	return first, last, n
}

// tooBig: a router told that packets do not fit.
func tooBig(t *trace.Trace) []*trace.Finding {
	ids := events(t, func(e *trace.Event) bool { return e.Name == "icmp.error" && strings.Contains(e.Text, "next MTU") })
	if len(ids) == 0 {
		return nil
	}
	return []*trace.Finding{{ID: "PMTU-REDUCED", Severity: "info", Evidence: ids,
		Title:       "a router says that packets are too big: " + t.Event(ids[0]).Text,
		Explanation: "Path MTU discovery works: the sender learns of the narrow link and sends smaller packets. Where such messages are filtered, connections hang instead.",
		WhatToDo:    "Nothing, as long as the sender obeys. See to it that no firewall drops these messages.", Source: "RFC 1191, RFC 8201"}}
}

// arpConflict: two machines claim one address.
func arpConflict(t *trace.Trace) []*trace.Finding {
	owner := map[string]string{}
	first := map[string]int{}
	var out []*trace.Finding
	told := map[string]bool{}
	for _, e := range t.Events {
		if e.Name != "arp.reply" {
			continue
		}
		ip, mac, ok := strings.Cut(e.Text, " is at ")
		if !ok {
			continue
		}
		if was := owner[ip]; was != "" && was != mac && !told[ip] {
			told[ip] = true
			out = append(out, &trace.Finding{ID: "ARP-CONFLICT", Severity: "warning", Evidence: []int{first[ip], e.ID},
				Title:       ip + " is claimed by two machines: " + was + " and " + mac,
				Explanation: "Packets for the address reach one or the other by chance. After a failover of a shared address, one such change is right.",
				WhatToDo:    "Find the second machine by its MAC address; give it an address of its own.", Source: "RFC 5227"})
		}
		owner[ip], first[ip] = mac, e.ID
	}
	return out
}

// arpSilence: nobody answers for an address on this link.
func arpSilence(t *trace.Trace) []*trace.Finding {
	asked := map[string][]int{}
	var order []string
	answered := map[string]bool{}
	for _, e := range t.Events {
		switch e.Name {
		case "arp.request":
			_, rest, _ := strings.Cut(e.Text, "who has ")
			ip, _, ok := strings.Cut(rest, "?")
			if !ok {
				continue
			}
			if asked[ip] == nil {
				order = append(order, ip)
			}
			asked[ip] = append(asked[ip], e.ID)
		case "arp.reply":
			ip, _, _ := strings.Cut(e.Text, " is at ")
			answered[ip] = true
		}
	}
	var out []*trace.Finding
	for _, ip := range order {
		if answered[ip] || len(asked[ip]) < 2 {
			continue
		}
		out = append(out, &trace.Finding{ID: "ARP-SILENCE", Severity: "error", Evidence: asked[ip],
			Title:       fmt.Sprintf("nobody answers for %s on this link (%d ARP requests)", ip, len(asked[ip])),
			Explanation: "No packet can be sent to an address whose machine is down, or which is not on this link at all: a wrong netmask makes a distant address look near.",
			WhatToDo:    "Check that the machine is up, and the netmask and route of this one (ip route get " + ip + ").", Source: "RFC 826"})
	}
	return out
}

// incomplete: what the capture itself lacks.
func incomplete(t *trace.Trace) []*trace.Finding {
	var out []*trace.Finding
	var missing int64
	var conns, bad int
	for _, c := range t.Connections {
		if g := c.Segments; g != nil {
			if g.Missing > 0 {
				missing += g.Missing
				conns++
			}
			bad += g.BadChecksums
		}
	}
	if missing > 0 {
		out = append(out, &trace.Finding{ID: "CAPTURE-GAP", Severity: "warning", Evidence: events(t, func(e *trace.Event) bool { return e.Name == "tcp.gap" }),
			Title:       fmt.Sprintf("%d bytes of %d connections are missing from the capture", missing, conns),
			Explanation: "Their receivers acknowledged them, so they were sent: the capture dropped them, cut them off, or did not see that path.",
			WhatToDo:    "Capture with a larger buffer (tcpdump -B), without a snap length (-s 0), at one end of the connection."})
	}
	if dropped := events(t, func(e *trace.Event) bool { return e.Name == "capture.dropped" }); len(dropped) > 0 {
		out = append(out, &trace.Finding{ID: "CAPTURE-DROPPED", Severity: "warning", Evidence: dropped, Title: t.Event(dropped[0]).Text,
			Explanation: "What they carried is missing here.", WhatToDo: "Capture with a larger buffer, or with a narrower filter."})
	}
	if damage := events(t, func(e *trace.Event) bool { return e.Name == "capture.damage" }); len(damage) > 0 {
		out = append(out, &trace.Finding{ID: "CAPTURE-DAMAGED", Severity: "warning", Evidence: damage, Title: "the capture file is damaged: " + t.Event(damage[0]).Text,
			Explanation: "What could be read is shown; the rest was passed over.", WhatToDo: "Copy the file again, or end the capturing program before you read it."})
	}
	if bad > 0 {
		out = append(out, &trace.Finding{ID: "CHECKSUM-WRONG", Severity: "info", Evidence: []int{},
			Title:       fmt.Sprintf("%d TCP segments have a wrong checksum", bad),
			Explanation: "On the machine that captures, the network card may fill checksums in after the capture saw the packet. Elsewhere the bytes were damaged on the way, and the receiver drops them.",
			WhatToDo:    "Compare with a capture at the other end; ethtool -K DEVICE tx off shows whether it is offloading.", Source: "RFC 9293 §3.1"})
	}
	return out
}
