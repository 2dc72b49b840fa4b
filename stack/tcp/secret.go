package tcp

import (
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"time"

	"peel/clock"
	wire "peel/wire/tcp"
)

// Secret is what the numbers of connections are made from, so that nobody
// outside can guess them (RFC 6528, RFC 6056, RFC 7323 §7.1).
type Secret [32]byte

// hash is the keyed function F of those RFCs.
func (k *Secret) hash(local, remote netip.AddrPort, what byte, n uint32) uint64 {
	var b [32 + 36 + 5]byte
	copy(b[:], k[:])
	l, r := local.Addr().As16(), remote.Addr().As16()
	copy(b[32:], l[:])
	copy(b[48:], r[:])
	binary.BigEndian.PutUint16(b[64:], local.Port())
	binary.BigEndian.PutUint16(b[66:], remote.Port())
	b[68] = what
	binary.BigEndian.PutUint32(b[69:], n)
	s := sha256.Sum256(b[:])
	return binary.BigEndian.Uint64(s[:])
}

// ISS is the initial sequence number: a clock of 4 µs and a number of the
// connection's own (RFC 6528 §3).
func (k *Secret) ISS(now clock.Time, local, remote netip.AddrPort) uint32 {
	return uint32(k.hash(local, remote, 'i', 0)) + uint32(now/4000)
}

// TimestampOffset is the same for the timestamps of the two addresses, so that
// PAWS works from one connection to the next.
func (k *Secret) TimestampOffset(local, remote netip.AddrPort) uint32 {
	return uint32(k.hash(netip.AddrPortFrom(local.Addr(), 0), netip.AddrPortFrom(remote.Addr(), 0), 't', 0))
}

// PortOffset is where the search for an ephemeral port towards remote starts
// (RFC 6056 §3.3.3, algorithm 3).
func (k *Secret) PortOffset(local netip.Addr, remote netip.AddrPort) uint32 {
	return uint32(k.hash(netip.AddrPortFrom(local, 0), remote, 'p', 0))
}

// SYN cookies (RFC 4987 §3.6): the sequence number of a SYN-ACK holds what has
// to be known of the SYN, so that nothing is kept for it.
//
// Bits 31…27 count the minutes, 26…24 tell the MSS, the rest is the keyed hash.
// The other options come back in the low bits of the timestamp.

// cookieMSS are the MSS values that a cookie can tell.
var cookieMSS = [8]uint16{216, 536, 1024, 1220, 1360, 1440, 1460, 8960}

// cookieFor is how long a cookie is good, in units of cookieTick.
const (
	cookieTick = clock.Time(time.Minute)
	cookieFor  = 2
)

// Cookie returns the ISS of a SYN-ACK that keeps nothing.
func (k *Secret) Cookie(now clock.Time, local, remote netip.AddrPort, irs uint32, mss int) uint32 {
	m := 0
	for m < 7 && int(cookieMSS[m+1]) <= mss {
		m++
	}
	t := uint32(now / cookieTick)
	return t<<27 | uint32(m)<<24 | k.cookieHash(local, remote, irs, t<<3|uint32(m))
}

func (k *Secret) cookieHash(local, remote netip.AddrPort, irs, tm uint32) uint32 {
	return uint32(k.hash(local, remote, 'c', irs)^k.hash(local, remote, 'd', tm)) & 0xffffff
}

// CheckCookie tells whether ack-1 is a cookie that was given to remote, and
// the MSS that it keeps.
func (k *Secret) CheckCookie(now clock.Time, local, remote netip.AddrPort, irs, iss uint32) (mss int, ok bool) {
	t, m := uint32(now/cookieTick), iss>>24&7
	age := (t - iss>>27) & 31
	if age >= cookieFor {
		return 0, false
	}
	// The hash is of all bits of the minute, lest it be good again later.
	return int(cookieMSS[m]), k.cookieHash(local, remote, irs, (t-age)<<3|m) == iss&0xffffff
}

// cookieBits of a timestamp keep options: the window scale, 15 for none, SACK
// and ECN.
const cookieBits = 6

// CookieTimestamp puts the SYN's options into the low bits of a timestamp.
func CookieTimestamp(ts uint32, o *wire.Options, ecn bool) uint32 {
	v := uint32(15)
	if o.WindowScale >= 0 {
		v = uint32(o.WindowScale)
	}
	if o.SACKPermitted {
		v |= 1 << 4
	}
	if ecn {
		v |= 1 << 5
	}
	// The result must not lie in the future.
	out := ts&^(1<<cookieBits-1) | v
	if wire.Before(ts, out) {
		out -= 1 << cookieBits
	}
	return out
}

// CookieOptions reads them back from the echoed timestamp.
func CookieOptions(ecr uint32) (o wire.Options, ecn bool) {
	o.WindowScale = -1
	if v := ecr & 15; v <= 14 {
		o.WindowScale = int8(v)
	}
	o.SACKPermitted = ecr&(1<<4) != 0
	return o, ecr&(1<<5) != 0
}

// SynAck is the header of a SYN-ACK that answers syn with a cookie.
func (k *Secret) SynAck(now clock.Time, cfg *Config, local, remote netip.AddrPort, syn wire.Segment, mss int) Outgoing {
	o := syn.Options()
	peer := int(o.MSS)
	if peer == 0 {
		peer = 536
	}
	h := Outgoing{Header: wire.Header{Seq: k.Cookie(now, local, remote, syn.Seq(), peer), Ack: syn.Seq() + 1, Flags: wire.SYN | wire.ACK, Window: 0xffff}}
	h.Option(wire.OptMSS, byte(mss>>8), byte(mss))
	if o.Timestamps && !cfg.NoTimestamps {
		ecn := cfg.ECN && syn.Flags().Has(wire.ECE|wire.CWR)
		if ecn {
			h.Flags |= wire.ECE
		}
		if cfg.NoSACK {
			o.SACKPermitted = false
		}
		if cfg.NoWindowScale {
			o.WindowScale = -1
		}
		if o.SACKPermitted {
			h.Option(wire.OptSACKPermitted)
		}
		var v [8]byte
		binary.BigEndian.PutUint32(v[:], CookieTimestamp(uint32(now/1e6), &o, ecn)+k.TimestampOffset(local, remote))
		binary.BigEndian.PutUint32(v[4:], o.TSVal)
		h.Option(wire.OptTimestamps, v[:]...)
		if o.WindowScale >= 0 {
			h.Option(wire.OptWindowScale, cfg.windowScale())
		}
	}
	h.Pad()
	return h
}
