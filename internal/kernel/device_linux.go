package kernel

import (
	"cmp"
	"fmt"
	"net"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Device is a network device whose other side is this process: a TAP, or a
// packet socket on one end of a veth pair. Read and Write are for one
// goroutine each.
type Device struct {
	// Name of the kernel's interface.
	Name string
	// Offloads tells that frames come and go with an Offload, and may be
	// larger than the MTU.
	Offloads bool

	f    *os.File
	conn interface {
		Read(func(fd uintptr) bool) error
		Write(func(fd uintptr) bool) error
	}
	in, out [offloadLen]byte
	// own is set for packet sockets, which see what is sent as well.
	packet bool
}

// OpenTAP makes a TAP device in the namespace of the calling thread
// (Documentation/networking/tuntap.rst). An empty name lets the kernel choose.
// It goes away when it is closed.
func OpenTAP(name string, offloads bool) (*Device, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("kernel: /dev/net/tun: %w", err)
	}
	req, err := unix.NewIfreq(name)
	if name == "" {
		req, err = unix.NewIfreq("tap%d")
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("kernel: interface name %q: %w", name, err)
	}
	flags := uint16(unix.IFF_TAP | unix.IFF_NO_PI)
	if offloads {
		flags |= unix.IFF_VNET_HDR
	}
	req.SetUint16(flags)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("kernel: TAP device %q: %w", name, err)
	}
	if offloads {
		const all = unix.TUN_F_CSUM | unix.TUN_F_TSO4 | unix.TUN_F_TSO6 | unix.TUN_F_TSO_ECN
		if err := unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, all); err != nil {
			unix.Close(fd)
			return nil, fmt.Errorf("kernel: offloads of TAP device %q: %w", req.Name(), err)
		}
	}
	return newDevice(fd, req.Name(), offloads, false)
}

// OpenPacket opens a packet socket on an interface of the calling thread's
// namespace, which is to be one end of a veth pair that the kernel gives no
// address: this process is then the host at that end (packet(7)).
func OpenPacket(name string, offloads bool) (*Device, error) {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return nil, fmt.Errorf("kernel: interface %s: %w", name, err)
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("kernel: packet socket: %w", err)
	}
	fail := func(what string, err error) (*Device, error) {
		unix.Close(fd)
		return nil, fmt.Errorf("kernel: packet socket on %s: %s: %w", name, what, err)
	}
	if offloads {
		if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1); err != nil {
			return fail("offload headers", err)
		}
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1); err != nil {
		return fail("ignore what is sent", err)
	}
	// Room for a burst: as root beyond the system's limit.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20) != nil {
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 16<<20)
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 16<<20) != nil {
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 16<<20)
	}
	all := uint16(unix.ETH_P_ALL)
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all<<8 | all>>8, Ifindex: i.Index}); err != nil {
		return fail("bind", err)
	}
	// An interface without promiscuous mode sees only frames for its MAC.
	m := unix.PacketMreq{Ifindex: int32(i.Index), Type: unix.PACKET_MR_PROMISC}
	if err := unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &m); err != nil {
		return fail("promiscuous mode", err)
	}
	return newDevice(fd, name, offloads, true)
}

func newDevice(fd int, name string, offloads, packet bool) (*Device, error) {
	d := &Device{Name: name, Offloads: offloads, f: os.NewFile(uintptr(fd), name), packet: packet}
	c, err := d.f.SyscallConn()
	if err != nil {
		d.f.Close()
		return nil, err
	}
	d.conn = c
	return d, nil
}

// Close closes the device; a Read that waits returns.
func (d *Device) Close() error { return d.f.Close() }

// Read waits for a frame, puts it into b and returns its length.
func (d *Device) Read(b []byte, o *Offload) (int, error) { return d.read(b, o, true) }

// TryRead is Read, but fails with EAGAIN when there is nothing.
func (d *Device) TryRead(b []byte, o *Offload) (int, error) { return d.read(b, o, false) }

func (d *Device) read(b []byte, o *Offload, wait bool) (n int, err error) {
	var head []byte
	if d.Offloads {
		head = d.in[:]
	}
	cerr := d.conn.Read(func(fd uintptr) bool {
		n, err = readv(int(fd), head, b)
		return !wait || err != unix.EAGAIN
	})
	if err = cmp.Or(cerr, err); err != nil {
		return 0, err
	}
	if n < len(head) {
		return 0, fmt.Errorf("kernel: %s: a frame of %d bytes is less than its offload header", d.Name, n)
	}
	*o = Offload{}
	if d.Offloads {
		o.get(head)
	}
	return n - len(head), nil
}

// Write sends a frame. It fails with EAGAIN or ENOBUFS when the kernel has no
// room for it.
func (d *Device) Write(b []byte, o *Offload) (err error) {
	var head []byte
	if d.Offloads {
		o.put(d.out[:])
		head = d.out[:]
	}
	cerr := d.conn.Write(func(fd uintptr) bool {
		err = writev(int(fd), head, b)
		return true
	})
	if cerr != nil {
		return cerr
	}
	return err
}

func iovec(v *[2]unix.Iovec, head, b []byte) []unix.Iovec {
	out := v[:0]
	for _, p := range [...][]byte{head, b} {
		if len(p) > 0 {
			out = append(out, unix.Iovec{Base: &p[0], Len: uint64(len(p))})
		}
	}
	return out
}

// readv and writev are the system calls themselves: those of x/sys allocate.
func readv(fd int, head, b []byte) (int, error) {
	var v [2]unix.Iovec
	w := iovec(&v, head, b)
	n, _, e := unix.Syscall(unix.SYS_READV, uintptr(fd), uintptr(unsafe.Pointer(&w[0])), uintptr(len(w)))
	if e != 0 {
		return 0, e
	}
	return int(n), nil
}

func writev(fd int, head, b []byte) error {
	var v [2]unix.Iovec
	w := iovec(&v, head, b)
	_, _, e := unix.Syscall(unix.SYS_WRITEV, uintptr(fd), uintptr(unsafe.Pointer(&w[0])), uintptr(len(w)))
	if e != 0 {
		return e
	}
	return nil
}
