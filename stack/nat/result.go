package nat

import (
	"fmt"
	"net/netip"

	"peel/wire/ip"
)

// Verdict is what became of a packet.
type Verdict uint8

const (
	// Untouched: it is none of the NAT's business.
	Untouched Verdict = iota
	// Translated: its bytes have changed; send it on.
	Translated
	// Hairpin: it came from inside and, translated, goes back inside.
	Hairpin
	// Dropped: Result.Reason says why. Its bytes have not changed.
	Dropped
	// RejectRST: answer the segment, whose bytes have not changed, with a
	// RST (RFC 9293 §3.10.7.1).
	RejectRST
)

func (v Verdict) String() string {
	switch v {
	case Untouched:
		return "untouched"
	case Translated:
		return "translated"
	case Hairpin:
		return "hairpin"
	case Dropped:
		return "dropped"
	case RejectRST:
		return "rejected with a RST"
	}
	return fmt.Sprintf("verdict %d", uint8(v))
}

// Reason is why a packet was not translated.
type Reason uint8

const (
	// None: it was translated.
	None Reason = iota
	// Malformed is not a whole packet, or quotes none.
	Malformed
	// Fragment should have been reassembled before (RFC 4787 REQ-14).
	Fragment
	// Unsupported has no ports that could be mapped.
	Unsupported
	// SourceRoute: its destination is not the one that its checksums cover
	// (RFC 7126 §4.3, RFC 8200 §8.1).
	SourceRoute
	// BadChecksum is an ICMP error that is damaged (RFC 5508 REQ-3).
	BadChecksum
	// NoMapping: nobody inside asked for it.
	NoMapping
	// Filtered: there is a mapping, but its filter does not let this remote
	// endpoint send to it.
	Filtered
	// Spoofed came from outside with an address of the NAT as its source.
	Spoofed
	// NotOpening came from inside and belongs to nothing known, but begins
	// nothing either: a RST, or an answer to no echo.
	NotOpening
	// HairpinOff: from inside to an outside address of the NAT's own, which
	// its options do not allow (RFC 4787 REQ-9).
	HairpinOff
	// TableFull, HostPorts, HostSessions: a bound of Options was reached.
	TableFull
	HostPorts    // MaxHostPorts
	HostSessions // MaxHostSessions
	// PortsExhausted: no outside port is free for the mapping.
	PortsExhausted
	reasons
)

var reasonTexts = [reasons]string{
	None:           "no reason",
	Malformed:      "malformed",
	Fragment:       "a fragment: reassemble it first",
	Unsupported:    "a protocol without ports cannot be translated",
	SourceRoute:    "it has a source route",
	BadChecksum:    "the ICMP error's checksum is wrong",
	NoMapping:      "no mapping",
	Filtered:       "the mapping's filter does not know the sender",
	Spoofed:        "from outside, but with an address of this NAT",
	NotOpening:     "it belongs to no mapping and cannot begin one",
	HairpinOff:     "hairpinning is off",
	TableFull:      "the table of sessions is full",
	HostPorts:      "the inside host has all the ports it may have",
	HostSessions:   "the inside host has all the sessions it may have",
	PortsExhausted: "no port is free at the outside address",
}

func (r Reason) String() string {
	if r < reasons {
		return reasonTexts[r]
	}
	return fmt.Sprintf("reason %d", uint8(r))
}

// Endpoints are the ends of a packet. Of an ICMP echo the end that asked has
// its identifier for a port.
type Endpoints struct {
	Protocol ip.Protocol
	Src, Dst netip.AddrPort
}

// String writes them: "TCP 10.0.0.1:4000 > 192.0.2.1:80".
func (e Endpoints) String() string {
	return fmt.Sprintf("%v %s > %s", e.Protocol, endpoint(e.Src), endpoint(e.Dst))
}

// endpoint leaves out a port of 0.
func endpoint(e netip.AddrPort) string {
	if e.Port() == 0 && e.IsValid() {
		return e.Addr().String()
	}
	return e.String()
}

// Result is what became of a packet, and why.
type Result struct {
	Verdict Verdict
	Reason  Reason
	// Mapping is the ID of the one that was used; 0 is none.
	Mapping uint64
	// Before and After are the packet's ends; the same when it was not
	// translated.
	Before, After Endpoints
	// Quoted tells that the packet is an ICMP error whose quoted packet was
	// translated, too.
	Quoted                    bool
	QuotedBefore, QuotedAfter Endpoints
}

// String tells it: "TCP 10.0.0.1:4000 > 192.0.2.1:80 translated to TCP …".
func (r Result) String() string {
	s := ""
	if r.Before.Src.IsValid() {
		s = r.Before.String() + " "
	}
	s += r.Verdict.String()
	switch {
	case r.Verdict == Translated || r.Verdict == Hairpin:
		s += " to " + r.After.String()
		if r.Quoted {
			s += fmt.Sprintf(" (about %v, now %v)", r.QuotedBefore, r.QuotedAfter)
		}
	case r.Reason != None:
		s += ": " + r.Reason.String()
	}
	return s
}

// Stats counts packets since New.
type Stats struct {
	Out, In, Hairpins, Untouched, Resets uint64
	// Dropped counts by Reason, those with a RST too.
	Dropped [reasons]uint64
	// Mappings and Sessions are there now; Forwards count as mappings.
	Mappings, Sessions int
	// Created and Expired count sessions.
	Created, Expired uint64
}
