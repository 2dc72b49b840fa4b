//go:build !linux

package kernel

import (
	"errors"
	"time"
)

// Sniffer captures packets; there is none on this system yet.
type Sniffer struct{}

// OpenSniffer fails: only Linux has packet sockets.
func OpenSniffer(SnifferOptions) (*Sniffer, error) {
	return nil, errors.New("packets can be captured on Linux only")
}

// Watch, Wide, Next, Stats, InterfaceName and Stop do nothing, or fail: no
// Sniffer was ever opened.
func (*Sniffer) Watch(uint16) error { return errClosed }
func (*Sniffer) Wide() bool         { return false }
func (*Sniffer) Next(time.Duration) (SniffedPacket, bool, error) {
	return SniffedPacket{}, false, errClosed
}
func (*Sniffer) Stats() (received, dropped uint64) { return 0, 0 }
func (*Sniffer) InterfaceName(int) string          { return "" }
func (*Sniffer) Stop()                             {}
func (*Sniffer) Close() error                      { return nil }

// Stopped is always true.
func (*Sniffer) Stopped() bool { return true }
