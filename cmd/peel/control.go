package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"peel/dns"
	"peel/dns/cache"
	"peel/internal/accept"
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

// controlDir is where the sockets of this user's servers stand: a directory
// that is this user's own and that nobody else can write to, made if it has to
// be. Others may have put something else in its place where all can write.
func controlDir(create bool) (*os.File, error) {
	dir := os.Getenv("XDG_RUNTIME_DIR")
	if dir == "" {
		dir = filepath.Join(os.TempDir(), fmt.Sprintf("peel-%d", os.Geteuid()))
		if create {
			if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
				return nil, err
			}
		}
	}
	f, err := os.OpenFile(dir, os.O_RDONLY|onlyDirectory|noFollow, 0)
	if err != nil {
		return nil, err
	}
	if err := ours(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w; set XDG_RUNTIME_DIR to a directory of your own", dir, err)
	}
	return f, nil
}

// controlPath is the socket of the server on a port. It leads through the open
// directory: what was looked at is what is used.
func controlPath(dir *os.File, port int) string {
	name := fmt.Sprintf("peel-dns-%d.sock", port)
	if through := fmt.Sprintf("/proc/self/fd/%d", dir.Fd()); runtime.GOOS == "linux" {
		if _, err := os.Stat(through); err == nil {
			return filepath.Join(through, name)
		}
	}
	return filepath.Join(dir.Name(), name)
}

// Bounds of what those who hold a control socket may cost.
const (
	maxControls  = 8
	controlTime  = 10 * time.Second
	maxControlIn = 64 << 10
)

// serveControl answers on the socket until the returned function is called.
func (s *serveDNS) serveControl(port int) (stop func(), err error) {
	dir, err := controlDir(true)
	if err != nil {
		return nil, err
	}
	path := controlPath(dir, port)
	_ = os.Remove(path) // of a server that did not end well: the port is ours now
	l, err := net.Listen("unix", path)
	if err != nil {
		dir.Close()
		return nil, err
	}
	_ = os.Chmod(path, 0o600)
	done, places := make(chan struct{}), make(chan struct{}, maxControls)
	go func() {
		err := accept.Loop(l, done, func(text string) { s.say("%s", text) }, func(c net.Conn) {
			select {
			case places <- struct{}{}:
			default:
				c.Close()
				return
			}
			go func() {
				defer func() { c.Close(); <-places }()
				c.SetDeadline(time.Now().Add(controlTime))
				var q control
				if json.NewDecoder(io.LimitReader(c, maxControlIn)).Decode(&q) == nil {
					_ = json.NewEncoder(c).Encode(s.control(q))
				}
			}()
		})
		if err != nil {
			s.say("peel dns --cache works no longer: %v", err)
		}
	}()
	return func() { close(done); l.Close(); dir.Close() }, nil
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
	dir, err := controlDir(false)
	var c net.Conn
	if err == nil {
		defer dir.Close()
		c, err = net.Dial("unix", controlPath(dir, port))
	}
	if err != nil {
		if op := (*net.OpError)(nil); errors.As(err, &op) {
			err = op.Err // without the path, which says nothing more
		}
		return fmt.Errorf("no peel serve dns --recursive of this user runs on port %d (%w); give another with --port. "+
			"Caches of other programs, such as nscd and systemd-resolved, are not observed", port, err)
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
