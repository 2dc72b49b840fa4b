package server

import (
	"encoding/binary"
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

// RateLimit bounds the responses over UDP to one client network of one kind,
// so that the server is of no use for flooding somebody whose address is
// forged (response rate limiting). Kinds are: each name that has an answer,
// and of all other responses each response code. Who shows a good cookie, or
// asks over TCP, is not limited.
type RateLimit struct {
	// PerSecond is how many responses of a kind a network may have, a /24 or
	// a /56.
	PerSecond int
	// Slip lets every so many of those that are withheld out, cut and marked
	// TC, so that a client of that network is served over TCP; 0 lets none.
	Slip int

	mu      sync.Mutex
	seed    maphash.Seed
	buckets map[uint64]*bucket
}

// bucket is what a kind has left.
type bucket struct {
	left     float64
	at       time.Time
	withheld int
}

// Bounds of the memory, and of how much a network may owe.
const (
	maxBuckets = 100_000
	rateWindow = 15 * time.Second
)

// verdict says what becomes of a response.
type verdict uint8

const (
	pass verdict = iota
	drop
	slip
)

// judge counts a response.
func (l *RateLimit) judge(msg []byte, to netip.Addr, now time.Time) verdict {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.buckets == nil {
		l.seed, l.buckets = maphash.MakeSeed(), map[uint64]*bucket{}
	}
	k := l.kind(msg, to)
	rate := float64(l.PerSecond)
	b := l.buckets[k]
	if b == nil {
		if len(l.buckets) >= maxBuckets {
			l.sweep(now)
		}
		b = &bucket{left: rate, at: now}
		l.buckets[k] = b
	}
	b.left = min(b.left+rate*now.Sub(b.at).Seconds(), rate)
	b.at = now
	if b.left--; b.left >= 0 {
		return pass
	}
	b.left = max(b.left, -rate*rateWindow.Seconds())
	if b.withheld++; l.Slip > 0 && b.withheld%l.Slip == 0 {
		return slip
	}
	return drop
}

// sweep forgets those that owe nothing, and all where that does not help.
func (l *RateLimit) sweep(now time.Time) {
	for k, b := range l.buckets {
		if now.Sub(b.at) > rateWindow {
			delete(l.buckets, k)
		}
	}
	if len(l.buckets) > maxBuckets*3/4 {
		clear(l.buckets)
	}
}

func (l *RateLimit) kind(msg []byte, to netip.Addr) uint64 {
	bits := 24
	if to = to.Unmap(); to.Is6() {
		bits = 56
	}
	p, _ := to.Prefix(bits)
	var h maphash.Hash
	h.SetSeed(l.seed)
	net := p.Addr().As16()
	h.Write(net[:])
	rcode := msg[3] & 0xf
	h.WriteByte(rcode)
	if rcode == 0 && binary.BigEndian.Uint16(msg[6:]) > 0 {
		end := min(skipName(msg, 12), len(msg))
		for _, c := range msg[12:end] {
			if 'A' <= c && c <= 'Z' {
				c |= 0x20
			}
			h.WriteByte(c)
		}
	}
	return h.Sum64()
}

// cutShort makes a response one without records that is marked TC.
func cutShort(msg []byte) []byte {
	end := 12
	if binary.BigEndian.Uint16(msg[4:]) == 1 {
		end = min(skipName(msg, 12)+4, len(msg))
	}
	msg = msg[:end]
	msg[2] |= 2
	clear(msg[6:12])
	return msg
}
