package client

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"slices"
	"time"

	"peel/dns"
	"peel/evidence/capture"
	"peel/evidence/decision"
	words "peel/evidence/failure"
	"peel/internal/pki"
	"peel/trace"
	"peel/wire/tlswire"
)

// verdictError ends a handshake because of the certificate.
type verdictError struct{ verdict pki.Verdict }

func (e *verdictError) Error() string { return e.verdict.Title }

// alpn lists the protocols offered to an origin: of those that the client
// speaks, the ones that the origin's HTTPS record has (RFC 9460 §7.1.2).
func (c *Client) alpn(service *dns.SVCB) []string {
	all := c.versions()
	if service == nil {
		return all
	}
	both := slices.DeleteFunc(slices.Clone(all), func(p string) bool { return !slices.Contains(service.Protocols(), p) })
	if len(both) == 0 {
		return all // the record is for other clients
	}
	return both
}

func (c *Client) versions() []string {
	switch c.opt.Version {
	case OnlyHTTP1, OnlyHTTP10:
		return []string{"http/1.1"}
	case OnlyHTTP2, PriorHTTP2:
		return []string{"h2"}
	}
	return []string{"h2", "http/1.1"}
}

// secure makes a TLS connection and returns the protocol that was agreed on.
func (c *Client) secure(ctx context.Context, o Origin, t *tap, service *dns.SVCB) (net.Conn, string, error) {
	name := o.Host
	if c.opt.ServerName != "" {
		name = c.opt.ServerName
	}
	var seen handshake
	cfg := &tls.Config{
		ServerName:       name,
		NextProtos:       c.alpn(service),
		MinVersion:       c.opt.MinVersion,
		MaxVersion:       c.opt.MaxVersion,
		CipherSuites:     c.opt.CipherSuites,
		CurvePreferences: c.opt.Curves,
		GetClientCertificate: func(wanted *tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return seen.certificate(wanted, c.opt.Certificates)
		},
		ClientSessionCache: c.sessions,
		// The chain is judged by VerifyConnection below, with the same
		// verifier: this way the verdict has words, and is recorded whether
		// it is good or bad.
		InsecureSkipVerify: true,
		VerifyConnection: func(cs tls.ConnectionState) error {
			seen.agreed = true
			return c.judge(t.socket, name, cs)
		},
	}
	if c.rec != nil {
		cfg.KeyLogWriter = c.rec.KeyLog(t.socket)
	}
	about := capture.About{Socket: t.socket}
	c.rec.Decide(about, &decision.TLSStarted{ServerName: name, ALPN: cfg.NextProtos})
	conn := tls.Client(t, cfg)
	failed := func(e *Error) (net.Conn, string, error) {
		c.rec.Decide(about, &decision.TLSFailed{Code: e.Code, Seen: e.Seen})
		return nil, "", e
	}
	if err := conn.HandshakeContext(ctx); err != nil {
		if ctx.Err() != nil {
			return failed(cancelled(ctx, trace.LayerTLS, "waiting for the TLS handshake with "+t.RemoteAddr().String()))
		}
		return failed(tlsFailure(t.RemoteAddr().String(), err, c.offer(cfg), seen))
	}
	cs := conn.ConnectionState()
	c.rec.Decide(about, &decision.TLSDone{ALPN: cs.NegotiatedProtocol})
	if c.opt.Version == OnlyHTTP2 && cs.NegotiatedProtocol != "h2" {
		conn.Close()
		return failed(failure(trace.LayerTLS, trace.FailALPN, o.Host+" did not choose h2 in ALPN (it chose "+quoteOrNothing(cs.NegotiatedProtocol)+")",
			"the server, or the load balancer in front of it, does not offer HTTP/2 here", nil).hint(trace.HintHTTP1))
	}
	return &secured{conn, seen}, cs.NegotiatedProtocol, nil
}

// handshake is what a handshake has shown that its failure is judged by.
type handshake struct {
	agreed        bool // the server chose version and suite
	wanted, given bool // a client certificate
}

// certificate answers a CertificateRequest as crypto/tls would by itself.
func (h *handshake) certificate(wanted *tls.CertificateRequestInfo, own []tls.Certificate) (*tls.Certificate, error) {
	h.agreed, h.wanted = true, true
	for i := range own {
		if wanted.SupportsCertificate(&own[i]) == nil {
			h.given = true
			return &own[i], nil
		}
	}
	return &tls.Certificate{}, nil
}

// alert fills in an alert of the server.
func (h handshake) alert(a words.TLSAlert) words.TLSAlert {
	a.Agreed, a.Wanted, a.Given = h.agreed, h.wanted, h.given
	return a
}

// offer is what a ClientHello with that configuration offers.
func (c *Client) offer(cfg *tls.Config) words.TLSAlert {
	a := words.TLSAlert{Protocols: cfg.NextProtos}
	if _, err := netip.ParseAddr(cfg.ServerName); err != nil {
		a.Name = cfg.ServerName // for an address no name is sent (RFC 6066 §3)
	}
	low, high := cfg.MinVersion, cfg.MaxVersion
	if low == 0 {
		low = tls.VersionTLS12
	}
	if high == 0 {
		high = tls.VersionTLS13
	}
	for v := high; v >= low; v-- {
		a.Versions = append(a.Versions, tlswire.VersionName(v))
	}
	return a
}

// secured is a TLS connection that remembers its handshake: in TLS 1.3 the
// server's judgement on it comes as the first read fails.
type secured struct {
	*tls.Conn
	seen handshake
}

func (s *secured) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	if err != nil {
		if _, ok := remoteAlert(err); ok {
			err = &alertError{err, s.seen}
		}
	}
	return n, err
}

// alertError is an alert of the server after the handshake.
type alertError struct {
	error
	seen handshake
}

func (e *alertError) Unwrap() error { return e.error }

func quoteOrNothing(s string) string {
	if s == "" {
		return "nothing"
	}
	return `"` + s + `"`
}

// judge decides about the peer's chain and records the decision.
func (c *Client) judge(socket uint32, name string, cs tls.ConnectionState) error {
	v := pki.Judge(cs.PeerCertificates, pki.JudgeOptions{Name: name, Roots: c.opt.Roots, Now: c.clock.Now().Std()})
	c.rec.Decide(capture.About{Socket: socket}, &decision.TLSVerdict{OK: v.OK, Code: v.Code, Reason: v.Title, Explanation: v.Explanation, Try: v.Try, Hint: v.Hint,
		Ignored: !v.OK && c.opt.Insecure})
	if v.OK || c.opt.Insecure {
		return nil
	}
	return &verdictError{v}
}

// closeNotify is how long closing waits to send the TLS close_notify alert.
const closeNotify = 100 * time.Millisecond

// sayGoodbye ends TLS properly before the socket is closed (RFC 8446 §6.1).
func sayGoodbye(conn any) {
	if tc, ok := conn.(*secured); ok {
		tc.SetWriteDeadline(time.Now().Add(closeNotify))
		tc.CloseWrite()
	}
}
