package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"peel/clock"
)

// Sniffer captures packets of this host through a packet socket whose ring
// the kernel fills (packet(7), TPACKET_V3). The filter runs in the kernel:
// what nobody watches never reaches this process.
type Sniffer struct {
	fd     int
	ring   []byte
	blocks int
	size   int // of a block

	block  int // being read
	at     int // of the next packet in it
	left   int // packets in it
	held   bool
	tagged []byte // a frame with its VLAN tag put back

	mu      sync.Mutex
	ports   []uint16
	wide    bool
	names   map[int]string
	stopped atomic.Bool
	closed  bool
	reading sync.Mutex

	received, dropped uint64
}

// retire is how many milliseconds a block waits to be filled.
const retire = 4

const blockSize = 1 << 20

// packet(7) and linux/if_packet.h.
const (
	statusUser     = 1
	statusPartial  = 1 << 3 // TP_STATUS_CSUMNOTREADY
	statusVLAN     = 1 << 4
	statusVLANTPID = 1 << 6
)

// OpenSniffer opens a capture that takes nothing until Watch is called. It
// fails with ErrNoRight when this process may not capture.
func OpenSniffer(o SnifferOptions) (_ *Sniffer, err error) {
	if o.Ring == 0 {
		o.Ring = 64 << 20
	}
	// Protocol 0 receives nothing, until it is bound behind the filter.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
			return nil, noRight()
		}
		return nil, fmt.Errorf("kernel: packet socket: %w", err)
	}
	s := &Sniffer{fd: fd, names: map[int]string{}, size: blockSize, blocks: max(o.Ring/blockSize, 2)}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if err := s.attach(nothing); err != nil {
		return nil, err
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V3); err != nil {
		return nil, fmt.Errorf("kernel: TPACKET_V3: %w", err)
	}
	req := unix.TpacketReq3{Block_size: uint32(s.size), Block_nr: uint32(s.blocks), Frame_size: 2048, Frame_nr: uint32(s.size / 2048 * s.blocks), Retire_blk_tov: retire}
	if err := unix.SetsockoptTpacketReq3(fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &req); err != nil {
		return nil, fmt.Errorf("kernel: packet ring of %d bytes: %w", o.Ring, err)
	}
	s.ring, err = unix.Mmap(fd, 0, s.size*s.blocks, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("kernel: packet ring: %w", err)
	}
	index := 0
	if o.Interface != "" {
		i, err := net.InterfaceByName(o.Interface)
		if err != nil {
			return nil, fmt.Errorf("kernel: interface %s: %w", o.Interface, err)
		}
		index = i.Index
	}
	all := uint16(unix.ETH_P_ALL)
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all<<8 | all>>8, Ifindex: index}); err != nil {
		return nil, fmt.Errorf("kernel: packet socket: %w", err)
	}
	return s, nil
}

func noRight() error {
	self, err := os.Executable()
	if err != nil {
		self = "/path/of/peel"
	}
	return fmt.Errorf("%w: run as root, or once: sudo setcap cap_net_raw+ep %s", ErrNoRight, self)
}

func (s *Sniffer) attach(prog []bpf.Instruction) error {
	raw, err := bpf.Assemble(prog)
	if err != nil {
		return fmt.Errorf("kernel: filter: %w", err)
	}
	filters := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		filters[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	p := unix.SockFprog{Len: uint16(len(filters)), Filter: &filters[0]}
	if err := unix.SetsockoptSockFprog(s.fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &p); err != nil {
		return fmt.Errorf("kernel: filter: %w", err)
	}
	return nil
}

// Watch takes in the packets from and to a local port. It is in effect when
// it returns.
func (s *Sniffer) Watch(port uint16) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errClosed
	}
	if s.wide {
		return nil
	}
	s.ports = append(s.ports, port)
	s.wide = len(s.ports) > widePorts
	return s.attach(portFilter(s.ports))
}

// Wide tells that more ports are watched than a filter holds, so that every
// port's packets come.
func (s *Sniffer) Wide() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wide
}

// Next returns the next packet. It waits up to timeout for one; false means
// that none came, or that Stop was called and all were returned.
func (s *Sniffer) Next(timeout time.Duration) (SniffedPacket, bool, error) {
	s.reading.Lock()
	defer s.reading.Unlock()
	if s.ring == nil {
		return SniffedPacket{}, false, errClosed
	}
	for s.left == 0 {
		if s.held {
			// The kernel may fill the block again.
			atomic.StoreUint32(s.status(), 0)
			s.held = false
			s.block = (s.block + 1) % s.blocks
		}
		if atomic.LoadUint32(s.status())&statusUser == 0 {
			if s.stopped.Load() {
				timeout = 0
			}
			if timeout <= 0 {
				return SniffedPacket{}, false, nil
			}
			started := time.Now()
			fds := []unix.PollFd{{Fd: int32(s.fd), Events: unix.POLLIN | unix.POLLERR}}
			// Short, so that Stop is noticed.
			if _, err := unix.Poll(fds, int(min(timeout, 20*time.Millisecond)/time.Millisecond)+1); err != nil && err != unix.EINTR {
				return SniffedPacket{}, false, fmt.Errorf("kernel: waiting for packets: %w", err)
			}
			timeout -= time.Since(started)
			continue
		}
		b := s.ring[s.block*s.size : (s.block+1)*s.size]
		// struct tpacket_block_desc: version, offset_to_priv, then
		// tpacket_hdr_v1: status, num_pkts, offset_to_first_pkt.
		s.left, s.at = int(binary.NativeEndian.Uint32(b[12:])), int(binary.NativeEndian.Uint32(b[16:]))
		s.held = true
	}
	return s.packet(), true, nil
}

func (s *Sniffer) status() *uint32 {
	return (*uint32)(unsafe.Pointer(&s.ring[s.block*s.size+8]))
}

// packet takes the next packet of the block: struct tpacket3_hdr and, behind
// it, struct sockaddr_ll.
func (s *Sniffer) packet() SniffedPacket {
	b := s.ring[s.block*s.size : (s.block+1)*s.size]
	h := b[s.at:]
	n := binary.NativeEndian
	next, sec, nsec, snaplen, length, status := n.Uint32(h), n.Uint32(h[4:]), n.Uint32(h[8:]), n.Uint32(h[12:]), n.Uint32(h[16:]), n.Uint32(h[20:])
	mac := n.Uint16(h[24:])
	const sll = 48 // TPACKET_ALIGN(sizeof(struct tpacket3_hdr))
	p := SniffedPacket{Time: clock.Time(time.Duration(sec)*time.Second + time.Duration(nsec)), Interface: int(int32(n.Uint32(h[sll+4:]))),
		Hardware: n.Uint16(h[sll+8:]), Outgoing: h[sll+10] == packetOutgoing,
		Length: int(length), Data: h[mac : uint32(mac)+snaplen], ChecksumPartial: status&statusPartial != 0}
	// The kernel takes the tag out of the frame: back to behind the addresses
	// with it.
	const macs, tagLen = 12, 4
	if status&statusVLAN != 0 && len(p.Data) >= macs {
		tpid := uint16(unix.ETH_P_8021Q)
		if status&statusVLANTPID != 0 {
			tpid = n.Uint16(h[36:])
		}
		s.tagged = binary.BigEndian.AppendUint16(append(s.tagged[:0], p.Data[:macs]...), tpid)
		s.tagged = binary.BigEndian.AppendUint16(s.tagged, uint16(n.Uint32(h[32:])))
		s.tagged = append(s.tagged, p.Data[macs:]...)
		p.Data = s.tagged
		p.Length += tagLen
	}
	s.at += int(next)
	s.left--
	return p
}

// Stats returns how many packets passed the filter and how many of them were
// dropped because the ring was full.
func (s *Sniffer) Stats() (received, dropped uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		// Reading the counters sets them back.
		if st, err := unix.GetsockoptTpacketStatsV3(s.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
			s.received += uint64(st.Packets)
			s.dropped += uint64(st.Drops)
		}
	}
	return s.received, s.dropped
}

// InterfaceName returns the name of an interface by its number.
func (s *Sniffer) InterfaceName(index int) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	name, ok := s.names[index]
	if !ok {
		if i, err := net.InterfaceByIndex(index); err == nil {
			name = i.Name
		} else {
			name = fmt.Sprintf("if%d", index)
		}
		s.names[index] = name
	}
	return name
}

// Stop makes Next return false once the packets captured so far were read.
func (s *Sniffer) Stop() { s.stopped.Store(true) }

// Stopped tells whether Stop was called.
func (s *Sniffer) Stopped() bool { return s.stopped.Load() }

// Close ends the capture. A packet returned by Next is not valid any more.
func (s *Sniffer) Close() error {
	s.Stats()
	s.Stop()
	s.reading.Lock()
	defer s.reading.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	var err error
	if s.ring != nil {
		err = unix.Munmap(s.ring)
		s.ring = nil
	}
	return errors.Join(err, unix.Close(s.fd))
}
