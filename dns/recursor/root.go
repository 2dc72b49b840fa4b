package recursor

import (
	"net/netip"

	"peel/dns"
)

// rootAddrs are the root servers of the internet, a to m (IANA's named.root).
var rootAddrs = [...][2]string{
	{"198.41.0.4", "2001:503:ba3e::2:30"}, {"170.247.170.2", "2801:1b8:10::b"}, {"192.33.4.12", "2001:500:2::c"},
	{"199.7.91.13", "2001:500:2d::d"}, {"192.203.230.10", "2001:500:a8::e"}, {"192.5.5.241", "2001:500:2f::f"},
	{"192.112.36.4", "2001:500:12::d0d"}, {"198.97.190.53", "2001:500:1::53"}, {"192.36.148.17", "2001:7fe::53"},
	{"192.58.128.30", "2001:503:c27::2:30"}, {"193.0.14.129", "2001:7fd::1"}, {"199.7.83.42", "2001:500:9f::42"},
	{"202.12.27.33", "2001:dc3::35"},
}

// RootServers returns the root servers of the internet.
func RootServers() []Server {
	var out []Server
	for i, a := range rootAddrs {
		out = append(out, Server{
			Name:  dns.MustName(string(rune('a'+i)) + ".root-servers.net"),
			Addrs: []netip.Addr{netip.MustParseAddr(a[0]), netip.MustParseAddr(a[1])},
		})
	}
	return out
}

// RootAnchors returns the DS records of the internet root's keys: that of
// 2017 and that of 2024 (IANA's root-anchors.xml).
func RootAnchors() []dns.Resource {
	var out []dns.Resource
	for _, text := range [...][]string{
		{"20326", "8", "2", "E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D"},
		{"38696", "8", "2", "683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16"},
	} {
		var tokens []dns.Token
		for _, w := range text {
			tokens = append(tokens, dns.Token{Text: w})
		}
		data, err := dns.ParseData(dns.TypeDS, dns.ClassIN, tokens, dns.Name{})
		if err != nil {
			panic(err) // written above
		}
		out = append(out, dns.Resource{Type: dns.TypeDS, Class: dns.ClassIN, TTL: 172800, Data: data})
	}
	return out
}

// HintsOf takes the root's name servers and their addresses out of the
// records of a hints file.
func HintsOf(records []dns.Resource) []Server {
	var out []Server
	for _, rr := range records {
		host, ok := rr.Target()
		if !ok || rr.Type != dns.TypeNS || !rr.Name.IsRoot() {
			continue
		}
		s := Server{Name: host}
		for _, a := range records {
			if addr, ok := a.Addr(); ok && a.Name.EqualFold(host) {
				s.Addrs = append(s.Addrs, addr)
			}
		}
		if len(s.Addrs) > 0 {
			out = append(out, s)
		}
	}
	return out
}
