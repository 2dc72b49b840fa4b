package stub

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"peel/clock"
	"peel/dns"
	"peel/internal/needs"
)

// drive runs a lookup on the machine's own sockets.
func drive(t *testing.T, cfg *Config, host string) *Lookup {
	t.Helper()
	type event struct {
		socket int
		from   netip.AddrPort
		msg    []byte
		err    error
	}
	real := clock.NewReal()
	events := make(chan event, 100)
	conns := map[int]net.Conn{}
	l := NewLookup(real.Now(), cfg, host, 80, rand.Uint64)
	for {
		actions, next := l.Poll(real.Now())
		for _, a := range actions {
			switch a.Kind {
			case SendUDP, SendTCP:
				network, msg := "udp", a.Msg
				if a.Kind == SendTCP {
					network, msg = "tcp", dns.AppendStream(nil, a.Msg)
				}
				c, err := net.Dial(network, a.Server.String())
				if err != nil {
					events <- event{a.Socket, a.Server, nil, err}
					continue
				}
				conns[a.Socket] = c
				_, _ = c.Write(msg)
				go func() {
					for {
						buf := make([]byte, dns.MaxMessage)
						var n int
						var err error
						if network == "tcp" {
							buf, err = dns.ReadStream(c, nil)
							n = len(buf)
						} else {
							n, err = c.Read(buf)
						}
						if errors.Is(err, net.ErrClosed) {
							return
						}
						events <- event{a.Socket, a.Server, buf[:n], err}
						if err != nil {
							return
						}
					}
				}()
			case CloseSocket:
				if c := conns[a.Socket]; c != nil {
					c.Close()
				}
			case Done:
				return l
			}
		}
		wait := time.Hour
		if next != clock.Never {
			wait = next.Sub(real.Now())
		}
		select {
		case e := <-events:
			if e.err != nil {
				l.InputError(real.Now(), e.socket, e.err)
			} else {
				l.Input(real.Now(), e.socket, e.from, e.msg)
			}
		case <-time.After(wait):
		}
	}
}

// freePort returns a loopback port that is free on UDP and TCP.
func freePort(t *testing.T) netip.AddrPort {
	c, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.Addr().(*net.TCPAddr).AddrPort()
}

// start runs a name server and waits until it answers.
func start(t *testing.T, at netip.AddrPort, program string, args ...string) {
	cmd := exec.Command(program, args...)
	log := &strings.Builder{}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-exited })
	for range 100 {
		if c, err := net.Dial("tcp", at.String()); err == nil {
			c.Close()
			return
		}
		select {
		case err := <-exited:
			exited <- err
			t.Fatalf("%s ended: %v\n%s", program, err, log)
		case <-time.After(50 * time.Millisecond):
		}
	}
	t.Fatalf("%s does not answer", program)
}

func liveConfig(servers ...netip.AddrPort) *Config {
	conf := ParseResolvConf([]byte("search corp.test\noptions timeout:1 attempts:1\n"))
	conf.Servers = servers
	return &Config{Resolv: conf}
}

func addrsOf(t *testing.T, l *Lookup) string {
	t.Helper()
	r, err := l.Result()
	if err != nil {
		t.Error(err)
	}
	return addressList(r.Addresses)
}

func wantKind(t *testing.T, l *Lookup, k Kind) {
	t.Helper()
	var e *Error
	if _, err := l.Result(); !errors.As(err, &e) || e.Kind != k {
		t.Errorf("%v, want %s", err, k)
	}
}

func TestStubAgainstDnsmasq(t *testing.T) {
	program := needs.Tool(t, "dnsmasq")
	at := freePort(t)
	args := []string{"--no-daemon", "--no-resolv", "--no-hosts", "--conf-file=/dev/null", "--user=", "--group=", "--port", fmt.Sprint(at.Port()), "--listen-address=127.0.0.1", "--bind-interfaces",
		"--host-record=www.corp.test,192.0.2.1,2001:db8::1", "--cname=alias.corp.test,www.corp.test", "--local=/test/", "--txt-record=only.corp.test,text", "--local-ttl=77"}
	for i := range 120 {
		args = append(args, fmt.Sprintf("--host-record=big.corp.test,192.0.2.%d", i+1))
	}
	start(t, at, program, args...)
	if got := addrsOf(t, drive(t, liveConfig(at), "www")); got != "192.0.2.1, 2001:db8::1" {
		t.Error(got)
	}
	l := drive(t, liveConfig(at), "alias.corp.test")
	if r, err := l.Result(); err != nil || r.Canonical.Host() != "www.corp.test" || r.Addresses[0].TTL != 77 {
		t.Errorf("%+v, %v", r, err)
	}
	wantKind(t, drive(t, liveConfig(at), "nobody.corp.test."), NotFound)
	wantKind(t, drive(t, liveConfig(at), "only.corp.test."), NoData)
	l = drive(t, liveConfig(at), "big.corp.test.")
	if r, err := l.Result(); err != nil || len(r.Addresses) != 120 {
		t.Errorf("%d addresses, %v", len(r.Addresses), err)
	}
	tcp := false
	for _, s := range l.Steps() {
		tcp = tcp || s.Transport == "tcp" && s.Outcome == "answer"
	}
	if !tcp {
		t.Errorf("no step over TCP: %v", l.Steps())
	}
	// A port without a server: the kernel's ICMP error counts at once.
	if got := addrsOf(t, drive(t, liveConfig(freePort(t), at), "www.corp.test")); got != "192.0.2.1, 2001:db8::1" {
		t.Error(got)
	}
}

func TestStubAgainstUnbound(t *testing.T) {
	program := needs.Tool(t, "unbound")
	at := freePort(t)
	dir := t.TempDir()
	conf := filepath.Join(dir, "unbound.conf")
	text := fmt.Sprintf(`server:
  interface: 127.0.0.1
  port: %d
  username: ""
  chroot: ""
  directory: %q
  pidfile: ""
  use-syslog: no
  do-daemonize: no
  module-config: "iterator"
  ede: yes
  access-control: 127.0.0.0/8 allow
  local-zone: "corp.test." static
  local-data: "www.corp.test. 300 IN A 192.0.2.1"
  local-data: "www.corp.test. 300 IN AAAA 2001:db8::1"
  local-data: "only.corp.test. IN TXT text"
  local-zone: "blocked.test." always_refuse
remote-control:
  control-enable: no
`, at.Port(), dir)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, at, program, "-d", "-c", conf)
	if got := addrsOf(t, drive(t, liveConfig(at), "www")); got != "192.0.2.1, 2001:db8::1" {
		t.Error(got)
	}
	wantKind(t, drive(t, liveConfig(at), "nobody.corp.test."), NotFound)
	wantKind(t, drive(t, liveConfig(at), "only.corp.test."), NoData)
	wantKind(t, drive(t, liveConfig(at), "x.blocked.test."), Refused)
	tcp := liveConfig(at)
	tcp.Resolv.UseTCP = true
	if got := addrsOf(t, drive(t, tcp, "www.corp.test")); got != "192.0.2.1, 2001:db8::1" {
		t.Error(got)
	}
}
