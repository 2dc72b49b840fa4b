package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"peel/dns"
	"peel/dns/cache"
)

// control is what peel dns --cache asks of a running peel serve dns, over a
// socket that only its user can open.
type control struct {
	Flush bool   `json:"flush"`
	Name  string `json:"name"`
	Below bool   `json:"below"`
}

// names is which names are meant: a name, or all. A name that is none is never
// all.
func (q control) names() (name dns.Name, all bool, err error) {
	if q.Name == "" {
		return dns.Name{}, true, nil
	}
	name, err = dns.ParseName(q.Name)
	return name, false, err
}

// controlReply is the answer.
type controlReply struct {
	// Error is what is wrong with the question; nothing was done then.
	Error   string      `json:"error,omitempty"`
	Flushed int         `json:"flushed,omitempty"`
	Stats   cache.Stats `json:"stats"`
	Lines   []cacheLine `json:"entries"`
}

// cacheLine is one cache entry.
type cacheLine struct {
	Name     string       `json:"name"`
	Type     string       `json:"type"`
	Rcode    string       `json:"rcode"`
	TTL      uint32       `json:"ttl"`
	Original uint32       `json:"original_ttl"`
	Security string       `json:"security"`
	From     string       `json:"from"`
	Records  []recordJSON `json:"records,omitempty"`
	Reason   string       `json:"reason,omitempty"`
}

// defaultServePort is where peel serve dns answers.
const defaultServePort = 5300

// controlPath is the socket of the server on a port.
func controlPath(port int) string {
	dir := os.Getenv("XDG_RUNTIME_DIR")
	if dir == "" {
		dir = filepath.Join(os.TempDir(), fmt.Sprintf("peel-%d", os.Getuid()))
	}
	return filepath.Join(dir, fmt.Sprintf("peel-dns-%d.sock", port))
}

// serveControl answers on the socket until the returned function is called.
func (s *serveDNS) serveControl(port int) (stop func(), err error) {
	path := controlPath(port)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	_ = os.Remove(path) // of a server that did not end well: the port is ours now
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	_ = os.Chmod(path, 0o600)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				var q control
				if json.NewDecoder(c).Decode(&q) == nil {
					_ = json.NewEncoder(c).Encode(s.control(q))
				}
			}()
		}
	}()
	return func() { l.Close() }, nil
}

func (s *serveDNS) control(q control) controlReply {
	var r controlReply
	name, all, err := q.names()
	if err != nil {
		return controlReply{Error: err.Error()}
	}
	if q.Flush {
		r.Flushed = s.resolver.Flush(name, q.Below || all)
	}
	entries, stats := s.resolver.CacheEntries()
	r.Stats = stats
	for _, e := range entries {
		if !all && !e.Name.IsSubdomainOf(name) {
			continue
		}
		line := cacheLine{Name: e.Name.String(), Type: e.Type.String(), Rcode: e.Rcode.String(), Original: e.TTL,
			Security: e.Security.String(), Reason: e.Reason, From: rankNames[e.Rank]}
		if e.Rcode == dns.RcodeNXDomain {
			line.Type = "-"
		}
		if rrs := append(e.Records, e.Proofs...); len(rrs) > 0 {
			line.TTL = rrs[0].TTL
		}
		line.Records = recordsJSON(e.Records)
		r.Lines = append(r.Lines, line)
	}
	return r
}

var rankNames = map[cache.Rank]string{cache.Glue: "glue", cache.Referral: "referral", cache.Authority: "authority", cache.Answer: "answer"}

// showCache lists or flushes the cache of a running server.
func (d *dnsCommand) showCache() error {
	port := int(d.port)
	if port == 0 {
		port = defaultServePort
	}
	c, err := net.Dial("unix", controlPath(port))
	if err != nil {
		return fmt.Errorf("no peel serve dns --recursive of this user runs on port %d (%v); give another with --port. "+
			"Caches of other programs, such as nscd and systemd-resolved, are not observed", port, errors.Unwrap(err))
	}
	defer c.Close()
	if err := json.NewEncoder(c).Encode(control{Flush: d.flush, Name: d.name, Below: d.below}); err != nil {
		return err
	}
	var r controlReply
	if err := json.NewDecoder(c).Decode(&r); err != nil {
		return err
	}
	if r.Error != "" {
		return errors.New(r.Error)
	}
	if d.json != "" {
		return d.printJSON(r)
	}
	if d.flush {
		fmt.Fprintf(d.std.out, "forgot %d entries; %d are left\n", r.Flushed, r.Stats.Entries)
		return nil
	}
	for _, l := range r.Lines {
		notes := l.From + ", " + l.Security
		if l.Reason != "" {
			notes += ": " + l.Reason
		}
		if len(l.Records) == 0 {
			what := "no " + l.Type
			if l.Rcode == "NXDOMAIN" {
				what = "no such name"
			}
			fmt.Fprintf(d.std.out, "%s %d IN ; %s (%s)\n", l.Name, l.TTL, what, notes)
		}
		for _, rr := range l.Records {
			fmt.Fprintf(d.std.out, "%s %d %s %s %s ; of %d s (%s)\n", rr.Name, rr.TTL, rr.Class, rr.Type, rr.Data, l.Original, notes)
		}
	}
	fmt.Fprintf(d.std.out, ";; %d entries, about %d kB; %d hits, %d misses, %d thrown out for room\n", r.Stats.Entries, r.Stats.Bytes/1000, r.Stats.Hits, r.Stats.Misses, r.Stats.Evicted)
	return nil
}
