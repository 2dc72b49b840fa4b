package socket

import (
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"peel/clock"
	"peel/internal/needs"
	"peel/stack/host"
	"peel/stack/link"
	"peel/stack/nat"
)

// Wireshark finds nothing wrong with the packets of our hosts: no checksum, no
// header, no sequence, whatever a small internet can make of them: ARP,
// Neighbor Discovery, router advertisements, ICMP errors, fragments, UDP, TCP
// with losses, NAT.
func TestWiresharkAgreesWithOurPackets(t *testing.T) {
	needs.Tools(t, "tshark")
	file := filepath.Join(t.TempDir(), "own.pcapng")
	count := 0
	synctest.Test(t, func(t *testing.T) {
		in := newInternet(t, false)
		in.masquerade(t, nat.Options{})
		rec := link.NewRecorder(64 << 20)
		in.Do(func() {
			in.trace.Attach(rec)
			in.laptop.Host.Interface("eth0").AcceptRA = true
			lan := in.home.Host.Interface("lan")
			lan.RouterAdvertisement = &host.RouterAdvertisement{Prefixes: []netip.Prefix{netip.MustParsePrefix("2001:db8:1::/64")}, MTU: 1480, HopLimit: 61}
			for _, i := range []*host.Interface{lan, in.laptop.Host.Interface("eth0")} {
				i.SetUp(false)
				i.SetUp(true)
			}
			if err := in.wan.SetShape(link.Shape{Delay: 10 * time.Millisecond, Loss: link.Loss{EveryNth: 50}}); err != nil {
				t.Fatal(err)
			}
			in.isp.Host.Interface("dc").MTU = 1400
		})
		time.Sleep(time.Second)
		l := in.echo(t, in.server, "[::]:7")
		for _, to := range []string{"203.0.113.80:7", "[2001:db8:2::80]:7"} {
			c, err := in.laptop.DialTCP(t.Context(), netip.MustParseAddrPort(to))
			if err != nil {
				t.Fatal(err)
			}
			if err := say(t, c, strings.Repeat("peel", 50000)); err != nil {
				t.Fatal(err)
			}
			c.Close()
			if _, err := in.laptop.DialTCP(t.Context(), netip.MustParseAddrPort(strings.TrimSuffix(to, "7")+"9")); err == nil {
				t.Error("a closed port answered")
			}
			u, err := in.laptop.DialUDP(t.Context(), netip.MustParseAddrPort(to))
			if err != nil {
				t.Fatal(err)
			}
			u.Write(make([]byte, 5001))
			u.SetReadDeadline(time.Now().Add(5 * time.Second))
			u.Read(make([]byte, 1)) // "port unreachable", or lost
			u.Close()
			in.Do(func() {
				g, err := in.laptop.Host.OpenPing()
				if err != nil {
					t.Fatal(err)
				}
				a := netip.MustParseAddrPort(to).Addr()
				g.Send(a, 1, make([]byte, 3001))
				g.TTL = 2
				g.Send(a, 2, nil)
			})
			time.Sleep(5 * time.Second)
		}
		l.Close()
		time.Sleep(2 * time.Minute)
		f, err := os.Create(file)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		in.Do(func() {
			for _, place := range []string{"laptop:eth0", "isp:wan"} {
				rec.Saw(place, func(clock.Time, []byte) bool {
					count++
					return true
				})
			}
			if err := rec.WritePcapng(f, "laptop:eth0", "isp:wan"); err != nil {
				t.Fatal(err)
			}
		})
		in.Close()
	})
	if count < 500 {
		t.Fatalf("only %d packets", count)
	}
	args := []string{"-r", file, "-o", "ip.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE"}
	all, err := exec.Command("tshark", append(args, "-T", "fields", "-e", "frame.protocols")...).Output()
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(all), "\n"); n != count {
		t.Errorf("tshark reads %d packets of %d", n, count)
	}
	for _, p := range []string{"eth:ethertype:arp", "icmp:ip:", "icmpv6:ipv6", "ipv6.fraghdr", ":ip:udp", ":ipv6:tcp"} {
		if !strings.Contains(string(all), p) {
			t.Errorf("there is no %s among them", p)
		}
	}
	// Of a packet that an ICMP error quotes, tshark 4.0 checks the TCP and UDP
	// checksum although it is cut off.
	bad, err := exec.Command("tshark", append(args, "-Y", `_ws.malformed || ip.checksum.status == "Bad" || `+
		`icmp.checksum.status == "Bad" || icmpv6.checksum.status == "Bad" || (!icmp && !icmpv6 && `+
		`(_ws.expert.severity == "Error" || tcp.checksum.status == "Bad" || udp.checksum.status == "Bad"))`)...).Output()
	if err != nil || len(bad) > 0 {
		t.Errorf("%v; tshark finds wrong:\n%.3000s", err, bad)
	}
}
