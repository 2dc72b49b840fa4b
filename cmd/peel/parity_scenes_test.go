package main

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"testing"

	"peel/dns"
	"peel/internal/kernel"
	"peel/internal/needs"
	"peel/internal/pki"
	"peel/wire/http2"
	"peel/wire/icmp"
	"peel/wire/ip"
)

// A scene is what peel is run with, and where.
type scene struct {
	args []string
	// ns is a network of its own, with resolv as its resolv.conf; nil is the
	// tests' network.
	ns     *kernel.Namespace
	resolv string
}

func with(args ...string) scene { return scene{args: args} }

func (s scene) finish(t *testing.T, args ...string) ran {
	t.Helper()
	if s.ns == nil {
		return finish(t, peelCommand(t, args...))
	}
	file := writeFile(t, "resolv.conf", []byte(s.resolv))
	c := command(t, needs.Tool(t, "unshare"), append([]string{"-m", "sh", "-c", `mount --bind "$0" /etc/resolv.conf && exec "$@"`, file, os.Args[0]}, args...)...)
	c.Env = append(os.Environ(), "PEEL_TEST_MAIN=1", "HOME="+c.Dir)
	return finishStarted(t, c, func() error { return s.ns.Start(c) })
}

// apart is a network of its own, of a loopback interface alone.
func apart(t *testing.T) *kernel.Namespace {
	t.Helper()
	ns, err := kernel.NewNamespace()
	if err != nil {
		needs.Missing(t, "%v", err)
	}
	t.Cleanup(func() { ns.Close() })
	shell(t, ns, "link", "set", "lo", "up")
	return ns
}

// shell runs ip(8) in a namespace.
func shell(t *testing.T, ns *kernel.Namespace, args ...string) {
	t.Helper()
	c := exec.Command(needs.Tool(t, "ip"), args...)
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	if err := ns.Start(c); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err != nil {
		t.Fatalf("ip %v: %v: %s", args, err, out.String())
	}
}

// serving hands each connection of a listener to f. f closes it: with leave,
// unless the failure is how it closes.
func serving(t *testing.T, l net.Listener, f func(c *net.TCPConn)) string {
	t.Helper()
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go f(c.(*net.TCPConn))
		}
	}()
	return l.Addr().String()
}

// listening listens on 127.0.0.1.
func listening(t *testing.T, f func(c *net.TCPConn)) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return serving(t, l, f)
}

// leave ends a connection in order: what was written arrives, and nothing that
// is still to be read makes a reset of the end.
func leave(c *net.TCPConn) {
	c.CloseWrite()
	io.Copy(io.Discard, c)
	c.Close()
}

// reset ends a connection with an RST.
func reset(c *net.TCPConn) {
	c.SetLinger(0)
	c.Close()
}

// readHead reads a request's head.
func readHead(c io.Reader) {
	var b []byte
	for one := make([]byte, 1); !bytes.HasSuffix(b, []byte("\r\n\r\n")); b = append(b, one[0]) {
		if _, err := c.Read(one); err != nil {
			return
		}
	}
}

// response is an HTTP/1 server that answers with text, and then leaves.
func response(text string, args ...string) func(t *testing.T) scene {
	return ending(text, leave, args...)
}

func ending(text string, end func(*net.TCPConn), args ...string) func(t *testing.T) scene {
	return func(t *testing.T) scene {
		addr := listening(t, func(c *net.TCPConn) {
			readHead(c)
			io.WriteString(c, text)
			end(c)
		})
		return with(append(args, "http://"+addr+"/")...)
	}
}

// hello is a TLS port that reads the first record of the client and then does
// as told.
func hello(f func(c *net.TCPConn), args ...string) func(t *testing.T) scene {
	return func(t *testing.T) scene {
		addr := listening(t, func(c *net.TCPConn) {
			h := make([]byte, 5)
			if _, err := io.ReadFull(c, h); err == nil {
				io.CopyN(io.Discard, c, int64(binary.BigEndian.Uint16(h[3:])))
			}
			f(c)
		})
		return with(append(args, "https://"+addr+"/")...)
	}
}

// alert is a server that answers the ClientHello with a fatal alert.
func alert(description byte) func(t *testing.T) scene {
	return hello(func(c *net.TCPConn) {
		c.Write([]byte{21, 3, 3, 0, 2, 2, description})
		leave(c)
	})
}

// certificate is a server with that certificate, for TLS 1.2 or 1.3.
func certificate(l pki.Leaf, version string, strange bool, args ...string) func(t *testing.T) scene {
	return func(t *testing.T) scene {
		if l.Names == nil {
			l.Names = []string{"127.0.0.1"}
		}
		url, ca := tlsServer(t, l, nil)
		if strange { // the CA is not the one that peel trusts
			ca = newCertificates(t, pki.Leaf{}).ca
		}
		return with(append(args, "--tls-max", version, "--cacert", ca, url)...)
	}
}

// secure is a TLS server of the library, which answers "hello".
func secure(config *tls.Config, args ...string) func(t *testing.T) scene {
	return func(t *testing.T) scene {
		url, ca := tlsServer(t, pki.Leaf{Names: []string{"127.0.0.1"}}, config.Clone())
		return with(append(args, "--cacert", ca, url)...)
	}
}

// inside is a server that does as told inside of TLS.
func inside(protocol string, f func(s io.ReadWriter, c *net.TCPConn), args ...string) func(t *testing.T) scene {
	return func(t *testing.T) scene {
		certs := newCertificates(t, pki.Leaf{Names: []string{"127.0.0.1"}})
		pair, err := tls.LoadX509KeyPair(certs.chain, certs.key)
		if err != nil {
			t.Fatal(err)
		}
		addr := listening(t, func(c *net.TCPConn) {
			f(tls.Server(c, &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{protocol}, SessionTicketsDisabled: true}), c)
		})
		return with(append(args, "--cacert", certs.ca, "https://"+addr+"/")...)
	}
}

// frames is an HTTP/2 server without TLS that has a script. It waits for the
// request, and for the acknowledgement of its SETTINGS so that no bytes are on
// their way when it ends.
func frames(end func(*net.TCPConn), script ...[]byte) func(t *testing.T) scene {
	return func(t *testing.T) scene {
		addr := listening(t, func(c *net.TCPConn) {
			play(c, script...)
			end(c)
		})
		return with("--http2-prior-knowledge", "http://"+addr+"/")
	}
}

// play speaks HTTP/2 as a server and answers the first request with a script.
func play(c io.ReadWriter, script ...[]byte) {
	io.CopyN(io.Discard, c, int64(len(http2.Preface)))
	c.Write(rawFrame(4, 0, 0, nil))
	for request, acknowledged := false, false; !request || !acknowledged; {
		typ, flags := readFrame(c)
		request = request || typ == 1
		acknowledged = acknowledged || typ == 4 && flags&1 != 0
	}
	c.Write(slices.Concat(append([][]byte{rawFrame(4, 1, 0, nil)}, script...)...))
}

// readFrame reads an HTTP/2 frame. A server whose client has left ends here.
func readFrame(c io.Reader) (typ, flags byte) {
	h := make([]byte, 9)
	if _, err := io.ReadFull(c, h); err != nil {
		runtime.Goexit()
	}
	io.CopyN(io.Discard, c, int64(h[0])<<16|int64(h[1])<<8|int64(h[2]))
	return h[3], h[4]
}

// answerAgain answers the request that is made again, on stream 3.
func answerAgain(c *net.TCPConn) {
	for typ := byte(0); typ != 1; {
		typ, _ = readFrame(c)
	}
	c.Write(rawFrame(1, endStream|endHeaders, 3, []byte{0x88})) // :status 200
	leave(c)
}

// rawFrame is an HTTP/2 frame (RFC 9113 §4.1).
func rawFrame(typ, flags byte, stream uint32, payload []byte) []byte {
	b := []byte{byte(len(payload) >> 16), byte(len(payload) >> 8), byte(len(payload)), typ, flags}
	return append(binary.BigEndian.AppendUint32(b, stream), payload...)
}

const endStream, endHeaders = 1, 4

// headers is a HEADERS frame of fields as they are.
func headers(flags byte, fields ...string) []byte {
	var b []byte
	for i := 0; i < len(fields); i += 2 {
		b = append(b, 0, byte(len(fields[i])))
		b = append(append(b, fields[i]...), byte(len(fields[i+1])))
		b = append(b, fields[i+1]...)
	}
	return rawFrame(1, flags|endHeaders, 1, b)
}

func uint32s(list ...uint32) (b []byte) {
	for _, w := range list {
		b = binary.BigEndian.AppendUint32(b, w)
	}
	return b
}

// asked is a network of its own with name servers, which answer as told, or
// not at all; and a web server on 127.0.0.1.
func asked(resolv string, servers map[string]func(q *dns.Message) []byte, args ...string) func(t *testing.T) scene {
	return func(t *testing.T) scene {
		ns := apart(t)
		var web net.Listener
		if err := ns.Do(func() (err error) { web, err = net.Listen("tcp", "127.0.0.1:80"); return err }); err != nil {
			t.Fatal(err)
		}
		serving(t, web, func(c *net.TCPConn) {
			readHead(c)
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
			leave(c)
		})
		for addr, answer := range servers {
			var c net.PacketConn
			if err := ns.Do(func() (err error) { c, err = net.ListenPacket("udp", addr+":53"); return err }); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
			go func() {
				b := make([]byte, 4096)
				for {
					n, from, err := c.ReadFrom(b)
					if err != nil {
						return
					}
					if q, err := dns.Parse(b[:n]); err == nil {
						if a := answer(q); a != nil {
							c.WriteTo(a, from)
						}
					}
				}
			}()
		}
		return scene{args: args, ns: ns, resolv: resolv}
	}
}

// reply is how a name server answers.
type reply struct {
	rcode     dns.Rcode
	truncated bool
	answers   []dns.Resource
}

// to answers a query with those of the records that are of its type, and with
// aliases.
func (r reply) to(q *dns.Message) []byte {
	m := &dns.Message{Header: dns.Header{ID: q.ID, Response: true, RecursionDesired: true, RecursionAvailable: true, Rcode: r.rcode, Truncated: r.truncated}, Questions: q.Questions}
	for _, a := range r.answers {
		if a.Type == q.Questions[0].Type || a.Type == dns.TypeCNAME {
			m.Answers = append(m.Answers, a)
		}
	}
	b, err := m.Append(nil)
	if err != nil {
		panic(err)
	}
	return b
}

// silent is a name server that never answers.
func silent(*dns.Message) []byte { return nil }

// beyond is a network behind a TAP device whose other side is the test: for
// each packet to 192.0.2.9 it sends back what answer makes of it.
func beyond(answer func(packet []byte) []byte, args ...string) func(t *testing.T) scene {
	return func(t *testing.T) scene {
		ns := apart(t)
		var dev *kernel.Device
		if err := ns.Do(func() (err error) { dev, err = kernel.OpenTAP("tap0", false); return err }); err != nil {
			needs.Missing(t, "%v", err)
		}
		t.Cleanup(func() { dev.Close() })
		shell(t, ns, "link", "set", "tap0", "up", "addrgenmode", "none")
		shell(t, ns, "addr", "add", "192.0.2.1/24", "dev", "tap0")
		shell(t, ns, "neigh", "add", "192.0.2.9", "lladdr", "02:00:00:00:00:09", "dev", "tap0")
		go func() {
			b := make([]byte, 4096)
			for {
				n, err := dev.Read(b, &kernel.Offload{})
				if err != nil {
					return
				}
				if n < 54 || b[12] != 8 || b[13] != 0 || ip.View(b[14:n]).Protocol() != ip.ProtoTCP {
					continue
				}
				if a := answer(b[14:n]); a != nil {
					dev.Write(slices.Concat(b[6:12], b[:6], []byte{8, 0}, a), &kernel.Offload{})
				}
			}
		}()
		return scene{args: append(args, "http://192.0.2.9/"), ns: ns}
	}
}

// rejected is an ICMP error of that code from a router on the way, which
// quotes the packet.
func rejected(code byte) func(packet []byte) []byte {
	return func(packet []byte) []byte {
		m := append([]byte{icmp.Unreachable4, code, 0, 0, 0, 0, 0, 0}, packet[:min(len(packet), 28)]...)
		binary.BigEndian.PutUint16(m[2:], ^ip.Sum(0, m))
		h := ip.Header{Src: netip.MustParseAddr("192.0.2.254"), Dst: ip.View(packet).Source(), Protocol: ip.ProtoICMP, TTL: 64}
		return append(h.AppendTo(nil, len(m)), m...)
	}
}
