package link

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"peel/clock"
	"peel/stack/packet"
	"peel/wire/ethernet"
)

// lab is a switch with hosts 1 to n; log is who got what.
type lab struct {
	*world
	sw     *Switch
	cables []*Cable
	log    []string
}

func newLab(t *testing.T, hosts int, o SwitchOptions) *lab {
	l := &lab{world: newWorld(t, 1, Shape{})}
	l.sw = NewSwitch(l.net, o)
	for i := 1; i <= hosts; i++ {
		port := fmt.Sprintf("sw:%d", i)
		c := NewCable(l.net, End{Name: fmt.Sprintf("h%d", i), Port: portFunc(func(p *packet.Packet) {
			l.log = append(l.log, fmt.Sprintf("h%d", i))
			l.pool.Put(p)
		})}, End{Name: port})
		c.Plug(nil, l.sw.AddPort(port, c.BA()))
		l.cables = append(l.cables, c)
	}
	return l
}

func mac(host int) ethernet.MAC { return ethernet.MAC{2, 0, 0, 0, byte(host >> 8), byte(host)} }

// says sends a frame from one host to a MAC and returns who got it.
func (l *lab) says(host int, dst ethernet.MAC) string {
	return l.saysAs(host, mac(host), dst)
}

func (l *lab) saysAs(host int, src, dst ethernet.MAC) string {
	p := l.frame(0, 60)
	copy(p.Bytes(), dst[:])
	copy(p.Bytes()[6:], src[:])
	l.log = nil
	l.cables[host-1].AB().Send(p)
	l.clock.Run(l.clock.Now())
	return strings.Join(l.log, " ")
}

var everybody = ethernet.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

func TestSwitchLearnsAndForgets(t *testing.T) {
	l := newLab(t, 4, SwitchOptions{})
	for _, step := range []struct {
		what string
		do   func() string
		want string
	}{
		{"unknown destination is flooded", func() string { return l.says(1, mac(2)) }, "h2 h3 h4"},
		{"1 is known now", func() string { return l.says(2, mac(1)) }, "h1"},
		{"and so is 2", func() string { return l.says(1, mac(2)) }, "h2"},
		{"broadcast goes to all others", func() string { return l.says(3, everybody) }, "h1 h2 h4"},
		{"multicast too", func() string { return l.says(3, ethernet.MAC{1, 0, 0x5e, 0, 0, 1}) }, "h1 h2 h4"},
		{"but not LLDP", func() string { return l.says(3, ethernet.MAC{1, 0x80, 0xc2, 0, 0, 0xe}) }, ""},
		{"not back to where it came from", func() string { l.saysAs(1, mac(9), mac(2)); return l.says(1, mac(9)) }, ""},
		{"a group is not learned as source", func() string { l.saysAs(4, everybody, mac(1)); return l.says(1, everybody) }, "h2 h3 h4"},
		{"a station that moved", func() string { l.saysAs(4, mac(2), mac(1)); return l.says(1, mac(2)) }, "h4"},
		{"a cut cable is forgotten", func() string { l.cables[3].SetUp(false); return l.says(1, mac(2)) }, "h2 h3"},
		{"and comes back", func() string { l.cables[3].SetUp(true); return l.says(1, mac(2)) }, "h2 h3 h4"},
		{"known for 300 s", func() string {
			l.says(2, mac(1))
			l.clock.Run(l.clock.Now().Add(300 * time.Second))
			return l.says(1, mac(2))
		}, "h2"},
		{"and no longer", func() string { l.clock.Run(l.clock.Now() + 1); return l.says(3, mac(2)) }, "h1 h2 h4"},
	} {
		if got := step.do(); got != step.want {
			t.Errorf("%s: got to %q, want %q", step.what, got, step.want)
		}
	}
	if port, ok := l.sw.Lookup(mac(1)); !ok || port != "sw:1" {
		t.Errorf("1 is at %q", port)
	}
	runt := l.pool.Get(10)
	runt.Extend(10)
	l.cables[0].AB().Send(runt)
	l.drain()
	c := l.sw.Counters()
	if c.Runts != 1 || c.Reserved != 1 || c.SamePort != 1 || c.Moved != 1 || c.Received != c.Forwarded+c.Flooded+c.Runts+c.Reserved+c.SamePort+c.Lone+c.Storm {
		t.Errorf("%+v", c)
	}
}

func TestSwitchTableIsBounded(t *testing.T) {
	l := newLab(t, 3, SwitchOptions{Addresses: 10})
	for i := range 20 {
		l.saysAs(1, mac(1000+i), everybody)
		l.clock.Run(l.clock.Now().Add(time.Second))
	}
	if l.sw.Known() != 10 || l.sw.Counters().NotLearned != 10 {
		t.Errorf("%d known, %+v", l.sw.Known(), l.sw.Counters())
	}
	if got := l.says(2, mac(1015)); got != "h1 h3" {
		t.Errorf("what is not in the table got to %q", got)
	}
	// When the first ones are too old there is room again.
	l.clock.Run(clock.Time(303500 * time.Millisecond))
	l.saysAs(1, mac(2000), everybody)
	if got := l.says(2, mac(2000)); got != "h1" || l.sw.Known() != 8 {
		t.Errorf("got to %q, %d known", got, l.sw.Known())
	}
	l.drain()
}

func TestLoopEnds(t *testing.T) {
	for _, c := range []struct {
		delay time.Duration
		o     SwitchOptions
	}{
		{0, SwitchOptions{}},
		{time.Microsecond, SwitchOptions{}},
		{time.Millisecond, SwitchOptions{}},
		{0, SwitchOptions{Storm: 5000, Moves: 1 << 30}},
		{time.Microsecond, SwitchOptions{Storm: 500, Moves: 1 << 30}},
	} {
		l := newLab(t, 2, c.o)
		other := NewSwitch(l.net, c.o)
		for i := range 2 { // two cables between two switches
			a, b := fmt.Sprintf("sw:x%d", i), fmt.Sprintf("other:x%d", i)
			cable := NewCable(l.net, End{Name: a}, End{Name: b})
			cable.Plug(l.sw.AddPort(a, cable.AB()), other.AddPort(b, cable.BA()))
			if err := cable.SetShape(Shape{Delay: c.delay}); err != nil {
				t.Fatal(err)
			}
		}
		l.says(1, everybody)
		l.clock.Run(l.clock.Now().Add(time.Second))
		if l.pool.Out != 0 || l.sw.Counters().Storm == 0 && other.Counters().Storm == 0 {
			t.Errorf("%+v: %d still go round; %+v", c, l.pool.Out, l.sw.Counters())
		}
	}
}

func TestUnicastLoopWithoutDelayEnds(t *testing.T) {
	l := newLab(t, 1, SwitchOptions{Instant: 5000})
	a := l.sw
	b := NewSwitch(l.net, SwitchOptions{Instant: 5000})
	for i := range 2 {
		c := NewCable(l.net, End{Name: "a"}, End{Name: "b"})
		c.Plug(a.AddPort(fmt.Sprint("a", i), c.AB()), b.AddPort(fmt.Sprint("b", i), c.BA()))
	}
	// a believes 7 behind its first cable to b, b behind its second to a.
	a.learn(number(ethernet.MAC{2, 0, 0, 0, 0, 7}), a.ports[1], 0)
	b.learn(number(ethernet.MAC{2, 0, 0, 0, 0, 7}), b.ports[1], 0)
	l.says(1, mac(7))
	l.drain()
	if a.Counters().Storm != 1 && b.Counters().Storm != 1 {
		t.Errorf("%+v\n%+v", a.Counters(), b.Counters())
	}
}

func TestSwitchHopsTellTheStory(t *testing.T) {
	l := newLab(t, 3, SwitchOptions{})
	var h hops
	l.trace.Attach(&h, "h1", "sw:1", "sw:2", "h2")
	l.says(2, everybody)
	h = nil
	l.says(1, mac(2))
	got := ""
	for _, x := range h {
		got += fmt.Sprintf("%s %s %s\n", x.Where, x.Verdict, x.Reason)
	}
	want := "h1 sent \nsw:1 delivered \nsw:1 forwarded to sw:2\nsw:2 sent \nh2 delivered \n"
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}
