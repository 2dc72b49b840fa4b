package analyze

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"os"

	"peel/clock"
	"peel/evidence/capture"
	"peel/internal/needs"
	"peel/trace"
)

// socket makes records of what a socket carried.
func socket(out ...any) (list []capture.Record) {
	for i, b := range out {
		dir := capture.Out
		data, ok := b.(string)
		if !ok {
			dir, data = capture.In, string(b.([]byte))
		}
		list = append(list, capture.Record{Time: 1e9, Kind: capture.Stream, Dir: dir, Socket: 1, Data: []byte(data), Length: len(data)})
		list[i].Time += clock.Time(i) * 1e6
	}
	return list
}

// WebSocket frames behind a 101 response are listed, whatever pieces they
// come in.
func TestWebSocketFrames(t *testing.T) {
	request := "GET /chat HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
	response := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
	hello := "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58" // RFC 6455 §5.7
	big := "\x82\x7e\x04\x00" + strings.Repeat("b", 1024)
	for name, pieces := range map[string][]any{
		"whole":     {request, []byte(response), hello, []byte("\x81\x05Hello" + big), []byte("\x89\x00"), "\x88\x82\x00\x00\x00\x00\x03\xe8"},
		"in pieces": {request[:20], request[20:], []byte(response[:50]), []byte(response[50:] + "\x81"), []byte("\x05Hel"), hello[:3], hello[3:], []byte("lo" + big[:3]), []byte(big[3:600]), []byte(big[600:] + "\x89\x00"), "\x88\x82\x00\x00\x00\x00\x03\xe8"},
	} {
		a := New(Limits{})
		for _, r := range socket(pieces...) {
			a.Add(r)
		}
		tr := a.Trace()
		var got []string
		for _, e := range tr.Events {
			if e.Layer == trace.LayerWebSocket {
				got = append(got, string(e.Direction)+" "+e.Text)
				if e.Exchange != 1 || len(Fields(tr, e)) == 0 {
					t.Errorf("%s: %+v has no exchange or no fields", name, e)
				}
			}
		}
		for _, want := range []string{"out text, 5 bytes: Hello", "in text, 5 bytes: Hello", "in binary, 1024 bytes", "in ping, 0 bytes", "out close, 2 bytes: code 1000"} {
			if !strings.Contains(strings.Join(got, "\n"), want) {
				t.Errorf("%s: %q is missing in %q", name, want, got)
			}
		}
		if len(got) != 5 || tr.Connections[0].Protocol != "WebSocket" || tr.Exchanges[0].Response.Status != 101 {
			t.Errorf("%s: %d frames, protocol %s", name, len(got), tr.Connections[0].Protocol)
		}
	}
}

// HTTP/2 behind an Upgrade: curl and h2o.
func TestUpgradeToH2C(t *testing.T) {
	needs.Root(t)
	needs.Tools(t, "h2o", "curl", "tcpdump")
	dir := t.TempDir()
	os.WriteFile(filepath.Join(dir, "index.html"), []byte("upgraded\n"), 0o644)
	const port = "17093"
	conf := filepath.Join(dir, "h2o.conf")
	os.WriteFile(conf, []byte(fmt.Sprintf("user: root\nlisten: {host: 127.0.0.1, port: %s}\nhosts:\n  default:\n    paths:\n      /:\n        file.dir: %s\n", port, dir)), 0o644)
	server := exec.Command("h2o", "-c", conf)
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { server.Process.Kill(); server.Wait() }()
	file := filepath.Join(dir, "f.pcap")
	dump := exec.Command("tcpdump", "-i", "lo", "-U", "--immediate-mode", "-w", file, "tcp port "+port)
	stderr, _ := dump.StderrPipe()
	if err := dump.Start(); err != nil {
		t.Fatal(err)
	}
	stderr.Read(make([]byte, 500))
	var out []byte
	var err error
	for range 50 { // until it listens
		if out, err = exec.Command("curl", "-s", "--http2", "http://127.0.0.1:"+port+"/index.html").Output(); err == nil {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if err != nil || string(out) != "upgraded\n" {
		t.Fatalf("curl: %v, %q", err, out)
	}
	time.Sleep(200 * time.Millisecond)
	dump.Process.Signal(os.Interrupt)
	dump.Wait()
	_, tr := peelPackets(t, file, nil)
	x := tr.Exchanges[len(tr.Exchanges)-1]
	if x.Response == nil || x.Response.Status != 200 || x.Protocol != "HTTP/2" || x.Stream != 1 || string(x.Response.Body.Content) != "upgraded\n" || fmt.Sprint(x.Response.Informational) != "[101]" {
		t.Errorf("%+v\n%+v", x, x.Response)
	}
}
