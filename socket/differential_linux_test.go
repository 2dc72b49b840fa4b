package socket

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"peel/clock"
	"peel/ethernet"
	"peel/host"
	"peel/kernel"
	"peel/link"
	"peel/route"
	"peel/tcp"
)

// The differential test: one script, played by two Linux kernels and by two
// hosts of ours, over the same cable with the same faults. What both ends put
// on the wire is compared, segment by segment.
//
// The kernel runs in real time, all scenarios at once; ours in virtual time.

var onlyScenario = flag.String("differential", "", "play only the scenario of this name, and print its traces")

// scenario is a story of one connection.
type scenario struct {
	name string
	// delay is one way; 0 is 10 ms, so that what the machine needs for
	// itself does not count.
	delay time.Duration
	// ends are the sockets': end a opens the connection.
	ends [2]endOptions
	// lose is asked about each segment as it is sent.
	lose func(s *stage, e *wireEvent) bool
	// fate is asked about each segment that comes out of the cable.
	fate func(e *wireEvent) fate
	// router puts a router with this MTU behind it between the ends.
	router int
	play   func(s *stage) error
	// view keeps of a trace what is to be compared; nil keeps all.
	view func([]wireEvent) []wireEvent
	// differs is what may differ, and why.
	differs []justified
}

type endOptions struct {
	noDelay   bool
	keepAlive time.Duration
	receive   int // buffer
}

// justified is a difference that is meant. text is the beginning of what
// compare says; rare tells that it does not come each time.
type justified struct {
	text, why string
	rare      bool
}

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

// plug joins what receives at end a and at end b to the cable, and the router
// if there is one. It returns where both send to.
func (s *stage) plug(make func(end int, out link.Sender) link.Port) {
	gates := [2]*gate{{pool: &s.Pool, t: s.t, from: 1, decide: s.sc.fate}, {pool: &s.Pool, t: s.t, from: 0, decide: s.sc.fate}}
	far := link.Sender(s.cable.BA())
	var second *link.Cable
	if s.sc.router > 0 {
		second = link.NewCable(s.Network.Link(nil), link.End{Name: "router"}, link.End{Name: "far"})
		far = second.BA()
	}
	a, b := make(0, s.cable.AB()), make(1, far)
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

// setCut is for scripts whose faults begin and end.
func (s *stage) setCut(cut bool) { s.Do(func() { s.cut = cut }) }

// run plays the scenario and returns the trace.
func (s *stage) run() (events []wireEvent, err error) {
	err = s.sc.play(s)
	s.Do(func() {
		s.t.stopped = true
		events = s.t.events
		// What is closed now has no way to be answered.
		s.cable.SetUp(false)
	})
	for _, c := range s.closers {
		if d, ok := c.(duplex); ok {
			d.SetLinger(0)
		}
		c.Close()
	}
	s.Network.Close()
	return events, err
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
	// Off in RFC 6298 §5.5: each timeout doubles the next, that of a SYN too.
	{"ipv4/tcp_syn_linear_timeouts", "0"},
	// Else how many ACKs there are depends on who runs when.
	{"ipv4/tcp_backlog_ack_defer", "0"},
	// Each segment out of order is answered (RFC 5681 §4.2).
	{"ipv4/tcp_comp_sack_nr", "0"},
	{"ipv4/tcp_syn_retries", "6"}, {"ipv4/tcp_synack_retries", "5"}, {"ipv4/tcp_retries2", "15"},
	{"ipv6/conf/all/disable_ipv6", "1"}, {"ipv6/conf/default/disable_ipv6", "1"},
}

func (k kernelEnd) listen(at netip.AddrPort, o endOptions) (l net.Listener, err error) {
	err = k.ns.Do(func() (err error) {
		// A window is scaled in the SYN-ACK as the listener's buffer tells.
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
type hostEnd struct{ Stack }

func (h hostEnd) with(o endOptions) Stack {
	c := h.Host.Options.TCP
	c.NoMTUProbing = true
	c.NoDelay, c.KeepAlive, c.KeepAliveInterval = o.noDelay, o.keepAlive, o.keepAlive
	if o.receive > 0 {
		c.ReceiveBuffer, c.FixedBuffers = o.receive, true
	}
	h.TCP = &c
	return h.Stack
}

func (h hostEnd) listen(at netip.AddrPort, o endOptions) (net.Listener, error) {
	return h.with(o).Listen(at)
}

func (h hostEnd) accept(l net.Listener, _ endOptions) (duplex, error) {
	l.(*Listener).SetDeadline(time.Now().Add(20 * time.Second))
	c, err := l.Accept()
	if err != nil {
		return nil, err
	}
	c.SetDeadline(time.Now().Add(20 * time.Second))
	return c.(*Conn), nil
}

func (h hostEnd) dial(to netip.AddrPort, o endOptions) (duplex, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c, err := h.with(o).Dial(ctx, netip.AddrPort{}, to)
	if err != nil {
		return nil, err
	}
	c.SetDeadline(time.Now().Add(20 * time.Second))
	return c, nil
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
			s.ends[end] = hostEnd{Stack{Network: s.Network, Host: h}}
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
	})
	return events, err
}

// noRights is why there is no kernel to compare with.
type noRights struct{ error }

// playLinux plays the scenario with two kernels, in real time.
func playLinux(sc *scenario) (events []wireEvent, err error) {
	s := newStage(sc)
	var failed error
	var ns []*kernel.Namespace
	defer func() {
		for _, n := range ns {
			n.Close()
		}
	}()
	s.plug(func(end int, out link.Sender) link.Port {
		n, err := kernel.NewNamespace()
		if err != nil {
			failed = noRights{err}
			return nil
		}
		ns = append(ns, n)
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
		s.Network.Close()
		return nil, failed
	}
	return s.run()
}

func TestLikeLinux(t *testing.T) {
	needTool(t, "ip")
	all := scenarios()
	type result struct {
		events []wireEvent
		err    error
	}
	results := make([]chan result, len(all))
	room := make(chan struct{}, 10)
	var wg sync.WaitGroup
	for i := range all {
		if *onlyScenario != "" && *onlyScenario != all[i].name {
			continue
		}
		results[i] = make(chan result, 1)
		wg.Go(func() {
			room <- struct{}{}
			events, err := playLinux(&all[i])
			<-room
			results[i] <- result{events, err}
		})
	}
	defer wg.Wait()
	for i := range all {
		if results[i] == nil {
			continue
		}
		sc := &all[i]
		t.Run(sc.name, func(t *testing.T) {
			ours, err := playOurs(t, sc)
			if err != nil {
				t.Fatalf("ours: %v\n%s", err, show(ours))
			}
			r := <-results[i]
			for try := 0; ; try++ {
				if no := (noRights{}); errors.As(r.err, &no) {
					missing(t, no.Error())
				}
				bad := judge(sc, r.events, ours)
				if r.err == nil && len(bad) == 0 {
					break
				}
				if try == 1 {
					t.Errorf("error: %v\n%s\nlinux:\n%s\nours:\n%s", r.err, strings.Join(bad, "\n"), show(r.events), show(ours))
					return
				}
				// The kernel may have been held up by other work: once more.
				r.events, r.err = playLinux(sc)
			}
			if *onlyScenario != "" {
				t.Logf("linux:\n%s\nours:\n%s", show(r.events), show(ours))
			}
		})
	}
}

// judge returns the differences that are not meant, and those that are meant
// but do not come.
func judge(sc *scenario, linux, ours []wireEvent) (bad []string) {
	if sc.view != nil {
		linux, ours = sc.view(linux), sc.view(ours)
	}
	used := make([]bool, len(sc.differs))
	for _, d := range compare(linux, ours) {
		text := endNames[d.end] + " " + d.text
		ok := false
		for i, j := range sc.differs {
			if strings.HasPrefix(text, j.text) {
				ok, used[i] = true, true
			}
		}
		if !ok {
			bad = append(bad, text)
		}
	}
	for i, u := range used {
		if !u && !sc.differs[i].rare {
			bad = append(bad, "no more a difference: "+sc.differs[i].text)
		}
	}
	return bad
}
