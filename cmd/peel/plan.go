package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"peel/client"
	"peel/client/session"
	"peel/internal/cookie"
	"peel/internal/netrc"
	"peel/internal/weburl"
	"peel/wire/httpfield"
)

// plan turns flags and arguments into requests, and finds everything that can
// be found wrong before anything is sent.
func (o *options) plan(flags *pflag.FlagSet, std streams) (*get, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	args := flags.Args()
	if len(args) == 0 {
		return nil, errors.New("no URL given")
	}
	if len(args) > 1 && !strings.ContainsAny(strings.Join(args, ""), ".:/[") {
		return nil, &weburl.NotURL{Input: strings.Join(args, " ")}
	}
	if len(o.outputs) > len(args) {
		return nil, fmt.Errorf("%d times -o for %d URLs", len(o.outputs), len(args))
	}
	g := &get{o: o, std: std}
	header, err := o.header()
	if err != nil {
		return nil, err
	}
	body, contentType, err := o.body(std)
	if err != nil {
		return nil, err
	}
	for i, arg := range args {
		u, err := weburl.Parse(arg)
		if err != nil {
			return nil, err
		}
		r := &session.Request{Method: "GET", URL: u, Input: arg, Header: header.Clone(), KeepMethod: o.method != ""}
		switch {
		case o.get && body != nil:
			query, err := body.all()
			if err != nil {
				return nil, err
			}
			if r.URL, err = withQuery(u, string(query)); err != nil {
				return nil, err
			}
		case body != nil:
			r.Method = "POST"
			r.ContentLength = body.size()
			r.Body = body.open
			if contentType != "" && !header.Has("Content-Type") {
				r.Header.Add("Content-Type", contentType)
			}
		}
		if o.jsonBody != "" && !header.Has("Accept") {
			r.Header.Add("Accept", "application/json")
		}
		if o.head {
			r.Method = "HEAD"
		}
		if o.method != "" {
			r.Method = o.method
		}
		t := target{request: r}
		if i < len(o.outputs) {
			t.output = o.outputs[i]
		}
		g.targets = append(g.targets, t)
	}
	if err := o.clientOptions(&g.client); err != nil {
		return nil, err
	}
	return g, o.sessionOptions(&g.session)
}

func withQuery(u weburl.URL, query string) (weburl.URL, error) {
	s := u.String()
	s, _, _ = strings.Cut(s, "#")
	sep := "?"
	if strings.Contains(s, "?") {
		sep = "&"
	}
	return weburl.Parse(s + sep + query)
}

func (o *options) header() (httpfield.List, error) {
	var l httpfield.List
	for _, h := range o.headers {
		name, value, ok := strings.Cut(h, ":")
		if !ok {
			// curl: 'Name;' sends the field with an empty value.
			if n, empty := strings.CutSuffix(h, ";"); empty {
				return nil, fmt.Errorf("-H %q: a field with an empty value cannot be sent yet", n)
			}
			return nil, fmt.Errorf("-H %q has no colon; write 'Name: value'", h)
		}
		value = strings.Trim(value, " \t")
		if !httpfield.ValidName(name) || !httpfield.ValidValue(value) {
			return nil, fmt.Errorf("-H %q is not a valid header field (RFC 9110 §5): no line breaks or controls, and a name of letters, digits and -", h)
		}
		l.Add(name, value)
	}
	if o.referer != "" {
		l.Add("Referer", o.referer)
	}
	for _, c := range o.cookies {
		if strings.Contains(c, "=") {
			l.Add("Cookie", c)
		}
	}
	return l, nil
}

func (o *options) clientOptions(c *client.Options) error {
	var err error
	if c.MinVersion, c.MaxVersion, err = o.tlsVersions(); err != nil {
		return err
	}
	if c.CipherSuites, err = o.cipherSuites(); err != nil {
		return err
	}
	if c.Curves, err = o.groups(); err != nil {
		return err
	}
	c.Insecure = o.insecure
	c.HTTPSRecords = !o.noHTTPSRecords
	c.ConnectTimeout, c.StallTimeout = seconds(o.connectTimeout), seconds(o.stallTime)
	switch {
	case o.v4:
		c.Family = client.IPv4
	case o.v6:
		c.Family = client.IPv6
	}
	switch {
	case o.http10:
		c.Version = client.OnlyHTTP10
	case o.http11:
		c.Version = client.OnlyHTTP1
	case o.http2:
		c.Version = client.OnlyHTTP2
	case o.prior:
		c.Version = client.PriorHTTP2
	}
	if o.cacert != "" {
		pem, err := os.ReadFile(o.cacert)
		if err != nil {
			return fmt.Errorf("--cacert: %w", err)
		}
		c.Roots = x509.NewCertPool()
		if !c.Roots.AppendCertsFromPEM(pem) {
			return fmt.Errorf("--cacert: %s holds no PEM certificate", o.cacert)
		}
	}
	if o.cert != "" {
		key := o.key
		if key == "" {
			key = o.cert
		}
		pair, err := tls.LoadX509KeyPair(o.cert, key)
		if err != nil {
			return fmt.Errorf("--cert: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	c.Resolver = &client.Resolver{}
	if c.Resolver.Override, err = parseResolve(o.resolve); err != nil {
		return err
	}
	c.Address, err = parseConnectTo(o.connectTo)
	return err
}

// parseResolve reads --resolve: [+]HOST:PORT:ADDRESS[,ADDRESS…].
func parseResolve(list []string) (map[string][]netip.Addr, error) {
	out := map[string][]netip.Addr{}
	for _, s := range list {
		wrong := fmt.Errorf("--resolve %q is not HOST:PORT:ADDRESS", s)
		host, rest, ok := strings.Cut(strings.TrimPrefix(s, "+"), ":")
		if !ok {
			return nil, wrong
		}
		port, addrs, ok := strings.Cut(rest, ":")
		if !ok {
			return nil, wrong
		}
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return nil, fmt.Errorf("--resolve %q: port %q is not between 1 and 65535", s, port)
		}
		key := strings.ToLower(host) + ":" + port
		for _, a := range strings.Split(addrs, ",") {
			ip, err := netip.ParseAddr(strings.Trim(a, "[]"))
			if err != nil {
				return nil, fmt.Errorf("--resolve %q: %q is not an IP address", s, a)
			}
			out[key] = append(out[key], ip)
		}
	}
	return out, nil
}

// parseConnectTo reads --connect-to: HOST1:PORT1:HOST2:PORT2, any of them
// empty for "every" or "the same".
func parseConnectTo(list []string) (func(string, uint16) (client.Target, bool), error) {
	if len(list) == 0 {
		return nil, nil
	}
	type rule struct {
		host1, host2 string
		port1, port2 uint16
		text         string
	}
	var rules []rule
	for _, s := range list {
		parts := splitOutside(s)
		if len(parts) != 4 {
			return nil, fmt.Errorf("--connect-to %q is not HOST1:PORT1:HOST2:PORT2", s)
		}
		r := rule{host1: strings.ToLower(strings.Trim(parts[0], "[]")), host2: strings.Trim(parts[2], "[]"), text: s}
		for i, p := range []*uint16{&r.port1, &r.port2} {
			text := parts[1+2*i]
			if text == "" {
				continue
			}
			n, err := strconv.ParseUint(text, 10, 16)
			if err != nil || n == 0 {
				return nil, fmt.Errorf("--connect-to %q: port %q is not between 1 and 65535", s, text)
			}
			*p = uint16(n)
		}
		rules = append(rules, r)
	}
	return func(host string, port uint16) (client.Target, bool) {
		for _, r := range rules {
			if r.host1 != "" && r.host1 != host || r.port1 != 0 && r.port1 != port {
				continue
			}
			t := client.Target{Host: host, Port: port, Why: "--connect-to " + r.text}
			if r.host2 != "" {
				t.Host = r.host2
			}
			if r.port2 != 0 {
				t.Port = r.port2
			}
			return t, true
		}
		return client.Target{}, false
	}, nil
}

// splitOutside splits at colons that stand outside of brackets.
func splitOutside(s string) []string {
	var out []string
	depth, start := 0, 0
	for i, c := range s {
		switch c {
		case '[':
			depth++
		case ']':
			depth--
		case ':':
			if depth == 0 {
				out = append(out, s[start:i])
				start = i + 1
			}
		}
	}
	return append(out, s[start:])
}

func (o *options) sessionOptions(s *session.Options) error {
	s.Follow = o.follow || o.followTrusted
	s.TrustRedirects = o.followTrusted
	s.MaxRedirects = o.maxRedirects
	s.Raw = o.raw || !o.compressed
	s.UserAgent = o.userAgent
	if o.user != "" {
		s.HasUser = true
		s.User, s.Password, _ = strings.Cut(o.user, ":")
	}
	if o.netrc || o.netrcFile != "" {
		name := o.netrcFile
		if name == "" {
			home, err := os.UserHomeDir()
			if err != nil {
				return fmt.Errorf("--netrc: %w", err)
			}
			name = filepath.Join(home, ".netrc")
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return fmt.Errorf("--netrc: %w", err)
		}
		if s.Netrc, err = netrc.Parse(b); err != nil {
			return fmt.Errorf("--netrc: %s: %w", name, err)
		}
	}
	jar := o.cookieJar != ""
	var files []string
	for _, c := range o.cookies {
		if !strings.Contains(c, "=") {
			files = append(files, c)
			jar = true
		}
	}
	if !jar {
		return nil
	}
	s.Jar = cookie.NewJar()
	for _, name := range files {
		if name == "" {
			continue // curl: -b "" only switches the cookie engine on
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return fmt.Errorf("-b: %w (to send a cookie write name=value)", err)
		}
		if err := s.Jar.ReadFile(b); err != nil {
			return fmt.Errorf("-b: %s: %w", name, err)
		}
	}
	return nil
}
