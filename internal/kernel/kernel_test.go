package kernel

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"
)

func pair(t *testing.T) (client, server net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err = Network{}.DialTCP(context.Background(), netip.MustParseAddrPort(l.Addr().String()))
	if err != nil {
		t.Fatal(err)
	}
	server, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

func TestTCPInfoTellsWhatTheKernelKnows(t *testing.T) {
	c, _ := pair(t)
	info, ok := TCPInfo(c)
	if !ok {
		t.Fatal("no TCP_INFO on a TCP socket")
	}
	if info.State != "ESTABLISHED" || info.RTT <= 0 || info.SendMSS < 536 || info.CwndSegments == 0 {
		t.Fatalf("implausible facts: %+v", info)
	}
	if _, ok := TCPInfo(fakeConn{}); ok {
		t.Fatal("facts about something that is no socket")
	}
}

type fakeConn struct{ net.Conn }

func TestPeekSeesTheEndAndUnaskedBytesWithoutTakingThem(t *testing.T) {
	c, s := pair(t)
	if got := Peek(c); got != Quiet {
		t.Fatalf("fresh connection: %v", got)
	}
	s.Write([]byte("x"))
	waitFor(t, func() bool { return Peek(c) == Talking })
	var b [1]byte
	if n, err := c.Read(b[:]); n != 1 || err != nil || b[0] != 'x' {
		t.Fatalf("the byte was taken: %d %v", n, err)
	}
	s.Close()
	waitFor(t, func() bool { return Peek(c) == Ended })
}

func waitFor(t *testing.T, cond func() bool) {
	t.Helper()
	for range 500 {
		if cond() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("did not happen within 5 s")
}

func TestSourceIsTheAddressOfTheRoute(t *testing.T) {
	src, ok := Network{}.Source(netip.MustParseAddr("127.0.0.1"))
	if !ok || src != netip.MustParseAddr("127.0.0.1") {
		t.Fatalf("source for 127.0.0.1: %v %v", src, ok)
	}
}

func TestMissingConfigIsNoError(t *testing.T) {
	b, err := ReadConfig(t.TempDir() + "/nsswitch.conf")
	if b != nil || err != nil {
		t.Fatalf("%q %v", b, err)
	}
}
