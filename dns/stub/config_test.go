package stub

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

func noteTexts(notes []Note) string {
	var s strings.Builder
	for _, n := range notes {
		fmt.Fprintf(&s, "%d: %s\n", n.Line, n.Text)
	}
	return s.String()
}

func TestResolvConfAsTheCLibraryReadsIt(t *testing.T) {
	c := ParseResolvConf([]byte("# comment\n; comment\r\nnameserver 10.0.0.1\nnameserver fe80::1%eth0\nnameserver bogus\n" +
		"nameserver 10.0.0.3 # third\nnameserver 10.0.0.4\n nameserver 10.0.0.5\ndomain old.example\nsearch a.example b.example.\n" +
		"options ndots:99 timeout:60 attempts:9 rotate edns0 foo ndots:x use-vc single-request-reopen\nsortlist 1.2.3.4\nlookup file\nnameserver\n"))
	want := []string{"10.0.0.1:53", "[fe80::1%eth0]:53", "10.0.0.3:53"}
	var got []string
	for _, s := range c.Servers {
		got = append(got, s.String())
	}
	if !slices.Equal(got, want) {
		t.Errorf("servers %v, want %v", got, want)
	}
	if len(c.Search) != 2 || c.Search[1].Host() != "b.example" {
		t.Errorf("search %v", c.Search)
	}
	if c.Dots != 15 || c.Timeout != 30*time.Second || c.Attempts != 5 || !c.Rotate || !c.EDNS0 || !c.UseTCP || !c.SingleRequestReopen || c.SingleRequest {
		t.Errorf("%+v", c)
	}
	notes := noteTexts(c.Notes)
	for _, want := range []string{`5: nameserver "bogus"`, "7: nameserver 10.0.0.4 is not used", "8: ", "begins with a blank", "10: replaces",
		"11: option ndots:99: the C library caps it at 15", "caps it at 30", "caps it at 5", `option "foo" is not known`, `"ndots:x" needs a number`,
		"12: sortlist", `13: keyword "lookup"`, "14: nameserver without", "0: 1 nameservers more than the 3"} {
		if !strings.Contains(notes, want) {
			t.Errorf("no note %q in\n%s", want, notes)
		}
	}
	if c := ParseResolvConf(nil); c.Servers[0].String() != "127.0.0.1:53" || c.Dots != 1 || c.Timeout != 5*time.Second || c.Attempts != 2 {
		t.Errorf("%+v", c)
	}
}

func TestNsswitchHostsLine(t *testing.T) {
	c := ParseNsswitch([]byte("passwd: files\n# hosts: no\nhosts:\tfiles mdns4_minimal [NOTFOUND=return] resolve[!UNAVAIL=return !bogus=return x=y]dns # end\nhosts: dns\n"))
	var names []string
	for _, s := range c.Sources {
		names = append(names, s.Name)
	}
	if got := strings.Join(names, " "); got != "files mdns4_minimal resolve dns" || c.Line != 3 {
		t.Fatalf("%s on line %d", got, c.Line)
	}
	if c.Sources[0].Stops != [4]bool{true} || c.Sources[1].Stops != [4]bool{true, true} || c.Sources[2].Stops != [4]bool{true, true, false, true} {
		t.Errorf("%+v", c.Sources)
	}
	if notes := noteTexts(c.Notes); !strings.Contains(notes, "bogus") || !strings.Contains(notes, "4: a second hosts line") {
		t.Error(notes)
	}
	if c := ParseNsswitch(nil); len(c.Sources) != 2 || c.Sources[0].Name != "files" || c.Sources[1].Name != "dns" {
		t.Errorf("%+v", c)
	}
}

func TestHostsFile(t *testing.T) {
	h := ParseHosts([]byte("127.0.0.1\tlocalhost  # loopback\n::1 localhost ip6-localhost\nbad line\n10.0.0.1\n10.0.0.2 a.example. A\n"))
	if got := h.Lookup("LOCALHOST."); len(got) != 2 || got[1].Line != 2 || got[1].Addr != netip.IPv6Loopback() {
		t.Errorf("%+v", got)
	}
	if got := h.Lookup("a.example"); len(got) != 1 || got[0].Line != 5 {
		t.Errorf("%+v", got)
	}
	if notes := noteTexts(h.Notes); notes != "3: \"bad\" is not an IP address\n4: 10.0.0.1 has no name\n" {
		t.Error(notes)
	}
}

func FuzzResolvConf(f *testing.F) {
	f.Add([]byte("nameserver 1.1.1.1\nsearch a b\noptions ndots:3 timeout:1\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c := ParseResolvConf(b)
		if n := len(c.Servers); n < 1 || n > maxServers || len(c.Search) > maxSearch || len(c.Notes) > maxNotes {
			t.Fatalf("%+v", c)
		}
		if c.Dots < 0 || c.Dots > 15 || c.Timeout < time.Second || c.Timeout > 30*time.Second || c.Attempts < 1 || c.Attempts > 5 {
			t.Fatalf("%+v", c)
		}
	})
}

func FuzzNsswitch(f *testing.F) {
	f.Add([]byte("hosts: files [NOTFOUND=return] dns [!UNAVAIL=return]"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if c := ParseNsswitch(b); len(c.Sources) < 1 || len(c.Sources) > maxSources || len(c.Notes) > maxNotes {
			t.Fatalf("%+v", c)
		}
	})
}

func FuzzHosts(f *testing.F) {
	f.Add([]byte("127.0.0.1 localhost\n::1 a b # c\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h := ParseHosts(b)
		for _, e := range h.Entries {
			if !e.Addr.IsValid() || len(e.Names) == 0 || len(h.Lookup(e.Names[0])) == 0 {
				t.Fatalf("%+v", e)
			}
		}
	})
}
