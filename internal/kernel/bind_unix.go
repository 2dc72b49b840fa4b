//go:build unix

package kernel

import (
	"golang.org/x/sys/unix"
)

// bindAny binds a socket to a port of the kernel's choice on any address.
func bindAny(fd uintptr, v6 bool) (uint16, error) {
	var any unix.Sockaddr = &unix.SockaddrInet4{}
	if v6 {
		any = &unix.SockaddrInet6{}
	}
	if err := unix.Bind(int(fd), any); err != nil {
		return 0, err
	}
	local, err := unix.Getsockname(int(fd))
	if err != nil {
		return 0, err
	}
	switch a := local.(type) {
	case *unix.SockaddrInet4:
		return uint16(a.Port), nil
	case *unix.SockaddrInet6:
		return uint16(a.Port), nil
	}
	return 0, unix.EAFNOSUPPORT
}
