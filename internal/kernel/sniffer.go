package kernel

import (
	"errors"

	"peel/clock"
)

// SnifferOptions of OpenSniffer. The zero value captures on all interfaces.
type SnifferOptions struct {
	// Ring is the size of the buffer that the kernel fills, in bytes; 0 means
	// 64 MiB.
	Ring int
	// Interface is the name of the only interface to capture on.
	Interface string
}

// SniffedPacket is a packet as a link of this host carried it. Data is valid
// until the next one is asked for.
type SniffedPacket struct {
	Time clock.Time
	// Interface is its number; Hardware its kind (ARPHRD_…, if_arp.h).
	Interface int
	Hardware  uint16
	Outgoing  bool
	// Length is that on the wire.
	Length int
	Data   []byte
	// ChecksumPartial tells that the transport checksum is still to be
	// filled in, by the network card or by nobody (loopback).
	ChecksumPartial bool
}

// ErrNoRight is wrapped when this process may not capture packets.
var ErrNoRight = errors.New("capturing packets needs CAP_NET_RAW")

var errClosed = errors.New("kernel: the capture is closed")
