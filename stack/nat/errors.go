package nat

import (
	"encoding/binary"
	"net/netip"

	"peel/stack/packet"
	"peel/wire/icmp"
	"peel/wire/ip"
)

// An ICMP error is translated twice: its own header, and the packet it
// quotes, which must look to the one who gets it as that one sent it
// (RFC 5508 §4.2). It neither makes nor refreshes a session (REQ-6).

// readQuote reads the quoted packet into n.quote.
func (n *NAT) readQuote(p *packet.Packet, b []byte) Reason {
	h := &n.h
	// RFC 5508 REQ-3: a damaged error is dropped.
	if p.Checksum == packet.Unknown {
		sum := uint16(0)
		if h.v6 {
			sum = ip.PseudoSum(h.src.Addr(), h.dst.Addr(), h.proto, len(b)-h.at)
		}
		if !ip.Right(sum, b[h.at:]) {
			return BadChecksum
		}
	}
	return n.quote.quoted(b, h.at+icmp.HeaderLen, h.v6)
}

// inboundError is about a packet that was sent from inside, and quotes it as
// it was outside (RFC 5508 REQ-4).
func (n *NAT) inboundError(p *packet.Packet, b []byte) Result {
	if r := n.readQuote(p, b); r != None {
		return drop(r)
	}
	h, q := &n.h, &n.quote
	// RFC 1122 §3.2.2: it goes to the source of what it is about.
	if q.src.Addr() != h.dst.Addr() {
		return drop(NoMapping)
	}
	m := n.t.byOutside[outsideKey{q.proto, q.src}]
	if m == 0 {
		if n.reserved(q.proto, q.src) || n.o.Unknown == PassUnknown {
			return Result{}
		}
		return drop(NoMapping)
	}
	if _, ok := n.permits(m, q.dst); !ok {
		return drop(Filtered)
	}
	inside := n.t.mappings[m].inside
	return n.finishError(p, b, m, Translated, h.src.Addr(), inside.Addr(), inside, q.dst)
}

// outboundError is about a packet that came from outside, and quotes it as it
// is inside (RFC 5508 REQ-5). With toOwn that packet was a hairpin, and so is
// its error (RFC 5508 REQ-7).
func (n *NAT) outboundError(p *packet.Packet, b []byte, toOwn bool) Result {
	if r := n.readQuote(p, b); r != None {
		return drop(r)
	}
	h, q := &n.h, &n.quote
	if q.src.Addr() != h.dst.Addr() {
		return drop(NoMapping)
	}
	var back int32
	if toOwn {
		if back = n.t.byOutside[outsideKey{q.proto, q.src}]; back == 0 {
			// About something that the router itself sent inside.
			return Result{}
		}
		if n.o.NoHairpin {
			return drop(HairpinOff)
		}
	}
	m := n.mappingOf(q.proto, q.dst, q.src)
	if m == 0 {
		// With mappings that look at the remote end, a stranger that the
		// filter let in has none that leads back to it.
		return drop(NoMapping)
	}
	if _, ok := n.permits(m, q.src); !ok {
		return drop(Filtered)
	}
	outside := n.t.mappings[m].outside
	if toOwn {
		inside := n.t.mappings[back].inside
		return n.finishError(p, b, m, Hairpin, outside.Addr(), inside.Addr(), inside, outside)
	}
	return n.finishError(p, b, m, Translated, outside.Addr(), h.dst.Addr(), q.src, outside)
}

// finishError rewrites the outer addresses and the quoted endpoints.
func (n *NAT) finishError(p *packet.Packet, b []byte, m int32, v Verdict, src, dst netip.Addr, qsrc, qdst netip.AddrPort) Result {
	h, q := &n.h, &n.quote
	partial := p.Checksum == packet.Partial
	qsrc, qdst = q.keep(qsrc, qdst)
	outer := Endpoints{h.proto, netip.AddrPortFrom(src, 0), netip.AddrPortFrom(dst, 0)}
	inner := q.rewrite(b, qsrc, qdst, false)
	h.rewrite(b, outer.Src, outer.Dst, partial)
	if !partial { // whoever finishes the sum will see the new quote
		binary.BigEndian.PutUint16(b[h.sumAt:], inner.Checksum(binary.BigEndian.Uint16(b[h.sumAt:])))
	}
	return Result{Verdict: v, Mapping: n.t.mappings[m].serial, Before: h.endpoints(), After: outer,
		Quoted: true, QuotedBefore: q.endpoints(), QuotedAfter: Endpoints{q.proto, qsrc, qdst}}
}
