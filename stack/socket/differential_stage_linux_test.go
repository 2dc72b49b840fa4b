package socket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"peel/clock"
	"peel/internal/kernel"
	"peel/stack/host"
	"peel/stack/link"
	"peel/stack/route"
	"peel/wire/ethernet"
	"peel/wire/tcp"
)

// duplex is what both kinds of connection have.
type duplex interface {
	net.Conn
	CloseWrite() error
	SetLinger(sec int) error
}

// sockets is one end: a kernel in its namespace, or a host of ours.
type sockets interface {
	listen(at netip.AddrPort, o endOptions) (net.Listener, error)
	accept(l net.Listener, o endOptions) (duplex, error)
	dial(to netip.AddrPort, o endOptions) (duplex, error)
}

// stage is where a scenario is played.
type stage struct {
	*Network
	sc      *scenario
	t       *tape
	cable   *link.Cable
	ends    [2]sockets
	addrs   [2]netip.Addr
	cut     bool // a script's own
	closers []io.Closer

	namespaces []*kernel.Namespace
}

const stagePort = 8080

func newStage(sc *scenario) *stage {
	s := &stage{sc: sc, Network: NewNetwork(clock.NewReal()), t: newTape()}
	s.addrs = [2]netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")}
	if sc.router > 0 {
		s.addrs[1] = netip.MustParseAddr("198.51.100.2")
	}
	var tr link.Trace
	tr.Attach(s.t)
	s.cable = link.NewCable(s.Network.Link(&tr), link.End{Name: "a"}, link.End{Name: "b"})
	delay := sc.delay
	if delay == 0 {
		delay = 10 * time.Millisecond
	}
	for end, d := range []*link.Direction{s.cable.AB(), s.cable.BA()} {
		shape := link.Shape{Delay: delay}
		if sc.lose != nil {
			shape.Loss.Predicate = func([]byte) bool { return s.t.now[end] != nil && sc.lose(s, s.t.now[end]) }
		}
		if err := d.SetShape(shape); err != nil {
			panic(err)
		}
	}
	return s
}

// plug joins both ends to the cable, by way of the router if there is one.
// attach makes an end that sends to out, and returns what receives there.
func (s *stage) plug(attach func(end int, out link.Sender) link.Port) {
	gates := [2]*gate{{pool: &s.Pool, t: s.t, from: 1, decide: s.sc.fate}, {pool: &s.Pool, t: s.t, from: 0, decide: s.sc.fate}}
	far := link.Sender(s.cable.BA())
	var second *link.Cable
	if s.sc.router > 0 {
		second = link.NewCable(s.Network.Link(nil), link.End{Name: "router"}, link.End{Name: "far"})
		far = second.BA()
	}
	a, b := attach(0, s.cable.AB()), attach(1, far)
	s.Do(func() {
		if second != nil {
			r := host.New("router", &s.Queue, &s.Pool, func() uint64 { return 4 }, host.Options{Forward: true})
			for n, p := range []string{"192.0.2.254/24", "198.51.100.254/24"} {
				i := r.AddInterface(fmt.Sprint("eth", n), ethernet.MAC{2, 0, 0, 0, 1, byte(n)}, 1500)
				i.AddAddress(netip.MustParsePrefix(p))
				if n == 0 {
					gates[1].to = i
					i.Attach(s.cable.BA())
				} else {
					i.MTU = s.sc.router
					second.Plug(i, b)
					i.Attach(second.AB())
				}
			}
		} else {
			gates[1].to = b
		}
		gates[0].to = a
		s.cable.Plug(gates[0], gates[1])
	})
}

func (s *stage) keep(c io.Closer) { s.closers = append(s.closers, c) }

// connect opens the connection: what a dialled and what b accepted.
func (s *stage) connect() (a, b duplex, err error) {
	l, err := s.ends[1].listen(netip.AddrPortFrom(s.addrs[1], stagePort), s.sc.ends[1])
	if err != nil {
		return nil, nil, err
	}
	s.keep(l)
	if a, err = s.ends[0].dial(netip.AddrPortFrom(s.addrs[1], stagePort), s.sc.ends[0]); err != nil {
		return nil, nil, err
	}
	s.keep(a)
	if b, err = s.ends[1].accept(l, s.sc.ends[1]); err != nil {
		return nil, nil, err
	}
	s.keep(b)
	// The ACK of the handshake is to arrive before anything else happens.
	time.Sleep(50 * time.Millisecond)
	return a, b, nil
}

// inject sends a segment in the name of an end.
func (s *stage) inject(end int, flags tcp.Flags, seq, ack uint32, payload []byte) {
	s.Do(func() {
		b := s.t.craft(end, flags, seq, ack, payload)
		p := s.Pool.Get(0)
		copy(p.Extend(len(b)), b)
		if end == 0 {
			s.cable.AB().Send(p)
		} else {
			s.cable.BA().Send(p)
		}
	})
}

// setDelay changes how long the cable is.
func (s *stage) setDelay(d time.Duration) {
	s.Do(func() {
		for _, dir := range []*link.Direction{s.cable.AB(), s.cable.BA()} {
			shape := dir.Shape()
			shape.Delay = d
			if err := dir.SetShape(shape); err != nil {
				panic(err)
			}
		}
	})
}

// setCut is for scripts whose faults begin and end.
func (s *stage) setCut(cut bool) { s.Do(func() { s.cut = cut }) }

// run plays the scenario and returns the trace.
func (s *stage) run() (events []wireEvent, err error) {
	err = s.sc.play(s)
	s.Do(func() {
		s.t.stopped = true
		events = s.t.events
		// What is closed later has no way to be answered.
		s.cable.SetUp(false)
	})
	return events, err
}

// close takes the stage down. For a kernel that is work which holds others up.
func (s *stage) close() {
	for _, c := range s.closers {
		if d, ok := c.(duplex); ok {
			d.SetLinger(0)
		}
		c.Close()
	}
	s.Network.Close()
	for _, n := range s.namespaces {
		n.Close()
	}
}

func transferTo(c net.Conn, n int) error {
	_, err := c.Write(make([]byte, n))
	return err
}

func readFrom(c net.Conn, n int) error {
	_, err := io.ReadFull(c, make([]byte, n))
	return err
}

// kernelEnd is a kernel in a namespace.
type kernelEnd struct{ ns *kernel.Namespace }

// knobs are what a kernel is set to: an ordinary one, whatever this machine's
// is, without what it would remember of connections before.
var knobs = [][2]string{
	{"ipv4/tcp_no_metrics_save", "1"},
	{"ipv4/tcp_rmem", "4096 131072 6291456"},
	// All that is written is in the buffer at once; else it is the writer's
	// turn that decides when there is something to send.
	{"ipv4/tcp_wmem", "4096 1048576 4194304"},
	{"ipv4/tcp_timestamps", "1"}, {"ipv4/tcp_sack", "1"}, {"ipv4/tcp_dsack", "1"}, {"ipv4/tcp_window_scaling", "1"},
	{"ipv4/tcp_recovery", "1"}, {"ipv4/tcp_early_retrans", "3"}, {"ipv4/tcp_ecn", "2"}, {"ipv4/tcp_fastopen", "0"},
	{"ipv4/tcp_slow_start_after_idle", "1"}, {"ipv4/tcp_autocorking", "1"}, {"ipv4/tcp_mtu_probing", "0"},
	// RFC 6298 §5.5: each timeout doubles the next, that of a SYN too.
	{"ipv4/tcp_syn_linear_timeouts", "0"},
	// Else how many ACKs there are depends on who runs when.
	{"ipv4/tcp_backlog_ack_defer", "0"},
	// Each segment out of order is answered (RFC 5681 §4.2).
	{"ipv4/tcp_comp_sack_nr", "0"},
	// So is each window probe: they come at about the interval of this limit.
	{"ipv4/tcp_invalid_ratelimit", "0"},
	{"ipv4/tcp_syn_retries", "6"}, {"ipv4/tcp_synack_retries", "5"}, {"ipv4/tcp_retries2", "15"},
	{"ipv6/conf/all/disable_ipv6", "1"}, {"ipv6/conf/default/disable_ipv6", "1"},
}

func (k kernelEnd) listen(at netip.AddrPort, o endOptions) (l net.Listener, err error) {
	err = k.ns.Do(func() (err error) {
		lc := net.ListenConfig{KeepAlive: -1, Control: o.control}
		lc.SetMultipathTCP(false)
		l, err = lc.Listen(context.Background(), "tcp4", at.String())
		return err
	})
	return l, err
}

func (k kernelEnd) accept(l net.Listener, o endOptions) (duplex, error) {
	l.(*net.TCPListener).SetDeadline(time.Now().Add(20 * time.Second))
	c, err := l.Accept()
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), o.apply(c.(*net.TCPConn))
}

func (k kernelEnd) dial(to netip.AddrPort, o endOptions) (c duplex, err error) {
	err = k.ns.Do(func() error {
		d := net.Dialer{Timeout: 20 * time.Second, FallbackDelay: -1, KeepAlive: -1, Control: o.control}
		n, err := d.Dial("tcp4", to.String())
		if err != nil {
			return err
		}
		c = n.(*net.TCPConn)
		return o.apply(n.(*net.TCPConn))
	})
	return c, err
}

func (o endOptions) apply(c *net.TCPConn) error {
	if o.keepAlive > 0 {
		if err := c.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: o.keepAlive, Interval: o.keepAlive, Count: 9}); err != nil {
			return err
		}
	}
	c.SetDeadline(time.Now().Add(20 * time.Second))
	return c.SetNoDelay(o.noDelay)
}

// control sets what a socket has to have before it is bound or connected.
func (o endOptions) control(_, _ string, c syscall.RawConn) (err error) {
	cerr := c.Control(func(fd uintptr) {
		// The knob of the namespace takes only what the machine allows to all.
		err = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, "cubic")
		if o.receive > 0 {
			err = errors.Join(err, unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 2*o.receive))
		}
	})
	return errors.Join(err, cerr)
}

// hostEnd is a host of ours.
type hostEnd struct {
	Stack
	noSACK bool
}

func (h hostEnd) with(o endOptions) Stack {
	c := h.Host.Options.TCP
	c.NoMTUProbing, c.NoSACK = true, h.noSACK
	c.KeepAlive, c.KeepAliveInterval = o.keepAlive, o.keepAlive
	if o.receive > 0 {
		c.ReceiveBuffer, c.FixedBuffers = o.receive, true
	}
	h.TCP = &c
	return h.Stack
}

func (h hostEnd) listen(at netip.AddrPort, o endOptions) (net.Listener, error) {
	return h.with(o).Listen(at)
}

func (h hostEnd) accept(l net.Listener, o endOptions) (duplex, error) {
	l.(*Listener).SetDeadline(time.Now().Add(20 * time.Second))
	c, err := l.Accept()
	if err != nil {
		return nil, err
	}
	c.SetDeadline(time.Now().Add(20 * time.Second))
	return c.(*Conn), c.(*Conn).SetNoDelay(o.noDelay)
}

func (h hostEnd) dial(to netip.AddrPort, o endOptions) (duplex, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c, err := h.with(o).Dial(ctx, netip.AddrPort{}, to)
	if err != nil {
		return nil, err
	}
	c.SetDeadline(time.Now().Add(20 * time.Second))
	return c, c.SetNoDelay(o.noDelay)
}

var stageMACs = [2]ethernet.MAC{{2, 0, 0, 0, 0, 1}, {2, 0, 0, 0, 0, 2}}

// gateway of an end, when there is a router.
func (s *stage) gateway(end int) string {
	if s.sc.router == 0 {
		return ""
	}
	return [2]string{"192.0.2.254", "198.51.100.254"}[end]
}

// playOurs plays the scenario with hosts of our own, in virtual time.
func playOurs(t *testing.T, sc *scenario) (events []wireEvent, err error) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(sc)
		s.plug(func(end int, out link.Sender) link.Port {
			h := s.Network.Host(endNames[end], [32]byte{byte(end)}, host.Options{})
			s.ends[end] = hostEnd{Stack{Network: s.Network, Host: h}, s.sc.noSACK}
			var i *host.Interface
			s.Do(func() {
				i = h.AddInterface("eth0", stageMACs[end], 1500)
				i.AddAddress(netip.PrefixFrom(s.addrs[end], 24))
				if g := s.gateway(end); g != "" {
					h.Routes.Add(route.Route{Prefix: netip.MustParsePrefix("0.0.0.0/0"), Gateway: netip.MustParseAddr(g), Interface: "eth0"})
				}
				i.Attach(out)
				if s.sc.router == 0 {
					i.SetNeighbour(s.addrs[1-end], stageMACs[1-end])
				}
			})
			return i
		})
		events, err = s.run()
		s.close()
	})
	return events, err
}

// noRights is why there is no kernel to compare with.
type noRights struct{ error }

// newLinuxStage sets two kernels up to play the scenario.
func newLinuxStage(sc *scenario) (*stage, error) {
	s := newStage(sc)
	var failed error
	s.plug(func(end int, out link.Sender) link.Port {
		n, err := kernel.NewNamespace()
		if err != nil {
			failed = noRights{err}
			return nil
		}
		s.namespaces = append(s.namespaces, n)
		s.ends[end] = kernelEnd{n}
		var dev *kernel.Device
		if err := n.Do(func() (err error) {
			if dev, err = kernel.OpenTAP("tap0", false); err != nil {
				return noRights{err}
			}
			for _, k := range knobs {
				if err := os.WriteFile("/proc/sys/net/"+k[0], []byte(k[1]), 0); err != nil && !errors.Is(err, os.ErrNotExist) {
					return noRights{err}
				}
			}
			if sc.noSACK {
				return os.WriteFile("/proc/sys/net/ipv4/tcp_sack", []byte("0"), 0)
			}
			return nil
		}); err != nil {
			failed = errors.Join(failed, err)
			return nil
		}
		other := 1 - end
		batch := fmt.Sprintf("link set lo up\nlink set tap0 address %s mtu 1500 gso_max_segs 1 addrgenmode none up\naddr add %s/24 dev tap0\n", stageMACs[end], s.addrs[end])
		if g := s.gateway(end); g != "" {
			batch += fmt.Sprintf("route add default via %s\n", g)
		} else {
			batch += fmt.Sprintf("neigh replace %s lladdr %s dev tap0 nud permanent\n", s.addrs[other], stageMACs[other])
		}
		c := exec.Command("ip", "-batch", "-")
		c.Stdin = strings.NewReader(batch)
		var out2 strings.Builder
		c.Stdout, c.Stderr = &out2, &out2
		if err := n.Start(c); err != nil {
			failed = errors.Join(failed, err)
		} else if err := c.Wait(); err != nil {
			failed = errors.Join(failed, fmt.Errorf("ip: %w: %s", err, out2.String()))
		}
		return s.Network.Bridge(endNames[end], out, dev, DriveOptions{})
	})
	if failed != nil {
		s.close()
		return nil, failed
	}
	return s, nil
}
