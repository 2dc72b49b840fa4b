package socket_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"time"

	"peel/clock"
	"peel/stack/host"
	"peel/stack/link"
	"peel/stack/socket"
	"peel/wire/ethernet"
)

// Two hosts and a cable that is 5 ms long and loses one frame in a hundred: a
// server on one, a client on the other, and what the client's host can tell of
// the connection.
func Example() {
	network := socket.NewNetwork(clock.NewReal())
	defer network.Close()
	alice := socket.Stack{Network: network, Host: network.Host("alice", [32]byte{1}, host.Options{})}
	bob := socket.Stack{Network: network, Host: network.Host("bob", [32]byte{2}, host.Options{})}

	cable := link.NewCable(network.Link(nil),
		link.End{Name: "alice:eth0", Rand: rand.New(rand.NewPCG(1, 1))},
		link.End{Name: "bob:eth0", Rand: rand.New(rand.NewPCG(1, 2))})
	network.Do(func() {
		if err := cable.SetShape(link.Shape{Delay: 5 * time.Millisecond, Loss: link.Loss{Probability: 0.01}}); err != nil {
			panic(err)
		}
		a := alice.Host.AddInterface("eth0", ethernet.MAC{2, 0, 0, 0, 0, 1}, 1500)
		b := bob.Host.AddInterface("eth0", ethernet.MAC{2, 0, 0, 0, 0, 2}, 1500)
		a.AddAddress(netip.MustParsePrefix("192.0.2.1/24"))
		b.AddAddress(netip.MustParsePrefix("192.0.2.2/24"))
		cable.Plug(a, b)
		a.Attach(cable.AB())
		b.Attach(cable.BA())
	})

	listener, err := bob.Listen(netip.MustParseAddrPort("192.0.2.2:7"))
	if err != nil {
		panic(err)
	}
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				io.Copy(c, c)
				c.Close()
			}()
		}
	}()

	c, err := alice.Dial(context.Background(), netip.AddrPort{}, netip.MustParseAddrPort("192.0.2.2:7"))
	if err != nil {
		panic(err)
	}
	io.WriteString(c, "hello\n")
	c.CloseWrite()
	answer, err := io.ReadAll(c)
	if err != nil {
		panic(err)
	}
	fmt.Print(string(answer))
	i := c.Info()
	fmt.Println(i.Remote, "by", i.Congestion, "with", i.Options, "round trip at least 10 ms:", i.MinRTT >= 10*time.Millisecond)
	// Output:
	// hello
	// 192.0.2.2:7 by cubic with timestamps sack wscale round trip at least 10 ms: true
}
