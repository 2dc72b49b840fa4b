package host

import (
	"cmp"
	"net/netip"
	"slices"

	"peel/tcp"
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
