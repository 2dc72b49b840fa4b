package main

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// namespace is the network in which the capture is made.
const namespace = "peel-bench-captures"

// makeMix makes mix.pcap and keys.log in dir.
func makeMix(dir string) error {
	www := filepath.Join(dir, "www")
	if err := os.MkdirAll(www, 0o755); err != nil {
		return err
	}
	os.Chmod(dir, 0o755)
	for _, kb := range []int{1, 10, 50} {
		raw := make([]byte, kb*750)
		rand.Read(raw)
		if err := os.WriteFile(filepath.Join(www, fmt.Sprintf("p%d.html", kb)), []byte(base64.StdEncoding.EncodeToString(raw)), 0o644); err != nil {
			return err
		}
	}
	conf := "worker_processes 1; daemon off; pid " + dir + "/pid; error_log " + dir + "/error.log;\nevents {}\n" +
		"http { access_log off; keepalive_requests 100000; root " + www + "; default_type text/html;\nserver { listen 8080; }\n"
	for port, how := range map[string]string{"8441 ssl": "TLSv1.2", "8442 ssl": "TLSv1.3", "8443 ssl http2": "TLSv1.3"} {
		conf += fmt.Sprintf("server { listen %s; ssl_certificate %s/c.pem; ssl_certificate_key %s/k.pem; ssl_protocols %s; }\n", port, dir, dir, how)
	}
	if err := os.WriteFile(filepath.Join(dir, "nginx.conf"), []byte(conf+"}\n"), 0o644); err != nil {
		return err
	}
	sh := func(script string) error {
		c := exec.Command("sh", "-ec", script)
		c.Dir = dir
		c.Env = append(os.Environ(), "N=ip netns exec "+namespace, "SSLKEYLOGFILE="+dir+"/keys.log", "NS="+namespace)
		out, err := c.CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s: %w\n%s", strings.TrimSpace(strings.SplitN(script, "\n", 2)[0]), err, out)
		}
		return nil
	}
	defer sh("ip netns del $NS 2>/dev/null || true")
	if err := sh(`ip netns del $NS 2>/dev/null || true
ip netns add $NS
$N ip link set lo up mtu 1500
$N ethtool -K lo tso off gso off gro off
openssl req -x509 -newkey rsa:2048 -nodes -keyout k.pem -out c.pem -days 30 -subj /CN=localhost 2>/dev/null`); err != nil {
		return err
	}
	nginx := exec.Command("ip", "netns", "exec", namespace, "nginx", "-c", dir+"/nginx.conf")
	if err := nginx.Start(); err != nil {
		return err
	}
	defer func() { nginx.Process.Signal(os.Interrupt); nginx.Wait() }()
	dump := exec.Command("ip", "netns", "exec", namespace, "tcpdump", "-i", "lo", "-B", "262144", "-Z", "root", "-w", dir+"/mix.pcap")
	var told strings.Builder
	dump.Stderr = &told
	if err := dump.Start(); err != nil {
		return err
	}
	time.Sleep(time.Second)
	err := sh(`for k in 1 10 50; do $N h2load --h1 -n 1330 -c 16 http://127.0.0.1:8080/p$k.html; done
for k in 1 10 50; do $N h2load --h1 -n 440 -c 8 https://127.0.0.1:8441/p$k.html; done
for k in 1 10 50; do $N h2load --h1 -n 890 -c 12 https://127.0.0.1:8442/p$k.html; done
for k in 1 10 50; do $N h2load -n 1330 -c 16 -m 10 https://127.0.0.1:8443/p$k.html; done`)
	time.Sleep(time.Second)
	dump.Process.Signal(os.Interrupt)
	dump.Wait()
	if err != nil {
		return err
	}
	if !strings.Contains(told.String(), "\n0 packets dropped by kernel") {
		return fmt.Errorf("the capture is not whole:\n%s", told.String())
	}
	return nil
}
