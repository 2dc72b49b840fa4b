package tlswire

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"os"
	"reflect"
	"strings"
	"testing"
)

// rfcTrace is one trace of RFC 8448.
type rfcTrace struct {
	secrets [][2]string
	flights []flight
}

// flight is bytes of one direction.
type flight struct {
	dir  Dir
	data []byte
}

func rfcTraces(t testing.TB) map[string]*rfcTrace {
	t.Helper()
	f, err := os.Open("testdata/rfc8448.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all := map[string]*rfcTrace{}
	var cur *rfcTrace
	s := bufio.NewScanner(f)
	for s.Scan() {
		line := s.Text()
		switch {
		case strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "["):
			cur = &rfcTrace{}
			all[strings.Trim(line, "[]")] = cur
		default:
			parts := strings.Fields(line)
			if parts[0] == "secret" {
				cur.secrets = append(cur.secrets, [2]string{parts[1], parts[2]})
				continue
			}
			b, err := hex.DecodeString(parts[1])
			if err != nil {
				t.Fatal(err)
			}
			dir := FromClient
			if parts[0] == "server" {
				dir = FromServer
			}
			cur.flights = append(cur.flights, flight{dir, b})
		}
	}
	return all
}

// keyLog gives the secrets as lines of a key log.
func (r *rfcTrace) keyLog() (lines [][]byte) {
	for _, s := range r.secrets {
		// The decoder is told whose lines they are; the random is not used.
		lines = append(lines, []byte(s[0]+" "+strings.Repeat("00", 32)+" "+s[1]))
	}
	return lines
}

// story is what a decoder said of one connection: per direction the names of
// what it found, and the application data joined.
type story struct {
	said [2][]string
	data [2][]byte
}

func (s *story) take(events []Event) {
	for _, e := range events {
		name := ""
		switch e.Kind {
		case KindHandshake:
			name = e.Type.String()
			if h, err := ParseServerHello(e.Data); err == nil && h.HelloRetryRequest {
				name = "HelloRetryRequest"
			}
		case KindApplicationData:
			s.data[e.Dir] = append(s.data[e.Dir], e.Data...)
			continue
		case KindAlert:
			name = "alert " + e.Alert.String()
		case KindChangeCipherSpec:
			name = "CCS"
		case KindUndecryptable:
			name = "undecryptable: " + e.Reason
		case KindMalformed:
			name = "malformed: " + e.Reason
		}
		s.said[e.Dir] = append(s.said[e.Dir], name)
	}
}

// replay gives a recorded connection to a decoder in chunks, and the secrets
// before it or after it.
func replay(d *Decoder, flights []flight, keys [][]byte, late bool, chunk int) *story {
	var got story
	if !late {
		for _, l := range keys {
			d.Secret(l)
		}
	}
	var at [2]int64
	for _, f := range flights {
		for b := f.data; len(b) > 0; {
			n := min(chunk, len(b))
			got.take(d.Input(f.dir, b[:n], at[f.dir], 0))
			at[f.dir] += int64(n)
			b = b[n:]
		}
	}
	for _, l := range keys {
		d.Secret(l)
	}
	got.take(d.Drain())
	got.take(d.Close(FromClient))
	got.take(d.Close(FromServer))
	return &got
}

func TestRFC8448Traces(t *testing.T) {
	count := make([]byte, 50)
	for i := range count {
		count[i] = byte(i)
	}
	bye := "alert " + Alert{1, 0}.String()
	for _, want := range []struct {
		name string
		story
	}{
		{"3 simple 1-RTT", story{
			[2][]string{{"ClientHello", "Finished", bye},
				{"ServerHello", "EncryptedExtensions", "Certificate", "CertificateVerify", "Finished", "NewSessionTicket", bye}},
			[2][]byte{count, count}}},
		{"4 resumed 0-RTT", story{
			[2][]string{{"ClientHello", "EndOfEarlyData", "Finished", bye},
				{"ServerHello", "EncryptedExtensions", "Finished", bye}},
			[2][]byte{append([]byte("ABCDEF"), count...), count}}},
		{"5 HelloRetryRequest", story{
			[2][]string{{"ClientHello", "ClientHello", "Finished", bye},
				{"HelloRetryRequest", "ServerHello", "EncryptedExtensions", "Certificate", "CertificateVerify", "Finished", bye}},
			[2][]byte{}}},
	} {
		trace := rfcTraces(t)[want.name]
		for _, late := range []bool{false, true} {
			for _, chunk := range []int{1 << 20, 1, 7} {
				got := replay(NewDecoder(Limits{}), trace.flights, trace.keyLog(), late, chunk)
				if !reflect.DeepEqual(got.said, want.said) {
					t.Errorf("%s, late %v, chunks of %d:\n got %q\nwant %q", want.name, late, chunk, got.said, want.said)
				}
				for i := range got.data {
					if !bytes.Equal(got.data[i], want.data[i]) {
						t.Errorf("%s, late %v, chunks of %d: data % x", want.name, late, chunk, got.data[i])
					}
				}
			}
		}
	}
}
