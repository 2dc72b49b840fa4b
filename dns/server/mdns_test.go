package server

import (
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"peel/client"
	"peel/dns"
	"peel/dns/stub"
	"peel/internal/needs"
)

// A responder on the link is heard: a real multicast query leaves, and the
// answer that comes back from its host is taken.
func TestRFC6762_OneShotQueriesOnTheLink(t *testing.T) {
	needs.Long(t)
	if out, err := exec.Command("sh", "-c", "ip link set lo multicast on; ip route replace 224.0.0.0/4 dev lo").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	group := &net.UDPAddr{IP: net.IPv4(224, 0, 0, 251), Port: 5353}
	c, err := net.ListenMulticastUDP("udp4", lo, group)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	go func() {
		buf := make([]byte, 9000)
		for {
			n, from, err := c.ReadFromUDP(buf)
			if err != nil {
				return
			}
			q, err := dns.Parse(buf[:n])
			if err != nil || q.Response || len(q.Questions) != 1 || !strings.EqualFold(q.Questions[0].Name.Host(), "printer.local") || q.Questions[0].Type != dns.TypeA {
				continue
			}
			rr := dns.NewResource(q.Questions[0].Name, 120, dns.A{Addr: netip.MustParseAddr("127.53.3.3")})
			m := &dns.Message{Header: dns.Header{ID: q.ID, Response: true, Authoritative: true}, Questions: q.Questions, Answers: []dns.Resource{rr}}
			b, _ := m.Append(nil)
			c.WriteToUDP(b, from)
		}
	}()
	cfg := &stub.Config{Nsswitch: stub.ParseNsswitch([]byte("hosts: files mdns4_minimal [NOTFOUND=return] dns")), Hosts: &stub.Hosts{}, Resolv: stub.ParseResolvConf(nil)}
	cl := client.New(client.Options{Resolver: &client.Resolver{Config: cfg}})
	defer cl.Close()
	addrs, err := cl.Lookup(t.Context(), "printer.local", 80)
	if err != nil || len(addrs) != 1 || addrs[0].String() != "127.53.3.3:80" {
		t.Errorf("%v, %v", addrs, err)
	}
	if _, err := cl.Lookup(t.Context(), "nobody.local", 80); err == nil || !strings.Contains(err.Error(), "no source") {
		t.Errorf("%v", err)
	}
	// In a user's own namespace Avahi cannot drop to its user.
	if b, _ := os.ReadFile("/proc/self/uid_map"); !strings.Contains(string(b), "4294967295") {
		needs.Missing(t, "Avahi runs only as the real root")
	}
	// Avahi is the peer that most links have.
	dir := t.TempDir()
	write(t, filepath.Join(dir, "avahi.conf"), "[server]\nhost-name=avahi-host\nuse-ipv4=yes\nuse-ipv6=no\nallow-interfaces=v0\nenable-dbus=no\n[publish]\npublish-workstation=no\n")
	if out, err := exec.Command("sh", "-c", "ip link add v0 type veth peer name v1 && ip addr add 10.77.0.1/24 dev v0 && ip link set v0 up && "+
		"ip link set v1 up && ip route replace 224.0.0.0/4 dev v0").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("ip", "link", "del", "v0").Run() })
	daemon(t, dir, "avahi-daemon", "-f", filepath.Join(dir, "avahi.conf"), "--no-drop-root", "--no-chroot", "--no-rlimits")
	for end := time.Now().Add(20 * time.Second); ; {
		addrs, err = cl.Lookup(t.Context(), "avahi-host.local", 80)
		if err == nil || time.Now().After(end) {
			break
		}
	}
	if err != nil || len(addrs) != 1 || addrs[0].String() != "10.77.0.1:80" {
		t.Errorf("Avahi: %v, %v", addrs, err)
	}
}
