package tlswire

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	mathrand "math/rand/v2"
	"strings"
	"testing"

	"peel/clock"
)

// lossy feeds a connection of which a stretch of the server's bytes is missing,
// in pieces. It returns the server's data before and behind it, and what the
// gap is said to hold; ok is false when reading did not go on.
func lossy(flights []flight, keys [][]byte, from, n int64, chunk int) (before, behind []byte, missing int64, reason string, ok bool) {
	d := NewDecoder(Limits{})
	for _, k := range keys {
		d.Secret(k)
	}
	var at [2]int64
	missing = -1
	take := func(events []Event) {
		for _, e := range events {
			switch {
			case e.Dir != FromServer:
			case e.Kind == KindGap:
				missing = e.Missing
			case e.Kind == KindApplicationData && missing < 0:
				before = append(before, e.Data...)
			case e.Kind == KindApplicationData:
				behind = append(behind, e.Data...)
			case e.Kind == KindUndecryptable || e.Kind == KindMalformed:
				reason = e.Reason
			}
		}
	}
	give := func(dir Dir, b []byte) {
		for len(b) > 0 {
			piece := b[:min(chunk, len(b))]
			take(d.Input(dir, piece, at[dir], 0))
			at[dir] += int64(len(piece))
			b = b[len(piece):]
		}
	}
	for _, f := range flights {
		b, start := f.data, at[f.dir]
		if f.dir != FromServer || start+int64(len(b)) <= from || start >= from+n {
			give(f.dir, b)
			continue
		}
		if start < from {
			give(f.dir, b[:from-start])
			start, b = from, b[from-start:]
		}
		lost := min(int64(len(b)), from+n-start)
		events, _ := d.Gap(FromServer, lost, clock.Time(0))
		take(events)
		at[FromServer] += lost
		give(f.dir, b[lost:])
	}
	take(d.Close(FromServer))
	take(d.Close(FromClient))
	return before, behind, missing, reason, missing >= 0
}

// Behind missing bytes a stream is read on from the next record that can be
// told, and what is said to be missing is what is missing.
func TestReadingGoesOnBehindAGap(t *testing.T) {
	data := make([]byte, 300_000)
	rand.Read(data)
	for _, c := range []struct {
		version, suite uint16
		exact          bool
	}{{tls.VersionTLS13, 0, true}, {tls.VersionTLS12, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, true}, {tls.VersionTLS12, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, true},
		{tls.VersionTLS12, tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, false}} {
		t.Run(fmt.Sprintf("%s %s", VersionName(c.version), SuiteName(c.suite)), func(t *testing.T) {
			config := &tls.Config{Certificates: []tls.Certificate{certificate(t, identities().rsa)}, InsecureSkipVerify: true, MinVersion: c.version, MaxVersion: c.version}
			if c.suite != 0 {
				config.CipherSuites = []uint16{c.suite}
			}
			flights, keys := talk(t, config, config, data)
			var size int64
			for _, f := range flights {
				if f.dir == FromServer {
					size += int64(len(f.data))
				}
			}
			r := mathrand.New(mathrand.NewPCG(1, 2))
			for range 150 {
				n := int64([]int{1, 1448, 9000, 40_000}[r.IntN(4)])
				from := 5000 + r.Int64N(size-5000-n-40_000)
				before, behind, missing, reason, ok := lossy(flights, keys, from, n, []int{700, 1448, 1 << 20}[r.IntN(3)])
				if !ok {
					t.Fatalf("%d bytes from %d are missing: reading does not go on: %s", n, from, reason)
				}
				if !bytes.HasPrefix(data, before) || !bytes.HasSuffix(data, behind) || len(behind) == 0 || reason != "" {
					t.Fatalf("%d bytes from %d are missing: %d bytes before, %d behind are not those of the data (%s)", n, from, len(before), len(behind), reason)
				}
				if c.exact && len(before)+int(missing)+len(behind) != len(data) {
					t.Fatalf("%d bytes from %d are missing: said to be %d of data, and are %d", n, from, missing, len(data)-len(before)-len(behind))
				}
			}
		})
	}
}

// Handshake messages that are missing do not keep the data from being read,
// where the keys are there: the hellos say which.
func TestReadingGoesOnBehindALostHandshake(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789"), 5000)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		config := &tls.Config{Certificates: []tls.Certificate{certificate(t, identities().rsa)}, InsecureSkipVerify: true, MinVersion: version, MaxVersion: version}
		flights, keys := talk(t, config, config, data)
		for from := int64(200); from < 1200; from += 97 {
			for _, n := range []int64{1, 300, 900} {
				before, behind, _, reason, ok := lossy(flights, keys, from, n, 1000)
				if !ok || len(before) > 0 || !bytes.HasSuffix(data, behind) || len(data)-len(behind) > 16<<10 {
					t.Errorf("%s, %d bytes from %d are missing: %v, %d bytes behind; %s", VersionName(version), n, from, ok, len(behind), reason)
				}
			}
		}
	}
}

// Without keys nothing behind a gap can be told, and it is said so.
func TestGapWithoutKeys(t *testing.T) {
	config := &tls.Config{Certificates: []tls.Certificate{certificate(t, identities().rsa)}, InsecureSkipVerify: true}
	flights, _ := talk(t, config, config, make([]byte, 100_000))
	_, behind, _, reason, ok := lossy(flights, nil, 30_000, 1448, 1448)
	if ok || len(behind) > 0 || !strings.Contains(reason, "missing") && !strings.Contains(reason, "no key log line") {
		t.Errorf("%v %q", ok, reason)
	}
}

// The search behind gaps has a bound, however many gaps there are.
func TestSearchBehindGapsIsBounded(t *testing.T) {
	restart := func() *Decoder {
		d := NewDecoder(Limits{Budget: new(int64(1 << 20))})
		d.version, d.suite = version13, suites[0x1301]
		d.half[FromServer].guard.next(application)
		d.half[FromServer].next = 1
		d.useSecret(FromServer, bytes.Repeat([]byte{7}, 32))
		return d
	}
	d := restart()
	rec := append([]byte{typeData, 3, 3, 0x40, 0}, make([]byte, 0x4000)...)
	at, tried := int64(1), 0
	for range 100 {
		if _, ok := d.Gap(FromServer, 1<<29, 0); !ok {
			break
		}
		at += 1 << 29
		d.Input(FromServer, rec, at, 0)
		at += int64(len(rec))
		tried++
	}
	if *d.lim.Budget < -1<<20 {
		t.Errorf("the budget is overdrawn: %d after %d gaps", *d.lim.Budget, tried)
	}
}

// Whatever is missing, wherever: what is told lies in the stream, and the
// search ends.
func FuzzGaps(f *testing.F) {
	fuzzSeeds(f, func(c, s, k []byte) { f.Add(c, s, k, uint64(len(c))) })
	f.Fuzz(func(t *testing.T, client, server, keys []byte, seed uint64) {
		if len(client)+len(server) > 1<<16 {
			return
		}
		random := mathrand.New(mathrand.NewPCG(seed, 1))
		budget := int64(1 << 20)
		d := NewDecoder(Limits{Pending: 1 << 17, Message: 1 << 13, Budget: &budget})
		for _, l := range bytes.Split(keys, []byte("\n")) {
			d.Secret(l)
		}
		streams := [2][]byte{client, server}
		var at [2]int64
		dead := [2]bool{}
		take := func(events []Event) {
			for _, e := range events {
				if e.Offset < 0 || e.Length < 0 || e.Missing < 0 || e.Offset+int64(e.Length) > at[e.Dir] {
					t.Fatalf("%+v is outside of its stream of %d bytes", e, at[e.Dir])
				}
			}
		}
		for len(streams[0])+len(streams[1]) > 0 {
			dir := Dir(random.IntN(2))
			n := min(1+random.IntN(300), len(streams[dir]))
			b := streams[dir][:n]
			streams[dir] = streams[dir][n:]
			if n > 0 && random.IntN(8) == 0 {
				lost := int64(n) + int64(random.IntN(2)*random.IntN(70_000))
				at[dir] += lost
				events, ok := d.Gap(dir, lost, 0)
				take(events)
				dead[dir] = dead[dir] || !ok
			} else if n > 0 && !dead[dir] {
				from := at[dir]
				at[dir] += int64(n)
				take(d.Input(dir, b, from, 0))
			}
		}
		take(d.Close(FromServer))
		take(d.Close(FromClient))
	})
}
