package kernel

import (
	"net/netip"
)

// Refusal is the error of an attempt to connect of which the kernel tells more
// than a number.
type Refusal struct {
	Err error
	// ICMP is the ICMP error that ended the attempt; nil when none came.
	ICMP *ICMPError
}

// ICMPError is an ICMP error as the kernel's error queue has it (ip(7),
// IP_RECVERR).
type ICMPError struct {
	// From is who sent it.
	From       netip.Addr
	V6         bool
	Type, Code uint8
	// Local tells that From is the socket's own address.
	Local bool
}

func (r *Refusal) Error() string { return r.Err.Error() }

// Unwrap returns what dialing returned.
func (r *Refusal) Unwrap() error { return r.Err }
