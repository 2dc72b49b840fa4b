package socks

import (
	"errors"
	"net/netip"
	"testing"

	"peel/trace"
)

func TestRequestsRoundTrip(t *testing.T) {
	for _, r := range []Request{
		{Version: Version5, Command: Connect, Target: Target{Name: "example.com", Port: 443}},
		{Version: Version5, Command: UDPAssociate, Target: Target{Addr: netip.MustParseAddr("192.0.2.1"), Port: 53}},
		{Version: Version5, Command: Bind, Target: Target{Addr: netip.MustParseAddr("2001:db8::1"), Port: 80}},
		{Version: Version4, Command: Connect, Target: Target{Addr: netip.MustParseAddr("192.0.2.1"), Port: 80}, User: "ada"},
		{Version: Version4, Command: Connect, Target: Target{Name: "example.com", Port: 80}},
	} {
		b, err := r.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		got, n, err := ParseRequest(append(b, "more"...))
		if err != nil || got != r || n != len(b) {
			t.Errorf("%+v: %+v, %d of %d bytes, %v", r, got, n, len(b), err)
		}
		for i := range b {
			if _, _, err := ParseRequest(b[:i]); !errors.Is(err, ErrShort) {
				t.Errorf("%+v: %d of %d bytes: %v", r, i, len(b), err)
			}
		}
	}
}

// The examples of a session, byte by byte (RFC 1928 §3 to §6, RFC 1929 §2).
func TestSession(t *testing.T) {
	if m, n, err := ParseGreeting([]byte{5, 2, 0, 2}); err != nil || n != 4 || len(m) != 2 || m[1] != UsernamePassword {
		t.Error(m, n, err)
	}
	if m, _, err := ParseMethod([]byte{5, 0xff}); err != nil || m != NoneAcceptable {
		t.Error(m, err)
	}
	if u, n, err := ParseLogin([]byte("\x01\x03ada\x06secret")); err != nil || u != "ada" || n != 12 {
		t.Error(u, n, err)
	}
	if r, at, n, err := ParseReply(Version5, []byte{5, 5, 0, 1, 0, 0, 0, 0, 0, 0}); err != nil || r.Granted() || r.String() != "connection refused" || n != 10 || at.String() != "0.0.0.0:0" {
		t.Error(r, at, n, err)
	}
	if r, _, n, err := ParseReply(Version4, []byte{0, 90, 0, 80, 192, 0, 2, 1}); err != nil || !r.Granted() || n != 8 {
		t.Error(r, n, err)
	}
	if _, _, err := ParseGreeting([]byte("GET / HTTP/1.1")); err == nil || errors.Is(err, ErrShort) {
		t.Error(err)
	}
}

func FuzzMessages(f *testing.F) {
	f.Add([]byte{5, 1, 0, 3, 11, 'e', 'x', 'a', 'm', 'p', 'l', 'e', '.', 'c', 'o', 'm', 1, 187})
	f.Add([]byte{4, 1, 0, 80, 0, 0, 0, 1, 0, 'a', 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, e := range []trace.EventName{EventGreeting, EventMethod, EventLogin, EventLoginStatus, EventRequest, EventReply} {
			for _, x := range Fields(e, b) {
				if x.Offset < 0 || x.Length < 0 || x.Offset+x.Length > len(b) {
					t.Fatalf("%s: %+v outside of %d bytes", e, x, len(b))
				}
			}
		}
		if r, n, err := ParseRequest(b); err == nil {
			if n > len(b) {
				t.Fatal(n)
			}
			if _, err := r.Append(nil); err != nil {
				t.Fatal(err)
			}
		}
	})
}
