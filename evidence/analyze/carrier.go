package analyze

import (
	"fmt"
	"strings"

	"peel/trace"
	"peel/wire/ethernet"
	"peel/wire/ip"
)

// carrier is a header that whole packets stand behind: a tunnel. What it carries
// is read as if it stood in the open.
type carrier struct {
	// layer names its header among a packet's layers.
	layer trace.LayerName
	// types, protocols and ports are where it is found: behind a link header
	// of one of those types, in IP of one of those protocols, in UDP to one of
	// those ports, or from one, where replies say so too.
	types     []ethernet.Type
	protocols []ip.Protocol
	ports     []uint16
	replies   bool
	// parse reads the header at the beginning of b.
	parse  func(b []byte) (inner, error)
	fields func(b []byte, base int) []trace.Field
}

// inner is what stands behind a carrier's header: a packet of a type, or a whole
// Ethernet frame.
type inner struct {
	headerLen int
	typ       ethernet.Type
	frame     bool
	network   uint32 // that it belongs to, with addresses of its own; 0 for none
}

// maxDepth bounds the packets inside packets.
const maxDepth = 8

func carrierOf(match func(c *carrier) bool) *carrier {
	for _, c := range carriers {
		if match(c) {
			return c
		}
	}
	return nil
}

// carried reads the packet behind a carrier's header, which stands at byte at.
func (a *Analyzer) carried(w *wire, p *packet, c *carrier, at int, b []byte) {
	in, err := c.parse(b)
	if err != nil {
		a.malformedPacket(c.layer, max(at, 0), err)
		return
	}
	if !in.frame && in.typ == 0 {
		a.notRead(w, p, string(c.layer)+" messages")
	}
	if p.depth++; p.depth > maxDepth {
		a.malformedPacket(c.layer, max(at, 0), fmt.Errorf("%s: more than %d packets inside one another", c.layer, maxDepth))
		return
	}
	if at >= 0 {
		p.layer(string(c.layer), span{at, in.headerLen})
	}
	if in.network != 0 {
		p.network = in.network
	}
	// All headers so far carry the packet: they are its link.
	p.carrier += p.link.len + p.net.len + p.trans.len + in.headerLen
	p.link, p.net, p.trans, p.payload = span{}, span{}, span{}, span{}
	p.isIP, p.hasEth, p.proto, p.sum, p.text = false, false, "", ip.Unchecked, ""
	if in.frame {
		a.frame(w, p, behind(at, in.headerLen), b[in.headerLen:])
		return
	}
	if in.typ == 0 {
		p.text = strings.ToUpper(string(c.layer))
		return
	}
	a.payload(w, p, in.typ, behind(at, in.headerLen), b[in.headerLen:])
}
