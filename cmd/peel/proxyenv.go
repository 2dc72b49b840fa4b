package main

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
)

// warnOfProxy says once that a proxy which the environment names is not used:
// there are none yet, and a request that goes another way than the person's
// other programs do must not do so in silence.
func (g *get) warnOfProxy() {
	if g.o.silent || g.o.lab {
		return
	}
	for _, t := range g.targets {
		if name := proxyVariable(os.Getenv, t.request.URL.Scheme, t.request.URL.Host); name != "" {
			fmt.Fprintf(g.std.err, "peel: %s is set, and peel does not use proxies yet: going direct to %s\n", name, t.request.URL.Host)
			return
		}
	}
}

// proxyVariable is the name of the variable that gives a proxy for a request to
// a host, as curl reads them: http_proxy in small letters only, because a CGI
// program gets a request's field Proxy as HTTP_PROXY. It is empty where there is
// none, or no_proxy excepts the host.
func proxyVariable(env func(string) string, scheme, host string) string {
	names := []string{scheme + "_proxy", "all_proxy", "ALL_PROXY"}
	if scheme != "http" {
		names = []string{scheme + "_proxy", strings.ToUpper(scheme) + "_PROXY", "all_proxy", "ALL_PROXY"}
	}
	for _, name := range names {
		if env(name) == "" {
			continue
		}
		if excepted(env("no_proxy"), host) || excepted(env("NO_PROXY"), host) {
			return ""
		}
		return name
	}
	return ""
}

// excepted tells whether no_proxy names a host: by itself, a domain above it, a
// prefix of addresses, or * for all.
func excepted(list, host string) bool {
	host = strings.ToLower(strings.Trim(strings.TrimSuffix(host, "."), "[]"))
	ip, ipErr := netip.ParseAddr(host)
	for _, e := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' }) {
		e = strings.ToLower(strings.TrimPrefix(e, "."))
		if e == "*" || e == host || ipErr != nil && strings.HasSuffix(host, "."+e) {
			return true
		}
		if p, err := netip.ParsePrefix(e); err == nil && ipErr == nil && p.Contains(ip) {
			return true
		}
	}
	return false
}
