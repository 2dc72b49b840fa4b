package socket

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"peel/client"
	"peel/internal/kernel"
	"peel/internal/needs"
	"peel/internal/pki"
	"peel/server"
	"peel/stack/host"
	"peel/stack/link"
	"peel/wire/ethernet"
)

// start runs a program in the kernel's namespace until the test ends.
func (k *kernelPeer) start(t testing.TB, name string, args ...string) {
	t.Helper()
	c := exec.Command(name, args...)
	var said bytes.Buffer
	c.Stdout, c.Stderr = &said, &said
	if err := k.ns.Start(c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Process.Kill()
		c.Wait()
		if t.Failed() {
			t.Logf("%s said:\n%s", name, said.String())
		}
	})
}

const page = "It works, and it is large enough for some segments.\n"

func certificate(t testing.TB, names ...string) (*pki.Authority, tls.Certificate) {
	t.Helper()
	a, err := pki.NewAuthority("test", true, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	cert, err := a.Issue(pki.Leaf{Names: names})
	if err != nil {
		t.Fatal(err)
	}
	return a, cert
}

// curl in the kernel's namespace asks our server on our host.
func TestCurlAsksUs(t *testing.T) {
	needs.Tools(t, "curl")
	eachDevice(t, func(t *testing.T, o peerOptions) {
		k := newKernelPeer(t, o)
		authority, cert := certificate(t, "peel.test", "192.0.2.1", "2001:db8::1")
		body := strings.Repeat(page, 20000)
		s := &server.Server{Clock: k.Network.Clock(), TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}},
			Handler: server.HandlerFunc(func(w *server.ResponseWriter, r *server.Request) { io.WriteString(w, body) })}
		t.Cleanup(func() { s.Close() })
		l, err := k.Stack.Listen(netip.MustParseAddrPort("[::]:443"))
		if err != nil {
			t.Fatal(err)
		}
		go s.ServeTLS(l)
		ca := filepath.Join(t.TempDir(), "ca.pem")
		if err := os.WriteFile(ca, authority.PEM(), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, a := range []string{"192.0.2.1", "[2001:db8::1]"} {
			for _, version := range []string{"--http1.1", "--http2"} {
				out := k.run(t, "curl", "-sS", version, "--cacert", ca, "-m", "20", "https://"+a+"/")
				if out != body {
					t.Errorf("curl %s https://%s/: %d bytes of %d: %.200s", version, a, len(out), len(body), out)
				}
			}
		}
		if out, err := k.try("curl", "-sS", "-m", "5", "http://192.0.2.1:81/"); err == nil || !strings.Contains(out, "onnection refused") && !strings.Contains(out, "Failed to connect") {
			t.Errorf("a closed port: %v %s", err, out)
		}
	})
}

// Our client asks nginx in the kernel's namespace.
func TestWeAskNginx(t *testing.T) {
	needs.Tools(t, "nginx")
	k := newKernelPeer(t, peerOptions{})
	authority, cert := certificate(t, "www.peel.test")
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	body := strings.Repeat(page, 20000)
	certPEM, keyPEM, err := pki.PEM(cert)
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string]string{"index.html": body, "cert.pem": string(certPEM), "key.pem": string(keyPEM), "nginx.conf": fmt.Sprintf(`
daemon off; master_process off; pid %[1]s/pid; error_log %[1]s/error.log;
events {}
http {
  access_log off; client_body_temp_path %[1]s; proxy_temp_path %[1]s; fastcgi_temp_path %[1]s; uwsgi_temp_path %[1]s; scgi_temp_path %[1]s;
  server { listen 443 ssl http2; listen [::]:443 ssl http2; server_name www.peel.test; ssl_certificate %[1]s/cert.pem; ssl_certificate_key %[1]s/key.pem; root %[1]s; }
}`, dir)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(b), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	k.start(t, "nginx", "-c", filepath.Join(dir, "nginx.conf"))
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		c, err := k.Stack.DialTCP(t.Context(), netip.MustParseAddrPort("192.0.2.2:443"))
		if err == nil {
			c.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	for _, to := range []string{"192.0.2.2", "2001:db8::2"} {
		for _, version := range []client.Version{client.OnlyHTTP1, client.OnlyHTTP2} {
			cl := client.New(client.Options{Network: k.Stack, Clock: k.Network.Clock(), Roots: authority.Pool(), Version: version,
				Address: func(string, uint16) (client.Target, bool) { return client.Target{Host: to, Port: 443}, true }})
			for range 3 {
				resp, err := cl.Do(t.Context(), &client.Request{Method: "GET", Origin: client.Origin{Scheme: "https", Host: "www.peel.test", Port: 443}, Authority: "www.peel.test", Target: "/"})
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || string(got) != body {
					t.Errorf("%s: %d bytes of %d, %v", to, len(got), len(body), err)
				}
			}
			cl.Close()
		}
	}
	// The standard library's client, on our sockets too.
	hc := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: authority.Pool(), ServerName: "www.peel.test"}, ForceAttemptHTTP2: true,
		DialContext: k.Stack.DialContext}}
	resp, err := hc.Get("https://192.0.2.2/")
	if err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, resp.Body); err != nil || int(n) != len(body) || resp.ProtoMajor != 2 {
		t.Errorf("net/http: %d bytes, %v, %s", n, err, resp.Proto)
	}
	resp.Body.Close()
	hc.CloseIdleConnections()
}

// iperf3 in one namespace to iperf3 in another, and we are the router between
// them: at two MTUs, so that fragments and ICMP come up.
func TestIperf3ThroughUs(t *testing.T) {
	needs.Long(t)
	needs.Tools(t, "iperf3", "ping")
	k := newKernelPeer(t, peerOptions{host: host.Options{Forward: true}})
	far := k.second(t, 1400)
	far.start(t, "iperf3", "-s")
	for _, a := range []string{"198.51.100.2", "2001:db8:2::2"} {
		family := "-4"
		if strings.Contains(a, ":") {
			family = "-6"
		}
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
			if _, err := k.try("iperf3", "-c", a, "-n", "1K"); err == nil {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("iperf3 does not answer")
			}
		}
		for _, args := range [][]string{{"-n", "50M"}, {"-n", "50M", "-R"}, {"-n", "20M", "-P", "4"}, {"-u", "-b", "50M", "-n", "2M", "-l", "1200"}} {
			var out string
			for range 20 {
				// The server may still be busy with the end of the last one,
				// which it says, or resets the connection.
				if out, _ = k.try("iperf3", append([]string{family, "-c", a}, args...)...); strings.Contains(out, "iperf Done") {
					break
				}
				time.Sleep(100 * time.Millisecond)
			}
			if !strings.Contains(out, "iperf Done") {
				t.Errorf("iperf3 %s %v:\n%s", a, args, out)
			}
		}
		// With IPv6 the first one only learns the MTU.
		out, _ := k.try("ping", family, "-n", "-c", "3", "-i", "0.01", "-M", "dont", "-s", "20000", a)
		if !strings.Contains(out, " 3 received") && !(family == "-6" && strings.Contains(out, " 2 received")) {
			t.Errorf("fragments:\n%s", out)
		}
	}
	k.Network.Do(func() {
		c := k.Stack.Host.Count
		if c.Forwarded < 10000 || c.FragmentsCreated == 0 {
			t.Errorf("forwarded %d packets, %d fragments made", c.Forwarded, c.FragmentsCreated)
		}
	})
}

// second adds a namespace behind our host: 198.51.100.2 and 2001:db8:2::2.
func (k *kernelPeer) second(t testing.TB, mtu int) *kernelPeer {
	t.Helper()
	ns, err := kernel.NewNamespace()
	if err != nil {
		needs.Missing(t, "%v", err)
	}
	t.Cleanup(func() { ns.Close() })
	var dev *kernel.Device
	if err := ns.Do(func() error { dev, err = kernel.OpenTAP("tap0", false); return err }); err != nil {
		needs.Missing(t, "%v", err)
	}
	far := &kernelPeer{Network: k.Network, Stack: k.Stack, ns: ns, dev: "tap0"}
	far.run(t, "ip", "link", "set", "lo", "up")
	far.run(t, "ip", "link", "set", "tap0", "mtu", fmt.Sprint(mtu), "up")
	far.run(t, "ip", "addr", "add", "198.51.100.2/24", "dev", "tap0")
	far.run(t, "ip", "-6", "addr", "add", "2001:db8:2::2/64", "dev", "tap0", "nodad")
	far.run(t, "ip", "route", "add", "default", "via", "198.51.100.1")
	far.run(t, "ip", "-6", "route", "add", "default", "via", "2001:db8:2::1")
	var i *host.Interface
	k.Network.Do(func() {
		i = k.Stack.Host.AddInterface("eth1", ethernet.MAC{2, 0x70, 0x65, 0x65, 0x6c, 9}, mtu)
		for _, a := range []string{"198.51.100.1/24", "2001:db8:2::1/64", host.LinkLocal(i.MAC).String() + "/64"} {
			i.AddAddress(netip.MustParsePrefix(a))
		}
	})
	k.Network.Drive(i, dev, DriveOptions{})
	return far
}

var _ link.Port = (*Port)(nil)
