//go:build !linux

package kernel

import (
	"net"
	"net/netip"
)

// Batch reads and writes datagrams of a UDP socket: one a call on this
// system. It belongs to one goroutine.
type Batch struct {
	conn   *net.UDPConn
	in     []byte
	n      int
	sender netip.AddrPort
	room   []byte
	out    []byte
}

// NewBatch prepares to read and write datagrams of at most size octets.
func NewBatch(conn *net.UDPConn, n, size int) (*Batch, error) {
	return &Batch{conn: conn, in: make([]byte, size), room: make([]byte, 0, size)}, nil
}

// Read waits for datagrams and returns how many there are.
func (b *Batch) Read() (int, error) {
	n, from, err := b.conn.ReadFromUDPAddrPort(b.in)
	b.n, b.sender = n, netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
	return 1, err
}

// Message returns the i-th datagram of the last Read. Its octets are good
// until the next.
func (b *Batch) Message(int) []byte { return b.in[:b.n] }

// Sender returns who sent the i-th datagram.
func (b *Batch) Sender(int) netip.AddrPort { return b.sender }

// Room returns empty memory for an answer.
func (b *Batch) Room() []byte { return b.room[:0] }

// Reply queues the answer to the i-th datagram for the next Write.
func (b *Batch) Reply(_ int, msg []byte) { b.out = msg }

// Write sends what is queued.
func (b *Batch) Write() error {
	if b.out != nil {
		b.room = b.out
		_, err := b.conn.WriteToUDPAddrPort(b.out, b.sender)
		b.out = nil
		return err
	}
	return nil
}
