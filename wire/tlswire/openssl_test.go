package tlswire

import (
	"bufio"
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"peel/internal/needs"
)

// openssl at both ends: an implementation that does what crypto/tls does not,
// and writes its own key log.

// opensslServer is an s_server that sends back each line reversed.
type opensslServer struct {
	addr string
	dir  string
}

// pemFile writes the identity of openssl's server.
func pemFile(t *testing.T, ecdsa bool) string {
	t.Helper()
	key := identities().rsa
	if ecdsa {
		key = identities().ecdsa
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	out := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate(t, key).Certificate[0]})...)
	name := filepath.Join(t.TempDir(), "identity.pem")
	if err := os.WriteFile(name, out, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func startOpenSSL(t *testing.T, args ...string) *opensslServer {
	t.Helper()
	needs.Tool(t, "openssl")
	s := &opensslServer{dir: t.TempDir()}
	cmd := exec.Command("openssl", append([]string{"s_server", "-accept", "127.0.0.1:0", "-cert", args[0], "-key", args[0]}, args[1:]...)...)
	// A server that reads its input stops when that ends.
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	for s.addr == "" {
		line, err := lines.ReadString('\n')
		if err != nil {
			cmd.Wait()
			t.Fatalf("openssl s_server %q: %s", args, said.Bytes())
		}
		if a, ok := strings.CutPrefix(line, "ACCEPT "); ok {
			s.addr = strings.TrimSpace(a)
		}
	}
	var drained sync.WaitGroup
	drained.Go(func() { io.Copy(io.Discard, lines) })
	t.Cleanup(func() {
		in.Close()
		cmd.Process.Kill()
		drained.Wait()
		cmd.Wait()
	})
	return s
}

// relay passes one connection on and records it.
func relay(t *testing.T, to string) (addr string, recorded func() []flight) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var rec tap
	var running sync.WaitGroup
	running.Go(func() {
		defer l.Close()
		client, err := l.Accept()
		if err != nil {
			return
		}
		defer client.Close()
		server, err := net.Dial("tcp", to)
		if err != nil {
			t.Error(err)
			return
		}
		defer server.Close()
		pass := func(dir Dir, from, to net.Conn) {
			buf := make([]byte, 32<<10)
			for {
				n, err := from.Read(buf)
				if n > 0 {
					rec.note(dir, buf[:n])
					to.Write(buf[:n])
				}
				if err != nil {
					to.(*net.TCPConn).CloseWrite()
					return
				}
			}
		}
		var both sync.WaitGroup
		both.Go(func() { pass(FromClient, client, server) })
		both.Go(func() { pass(FromServer, server, client) })
		both.Wait()
	})
	return l.Addr().String(), func() []flight { l.Close(); running.Wait(); return rec.flights }
}

// visit lets an s_client send lines, each after the answer to the one before.
// The lines k and K are commands to openssl: a KeyUpdate, and one that asks
// the peer for the same.
func (s *opensslServer) visit(t *testing.T, lines []string, args ...string) ([]flight, [][]byte) {
	t.Helper()
	addr, recorded := relay(t, s.addr)
	log := filepath.Join(t.TempDir(), "keys")
	cmd := exec.Command("openssl", append([]string{"s_client", "-connect", addr, "-servername", "peer.test", "-keylogfile", log}, args...)...)
	in, _ := cmd.StdinPipe()
	out, _ := cmd.StdoutPipe()
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stuck := time.AfterFunc(20*time.Second, func() { cmd.Process.Kill() })
	defer stuck.Stop()
	var said bytes.Buffer
	answers := bufio.NewReader(io.TeeReader(out, &said))
	await := func(want string) {
		for {
			answer, err := answers.ReadString('\n')
			if err != nil {
				t.Fatalf("openssl s_client %q: %q did not come: %s", args, want, said.Bytes())
			}
			if strings.Contains(answer, want) {
				return
			}
		}
	}
	await("Verify return code") // the end of the handshake
	if i := slices.Index(args, "-sess_out"); i >= 0 {
		// The ticket comes after the handshake.
		for range 1000 {
			if info, err := os.Stat(args[i+1]); err == nil && info.Size() > 0 {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	for _, l := range lines {
		io.WriteString(in, l+"\n")
		if len(l) == 1 {
			await("KEYUPDATE")
		} else {
			await(reversed(l))
		}
	}
	io.WriteString(in, "Q\n")
	io.Copy(io.Discard, answers)
	cmd.Wait()
	flights := recorded()
	b, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	var keys [][]byte
	for line := range bytes.Lines(b) {
		if !bytes.HasPrefix(line, []byte("#")) {
			keys = append(keys, line)
		}
	}
	return flights, keys
}

func reversed(s string) string {
	b := []byte(s)
	for i, j := 0, len(b)-1; i < j; i, j = i+1, j-1 {
		b[i], b[j] = b[j], b[i]
	}
	return string(b)
}

// spoken is what lines and their answers are as application data.
func spoken(lines []string) (out [2][]byte) {
	for _, l := range lines {
		if len(l) > 1 {
			out[FromClient] = append(out[FromClient], l+"\n"...)
			out[FromServer] = append(out[FromServer], reversed(l)+"\n"...)
		}
	}
	return out
}

// holds tells whether the names of want occur in got in that order.
func holds(got, want []string) bool {
	for _, g := range got {
		if len(want) > 0 && g == want[0] {
			want = want[1:]
		}
	}
	return len(want) == 0
}

func compareSpoken(t *testing.T, name string, flights []flight, keys [][]byte, master []byte, lines []string, client, server []string) *story {
	t.Helper()
	var got *story
	for _, late := range []bool{false, true} {
		d := NewDecoder(Limits{})
		d.Resume(master)
		got = replay(d, flights, keys, late, 1<<20)
		if want := spoken(lines); !bytes.Equal(got.data[0], want[0]) || !bytes.Equal(got.data[1], want[1]) {
			t.Errorf("%s, late %v: data %q instead of %q; %q", name, late, got.data, want, got.said)
		}
		if !holds(got.said[FromClient], client) || !holds(got.said[FromServer], server) {
			t.Errorf("%s, late %v: %q instead of %q and %q", name, late, got.said, client, server)
		}
		for _, s := range append(got.said[0], got.said[1]...) {
			if strings.HasPrefix(s, "undecryptable") || strings.HasPrefix(s, "malformed") {
				t.Errorf("%s, late %v: %s", name, late, s)
			}
		}
	}
	return got
}

// RFC 7366 (encrypt-then-MAC), RSA and finite-field key exchange, and the
// rest of TLS 1.2 that openssl still speaks.
func TestTLS12SuitesOfOpenSSL(t *testing.T) {
	needs.Long(t)
	lines := []string{"the first line", strings.Repeat("long ", 500) + "line", "last"}
	for _, kind := range []struct {
		ecdsa  bool
		suites []string
	}{
		{false, []string{"AES128-SHA", "AES256-SHA", "AES128-SHA256", "AES256-SHA256", "AES128-GCM-SHA256", "AES256-GCM-SHA384",
			"DHE-RSA-AES128-SHA", "DHE-RSA-AES256-SHA", "DHE-RSA-AES128-SHA256", "DHE-RSA-AES256-SHA256", "DHE-RSA-AES128-GCM-SHA256", "DHE-RSA-AES256-GCM-SHA384", "DHE-RSA-CHACHA20-POLY1305",
			"ECDHE-RSA-AES128-SHA", "ECDHE-RSA-AES256-SHA", "ECDHE-RSA-AES128-SHA256", "ECDHE-RSA-AES256-SHA384", "ECDHE-RSA-CHACHA20-POLY1305"}},
		{true, []string{"ECDHE-ECDSA-AES128-SHA256", "ECDHE-ECDSA-AES256-SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384"}},
	} {
		s := startOpenSSL(t, pemFile(t, kind.ecdsa), "-rev", "-cipher", "ALL:@SECLEVEL=0")
		for _, suite := range kind.suites {
			for _, etm := range []bool{true, false} {
				gcm := strings.Contains(suite, "GCM") || strings.Contains(suite, "CHACHA")
				args := []string{"-tls1_2", "-cipher", suite + ":@SECLEVEL=0"}
				if !etm {
					args = append(args, "-no_etm")
				}
				if gcm && !etm {
					continue
				}
				name := fmt.Sprintf("%s, encrypt-then-MAC %v", suite, etm && !gcm)
				flights, keys := s.visit(t, lines, args...)
				compareSpoken(t, name, flights, keys, nil, lines,
					[]string{"ClientHello", "ClientKeyExchange", "CCS", "Finished"},
					[]string{"ServerHello", "Certificate", "ServerHelloDone", "CCS", "Finished"})
				d := NewDecoder(Limits{})
				replay(d, flights, keys, false, 1<<20)
				if got := d.etm == [2]bool{true, true}; got != (etm && !gcm) {
					t.Errorf("%s: the hellos say %v", name, d.etm)
				}
			}
		}
	}
}

// Suites of TLS 1.3 that crypto/tls does not let one choose, resumption,
// HelloRetryRequest, and KeyUpdate in both directions (RFC 8446 §4.6.3).
func TestTLS13OfOpenSSL(t *testing.T) {
	lines := []string{"the first line", strings.Repeat("long ", 500) + "line"}
	full := []string{"ServerHello", "EncryptedExtensions", "Certificate", "CertificateVerify", "Finished", "NewSessionTicket", "NewSessionTicket"}
	for _, suite := range []string{"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"} {
		t.Run(suite, func(t *testing.T) {
			t.Parallel() // this server sleeps for a second at each KeyUpdate
			s := startOpenSSL(t, pemFile(t, false), "-rev", "-groups", "X25519:P-256")
			session := filepath.Join(t.TempDir(), "session")
			flights, keys := s.visit(t, lines, "-tls1_3", "-ciphersuites", suite, "-sess_out", session)
			compareSpoken(t, suite, flights, keys, nil, lines, []string{"ClientHello", "Finished"}, full)

			flights, keys = s.visit(t, lines, "-tls1_3", "-ciphersuites", suite, "-sess_in", session)
			got := compareSpoken(t, suite+" resumed", flights, keys, nil, lines, []string{"ClientHello", "Finished"}, []string{"ServerHello", "EncryptedExtensions", "Finished"})
			if holds(got.said[FromServer], []string{"Certificate"}) {
				t.Errorf("%s was not resumed: %q", suite, got.said)
			}

			flights, keys = s.visit(t, lines, "-tls1_3", "-ciphersuites", suite, "-groups", "P-384:P-256")
			compareSpoken(t, suite+" HelloRetryRequest", flights, keys, nil, lines,
				[]string{"ClientHello", "ClientHello", "Finished"}, append([]string{"HelloRetryRequest"}, full...))

			updates := []string{"before", "k", "between", "K", "after the second", "K", "after the third"}
			flights, keys = s.visit(t, updates, "-tls1_3", "-ciphersuites", suite)
			compareSpoken(t, suite+" KeyUpdate", flights, keys, nil, updates,
				[]string{"ClientHello", "Finished", "KeyUpdate", "KeyUpdate", "KeyUpdate"}, append(slices.Clone(full), "KeyUpdate", "KeyUpdate"))
		})
	}
}

// RFC 8446 §4.2.10: early data, taken by the server and not.
func TestEarlyDataOfOpenSSL(t *testing.T) {
	file := filepath.Join(t.TempDir(), "early")
	if err := os.WriteFile(file, []byte("sent early"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, fate := range []string{"taken", "refused", "dropped by HelloRetryRequest"} {
		taken := fate == "taken"
		session := filepath.Join(t.TempDir(), "session")
		id := pemFile(t, false)
		s := startOpenSSL(t, id, "-early_data", "-no_anti_replay")
		// This server does not answer.
		s.visit(t, []string{"k"}, "-tls1_3", "-sess_out", session)
		args := []string{"-tls1_3", "-sess_in", session, "-early_data", file}
		if !taken {
			// Another server does not know the ticket.
			s = startOpenSSL(t, id, "-early_data", "-no_anti_replay", "-groups", "X25519")
		}
		if fate == "dropped by HelloRetryRequest" {
			args = append(args, "-groups", "P-521:X25519")
		}
		flights, keys := s.visit(t, []string{"k"}, args...)
		got := replay(NewDecoder(Limits{}), flights, keys, true, 1<<20)
		want := map[string][]string{
			"taken":                        {"ClientHello", "EndOfEarlyData", "Finished", "KeyUpdate"},
			"refused":                      {"ClientHello", "Finished", "KeyUpdate"},
			"dropped by HelloRetryRequest": {"ClientHello", "ClientHello", "Finished", "KeyUpdate"},
		}[fate]
		if !holds(got.said[FromClient], want) {
			t.Errorf("early data %s: %q", fate, got.said)
		}
		// What the server refused was sent all the same, and can be read; after
		// a HelloRetryRequest it cannot: its keys are of the first hello.
		if early := string(got.data[FromClient]); (early == "sent early") != (fate != "dropped by HelloRetryRequest") {
			t.Errorf("early data %s: data %q", fate, early)
		}
		t.Logf("early data %s: %q", fate, got.said)

		// Without the secret of the early data the rest is still read.
		var rest [][]byte
		for _, k := range keys {
			if !bytes.HasPrefix(k, []byte("CLIENT_EARLY_TRAFFIC_SECRET")) {
				rest = append(rest, k)
			}
		}
		blind := replay(NewDecoder(Limits{}), flights, rest, false, 1<<20)
		if !holds(blind.said[FromClient], []string{"ClientHello", "Finished", "KeyUpdate"}) || !reflect.DeepEqual(blind.said[FromServer], got.said[FromServer]) {
			t.Errorf("early data %s, without its secret: %q", fate, blind.said)
		}
	}
}
