package kernel

import (
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Batch reads and writes many datagrams of a UDP socket with one system call
// each (recvmmsg(2), sendmmsg(2)). Answers leave from the address that the
// question was sent to, also where the socket is bound to all addresses. It
// belongs to one goroutine.
type Batch struct {
	raw      syscall.RawConn
	in, out  []mmsg
	inBufs   []datagram
	outBufs  []datagram
	outCount int
}

// datagram is the memory of one message.
type datagram struct {
	data    []byte
	iov     unix.Iovec
	name    unix.RawSockaddrInet6 // room for either family
	control [64]byte
}

type mmsg struct {
	hdr unix.Msghdr
	n   uint32
	_   [4]byte
}

// receiveBuffer is how many octets may wait to be read.
const receiveBuffer = 4 << 20

// NewBatch prepares to read and write up to n datagrams at once of at most
// size octets each.
func NewBatch(conn *net.UDPConn, n, size int) (*Batch, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	b := &Batch{raw: raw, in: make([]mmsg, n), out: make([]mmsg, n), inBufs: make([]datagram, n), outBufs: make([]datagram, n)}
	err = raw.Control(func(fd uintptr) {
		// Each fails on a socket of the other family, which is well.
		unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
		unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
		// Room for what comes while others run. Without the right to go over
		// the system's bound, as much as that gives.
		if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil {
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
		}
	})
	if err != nil {
		return nil, err
	}
	for i := range n {
		b.inBufs[i].data = make([]byte, size)
		b.outBufs[i].data = make([]byte, 0, size)
	}
	return b, nil
}

// Read waits for datagrams and returns how many there are.
func (b *Batch) Read() (n int, err error) {
	for i := range b.in {
		d := &b.inBufs[i]
		d.iov.Base = &d.data[0]
		d.iov.SetLen(len(d.data))
		h := &b.in[i].hdr
		*h = unix.Msghdr{Name: (*byte)(unsafe.Pointer(&d.name)), Namelen: unix.SizeofSockaddrInet6, Iov: &d.iov, Control: &d.control[0]}
		h.SetIovlen(1)
		h.SetControllen(len(d.control))
	}
	var errno syscall.Errno
	rerr := b.raw.Read(func(fd uintptr) bool {
		r, _, e := syscall.Syscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&b.in[0])), uintptr(len(b.in)), unix.MSG_DONTWAIT, 0, 0)
		if e == syscall.EAGAIN {
			return false
		}
		n, errno = int(r), e
		return true
	})
	switch {
	case rerr != nil:
		return 0, rerr
	case errno == syscall.EINTR || errno == syscall.ECONNREFUSED: // an ICMP error for an earlier answer
		return 0, nil
	case errno != 0:
		return 0, fmt.Errorf("recvmmsg: %w", errno)
	}
	return n, nil
}

// Message returns the i-th datagram of the last Read. Its octets are good
// until the next.
func (b *Batch) Message(i int) []byte { return b.inBufs[i].data[:b.in[i].n] }

// Sender returns who sent the i-th datagram.
func (b *Batch) Sender(i int) netip.AddrPort {
	name := &b.inBufs[i].name
	if name.Family == unix.AF_INET {
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(name))
		return netip.AddrPortFrom(netip.AddrFrom4(v4.Addr), swap(v4.Port))
	}
	return netip.AddrPortFrom(netip.AddrFrom16(name.Addr).Unmap(), swap(name.Port))
}

// swap turns a port in network byte order into one in the machine's.
func swap(p uint16) uint16 {
	b := (*[2]byte)(unsafe.Pointer(&p))
	return uint16(b[0])<<8 | uint16(b[1])
}

// Room returns empty memory for an answer, to be given to Reply with what was
// appended.
func (b *Batch) Room() []byte { return b.outBufs[b.outCount].data[:0] }

// Reply queues the answer to the i-th datagram for the next Write. There is
// room for one answer to each.
func (b *Batch) Reply(i int, msg []byte) {
	d := &b.outBufs[b.outCount]
	d.data = msg
	d.iov.Base = &msg[0]
	d.iov.SetLen(len(msg))
	in := &b.in[i].hdr
	h := &b.out[b.outCount].hdr
	*h = unix.Msghdr{Name: in.Name, Namelen: in.Namelen, Iov: &d.iov}
	h.SetIovlen(1)
	if in.Controllen > 0 {
		// What told where it arrived now tells from where to send.
		h.Control, h.Controllen = in.Control, in.Controllen
	}
	b.outCount++
}

// Write sends what is queued. Datagrams that the kernel does not take are
// dropped, as the network may do.
func (b *Batch) Write() error {
	sent := 0
	var errno syscall.Errno
	for sent < b.outCount {
		err := b.raw.Write(func(fd uintptr) bool {
			r, _, e := syscall.Syscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&b.out[sent])), uintptr(b.outCount-sent), unix.MSG_DONTWAIT, 0, 0)
			if e == syscall.EAGAIN {
				return false
			}
			errno = e
			if e == 0 {
				sent += int(r)
			}
			return true
		})
		if err != nil {
			b.outCount = 0
			return err
		}
		if errno != 0 {
			sent++ // the first one could not be sent
		}
	}
	b.outCount = 0
	return nil
}
