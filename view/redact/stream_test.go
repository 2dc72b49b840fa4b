package redact

import (
	"fmt"
	"strings"
	"testing"

	"peel/trace"
)

// However a head is cut to packets, what is secret in it is masked in each of
// them, as they come; and what a gap tears apart is no secret's beginning.
func TestStream(t *testing.T) {
	const header = "ethernet-ip-tcp-"
	head := "POST /?token=abcdef&x=1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer 0123456789\r\nCookie: sid=geheim; a=b\r\n\r\nuser=ada&password=lovelace&x=y"
	for _, size := range []int{1, 2, 3, 7, 16, 50, 1000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			var s Stream
			var out strings.Builder
			for at := 0; at < len(head); at += size {
				part := head[at:min(at+size, len(head))]
				p := &trace.Packet{Connection: 1, Direction: trace.Out, Raw: []byte(header + part), Layers: []trace.Layer{{Name: "eth", Length: 9}, {Name: "tcp", Offset: 9, Length: len(header) - 9}},
					Bytes: &trace.Range{Space: trace.SpaceStream, Connection: 1, Direction: trace.Out, Offset: int64(at), Length: int64(len(part))}}
				s.Packet(p)
				if len(p.Raw) != len(header)+len(part) || !strings.HasPrefix(string(p.Raw), header) {
					t.Fatalf("%q became %q", part, p.Raw)
				}
				out.Write(p.Raw[len(header):])
			}
			got := out.String()
			for _, secret := range []string{"abcdef", "0123456789", "geheim", "lovelace"} {
				for i := range len(secret) - 1 {
					// A letter or two may stand alone before the name of what follows is whole.
					if strings.Contains(got, secret[i:i+2]) {
						t.Fatalf("%q is left in %q", secret[i:i+2], got)
					}
				}
			}
			for _, open := range []string{"POST /", "&x=1 HTTP/1.1\r\nHost: x\r\nAuthorization: ", "\r\n\r\nuser=ada&password=", "&x=y"} {
				if !strings.Contains(got, open) {
					t.Errorf("%q is missing in %q", open, got)
				}
			}
		})
	}
	var s Stream
	for _, p := range []struct {
		at         int64
		part, want string
	}{{0, "Cookie: sid=geh", "Cookie: sid=***"}, {100, "eim\r\nX: y", "eim\r\nX: y"}, {109, "z\r\n", "z\r\n"}} {
		k := &trace.Packet{Connection: 2, Raw: []byte(p.part), Layers: []trace.Layer{{Name: "tcp"}}, Bytes: &trace.Range{Offset: p.at}}
		if s.Packet(k); string(k.Raw) != p.want {
			t.Errorf("%q became %q, want %q", p.part, k.Raw, p.want)
		}
	}
}
