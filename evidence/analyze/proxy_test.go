package analyze

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"peel/internal/needs"
	"peel/trace"
)

// Requests of curl through real proxies, over HTTP and HTTPS, as packets show
// them between curl and the proxy.
func TestCurlThroughProxies(t *testing.T) {
	needs.Root(t)
	needs.Tools(t, "microsocks", "tinyproxy", "curl", "tcpdump")
	hello := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "through") })
	plain, secure := httptest.NewServer(hello), httptest.NewTLSServer(hello)
	defer plain.Close()
	defer secure.Close()
	dir := t.TempDir()
	const socksPort, httpPort = "17094", "17095"
	conf, keys, file := filepath.Join(dir, "tinyproxy.conf"), filepath.Join(dir, "keys.log"), filepath.Join(dir, "f.pcap")
	os.WriteFile(conf, []byte("Port "+httpPort+"\nListen 127.0.0.1\nAllow 127.0.0.1\n"), 0o644)
	for _, args := range [][]string{{"microsocks", "-i", "127.0.0.1", "-p", socksPort}, {"tinyproxy", "-d", "-c", conf}} {
		cmd := exec.Command(args[0], args[1:]...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() { cmd.Process.Kill(); cmd.Wait() }()
	}
	curl := func(args ...string) error {
		cmd := exec.Command("curl", append([]string{"-s", "-k", "-m", "10"}, args...)...)
		cmd.Env = append(os.Environ(), "SSLKEYLOGFILE="+keys)
		out, err := cmd.Output()
		if err == nil && string(out) != "through\n" {
			err = fmt.Errorf("the body is %q", out)
		}
		return err
	}
	for _, proxy := range []string{"socks5://127.0.0.1:" + socksPort, "http://127.0.0.1:" + httpPort} {
		var err error
		for range 100 { // until it listens
			if err = curl("-x", proxy, "-p", plain.URL); err == nil {
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
		if err != nil {
			t.Fatalf("%s: %v", proxy, err)
		}
	}
	dump := exec.Command("tcpdump", "-i", "lo", "-U", "--immediate-mode", "-w", file, "tcp port "+socksPort+" or tcp port "+httpPort)
	stderr, _ := dump.StderrPipe()
	if err := dump.Start(); err != nil {
		t.Fatal(err)
	}
	stderr.Read(make([]byte, 500))
	want := []struct {
		args     []string
		protocol trace.ProxyProtocol
		url      string
	}{
		{[]string{"--socks5", "127.0.0.1:" + socksPort, plain.URL + "/1"}, "SOCKS5", plain.URL + "/1"},
		{[]string{"--socks5-hostname", "127.0.0.1:" + socksPort, secure.URL + "/2"}, "SOCKS5", secure.URL + "/2"},
		{[]string{"-p", "-x", "http://127.0.0.1:" + httpPort, plain.URL + "/3"}, "HTTP CONNECT", plain.URL + "/3"},
		{[]string{"-x", "http://127.0.0.1:" + httpPort, secure.URL + "/4"}, "HTTP CONNECT", secure.URL + "/4"},
		{[]string{"-x", "http://127.0.0.1:" + httpPort, plain.URL + "/5"}, "", plain.URL + "/5"},
	}
	for _, c := range want {
		if err := curl(c.args...); err != nil {
			t.Errorf("%v: %v", c.args, err)
		}
	}
	time.Sleep(time.Second)
	dump.Process.Signal(os.Interrupt)
	dump.Wait()
	log, _ := os.ReadFile(keys)
	_, tr := peelPackets(t, file, log)
	tr.Exchanges = slices.DeleteFunc(tr.Exchanges, func(x *trace.Exchange) bool { return x.Method == "CONNECT" })
	if len(tr.Exchanges) != len(want) {
		t.Fatalf("%d requests, want %d", len(tr.Exchanges), len(want))
	}
	for i, x := range tr.Exchanges {
		c := want[i]
		if x.URL != c.url || x.Response == nil || x.Response.Status != 200 || string(x.Response.Body.Content) != "through\n" || (x.Proxy == nil) != (c.protocol == "") {
			t.Errorf("%+v, %+v, want %+v", x, x.Response, c)
		} else if x.Proxy != nil && (x.Proxy.Protocol != c.protocol || x.Timings.Total == nil) {
			t.Errorf("%+v, %+v", x.Proxy, x.Timings)
		}
	}
}
