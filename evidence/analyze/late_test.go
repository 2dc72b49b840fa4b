package analyze

import (
	"strings"
	"testing"

	"peel/evidence/capture"
	"peel/trace"
)

// withoutStart leaves of a capture the packets from the n-th TCP packet with
// data on, and the secrets that any reader has.
func withoutStart(t *testing.T, name string, n int) []capture.Record {
	var out []capture.Record
	seen := 0
	for _, r := range records(t, seeds(t)[name]) {
		switch {
		case r.Kind == capture.Secret && r.Socket == 0:
			out = append(out, r)
		case r.Kind == capture.Packet && len(r.Data) > 34:
			proto, header := r.Data[23], 34
			if r.Data[12] == 0x86 {
				proto, header = r.Data[20], 54
			}
			if proto == 6 && len(r.Data) > header+int(r.Data[header+12]>>4)*4 {
				seen++
			}
			if seen > n {
				out = append(out, r)
			}
		}
	}
	return out
}

// A TLS 1.3 connection whose handshake was before the capture is read by the
// key log alone: a record that opens proves whose secret it is.
func TestHandshakeBeforeTheCapture(t *testing.T) {
	t.Run("HTTP/1.1", func(t *testing.T) {
		tr := whole(t, withoutStart(t, "testdata/h1tls13.pcapng", 5))
		c := tr.Connections[0]
		if c.TLS == nil || !c.TLS.Decrypted || c.TLS.Version != "TLS 1.3" || c.TLS.Suite == "" {
			t.Fatalf("TLS %+v", c.TLS)
		}
		var got []string
		for _, x := range tr.Exchanges {
			if x.Response != nil && x.Response.Status == 200 && x.Response.Body.Complete {
				got = append(got, x.URL)
			}
		}
		if len(got) == 0 || !strings.HasSuffix(got[len(got)-1], "/bytes/3000") {
			t.Errorf("whole exchanges: %q", got)
		}
	})
	t.Run("HTTP/2", func(t *testing.T) {
		tr := whole(t, withoutStart(t, "testdata/h2.pcapng", 5))
		joined, resumed := 0, 0
		for _, e := range tr.Events {
			if e.Name == "tls.joined" {
				joined++
			}
			if e.Name == trace.EventHTTP2Resumed {
				resumed++
			}
		}
		faults, good := contradicts(tr, whole(t, records(t, seeds(t)["testdata/h2.pcapng"])))
		if joined != 2 || resumed != 2 || good == 0 || len(faults) > 0 {
			t.Errorf("%d directions joined, %d read, %d exchanges whole, %q\n%s", joined, resumed, good, faults, strings.Join(outcomes(tr), "\n"))
		}
	})
	t.Run("no such secret", func(t *testing.T) {
		list := withoutStart(t, "testdata/h2.pcapng", 5)
		var bare []capture.Record
		for _, r := range list {
			if r.Kind == capture.Packet {
				bare = append(bare, r)
			}
		}
		tr := whole(t, bare)
		if u := tr.Connections[0].TLS.Undecryptable; !strings.Contains(u, "without a") {
			t.Errorf("the reason is %q", u)
		}
	})
}
