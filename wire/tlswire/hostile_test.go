package tlswire

import (
	"bytes"
	"crypto/tls"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// last is what a decoder said last of a direction.
func (s *story) last(dir Dir) string {
	if n := len(s.said[dir]); n > 0 {
		return s.said[dir][n-1]
	}
	return ""
}

func TestTruncatedStreamIsNamed(t *testing.T) {
	r := rfcTraces(t)["3 simple 1-RTT"]
	var whole [2][]byte
	for _, f := range r.flights {
		whole[f.dir] = append(whole[f.dir], f.data...)
	}
	boundaries := map[int]bool{0: true}
	for at := 0; at < len(whole[FromServer]); {
		at += recordHeader + int(whole[FromServer][at+3])<<8 + int(whole[FromServer][at+4])
		boundaries[at] = true
	}
	for cut := range len(whole[FromServer]) {
		got := replay(NewDecoder(Limits{}), []flight{{FromClient, whole[FromClient]}, {FromServer, whole[FromServer][:cut]}}, r.keyLog(), false, 1<<20)
		named := strings.HasPrefix(got.last(FromServer), "malformed: the stream ends inside of a record")
		if named == boundaries[cut] {
			t.Fatalf("cut at %d: %q", cut, got.said[FromServer])
		}
	}
}

func TestCorruptRecordIsNamed(t *testing.T) {
	for _, r := range rfcTraces(t) {
		for i, f := range r.flights {
			if f.data[0] != typeData {
				continue
			}
			bad := bytes.Clone(f.data)
			bad[len(bad)-1] ^= 1
			flights := append([]flight{}, r.flights...)
			flights[i].data = bad
			got := replay(NewDecoder(Limits{}), flights, r.keyLog(), false, 1<<20)
			named := false
			for _, s := range got.said[f.dir] {
				named = named || strings.HasPrefix(s, "undecryptable: ")
			}
			if !named {
				t.Errorf("flight %d: %q", i, got.said)
			}
		}
	}
}

func TestWrongOrMissingKeyIsNamed(t *testing.T) {
	for version, labels := range map[uint16][2]string{
		tls.VersionTLS12: {"CLIENT_RANDOM", "CLIENT_RANDOM"},
		tls.VersionTLS13: {"CLIENT_HANDSHAKE_TRAFFIC_SECRET", "SERVER_HANDSHAKE_TRAFFIC_SECRET"},
	} {
		config := &tls.Config{Certificates: []tls.Certificate{certificate(t, identities().ecdsa)}, InsecureSkipVerify: true, MaxVersion: version}
		flights, keys := talk(t, config, config, []byte("secret"))
		wrong := make([][]byte, len(keys))
		for i, k := range keys {
			k = bytes.TrimSpace(bytes.Clone(k))
			if k[len(k)-1]++; k[len(k)-1] == '9'+1 || k[len(k)-1] == 'f'+1 {
				k[len(k)-1] = '0'
			}
			wrong[i] = k
		}
		none := replay(NewDecoder(Limits{}), flights, nil, false, 1<<20)
		mistaken := replay(NewDecoder(Limits{}), flights, wrong, true, 1<<20)
		for dir := range 2 {
			if want := "undecryptable: no key log line " + labels[dir] + " for this connection"; none.last(Dir(dir)) != want {
				t.Errorf("%s without keys: %q instead of %q", VersionName(version), none.last(Dir(dir)), want)
			}
			if s := mistaken.last(Dir(dir)); !strings.HasPrefix(s, "undecryptable: ") || !strings.Contains(s, "does not authenticate") {
				t.Errorf("%s with wrong keys: %q", VersionName(version), s)
			}
			if len(mistaken.data[dir])+len(none.data[dir]) > 0 {
				t.Errorf("%s: data without the key", VersionName(version))
			}
		}
	}
}

func TestNotTLSIsNamed(t *testing.T) {
	d := NewDecoder(Limits{})
	var got story
	got.take(d.Input(FromServer, []byte("HTTP/1.1 400 Bad Request\r\n\r\n"), 0, 0))
	if want := "malformed: 48 54 54 50 2f is not the head of a TLS record"; got.last(FromServer) != want {
		t.Errorf("%q", got.said)
	}
	if ev := d.Input(FromServer, []byte("more"), 28, 0); len(ev) != 0 {
		t.Errorf("a dead direction says %v", ev)
	}
}

func TestPendingIsBounded(t *testing.T) {
	r := rfcTraces(t)["3 simple 1-RTT"]
	d := NewDecoder(Limits{Pending: 2000})
	var got story
	var at [2]int64
	for _, f := range r.flights[:2] {
		got.take(d.Input(f.dir, f.data, at[f.dir], 0))
		at[f.dir] += int64(len(f.data))
	}
	record := append([]byte{typeData, 3, 3, 0, 100}, make([]byte, 100)...)
	for range 100 {
		got.take(d.Input(FromServer, record, at[FromServer], 0))
		at[FromServer] += int64(len(record))
		if n := len(d.half[FromServer].wait.bytes()); n > 2000 {
			t.Fatalf("%d bytes are kept", n)
		}
	}
	if want := "undecryptable: more than 2000 bytes wait: no key log line SERVER_HANDSHAKE_TRAFFIC_SECRET for this connection"; !slices.Contains(got.said[FromServer], want) {
		t.Errorf("%q", got.said)
	}
}

func TestMessageIsBounded(t *testing.T) {
	for _, size := range []int{1000 - 4, 1000 - 4 + 1, 1<<24 - 1} {
		d := NewDecoder(Limits{Message: 1000})
		var got story
		b := []byte{typeHandshake, 3, 3, 0, 4, byte(TypeCertificate), byte(size >> 16), byte(size >> 8), byte(size)}
		got.take(d.Input(FromServer, b, 0, 0))
		if named := slices.ContainsFunc(got.said[FromServer], func(s string) bool { return strings.HasPrefix(s, "malformed: a handshake message of") }); named != (size+4 > 1000) {
			t.Errorf("%d bytes announced: %q", size, got.said)
		}
	}
}

func TestSecretsAreBounded(t *testing.T) {
	d := NewDecoder(Limits{})
	for range 1000 {
		d.Secret([]byte("CLIENT_RANDOM " + strings.Repeat("00", 32) + " " + strings.Repeat("00", 48)))
	}
	if n := len(d.secrets.lines); n != maxSecrets {
		t.Errorf("%d secrets are kept", n)
	}
}

// fuzzSeeds are the streams of real connections.
func fuzzSeeds(f *testing.F, add func(client, server, keys []byte)) {
	for _, r := range rfcTraces(f) {
		var whole [2][]byte
		for _, fl := range r.flights {
			whole[fl.dir] = append(whole[fl.dir], fl.data...)
		}
		add(whole[0], whole[1], bytes.Join(r.keyLog(), []byte("\n")))
		add(whole[1], whole[0], nil)
	}
	add([]byte("\x16\x03\x01\x00\x00\x15\x03\x03\x00\x02\x02\x28"), []byte("GET / HTTP/1.1\r\n\r\n"), []byte("CLIENT_RANDOM"))
}

func FuzzDecoder(f *testing.F) {
	fuzzSeeds(f, func(c, s, k []byte) { f.Add(c, s, k, uint64(len(c))) })
	f.Fuzz(func(t *testing.T, client, server, keys []byte, seed uint64) {
		if len(client)+len(server) > 1<<16 {
			return
		}
		streams := [2][]byte{client, server}
		lines := bytes.Split(keys, []byte("\n"))
		// feed lets the decoder have the streams one after the other, in
		// pieces. Which piece of which side comes first matters to what is
		// read; how one side is cut must not.
		feed := func(order [2]Dir, cut func(left int) int) (out []Event) {
			d := NewDecoder(Limits{Pending: 1 << 17, Message: 1 << 13})
			for _, l := range lines {
				d.Secret(l)
			}
			take := func(events []Event) {
				for _, e := range events {
					if e.Offset < 0 || e.Length < 0 || e.Offset+int64(e.Length) > int64(len(streams[e.Dir])) {
						t.Fatalf("%+v is outside of its stream of %d bytes", e, len(streams[e.Dir]))
					}
					if (e.Kind == KindUndecryptable || e.Kind == KindMalformed) != (e.Reason != "") {
						t.Fatalf("%+v: a reason is for what failed", e)
					}
					if e.Kind == KindHandshake {
						Summary(e.Version, e.Data)
						Fields(e.Version, e.Data)
					}
					e.Data = bytes.Clone(e.Data)
					out = append(out, e)
				}
			}
			for _, dir := range order {
				at := 0
				for b := streams[dir]; len(b) > 0; {
					n := min(cut(len(b)), len(b))
					take(d.Input(dir, b[:n], int64(at), 0))
					at += n
					b = b[n:]
				}
				take(d.Close(dir))
			}
			return out
		}
		random := rand.New(rand.NewPCG(seed, 1))
		for _, order := range [][2]Dir{{FromClient, FromServer}, {FromServer, FromClient}} {
			whole := feed(order, func(left int) int { return left })
			// The client's bytes that wait come in between the server's, as
			// soon as they can be read: where, depends on the cuts.
			if order[0] == FromClient {
				feed(order, func(int) int { return 1 + random.IntN(40) })
				continue
			}
			pieces := feed(order, func(int) int { return 1 + random.IntN(40) })
			if len(whole) != len(pieces) {
				t.Fatalf("%d events, in pieces %d:\n%+v\n%+v", len(whole), len(pieces), whole, pieces)
			}
			for i := range whole {
				a, b := whole[i], pieces[i]
				if a.Kind != b.Kind || a.Dir != b.Dir || a.Type != b.Type || a.Offset != b.Offset || a.Length != b.Length || a.Version != b.Version || a.Reason != b.Reason || !bytes.Equal(a.Data, b.Data) {
					t.Fatalf("event %d is\n%+v, in pieces\n%+v", i, a, b)
				}
			}
		}
	})
}

func FuzzMessages(f *testing.F) {
	for _, r := range rfcTraces(f) {
		d := NewDecoder(Limits{})
		for _, l := range r.keyLog() {
			d.Secret(l)
		}
		var at [2]int64
		for _, fl := range r.flights {
			for _, e := range d.Input(fl.dir, fl.data, at[fl.dir], 0) {
				if e.Kind == KindHandshake {
					f.Add(bytes.Clone(e.Data), e.Version == version13)
				}
			}
			at[fl.dir] += int64(len(fl.data))
		}
	}
	f.Add([]byte("\x0c\x00\x00\x0a\x03\x00\x17\x01\x04\x04\x03\x00\x01\x00"), false)
	f.Add([]byte("\x04\x00\x00\x08\x00\x00\x00\x01\x00\x02ab"), false)
	f.Add([]byte("\x18\x00\x00\x01\x01"), true)
	f.Fuzz(func(t *testing.T, msg []byte, new bool) {
		version := uint16(version12)
		if new {
			version = version13
		}
		before := bytes.Clone(msg)
		ParseClientHello(msg)
		ParseServerHello(msg)
		ParseEncryptedExtensions(msg)
		ParseCertificate(version, msg)
		ParseServerKeyExchange(msg)
		ParseNewSessionTicket(version, msg)
		SignatureScheme(msg)
		AlertFields(msg)
		ParseKeyLogLine(msg)
		if s := Summary(version, msg); s == "" || strings.Contains(s, "\n") && !bytes.Contains(msg, []byte("\n")) {
			t.Errorf("summary %q", s)
		}
		inside(t, Fields(version, msg), 0, len(msg))
		if !bytes.Equal(before, msg) {
			t.Error("the message was changed")
		}
	})
}
