package stub

import (
	"net/netip"
	"strings"

	"peel/dns"
)

// HostsEntry is one line of /etc/hosts.
type HostsEntry struct {
	Line int
	Addr netip.Addr
	// Names holds the canonical name and then the aliases.
	Names []string
}

// Hosts is /etc/hosts.
type Hosts struct {
	Entries []HostsEntry
	Notes   []Note
}

// ParseHosts reads /etc/hosts (hosts(5)). It never fails: lines that it
// cannot use are in Notes.
func ParseHosts(b []byte) *Hosts {
	h := &Hosts{}
	var n notes
	line := 0
	for text := range strings.Lines(string(b)) {
		line++
		text, _, _ = strings.Cut(text, "#")
		words := strings.Fields(text)
		if len(words) == 0 {
			continue
		}
		addr, err := netip.ParseAddr(words[0])
		switch {
		case err != nil:
			n.add(line, "%.60q is not an IP address", words[0])
		case len(words) == 1:
			n.add(line, "%s has no name", addr)
		default:
			h.Entries = append(h.Entries, HostsEntry{line, addr, words[1:]})
		}
	}
	h.Notes = n
	return h
}

// Lookup returns the entries that carry name, with or without a final dot, in
// the order of the file.
func (h *Hosts) Lookup(name string) []HostsEntry {
	name = strings.TrimSuffix(name, ".")
	var out []HostsEntry
	for _, e := range h.Entries {
		for _, alias := range e.Names {
			if dns.EqualFold(strings.TrimSuffix(alias, "."), name) {
				out = append(out, e)
				break
			}
		}
	}
	return out
}
