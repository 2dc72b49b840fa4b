package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync/atomic"

	"github.com/spf13/pflag"

	nameserver "peel/dns/server"
	"peel/internal/kernel"
)

// exposure is how a name server stands towards others than its user.
type exposure struct {
	allow     []string
	rate      int
	slip      int
	noCookies bool
	check     bool
	metrics   string
	queryLog  string
	user      string

	log  *visitLog
	cert atomic.Pointer[tls.Certificate]
}

func (e *exposure) flags(f *pflag.FlagSet) {
	f.StringArrayVar(&e.allow, "allow-recursion", nil, "PREFIX whose clients may have names resolved; may be given again; without it: loopback, private and link-local addresses")
	f.IntVar(&e.rate, "rate-limit", 0, "responses of one kind a second to one network over UDP; 0 for any number")
	f.IntVar(&e.slip, "slip", 2, "of what the rate limit withholds, let every so many out, cut, so that clients come again over TCP")
	f.BoolVar(&e.noCookies, "no-cookies", false, "give clients no DNS cookies (RFC 7873)")
	f.BoolVar(&e.check, "check", false, "read zones, certificates and all else, say what is wrong, and serve nothing")
	f.StringVar(&e.metrics, "metrics", "", "loopback ADDRESS:PORT for /metrics (Prometheus) and /health")
	f.StringVar(&e.queryLog, "query-log", "", "write each query to FILE, a line of JSON each; - for standard output")
	f.StringVar(&e.user, "user", "", "become this user when all ports are open")
}

// prefixes reads addresses and prefixes given with a flag.
func prefixes(flag string, list []string) (out []netip.Prefix, err error) {
	for _, p := range list {
		prefix, err := netip.ParsePrefix(p)
		if a, aerr := netip.ParseAddr(p); aerr == nil {
			prefix, err = netip.PrefixFrom(a, a.BitLen()), nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s %s: neither an address nor a prefix", flag, p)
		}
		out = append(out, prefix.Masked())
	}
	return out, nil
}

// apply sets a server up.
func (e *exposure) apply(s *nameserver.Server) (err error) {
	if s.AllowRecursion = nameserver.LocalNetworks(); len(e.allow) > 0 {
		if s.AllowRecursion, err = prefixes("--allow-recursion", e.allow); err != nil {
			return err
		}
	}
	if e.rate < 0 || e.slip < 0 {
		return errors.New("--rate-limit and --slip take no negative number")
	}
	if e.rate > 0 {
		s.Rate = &nameserver.RateLimit{PerSecond: e.rate, Slip: e.slip}
	}
	if !e.noCookies {
		c := &nameserver.Cookies{}
		for range 4 {
			c.Secret = strconv.AppendUint(c.Secret, kernel.Random64(), 16)
		}
		s.Cookies = c
	}
	if e.metrics != "" {
		a, err := netip.ParseAddrPort(e.metrics)
		if err != nil || !a.Addr().IsLoopback() {
			return fmt.Errorf("--metrics %s: not ADDRESS:PORT of a loopback address; what they tell is not for everybody", e.metrics)
		}
	}
	return nil
}

// notify tells systemd how the service is (sd_notify(3)), where it asks for it.
func notify(state string) {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return
	}
	if path[0] == '@' { // an abstract name
		path = "\x00" + path[1:]
	}
	if c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"}); err == nil {
		_, _ = c.Write([]byte(state))
		c.Close()
	}
}
