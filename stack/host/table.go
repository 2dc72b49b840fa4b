package host

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"peel/clock"
	"peel/stack/tcp"
)

// Socket is a row of the table of sockets, as ss(8) shows it.
type Socket struct {
	Protocol                string // "tcp" or "udp"
	State                   string
	Local, Remote           netip.AddrPort
	ReceiveQueue, SendQueue int // bytes; of a listener: waiting connections and the backlog
	// TCP is set for connections.
	TCP *tcp.Info
}

// Sockets lists all sockets: listeners, connections, datagram sockets.
func (h *Host) Sockets() []Socket {
	var out []Socket
	for _, l := range h.listeners {
		out = append(out, Socket{Protocol: "tcp", State: tcp.Listen.String(), Local: l.addr, ReceiveQueue: len(l.queue), SendQueue: l.backlog})
	}
	for _, s := range h.tcps {
		i := s.Info()
		out = append(out, Socket{"tcp", i.State.String(), i.Local, i.Remote, i.ReceiveQueue, i.SendQueue, &i})
	}
	for _, u := range h.udps {
		state := "UNCONN"
		if u.peer.IsValid() {
			state = "ESTABLISHED"
		}
		out = append(out, Socket{Protocol: "udp", State: state, Local: u.local, Remote: u.peer, ReceiveQueue: u.bytes})
	}
	slices.SortFunc(out, func(a, b Socket) int {
		return cmp.Or(cmp.Compare(a.Protocol, b.Protocol), a.Local.Compare(b.Local), a.Remote.Compare(b.Remote))
	})
	return out
}

// FormatSockets writes the table as text, in the columns of ss(8); of a
// connection it tells what sending goes by.
func FormatSockets(list []Socket, now clock.Time) string {
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "Netid\tState\tRecv-Q\tSend-Q\tLocal\tPeer\tTimer\tDetails")
	for _, s := range list {
		peer, timer, details := "*", "", ""
		if s.Remote.IsValid() {
			peer = s.Remote.String()
		}
		if i := s.TCP; i != nil {
			if i.Expires != clock.Never {
				timer = i.Timer + " " + max(i.Expires.Sub(now), 0).Round(time.Millisecond).String()
			}
			details = fmt.Sprintf("%s %s rtt %v mss %d cwnd %d", i.Congestion, strings.ReplaceAll(i.Options, " ", ","), i.SRTT, i.MSS, i.Cwnd)
			if i.Ssthresh < 1<<30 {
				details += fmt.Sprintf(" ssthresh %d", i.Ssthresh)
			}
			if i.Retransmits > 0 {
				details += fmt.Sprintf(" retransmitted %d", i.Retransmits)
			}
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\t%s\t%s\t%s\n", s.Protocol, s.State, s.ReceiveQueue, s.SendQueue, s.Local, peer, timer, details)
	}
	w.Flush()
	return out.String()
}

func sortTCP(s []*TCP) {
	slices.SortFunc(s, func(a, b *TCP) int {
		return cmp.Or(slices.Compare(a.key.remote[:], b.key.remote[:]), cmp.Compare(a.key.remotePort, b.key.remotePort), cmp.Compare(a.key.localPort, b.key.localPort))
	})
}

// Idle tells whether nothing is left: no connection, no waiting fragment, no
// packet behind an unanswered question for a MAC. Sockets that are open count.
func (h *Host) Idle() bool {
	for _, i := range h.interfaces {
		for _, e := range i.neighbour.entries {
			if len(e.waiting) > 0 {
				return false
			}
		}
	}
	return len(h.tcps) == 0 && len(h.listeners) == 0 && len(h.udps) == 0 && len(h.pings) == 0
}
