package stub

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"peel/dns"
)

// Note is a remark on one line of a configuration file.
type Note struct {
	// Line counts from 1; 0 is a remark on the whole file.
	Line int
	Text string
}

// maxNotes bounds the remarks kept on one file.
const maxNotes = 100

type notes []Note

func (n *notes) add(line int, format string, args ...any) {
	if len(*n) < maxNotes {
		*n = append(*n, Note{line, fmt.Sprintf(format, args...)})
	}
}

// Limits that the C library sets to resolv.conf.
const (
	maxServers  = 3
	maxDots     = 15
	maxTimeout  = 30
	maxAttempts = 5
	// maxSearch is this package's own: the C library has had none since 2.26.
	maxSearch = 64
)

// ResolvConf is /etc/resolv.conf as the C library reads it (resolv.conf(5)).
// The zero value is not usable; ParseResolvConf(nil) gives the defaults.
type ResolvConf struct {
	// Servers are asked in this order. Port 53 unless set otherwise.
	Servers []netip.AddrPort
	Search  []dns.Name
	// Dots is how many dots a name must have to be tried as it stands first.
	Dots int
	// Timeout is how long the first server has to answer; see timeout.
	Timeout time.Duration
	// Attempts is how often the list of servers is gone through.
	Attempts int

	Rotate              bool // start with another server each time
	UseTCP              bool // use-vc
	EDNS0               bool // told only: a lookup uses EDNS unless Config.NoEDNS
	SingleRequest       bool // A and AAAA one after the other
	SingleRequestReopen bool // as SingleRequest: each query has its own socket anyway
	TrustAD             bool
	NoAAAA              bool
	NoTLDQuery          bool // never try a name without a dot as it stands

	Notes []Note
}

// ParseResolvConf reads resolv.conf. It never fails: what it cannot use is in
// Notes, and what is missing has the C library's default.
func ParseResolvConf(b []byte) *ResolvConf {
	c := &ResolvConf{Dots: 1, Timeout: 5 * time.Second, Attempts: 2}
	var n notes
	var extra int
	line := 0
	for text := range strings.Lines(string(b)) {
		line++
		text = strings.TrimRight(text, "\r\n")
		if text == "" || text[0] == '#' || text[0] == ';' {
			continue
		}
		words := strings.Fields(text)
		if len(words) == 0 {
			continue
		}
		if text[0] == ' ' || text[0] == '\t' {
			n.add(line, "%.40q begins with a blank, so the C library does not see it", strings.TrimSpace(text))
			continue
		}
		args := words[1:]
		switch words[0] {
		case "nameserver":
			extra += c.server(args, line, &n)
		case "domain":
			c.search(args[:min(1, len(args))], line, &n)
		case "search":
			c.search(args, line, &n)
		case "options":
			for _, o := range args {
				c.option(o, line, &n)
			}
		case "sortlist":
			n.add(line, "sortlist is not used: addresses are ordered by RFC 6724")
		default:
			n.add(line, "keyword %.40q is not known", words[0])
		}
	}
	if extra > 0 {
		n.add(0, "%d nameservers more than the %d that are used", extra, maxServers)
	}
	if len(c.Servers) == 0 {
		c.Servers = []netip.AddrPort{netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 53)}
		n.add(0, "no nameserver, so 127.0.0.1 is asked")
	}
	c.Notes = n
	return c
}

func (c *ResolvConf) server(args []string, line int, n *notes) (extra int) {
	if len(args) == 0 {
		n.add(line, "nameserver without an address")
		return 0
	}
	text, _, _ := strings.Cut(args[0], "#")
	text, _, _ = strings.Cut(text, ";")
	addr, err := netip.ParseAddr(text)
	if err != nil {
		n.add(line, "nameserver %.60q is not an IP address", args[0])
		return 0
	}
	if len(c.Servers) == maxServers {
		n.add(line, "nameserver %s is not used: the C library stops after %d", addr, maxServers)
		return 1
	}
	c.Servers = append(c.Servers, netip.AddrPortFrom(addr.Unmap(), 53))
	return 0
}

// search replaces what an earlier domain or search line said.
func (c *ResolvConf) search(args []string, line int, n *notes) {
	if len(args) == 0 {
		n.add(line, "no domain given")
		return
	}
	if c.Search != nil {
		n.add(line, "replaces the search list of a line before")
	}
	c.Search = []dns.Name{}
	for _, a := range args {
		name, err := dns.ParseName(a)
		switch {
		case err != nil:
			n.add(line, "search domain %.60q: %v", a, err)
		case len(c.Search) == maxSearch:
			n.add(line, "search domain %.60q is not used: %d are enough", a, maxSearch)
		default:
			c.Search = append(c.Search, name)
		}
	}
}

func (c *ResolvConf) option(o string, line int, n *notes) {
	key, value, hasValue := strings.Cut(o, ":")
	number := func(def, low, high int) int {
		v, err := strconv.Atoi(value)
		switch {
		case err != nil:
			n.add(line, "option %.60q needs a number", o)
			return def
		case v > high:
			n.add(line, "option %s: the C library caps it at %d", o, high)
			return high
		case v < low:
			n.add(line, "option %.60q: taken as %d", o, low)
			return low
		}
		return v
	}
	flag := map[string]*bool{
		"rotate": &c.Rotate, "use-vc": &c.UseTCP, "usevc": &c.UseTCP, "edns0": &c.EDNS0,
		"single-request": &c.SingleRequest, "single-request-reopen": &c.SingleRequestReopen,
		"trust-ad": &c.TrustAD, "no-aaaa": &c.NoAAAA, "no-tld-query": &c.NoTLDQuery,
	}[key]
	switch {
	case flag != nil && !hasValue:
		*flag = true
	case key == "ndots":
		c.Dots = number(c.Dots, 0, maxDots)
	case key == "timeout":
		c.Timeout = time.Duration(number(int(c.Timeout/time.Second), 1, maxTimeout)) * time.Second
	case key == "attempts":
		c.Attempts = number(c.Attempts, 1, maxAttempts)
	case o == "debug", o == "no-check-names", o == "inet6", o == "ip6-bytestring", o == "ip6-dotint", o == "no-ip6-dotint", o == "no-reload":
		n.add(line, "option %s changes nothing here", o)
	default:
		n.add(line, "option %.60q is not known", o)
	}
}

// timeout is how long the server in the given place has to answer. The C
// library doubles the time from server to server and divides it by their
// number, in whole seconds: 5, 3, 6 s for three servers.
func (c *ResolvConf) timeout(place int) time.Duration {
	if place == 0 {
		return c.Timeout
	}
	seconds := int64(c.Timeout/time.Second) << min(place, maxDots) / int64(max(1, len(c.Servers)))
	if c.Timeout < time.Second { // set by a program, not by a file
		return c.Timeout
	}
	return time.Duration(max(1, seconds)) * time.Second
}
