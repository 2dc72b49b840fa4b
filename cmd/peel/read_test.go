package main

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"peel/internal/needs"
	"peel/wire/pcap"
)

// stored is a capture of a few requests to the lab, with packets.
func stored(t *testing.T) string {
	t.Helper()
	needs.Root(t)
	file := filepath.Join(t.TempDir(), "f.pcapng")
	r := plain(t, "--lab", "-s", "-o", os.DevNull, "--packets=on", "--pcap", file, "--pcap-secrets",
		"https://example.com/api/users", "https://example.com/nothing/here", "http://www.example.com/bytes/50000")
	if r.code != 0 {
		t.Fatal(r.stderr)
	}
	return file
}

func wantIn(t *testing.T, what, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("%s: %q is missing in\n%s", what, p, text)
		}
	}
}

func TestRead(t *testing.T) {
	file := stored(t)
	list := plain(t, "read", file)
	if list.code != 0 || list.stderr != "" {
		t.Errorf("exit %d, %s", list.code, list.stderr)
	}
	wantIn(t, "the list", list.stdout, "1 200", "GET", "https://example.com/api/users", "2 404", "http://www.example.com/bytes/50000", "on the wire:", "tcp/udp")

	open := plain(t, "read", file, "--open", "3")
	wantIn(t, "--open", open.stdout, "GET http://www.example.com/bytes/50000", "200 OK  HTTP/1.1  50.0 kB", "handshake in", "ISN")
	if strings.Contains(open.stdout, "api/users") {
		t.Error("--open shows other requests")
	}

	lines := plain(t, "read", file, "--packets").stdout
	wantIn(t, "--packets", lines, "TCP [SYN] seq 0", "TCP [SYN, ACK]", "MSS", " A? example.com", "[PSH, ACK]", "[FIN, ACK]")
	trees := plain(t, "read", file, "--packets", "-vv").stdout
	wantIn(t, "--packets -vv", trees, "ip.ttl = 64", "tcp.seq_raw = ", "udp.dstport", "tcp.options.mss_val", "0000  ")
	n := strings.Count(lines, "\n")

	// One JSON object for each packet, with fields and where they stand.
	objects := strings.Split(strings.TrimSpace(plain(t, "read", file, "--packets", "--json", "-vv").stdout), "\n")
	if len(objects) != n {
		t.Errorf("%d objects for %d packets", len(objects), n)
	}
	for _, o := range objects {
		var p struct {
			ID, Length, Captured int
			Layers               []struct{ Name string }
			Fields               []struct {
				Name           string
				Offset, Length int
			}
			Hex string
		}
		if err := json.Unmarshal([]byte(o), &p); err != nil || p.ID == 0 || len(p.Layers) < 3 || len(p.Fields) < 3 || len(p.Hex) != 2*p.Captured {
			t.Fatalf("%v: %.300s", err, o)
		}
	}

	// Only what is asked for.
	for _, c := range []struct {
		args       []string
		has, hasNo string
	}{
		{[]string{"--status", "4xx"}, "nothing/here", "api/users"},
		{[]string{"--status", "200-299"}, "api/users", "nothing/here"},
		{[]string{"--host", "www.example.com"}, "bytes/50000", "api/users"},
		{[]string{"--host", "*.example.com"}, "bytes/50000", "api/users"},
		{[]string{"--grep", "API/users"}, "api/users", "bytes/50000"},
		{[]string{"--method", "post"}, "no request was seen", "api/users"},
		{[]string{"--address", "192.0.2.1"}, "no request was seen", "api/users"},
		{[]string{"--from", "1h"}, "no request was seen", "api/users"},
		{[]string{"--to", "1h", "--address", "::1"}, "api/users", "no request was seen"},
	} {
		out := plain(t, append([]string{"read", file}, c.args...)...).stdout
		if !strings.Contains(out, c.has) || strings.Contains(out, c.hasNo) {
			t.Errorf("%v:\n%s", c.args, out)
		}
	}
}

// From a packet up, and from a header and a byte down.
func TestReadWhy(t *testing.T) {
	file := stored(t)
	down := plain(t, "read", file, "--why", "1/content-type").stdout
	wantIn(t, "a header", down, "response field content-type: application/json", "the TLS plaintext of connection", "the stream of connection", "packet ")
	_, rest, _ := strings.Cut(down, "packet ")
	number, _, _ := strings.Cut(rest, ",")
	up := plain(t, "read", file, "--why", number).stdout
	wantIn(t, "packet "+number, up, "part of", "http2: HEADERS: 200", "for      request 1: GET https://example.com/api/users", "tcp.seq_raw")
	body := plain(t, "read", file, "--why", "3/body:49999").stdout
	wantIn(t, "a byte", body, "byte 49999 of the body of response 3", "the stream of connection", "packet ")
	for _, wrong := range []string{"9999", "x", "7/content-type", "1/no-such-header", "1/body:999999999", "1/"} {
		if r := plain(t, "read", file, "--why", wrong); r.code != exitUsage || !strings.Contains(r.stderr, "--why") {
			t.Errorf("--why %s: exit %d, %s", wrong, r.code, r.stderr)
		}
	}
}

// The same capture by every road: pipe, gzip, growing, in two files.
func TestReadRoads(t *testing.T) {
	file := stored(t)
	want := plain(t, "read", file).stdout
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Run("stdin", func(t *testing.T) {
		c := peelCommand(t, "read", "-")
		c.Stdin = bytes.NewReader(raw)
		// Secrets stand before the packets, so a pipe needs no second look.
		if got := finish(t, c); got.stdout != want {
			t.Errorf("got\n%s\nwant\n%s", got.stdout, want)
		}
	})
	t.Run("gzip", func(t *testing.T) {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		w.Write(raw)
		w.Close()
		if got := plain(t, "read", writeFile(t, "f.pcapng.gz", b.Bytes())).stdout; got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	})
	t.Run("follow", func(t *testing.T) {
		name := writeFile(t, "growing.pcapng", raw[:100])
		c := peelCommand(t, "read", "--follow", "--packets", name)
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		got := make(chan string)
		go func() {
			b, _ := io.ReadAll(out)
			got <- string(b)
		}()
		for at := 100; at < len(raw); at += 5000 {
			f.Write(raw[at:min(at+5000, len(raw))])
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(400 * time.Millisecond)
		c.Process.Signal(os.Interrupt)
		text := <-got
		c.Wait()
		if n := strings.Count(plain(t, "read", "--packets", file).stdout, "\n"); strings.Count(text, "\n") != n {
			t.Errorf("%d lines of %d", strings.Count(text, "\n"), n)
		}
	})
	t.Run("two files", func(t *testing.T) {
		keys := filepath.Join(t.TempDir(), "keys")
		a := writeFile(t, "a.pcap", onlyPackets(t, raw, func(n int) bool { return n/15%2 == 0 }))
		b := writeFile(t, "b.pcap", onlyPackets(t, raw, func(n int) bool { return n/15%2 == 1 }))
		os.WriteFile(keys, dsb(raw), 0o600)
		got := plain(t, "read", b, a, "--keylog", keys)
		wantIn(t, "two files", got.stdout, "https://example.com/api/users", "https://example.com/nothing/here", "http://www.example.com/bytes/50000")
	})
}

// onlyPackets makes a pcap file of some of the packets of a pcapng file.
func onlyPackets(t *testing.T, raw []byte, keep func(n int) bool) []byte {
	t.Helper()
	r, err := pcap.NewReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	le := binary.LittleEndian
	out := []byte{0x4d, 0x3c, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0} // nanoseconds, Ethernet
	for n := 0; ; {
		b, err := r.Next()
		if err != nil {
			return out
		}
		if b.Kind != pcap.KindPacket {
			continue
		}
		if n++; !keep(n) {
			continue
		}
		out = le.AppendUint32(out, uint32(int64(b.Time)/1e9))
		out = le.AppendUint32(out, uint32(int64(b.Time)%1e9))
		out = le.AppendUint32(out, uint32(len(b.Data)))
		out = le.AppendUint32(out, uint32(b.Length))
		out = append(out, b.Data...)
	}
}

// dsb finds the key log in a file that peel wrote.
func dsb(raw []byte) []byte {
	var out []byte
	for _, l := range bytes.Split(raw, []byte("\n")) {
		for _, label := range []string{"CLIENT_HANDSHAKE_TRAFFIC_SECRET", "SERVER_HANDSHAKE_TRAFFIC_SECRET", "CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0"} {
			if i := bytes.Index(l, []byte(label+" ")); i >= 0 {
				out = append(append(out, l[i:]...), '\n')
			}
		}
	}
	return out
}

// What is wrong is said in one line, with an exit code; the rest is read.
func TestReadOfWhatIsWrong(t *testing.T) {
	file := stored(t)
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	cut := plain(t, "read", writeFile(t, "cut.pcapng", raw[:len(raw)-777]))
	if cut.code != exitFailed || !strings.Contains(cut.stdout, "api/users") || !strings.Contains(cut.stderr, "the file ends after") || !strings.Contains(cut.stdout, "CAPTURE-DAMAGED") {
		t.Errorf("a cut file: exit %d\n%s\n%s", cut.code, cut.stderr, cut.stdout)
	}
	for _, c := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"no file", []string{"read"}, exitUsage, "needs a capture file"},
		{"not there", []string{"read", "/no/such/file"}, exitFailed, "no such file"},
		{"no capture", []string{"read", writeFile(t, "x", []byte("hello, world"))}, exitFailed, "not a capture file: it begins with 68 65 6c 6c"},
		{"empty", []string{"read", writeFile(t, "x", nil)}, exitFailed, "0 bytes are too few"},
		{"no key log", []string{"read", file, "--keylog", "/no/such/keys"}, exitUsage, "--keylog"},
		{"wrong keys", []string{"read", file, "--keylog", writeFile(t, "k", []byte("what is this\n"))}, exitDone, "1 lines are no key-log lines"},
		{"status", []string{"read", file, "--status", "often"}, exitUsage, "--status"},
		{"address", []string{"read", file, "--address", "example.com"}, exitUsage, "--address"},
		{"time", []string{"read", file, "--from", "noon"}, exitUsage, "--from"},
		{"open", []string{"read", file, "--open", "99"}, exitUsage, "there is no request 99; there are 3"},
		{"follow two", []string{"read", "--follow", file, file}, exitUsage, "--follow"},
	} {
		r := plain(t, c.args...)
		if r.code != c.code || !strings.Contains(r.stderr, c.says) || strings.Count(strings.TrimSpace(r.stderr), "\n") > 1 {
			t.Errorf("%s: exit %d, want %d; %q, want %q", c.name, r.code, c.code, r.stderr, c.says)
		}
	}
}

// Without secrets the connection has its row, with the reason.
func TestReadWithoutKeys(t *testing.T) {
	needs.Root(t)
	file := filepath.Join(t.TempDir(), "f.pcapng")
	plain(t, "--lab", "-s", "-o", os.DevNull, "--packets=on", "--pcap", file, "https://example.com/api/users")
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	bare := writeFile(t, "bare.pcap", onlyPackets(t, raw, func(int) bool { return true }))
	r := plain(t, "read", bare)
	wantIn(t, "no keys", r.stdout, "connections without a request that could be read", "TLS 1.3 example.com", "not decrypted:")
}
