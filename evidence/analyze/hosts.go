package analyze

import (
	"net/netip"

	"peel/trace"
)

// presence is what the capture shows of an address.
type presence struct {
	// spoke: it sent a packet. heard: a packet to it alone is in the capture, or
	// it is the machine that captured.
	spoke, heard bool
}

// maxHosts bounds the addresses of which that is remembered.
const maxHosts = 1 << 14

// hosts remembers which addresses a capture shows, so that a silence is told
// from what could not be seen.
type hosts map[netip.Addr]presence

func (h hosts) note(a netip.Addr, was presence) {
	if !a.IsValid() || a.IsUnspecified() || a.IsMulticast() {
		return
	}
	now, ok := h[a]
	if !ok && len(h) >= maxHosts {
		return
	}
	if next := (presence{now.spoke || was.spoke, now.heard || was.heard}); next != now || !ok {
		h[a] = next
	}
}

// met notes whom the current packet is from and to.
func (w *wire) met(p *packet) {
	w.hosts.note(p.src.Addr(), presence{spoke: true, heard: p.cooked.Outgoing || p.rec.Link.Sent})
	w.hosts.note(p.dst.Addr(), presence{heard: true})
}

// arp says of a request whether its answer would be seen, and whether the one
// who is asked for is there.
func (w *wire) arp(m trace.ARP) *trace.ARP {
	m.Heard, m.TargetSpoke = w.hosts[m.Sender].heard, w.hosts[m.Target].spoke
	return &m
}
