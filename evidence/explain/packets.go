package explain

import (
	"fmt"
	"net/netip"

	"peel/trace"
	"peel/wire/tcp"
)

// refusedSeen and unanswered are what packets tell of connections that no
// program told of.
func refusedSeen(t *facts) []*trace.Finding {
	var out []*trace.Finding
	for _, c := range t.Connections {
		if g := c.Segments; g == nil || len(c.Attempts) > 0 || c.ClosedBy != trace.ByReset || c.Connected != nil || g.Server.Segments == 0 || !g.Complete || c.BytesIn+c.BytesOut > 0 {
			continue
		}
		out = append(out, &trace.Finding{ID: ConnectRefused, Severity: trace.Error, Connection: c.ID, Evidence: ofConnection(t, c.ID, trace.EventTCPSYN, trace.EventTCPRST),
			Title:       c.RemoteAddr.String() + " refused the connection (RST to the SYN)",
			Explanation: "The reset came instead of a SYN-ACK: nothing listens on that port, or a firewall rejects it.",
			WhatToDo:    "Check the port, and that the server runs and listens on this address.", Source: "RFC 9293 §3.10.7.1"})
	}
	return out
}

func unanswered(t *facts) []*trace.Finding {
	var out []*trace.Finding
	for _, c := range t.Connections {
		g := c.Segments
		if g == nil || len(c.Attempts) > 0 || !g.Complete || g.Server.Segments > 0 || g.Client.Retransmissions == 0 {
			continue
		}
		out = append(out, &trace.Finding{ID: ConnectTimeout, Severity: trace.Error, Connection: c.ID, Evidence: ofConnection(t, c.ID, trace.EventTCPSYN),
			Title:       fmt.Sprintf("%s did not answer %d SYNs", c.RemoteAddr, g.Client.Segments),
			Explanation: "Neither a SYN-ACK nor a reset nor an ICMP error came. A firewall that drops silently looks like this, and so does a machine that is down.",
			WhatToDo:    "Capture nearer to the server, to see how far the SYNs come.", Source: "RFC 9293 §3.8.3"})
	}
	return out
}

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
			who  string
			side *trace.SegmentSide
		}{{"client", &g.Client}, {"server", &g.Server}} {
			lost := s.side.Retransmissions - s.side.Spurious
			if lost < 2 || s.side.Bytes == 0 || float64(lost) < lossy*float64(s.side.Segments) {
				continue
			}
			f := &trace.Finding{ID: TCPLoss, Severity: trace.Warning, Connection: c.ID, Evidence: ofConnection(t, c.ID, tcp.Retransmission.Event(), tcp.LostSegment.Event()),
				Title:       fmt.Sprintf("%.1f %% of the %s's segments on connection #%d were sent again (%d of %d)", 100*float64(lost)/float64(s.side.Segments), s.who, c.ID, lost, s.side.Segments),
				Explanation: fmt.Sprintf("%d of them were asked for by duplicate ACKs; the others waited for a timeout, which costs 200 ms and more each.", s.side.Fast),
				WhatToDo:    "Look for a full queue, a bad cable or radio link, or a policer between the two.", Source: "RFC 5681 §3.2, RFC 6298 §5"}
			out = append(out, f)
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
			first, last, n := stalled(t, c.ID, s.dir)
			if n == 0 || last.Time-first.Time < trace.Time(200e6) {
				continue // a window closes for a moment in any fast transfer
			}
			out = append(out, &trace.Finding{ID: ZeroWindow, Severity: trace.Warning, Connection: c.ID, Evidence: ofConnection(t, c.ID, tcp.ZeroWindow.Event(), tcp.ZeroWindowProbe.Event()),
				Title:       fmt.Sprintf("the %s of connection #%d stopped reading: window 0 %d times, over %v", s.who, c.ID, s.side.ZeroWindows, trace.Duration(last.Time-first.Time).Std()),
				Explanation: "Its receive buffer was full: the slow side is the " + s.who + "'s program, not the network.",
				WhatToDo:    "Look at what the " + s.who + " does with the data; a larger buffer only puts it off.", Source: "RFC 9293 §3.8.6"})
		}
	}
	return out
}

func stalled(t *facts, connection int, direction trace.Direction) (first, last *trace.Event, n int) {
	for _, e := range t.connections[connection] {
		if e.Direction == direction && e.Name == tcp.ZeroWindow.Event() {
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

// arpConflict: two machines claim one address.
func arpConflict(t *facts) []*trace.Finding {
	type claim struct {
		mac   string
		event int
	}
	owner := map[netip.Addr]claim{}
	var out []*trace.Finding
	told := map[netip.Addr]bool{}
	for _, e := range t.Events {
		m := e.ARP
		if m == nil || m.Request {
			continue
		}
		if was := owner[m.Sender]; was.mac != "" && was.mac != m.SenderMAC && !told[m.Sender] {
			told[m.Sender] = true
			out = append(out, &trace.Finding{ID: ARPConflict, Severity: trace.Warning, Evidence: []int{was.event, e.ID},
				Title:       m.Sender.String() + " is claimed by two machines: " + was.mac + " and " + m.SenderMAC,
				Explanation: "Packets for the address reach one or the other by chance. After a failover of a shared address, one such change is right.",
				WhatToDo:    "Find the second machine by its MAC address; give it an address of its own.", Source: "RFC 5227"})
		}
		owner[m.Sender] = claim{m.SenderMAC, e.ID}
	}
	return out
}

// arpSilence: nobody answers for an address on this link.
func arpSilence(t *facts) []*trace.Finding {
	asked := map[netip.Addr][]int{}
	answered := map[netip.Addr]bool{}
	var order []netip.Addr
	for _, e := range t.Events {
		switch m := e.ARP; {
		case m == nil:
		case !m.Request:
			answered[m.Sender] = true
		case m.Sender != m.Target: // an announcement asks for no answer (RFC 5227 §3)
			if asked[m.Target] == nil {
				order = append(order, m.Target)
			}
			asked[m.Target] = append(asked[m.Target], e.ID)
		}
	}
	var out []*trace.Finding
	for _, ip := range order {
		if answered[ip] || len(asked[ip]) < 2 {
			continue
		}
		out = append(out, &trace.Finding{ID: ARPSilence, Severity: trace.Error, Evidence: asked[ip],
			Title:       fmt.Sprintf("nobody answers for %s on this link (%d ARP requests)", ip, len(asked[ip])),
			Explanation: "No packet can be sent to an address whose machine is down, or which is not on this link at all: a wrong netmask makes a distant address look near.",
			WhatToDo:    "Check that the machine is up, and the netmask and route of this one (ip route get " + ip.String() + ").", Source: "RFC 826"})
	}
	return out
}

// incomplete: what the capture itself lacks.
func incomplete(t *facts) []*trace.Finding {
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
		out = append(out, &trace.Finding{ID: CaptureGap, Severity: trace.Warning, Evidence: events(t, func(e *trace.Event) bool { return e.Name == trace.EventTCPGap }),
			Title:       fmt.Sprintf("%d bytes of %d connections are missing from the capture", missing, conns),
			Explanation: "Their receivers acknowledged them, so they were sent: the capture dropped them, cut them off, or did not see that path.",
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
	if bad > 0 {
		out = append(out, &trace.Finding{ID: ChecksumWrong, Severity: trace.Info, Evidence: []int{},
			Title:       fmt.Sprintf("%d TCP segments have a wrong checksum", bad),
			Explanation: "On the machine that captures, the network card may fill checksums in after the capture saw the packet. Elsewhere the bytes were damaged on the way, and the receiver drops them.",
			WhatToDo:    "Compare with a capture at the other end; ethtool -K DEVICE tx off shows whether it is offloading.", Source: "RFC 9293 §3.1"})
	}
	return out
}
