package kernel

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// witness keeps a second descriptor of a socket that is to connect: when it
// fails, the first is closed before its error queue could be read.
type witness struct {
	fd int
	v6 bool
}

// queuesErrors tells whether this kernel puts ICMP errors about a SYN into the
// error queue of its socket: so it does since Linux 5.9. Earlier an empty queue
// tells nothing.
var queuesErrors = sync.OnceValue(func() bool {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return false
	}
	release := string(u.Release[:max(bytes.IndexByte(u.Release[:], 0), 0)])
	major, rest, _ := strings.Cut(release, ".")
	minor, _, _ := strings.Cut(rest, ".")
	a, err := strconv.Atoi(major)
	b, err2 := strconv.Atoi(strings.TrimRight(minor, "-+abcdefghijklmnopqrstuvwxyz"))
	return err == nil && err2 == nil && (a > 5 || a == 5 && b >= 9)
})

// watch asks for the errors of a socket. It returns nil where there is nothing
// to be learnt.
func watch(c syscall.RawConn, v6 bool) *witness {
	if !queuesErrors() {
		return nil
	}
	w := &witness{fd: -1, v6: v6}
	c.Control(func(fd uintptr) {
		if w.queue(int(fd), 1) != nil {
			return
		}
		if n, err := unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0); err == nil {
			w.fd = n
		}
	})
	if w.fd < 0 {
		return nil
	}
	return w
}

func (w *witness) queue(fd, on int) error {
	if w.v6 {
		return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVERR, on)
	}
	return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_RECVERR, on)
}

// close lets go of the descriptor. Of a connection that is open errors are not
// queued any more, which would end it where a router complains for a moment.
func (w *witness) close() {
	if w == nil {
		return
	}
	w.queue(w.fd, 0)
	unix.Close(w.fd)
}

// told reads the ICMP error that ended the attempt, nil when none did.
func (w *witness) told() *ICMPError {
	var buf [512]byte
	var oob [512]byte
	_, n, _, _, err := unix.Recvmsg(w.fd, buf[:], oob[:], unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
	if err != nil {
		return nil
	}
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil {
		return nil
	}
	for _, m := range messages {
		v4 := m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_RECVERR
		v6 := m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_RECVERR
		if v4 || v6 {
			if e := extended(m.Data); e != nil {
				e.Local = e.From.IsValid() && e.From == w.local()
				return e
			}
		}
	}
	return nil
}

// local is the socket's own address.
func (w *witness) local() netip.Addr {
	a, err := unix.Getsockname(w.fd)
	if err != nil {
		return netip.Addr{}
	}
	switch a := a.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrFrom4(a.Addr)
	case *unix.SockaddrInet6:
		return netip.AddrFrom16(a.Addr).Unmap()
	}
	return netip.Addr{}
}

// extended reads a struct sock_extended_err and the address behind it.
func extended(b []byte) *ICMPError {
	const size, originICMP, originICMP6 = 16, 2, 3
	if len(b) < size+8 || b[4] != originICMP && b[4] != originICMP6 {
		return nil
	}
	e := &ICMPError{V6: b[4] == originICMP6, Type: b[5], Code: b[6]}
	switch from := b[size:]; binary.NativeEndian.Uint16(from) {
	case unix.AF_INET:
		e.From = netip.AddrFrom4([4]byte(from[4:8]))
	case unix.AF_INET6:
		if len(from) >= 24 {
			e.From = netip.AddrFrom16([16]byte(from[8:24])).Unmap()
		}
	}
	return e
}
