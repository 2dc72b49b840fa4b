package tlswire

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"peel/clock"
)

// Each event says where in the stream and when its bytes came; records are
// told one by one when asked for.
func TestRecordsCoverTheStream(t *testing.T) {
	for name, r := range rfcTraces(t) {
		for _, keys := range [][][]byte{r.keyLog(), nil} {
			d := NewDecoder(Limits{Records: true})
			for _, l := range keys {
				d.Secret(l)
			}
			var at, next, plain [2]int64
			check := func(events []Event) {
				for _, e := range events {
					switch e.Kind {
					case KindRecord:
						if e.Offset != next[e.Dir] {
							t.Errorf("%s: a record at %d, and the one before ends at %d", name, e.Offset, next[e.Dir])
						}
						next[e.Dir] = e.Offset + int64(e.Length)
						if opened := e.Record.Plain >= 0; opened && e.Encrypted && e.Length != recordHeader+e.Record.Plain+1+e.Record.Padding+16 {
							t.Errorf("%s: %d bytes on the wire, %+v", name, e.Length, e.Record)
						}
						if keys == nil && e.Encrypted && e.Record.Plain >= 0 {
							t.Errorf("%s: opened without a key: %+v", name, e)
						}
					case KindApplicationData:
						if e.PlainOffset != plain[e.Dir] {
							t.Errorf("%s: data at %d, expected at %d", name, e.PlainOffset, plain[e.Dir])
						}
						plain[e.Dir] += int64(len(e.Data))
					}
				}
			}
			for _, f := range r.flights {
				check(d.Input(f.dir, f.data, at[f.dir], 0))
				at[f.dir] += int64(len(f.data))
			}
			check(d.Close(FromClient))
			check(d.Close(FromServer))
			if next != at {
				t.Errorf("%s: records end at %v, the streams at %v", name, next, at)
			}
		}
	}
}

// RFC 8446 §7.3: the keys of each stage count from zero.
func TestRFC8446_5_3_EpochsAndSequenceNumbers(t *testing.T) {
	r := rfcTraces(t)["4 resumed 0-RTT"]
	d := NewDecoder(Limits{Records: true})
	for _, l := range r.keyLog() {
		d.Secret(l)
	}
	var got [2][]string
	var at [2]int64
	for _, f := range r.flights {
		for _, e := range d.Input(f.dir, f.data, at[f.dir], 0) {
			if e.Kind == KindRecord {
				got[e.Dir] = append(got[e.Dir], fmt.Sprintf("%s %d.%d", ContentTypeName(e.Record.Type), e.Record.Epoch, e.Record.Sequence))
			}
		}
		at[f.dir] += int64(len(f.data))
	}
	want := [2][]string{
		{"handshake 0.0", "application_data 1.0", "handshake 1.1", "handshake 2.0", "application_data 3.0", "alert 3.1"},
		{"handshake 0.0", "handshake 2.0", "application_data 3.0", "alert 3.1"},
	}
	for i := range want {
		if !slices.Equal(got[i], want[i]) {
			t.Errorf("got %q\nwant %q", got[i], want[i])
		}
	}
}

// What a late key opens has the time of its bytes, not of the key.
func TestLateSecretKeepsTheTimes(t *testing.T) {
	r := rfcTraces(t)["3 simple 1-RTT"]
	d := NewDecoder(Limits{})
	var at [2]int64
	when := map[Dir]map[int64]clock.Time{FromClient: {}, FromServer: {}}
	now := clock.Time(1000)
	for _, f := range r.flights {
		// The record is complete with its second half.
		half := len(f.data) / 2
		d.Input(f.dir, f.data[:half], at[f.dir], now)
		now += 10
		when[f.dir][at[f.dir]] = now
		d.Input(f.dir, f.data[half:], at[f.dir]+int64(half), now)
		at[f.dir] += int64(len(f.data))
		now += 10
	}
	for _, l := range r.keyLog() {
		d.Secret(l)
	}
	events := d.Drain()
	if len(events) < 8 {
		t.Fatalf("only %d events", len(events))
	}
	for _, e := range events {
		if want := when[e.Dir][e.Offset]; e.Time != want {
			t.Errorf("%v at %d has the time %d instead of %d", e.Type, e.Offset, e.Time, want)
		}
	}
}

func TestGapEndsADirection(t *testing.T) {
	r := rfcTraces(t)["3 simple 1-RTT"]
	d := NewDecoder(Limits{})
	d.Input(FromClient, r.flights[0].data, 0, 0)
	d.Input(FromServer, r.flights[1].data, 0, 0)
	n := int64(len(r.flights[1].data))
	// A retransmission is no gap.
	if ev := d.Input(FromServer, r.flights[1].data, 0, 0); len(ev) != 0 {
		t.Errorf("a retransmission says %+v", ev)
	}
	ev := d.Input(FromServer, r.flights[2].data, n+7, 0)
	if len(ev) != 1 || ev[0].Kind != KindUndecryptable || ev[0].Reason != fmt.Sprintf("the stream's bytes %d to %d are missing", n, n+6) {
		t.Errorf("a gap says %+v", ev)
	}
}

// RFC 9849 hides the client random that the log has; the lines of the
// connection's own key log are good all the same, those of a shared one not.
func TestSecretsAndClientRandoms(t *testing.T) {
	r := rfcTraces(t)["3 simple 1-RTT"]
	line := r.keyLog()[1] // its random is all zero
	d := NewDecoder(Limits{})
	d.Input(FromClient, r.flights[0].data, 0, 0)
	if d.SharedSecret(line) {
		t.Error("a line with another random is taken for this connection's")
	}
	own := fmt.Appendf(nil, "%s %x %s", r.secrets[1][0], d.ClientRandom(), r.secrets[1][1])
	if !d.SharedSecret(own) {
		t.Error("a line with this random is not taken")
	}
	// The exact one is preferred.
	wrong := bytes.Clone(line)
	wrong[len(wrong)-1] ^= 1
	d.Secret(wrong)
	d.Input(FromServer, r.flights[1].data, 0, 0)
	ev := d.Input(FromServer, r.flights[2].data, int64(len(r.flights[1].data)), 0)
	if len(ev) != 4 || ev[0].Type != TypeEncryptedExtensions {
		t.Errorf("%+v", ev)
	}
}

// seal12 makes a record of TLS 1.2 with AES-128-GCM (RFC 5288).
func seal12(d *Decoder, dir Dir, p params, master []byte, seq uint64, typ byte, content []byte) []byte {
	b := prf12(p.suite.hash, master, append(append([]byte("key expansion"), p.serverRandom...), p.clientRandom...), 40)
	o := &opener{suite: p.suite, version: version12, seq: seq}
	o.setKey(b[16*int(dir) : 16*int(dir)+16])
	nonce := append(append([]byte{}, b[32+4*int(dir):36+4*int(dir)]...), 0, 0, 0, 0, 0, 0, 0, byte(seq))
	rec := binary.BigEndian.AppendUint16([]byte{typ, 3, 3}, uint16(len(content)+24))
	o.header(rec, len(content))
	return o.aead.Seal(append(rec, nonce[4:]...), nonce, content, o.aad[:])
}

// clear12 makes a record in the clear.
func clear12(typ byte, content []byte) []byte {
	return append(binary.BigEndian.AppendUint16([]byte{typ, 3, 3}, uint16(len(content))), content...)
}

// RFC 5246 §7.4.1.1: a second handshake runs inside the first one's
// encryption and has keys of its own, which need their own line in the log.
func TestRFC5246_7_4_1_1_Renegotiation(t *testing.T) {
	hello := func(typ HandshakeType, fill byte) []byte {
		b := append([]byte{3, 3}, bytes.Repeat([]byte{fill}, 32)...)
		b = append(b, 0)
		if typ == TypeClientHello {
			b = append(b, 0, 2, 0xc0, 0x2f, 1, 0)
		} else {
			b = append(b, 0xc0, 0x2f, 0)
		}
		return append([]byte{byte(typ), 0, 0, byte(len(b))}, b...)
	}
	finished := append([]byte{byte(TypeFinished), 0, 0, 12}, make([]byte, 12)...)
	for _, logged := range []bool{true, false} {
		d := NewDecoder(Limits{})
		var got story
		var at [2]int64
		put := func(dir Dir, rec []byte) {
			got.take(d.Input(dir, rec, at[dir], 0))
			at[dir] += int64(len(rec))
		}
		ps := [2]params{}
		masters := [2][]byte{bytes.Repeat([]byte{1}, 48), bytes.Repeat([]byte{2}, 48)}
		for i := range ps {
			ps[i] = params{clientRandom: bytes.Repeat([]byte{byte(10 + i)}, 32), serverRandom: bytes.Repeat([]byte{byte(20 + i)}, 32), suite: suites[0xc02f]}
			if i == 0 || logged {
				d.Secret(fmt.Appendf(nil, "CLIENT_RANDOM %x %x", ps[i].clientRandom, masters[i]))
			}
		}
		put(FromClient, clear12(typeHandshake, hello(TypeClientHello, 10)))
		put(FromServer, clear12(typeHandshake, hello(TypeServerHello, 20)))
		for _, dir := range []Dir{FromClient, FromServer} {
			put(dir, clear12(typeCCS, []byte{1}))
			put(dir, seal12(d, dir, ps[0], masters[0], 0, typeHandshake, finished))
		}
		put(FromServer, seal12(d, FromServer, ps[0], masters[0], 1, typeHandshake, make([]byte, 4)))
		put(FromClient, seal12(d, FromClient, ps[0], masters[0], 1, typeHandshake, hello(TypeClientHello, 11)))
		// Data may still be sent under the old keys.
		put(FromClient, seal12(d, FromClient, ps[0], masters[0], 2, typeData, []byte("old ")))
		put(FromServer, seal12(d, FromServer, ps[0], masters[0], 2, typeHandshake, hello(TypeServerHello, 21)))
		for _, dir := range []Dir{FromClient, FromServer} {
			put(dir, seal12(d, dir, ps[0], masters[0], 3, typeCCS, []byte{1}))
			put(dir, seal12(d, dir, ps[1], masters[1], 0, typeHandshake, finished))
			put(dir, seal12(d, dir, ps[1], masters[1], 1, typeData, []byte("new")))
		}
		got.take(d.Close(FromClient))
		got.take(d.Close(FromServer))
		end, data := "Finished", "old new"
		if !logged {
			end, data = "undecryptable: no key log line CLIENT_RANDOM for the renegotiation", "old "
		}
		if want := []string{"ClientHello", "CCS", "Finished", "ClientHello", "CCS", end}; !slices.Equal(got.said[FromClient], want) {
			t.Errorf("logged %v: %q", logged, got.said[FromClient])
		}
		if want := []string{"ServerHello", "CCS", "Finished", "HelloRequest", "ServerHello", "CCS", end}; !slices.Equal(got.said[FromServer], want) {
			t.Errorf("logged %v: %q", logged, got.said[FromServer])
		}
		if string(got.data[FromClient]) != data {
			t.Errorf("logged %v: data %q", logged, got.data[FromClient])
		}
	}
}

// RFC 8446 §5.1: a message must not go on behind a change of keys.
func TestRFC8446_5_1_MessageAcrossAKeyChange(t *testing.T) {
	d := NewDecoder(Limits{})
	d.version, d.suite = version13, suites[0x1301]
	d.half[FromServer].guard.next(handshake)
	d.Secret([]byte("SERVER_HANDSHAKE_TRAFFIC_SECRET " + strings.Repeat("00", 32) + " " + strings.Repeat("07", 32)))
	secret := bytes.Repeat([]byte{7}, 32)
	o := &opener{suite: suites[0x1301]}
	key, _ := expandLabel(o.suite, secret, "key", 16)
	o.iv, _ = expandLabel(o.suite, secret, "iv", 12)
	o.setKey(key)
	plain := append(append([]byte{byte(TypeFinished), 0, 0, 2, 1, 2}, byte(TypeNewSessionTicket), 0), typeHandshake, 0, 0, 0)
	head := binary.BigEndian.AppendUint16([]byte{typeData, 3, 3}, uint16(len(plain)+16))
	rec := o.aead.Seal(bytes.Clone(head), o.xorNonce(), plain, head)
	var got story
	got.take(d.Input(FromServer, rec, 0, 0))
	if len(got.said[FromServer]) != 2 || !strings.HasPrefix(got.said[FromServer][1], "malformed: handshake messages go on") {
		t.Errorf("%q", got.said)
	}
}

// A whole connection without its data: hellos to close_notify.
func BenchmarkHandshake(b *testing.B) {
	for _, name := range []string{"3 simple 1-RTT", "4 resumed 0-RTT"} {
		b.Run(strings.ReplaceAll(name, " ", "_"), func(b *testing.B) {
			r := rfcTraces(b)[name]
			keys := r.keyLog()
			b.ReportAllocs()
			for b.Loop() {
				d := NewDecoder(Limits{})
				for _, l := range keys {
					d.Secret(l)
				}
				var at [2]int64
				n := 0
				for _, f := range r.flights {
					n += len(d.Input(f.dir, f.data, at[f.dir], 0))
					at[f.dir] += int64(len(f.data))
				}
				if n < 8 {
					b.Fatal(n)
				}
			}
		})
	}
}

// The names are those of crypto/tls where it has one.
func TestNamesAgreeWithCryptoTLS(t *testing.T) {
	for _, s := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		want := s.Name
		// IANA's name has the hash, crypto/tls leaves it out.
		if strings.HasSuffix(want, "CHACHA20_POLY1305") {
			want += "_SHA256"
		}
		if got := SuiteName(s.ID); got != want {
			t.Errorf("suite %04x is %s, here %s", s.ID, want, got)
		}
	}
	for _, v := range []uint16{tls.VersionTLS10, tls.VersionTLS12, tls.VersionTLS13} {
		if VersionName(v) != tls.VersionName(v) {
			t.Errorf("version %04x is %s, here %s", v, tls.VersionName(v), VersionName(v))
		}
	}
	for _, id := range []tls.CurveID{tls.X25519, tls.X25519MLKEM768, tls.SecP256r1MLKEM768, tls.SecP384r1MLKEM1024} {
		if got := GroupName(uint16(id)); !strings.EqualFold(got, id.String()) {
			t.Errorf("group %d is %s, here %s", id, id, got)
		}
	}
}
