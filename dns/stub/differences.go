package stub

import (
	"fmt"
	"slices"
	"strings"

	"peel/dns"
)

// Difference is where another resolver library would do otherwise than this
// package's stub, which does as glibc.
type Difference struct {
	// Library is "glibc", "musl" or "Go".
	Library string
	Text    string
}

// Differences says what glibc, musl and Go's own resolver would do otherwise
// for a host with this configuration. It tells only what applies here; asked
// tells whether name servers were asked at all.
func Differences(cfg *Config, host string, asked bool) []Difference {
	var out []Difference
	add := func(library, format string, args ...any) {
		out = append(out, Difference{library, fmt.Sprintf(format, args...)})
	}
	name, err := dns.ParseName(host)
	if err != nil {
		return nil
	}
	ns, conf := cfg.Nsswitch, cfg.Resolv
	if ns == nil {
		ns = ParseNsswitch(nil)
	}
	if conf == nil {
		conf = ParseResolvConf(nil)
	}
	rooted := strings.HasSuffix(host, ".")
	dots := name.NumLabels() - 1
	local := name.IsSubdomainOf(nameLocal)

	// Sources.
	var order, foreign []string
	for _, s := range ns.Sources {
		order = append(order, s.Name)
		if s.Name != "files" && s.Name != "dns" && !isMDNS(s.Name) {
			foreign = append(foreign, s.Name)
		}
	}
	if len(foreign) > 0 {
		add("glibc", "asks %s as well, which peel does not", strings.Join(foreign, ", "))
	}
	if !slices.Equal(order, []string{"files", "dns"}) {
		add("musl", "does not read nsswitch.conf: always /etc/hosts, then name servers")
	}
	handOver := slices.DeleteFunc(slices.Clone(order), func(s string) bool {
		return s == "files" || s == "dns" || s == "myhostname" || isMDNS(s) && !local
	})
	if len(handOver) > 0 {
		add("Go", "hands the lookup to the C library because of %s, or without cgo asks only files and dns", strings.Join(handOver, ", "))
	}
	if local && slices.ContainsFunc(order, isMDNS) {
		add("glibc", "asks Avahi for .local names (nss-mdns); peel asks the link itself")
	}
	if name.IsSubdomainOf(nameLocalhost) && cfg.Hosts != nil && len(cfg.Hosts.Lookup(host)) == 0 {
		add("Go", "asks a name server for %s, as /etc/hosts does not have it", host)
	}

	if !asked {
		return out
	}

	// Search list.
	if len(conf.Search) > 0 && !rooted {
		if dots >= conf.Dots {
			add("musl", "never tries the search list here: the name has %d dots and ndots is %d", dots, conf.Dots)
		} else {
			add("musl", "ends the search at the first suffix under which the name exists without an address, or a server fails; glibc goes on")
		}
	}

	// Servers.
	if n := len(conf.Servers); n > 1 {
		add("musl", "asks all %d name servers at once and takes the first answer, so a dead first one costs nothing and one that says NXDOMAIN wrongly can win", n)
	}
	if conf.Rotate {
		add("musl", "does not know the option rotate")
	}
	if conf.UseTCP {
		add("musl", "does not know the option use-vc, and before 1.2.4 never uses TCP: an answer that is cut stays cut")
	}
	if conf.NoAAAA {
		add("musl", "does not know the option no-aaaa and asks for AAAA")
	}
	if !conf.SingleRequest && !conf.SingleRequestReopen {
		add("glibc", "sends A and AAAA from one port; peel from two (some NATs lose the second of such a pair)")
	}
	if !conf.EDNS0 {
		add("glibc", "sends no EDNS without the option edns0: answers over 512 octets come over TCP")
	}
	return out
}
