package client

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"time"

	"peel/clock"
	"peel/dns"
	"peel/dns/stub"
	"peel/evidence/capture"
	"peel/evidence/decision"
	"peel/internal/kernel"
	"peel/trace"
)

// Resolver turns host names into addresses with peel's own stub resolver. The
// zero value does as the host's configuration says; its files are read anew
// for each lookup, as they can change.
type Resolver struct {
	// Config replaces the host's configuration when it is set.
	Config *stub.Config
	// Override gives addresses for "host:port" or "*:port", as curl's
	// --resolve does.
	Override map[string][]netip.Addr
}

// HostConfig reads how this machine resolves names: nsswitch.conf, hosts and
// resolv.conf.
func HostConfig() (*stub.Config, error) {
	cfg := &stub.Config{}
	for _, f := range []struct {
		path string
		use  func([]byte)
	}{
		{kernel.NsswitchConf, func(b []byte) { cfg.Nsswitch = stub.ParseNsswitch(b) }},
		{kernel.HostsFile, func(b []byte) { cfg.Hosts = stub.ParseHosts(b) }},
		{kernel.ResolvConf, func(b []byte) { cfg.Resolv = stub.ParseResolvConf(b) }},
	} {
		b, err := kernel.ReadConfig(f.path)
		if err != nil {
			return nil, err
		}
		f.use(b)
	}
	return cfg, nil
}

func (r *Resolver) config(c *Client, host string) (*stub.Config, error) {
	cfg := stub.Config{}
	_, noName := netip.ParseAddr(host)
	switch {
	case r.Config != nil:
		cfg = *r.Config
	case noName != nil: // an address needs none of the files
		read, err := HostConfig()
		if err != nil {
			return nil, failure(trace.LayerDNS, trace.FailConfiguration, err.Error(), "make the file readable, or give the address", err).hint(trace.HintAddress)
		}
		cfg = *read
	}
	if r.Override != nil {
		cfg.Resolve = r.Override
	}
	cfg.WantA, cfg.WantAAAA = c.opt.Family != IPv6, c.opt.Family != IPv4
	cfg.Sort.Source = c.net.Source
	return &cfg, nil
}

// found is what a lookup has found: addresses, and whether more may follow.
type found struct {
	addrs []netip.AddrPort
	// service is the HTTPS record that the connection goes by, or nil.
	service *dns.SVCB
	last    bool
	err     *Error
}

// Lookup resolves a host name as a request to it would, and returns the
// addresses in the order in which they would be tried, with port. The error is
// an *Error.
func (c *Client) Lookup(ctx context.Context, host string, port uint16) ([]netip.AddrPort, error) {
	var last found
	for f := range c.resolver.lookup(ctx, c, 0, host, port, false) {
		last = f
	}
	if last.err != nil {
		return nil, last.err
	}
	return last.addrs, nil
}

// lookup drives the stub resolver over the client's network and records what
// it does. It may send addresses twice: early ones, when only one family has
// answered, and then all of them. It stops when ctx ends.
// https asks for the host's HTTPS records too.
func (r *Resolver) lookup(ctx context.Context, c *Client, exchange uint32, host string, port uint16, https bool) <-chan found {
	id := c.rec.NewLookup()
	about := capture.About{Exchange: exchange, Lookup: id}
	c.rec.Decide(about, &decision.LookupStarted{Host: host})
	out := make(chan found, 2)
	go func() {
		defer close(out)
		var early []stub.Address
		res, err := r.run(ctx, c, id, host, port, https, func(a []stub.Address) {
			early = a
			c.rec.Decide(about, &decision.LookupEarly{Addresses: decided(a)})
			out <- found{addrs: withPort(a, port)}
		})
		addrs := res.Addresses
		var d decision.LookupEnded
		if err != nil && early != nil {
			// One family is enough; what became of the other is in the steps.
			addrs, err = early, nil
			d.Partly = true
		}
		d.Addresses = decided(addrs)
		if err != nil {
			d.Failure = err.Failure
		}
		c.rec.Decide(about, &d)
		if res.Service != nil {
			if p, ok := res.Service.Port(); ok {
				port = p
			}
		}
		out <- found{addrs: withPort(addrs, port), service: res.Service, last: true, err: err}
	}()
	return out
}

func withPort(addrs []stub.Address, port uint16) []netip.AddrPort {
	var out []netip.AddrPort
	for _, a := range addrs {
		out = append(out, netip.AddrPortFrom(a.Addr, port))
	}
	return out
}

// decided returns addresses as a decision has them.
func decided(addrs []stub.Address) []decision.Address {
	var out []decision.Address
	for _, a := range addrs {
		out = append(out, decision.Address{IP: a.Addr, Source: a.Source, TTL: a.TTL, Why: a.Why})
	}
	return out
}

// resolutionDelay is how long an IPv4 answer waits for the IPv6 one (RFC 8305
// §3); an IPv6 answer does not wait.
const resolutionDelay = 50 * time.Millisecond

// packet is what a socket of a lookup brought: a message, or its end.
type packet struct {
	socket int
	from   netip.AddrPort // of a multicast answer
	msg    []byte
	err    error
}

// lookupDriver does the I/O for one lookup.
type lookupDriver struct {
	c       *Client
	id      uint32
	ctx     context.Context
	packets chan packet
	open    map[int]*lookupSocket
	told    []bool
}

type lookupSocket struct {
	cancel context.CancelFunc
	server netip.AddrPort
	group  net.PacketConn // of a multicast question
}

// multicaster is a network that can ask all hosts of the link.
type multicaster interface {
	ListenUDP(ctx context.Context, group netip.AddrPort) (net.PacketConn, error)
}

// multicast asks the link, again on the same socket, and reads who answers.
func (d *lookupDriver) multicast(a stub.Action) {
	if s := d.open[a.Socket]; s != nil {
		s.group.WriteTo(a.Msg, net.UDPAddrFromAddrPort(a.Server))
		return
	}
	ctx, cancel := context.WithCancel(d.ctx)
	d.open[a.Socket] = &lookupSocket{cancel: cancel, server: a.Server}
	report := func(p packet) bool {
		select {
		case d.packets <- p:
			return true
		case <-ctx.Done():
			return false
		}
	}
	m, ok := d.c.net.(multicaster)
	if !ok {
		go report(packet{socket: a.Socket, err: errors.New("this network has no multicast")})
		return
	}
	conn, err := m.ListenUDP(ctx, a.Server)
	if err == nil {
		_, err = conn.WriteTo(a.Msg, net.UDPAddrFromAddrPort(a.Server))
	}
	if err != nil {
		go report(packet{socket: a.Socket, err: err})
		return
	}
	d.open[a.Socket].group = conn
	number := d.c.rec.NewSocket()
	d.opened(number, decision.UDP, kernel.AddrPort(conn.LocalAddr()), a.Server)
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	go func() {
		defer stop()
		defer d.closed(number)
		for {
			buf := make([]byte, 9000) // RFC 6762 §17
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			sender, _ := netip.ParseAddrPort(from.String())
			if !report(packet{socket: a.Socket, from: netip.AddrPortFrom(sender.Addr().Unmap().WithZone(""), sender.Port()), msg: buf[:n]}) {
				return
			}
		}
	}()
}

func (r *Resolver) run(ctx context.Context, c *Client, id uint32, host string, port uint16, https bool, early func([]stub.Address)) (stub.Result, *Error) {
	cfg, err := r.config(c, host)
	if err != nil {
		var e *Error
		errors.As(err, &e)
		return stub.Result{}, e
	}
	cfg.WantHTTPS = https
	res, failed := r.once(ctx, c, cfg, id, host, port, early)
	// An HTTPS record may put the service elsewhere (RFC 9460 §3): then that
	// name's addresses count, and those found first only if it has none.
	for hop := 0; failed == nil && !res.Follow.IsRoot() && hop < maxServiceHops; hop++ {
		cfg.WantHTTPS = res.Service == nil // an alias of the service: the target has its own records
		next, err := r.once(ctx, c, cfg, id, res.Follow.String(), port, func([]stub.Address) {})
		if err != nil {
			if len(res.Addresses) == 0 {
				failed = err
			}
			break
		}
		if next.Service == nil {
			next.Service = res.Service
		}
		res = next
	}
	return res, failed
}

// maxServiceHops bounds aliases of a service that lead to aliases.
const maxServiceHops = 4

// once drives one lookup to its end.
func (r *Resolver) once(ctx context.Context, c *Client, cfg *stub.Config, id uint32, host string, port uint16, early func([]stub.Address)) (stub.Result, *Error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	l := stub.NewLookup(c.clock.Now(), cfg, host, port, kernel.Random64)
	d := &lookupDriver{c: c, id: id, ctx: ctx, packets: make(chan packet), open: map[int]*lookupSocket{}}
	defer d.closeAll()
	timer := time.NewTimer(0)
	defer timer.Stop()
	var release clock.Time // when early addresses are given out
	told := false
	for {
		actions, next := l.Poll(c.clock.Now())
		d.tell(l.Steps(), false)
		for _, a := range actions {
			switch a.Kind {
			case stub.SendUDP, stub.SendTCP:
				d.send(a)
			case stub.SendMulticast:
				d.multicast(a)
			case stub.CloseSocket:
				d.close(a.Socket)
			case stub.Done:
				d.tell(l.Steps(), true)
				return outcome(l)
			}
		}
		if a := l.Early(); len(a) > 0 && !told {
			now := c.clock.Now()
			if release == 0 {
				release = now.Add(resolutionDelay)
			}
			if a[0].Addr.Is6() || now >= release {
				told = true
				early(a)
			} else {
				next = min(next, release)
			}
		}
		wait := time.Hour
		if next != clock.Never {
			wait = max(next.Sub(c.clock.Now()), 0)
		}
		timer.Reset(wait)
		select {
		case p := <-d.packets:
			s := d.open[p.socket]
			switch {
			case s == nil:
			case p.err != nil:
				l.InputError(c.clock.Now(), p.socket, p.err)
			default:
				from := s.server
				if p.from.IsValid() {
					from = p.from
				}
				l.Input(c.clock.Now(), p.socket, from, p.msg)
			}
		case <-timer.C:
		case <-ctx.Done():
			d.tell(l.Steps(), true)
			return stub.Result{}, cancelled(ctx, trace.LayerDNS, "looking up "+host)
		}
	}
}

func outcome(l *stub.Lookup) (stub.Result, *Error) {
	res, err := l.Result()
	if err == nil {
		return res, nil
	}
	res = stub.Result{}
	var de *stub.Error
	if errors.As(err, &de) {
		return res, &Error{Failure: de.Failure(), Err: err}
	}
	return res, failure(trace.LayerDNS, trace.FailOther, err.Error(), "", err)
}

// tell records the steps that have come to their end, or all of them.
func (d *lookupDriver) tell(steps []stub.Step, all bool) {
	for len(d.told) < len(steps) {
		d.told = append(d.told, false)
	}
	for i, s := range steps {
		if d.told[i] || s.Outcome == trace.StepWaiting && !all {
			continue
		}
		d.told[i] = true
		if s.Outcome == trace.StepWaiting { // given up: it waited until now
			s.End = d.c.clock.Now()
		}
		t := s.Trace(s.Start)
		dec := decision.LookupStep{Source: t.Source, Question: t.Question.String(), Server: s.Server, Transport: t.Transport, Attempt: uint32(t.Attempt),
			Outcome: t.Outcome, Rcode: t.Rcode, Duration: s.End.Sub(s.Start), Text: strings.TrimPrefix(s.String(), "dns: ")}
		for _, a := range t.Answers {
			dec.Answers = append(dec.Answers, decision.Record{Name: a.Name, Type: a.Type, TTL: a.TTL, Data: a.Data})
		}
		d.c.rec.Decide(capture.About{Lookup: d.id}, &dec)
	}
}

// opened and closed record the life of a socket for queries.
func (d *lookupDriver) opened(socket uint32, network decision.Transport, local, remote netip.AddrPort) {
	d.c.rec.Decide(capture.About{Socket: socket, Lookup: d.id}, &decision.SocketOpened{Transport: network, For: decision.ForDNS, Local: local, Remote: remote})
}

func (d *lookupDriver) closed(socket uint32) {
	d.c.rec.Decide(capture.About{Socket: socket}, &decision.SocketClosed{By: decision.Client})
}

// send opens a socket for a query and reads what comes back on it, until the
// lookup closes it.
func (d *lookupDriver) send(a stub.Action) {
	ctx, cancel := context.WithCancel(d.ctx)
	d.open[a.Socket] = &lookupSocket{cancel: cancel, server: a.Server}
	network, dial := decision.UDP, d.c.net.DialUDP
	if a.Kind == stub.SendTCP {
		network, dial = decision.TCP, d.c.net.DialTCP
	}
	go func() {
		report := func(p packet) bool {
			select {
			case d.packets <- p:
				return true
			case <-ctx.Done():
				return false
			}
		}
		number := d.c.rec.NewSocket()
		conn, err := dial(d.c.bound(ctx, number), a.Server)
		if err != nil {
			report(packet{socket: a.Socket, err: err})
			return
		}
		stop := context.AfterFunc(ctx, func() { conn.Close() })
		defer stop()
		d.opened(number, network, kernel.AddrPort(conn.LocalAddr()), kernel.AddrPort(conn.RemoteAddr()))
		t := newTap(conn, d.c.rec, number)
		defer func() {
			conn.Close()
			d.closed(number)
		}()
		msg := a.Msg
		if network == decision.TCP {
			msg = dns.AppendStream(nil, msg)
		}
		if _, err := t.Write(msg); err != nil {
			report(packet{socket: a.Socket, err: err})
			return
		}
		for {
			msg, err := readMessage(t, network)
			if !report(packet{socket: a.Socket, msg: msg, err: err}) || err != nil {
				return
			}
		}
	}()
}

// readMessage reads one datagram, or one message behind its length on TCP.
func readMessage(t *tap, network decision.Transport) ([]byte, error) {
	if network == decision.UDP {
		buf := make([]byte, dns.MaxMessage)
		n, err := t.Read(buf)
		return buf[:n], err
	}
	return dns.ReadStream(t, nil)
}

func (d *lookupDriver) close(socket int) {
	if s := d.open[socket]; s != nil {
		s.cancel()
		delete(d.open, socket)
	}
}

func (d *lookupDriver) closeAll() {
	for n := range d.open {
		d.close(n)
	}
}

var _ net.Error = (*limitError)(nil)
