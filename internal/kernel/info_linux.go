package kernel

import (
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

var tcpStates = [...]string{
	1: "ESTABLISHED", 2: "SYN-SENT", 3: "SYN-RECEIVED", 4: "FIN-WAIT-1", 5: "FIN-WAIT-2", 6: "TIME-WAIT",
	7: "CLOSED", 8: "CLOSE-WAIT", 9: "LAST-ACK", 10: "LISTEN", 11: "CLOSING",
}

// TCPInfo asks the kernel about a TCP connection. It is false when c is not
// one, or the kernel does not tell.
func TCPInfo(c net.Conn) (Info, bool) {
	raw, ok := rawConn(c)
	if !ok {
		return Info{}, false
	}
	var ti *unix.TCPInfo
	var err error
	if raw.Control(func(fd uintptr) {
		ti, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	}) != nil || err != nil {
		return Info{}, false
	}
	us := func(v uint32) time.Duration { return time.Duration(v) * time.Microsecond }
	info := Info{
		RTT: us(ti.Rtt), RTTVar: us(ti.Rttvar), MinRTT: us(ti.Min_rtt), RTO: us(ti.Rto),
		SendMSS: ti.Snd_mss, ReceiveMSS: ti.Rcv_mss, AdvertisedMSS: ti.Advmss, PathMTU: ti.Pmtu,
		CwndSegments: ti.Snd_cwnd, Retransmits: ti.Total_retrans, Lost: ti.Lost,
		SegmentsOut: ti.Segs_out, SegmentsIn: ti.Segs_in,
	}
	if int(ti.State) < len(tcpStates) {
		info.State = tcpStates[ti.State]
	}
	// Bits of tcpi_options, from linux/tcp.h.
	for _, o := range []struct {
		bit  uint8
		name string
	}{{1, "timestamps"}, {2, "SACK"}, {4, "window scale"}, {8, "ECN"}, {32, "TCP Fast Open"}} {
		if ti.Options&o.bit != 0 {
			info.Options = append(info.Options, o.name)
		}
	}
	return info, true
}

// Peek looks at an idle connection without waiting and without taking bytes.
func Peek(c net.Conn) State {
	raw, ok := rawConn(c)
	if !ok {
		return Quiet
	}
	state := Quiet
	err := raw.Read(func(fd uintptr) bool {
		var b [1]byte
		n, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		switch {
		case err == unix.EAGAIN || err == unix.EINTR:
		case err != nil || n == 0:
			state = Ended
		default:
			state = Talking
		}
		return true
	})
	if err != nil {
		return Ended
	}
	return state
}

func rawConn(c net.Conn) (syscall.RawConn, bool) {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return nil, false
	}
	raw, err := sc.SyscallConn()
	return raw, err == nil
}
