package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"

	"peel/dns"
	"peel/dns/zone"
	"peel/internal/kernel"
)

// zoneFile is a zone file as it was read last.
type zoneFile struct {
	origin dns.Name
	stamp  string // of the file and those it includes
	files  []string
}

// load reads a zone file and serves it.
func (s *serveDNS) load(spec string) error {
	origin, file := dns.Name{}, spec
	if name, rest, ok := strings.Cut(spec, "="); ok {
		if _, err := os.Stat(spec); err != nil {
			n, err := dns.ParseName(name)
			if err != nil {
				return fmt.Errorf("--zone %s: %w", spec, err)
			}
			origin, file = n, rest
		}
	}
	// The stamp is taken first: a change while the file is read is seen.
	z := zoneFile{origin: origin, files: []string{file}}
	records, err := readRecords(file, origin, 0, &z.files)
	z.stamp = stamp(z.files)
	s.read[spec] = z
	if err != nil {
		return fmt.Errorf("--zone: %w", err)
	}
	apex, found := origin, !origin.IsRoot()
	for _, rr := range records {
		if rr.Type == dns.TypeSOA {
			apex, found = rr.Name, true
			break
		}
	}
	if !found {
		return fmt.Errorf("--zone: %s has no SOA record that would say which zone it is; give NAME=%s", file, file)
	}
	got, err := zone.New(apex, records...)
	if err != nil {
		return fmt.Errorf("--zone %s: %w", file, err)
	}
	s.zoneSet.Put(got)
	signed := ""
	if got.Signed() {
		signed = ", signed"
	}
	s.say("zone %s: %d records, serial %d%s", apex, len(got.Records()), got.Serial(), signed)
	s.tell(got)
	return nil
}

// anchorTTL is for hints and anchors that have no TTL, as most have none.
const anchorTTL = 86400

// readRecords reads a file of records; ttl is for those without one, and used
// gets the files it includes.
func readRecords(file string, origin dns.Name, ttl uint32, used *[]string) ([]dns.Resource, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return zone.Read(f, file, zone.ReadOptions{Origin: origin, TTL: ttl, Open: func(name string) (io.ReadCloser, error) {
		if !filepath.IsAbs(name) { // beside the file that names it
			name = filepath.Join(filepath.Dir(file), name)
		}
		if used != nil {
			*used = append(*used, name)
		}
		return os.Open(name)
	}})
}

func stamp(files []string) string {
	var b strings.Builder
	for _, f := range files {
		if i, err := os.Stat(f); err == nil {
			fmt.Fprintf(&b, "%d.%d ", i.ModTime().UnixNano(), i.Size())
		}
	}
	return b.String()
}

// tell notifies the secondaries of a new version.
func (s *serveDNS) tell(z *zone.Zone) {
	if s.check {
		return
	}
	for _, to := range s.notify {
		if _, _, err := net.SplitHostPort(to); err != nil {
			to = net.JoinHostPort(to, "53")
		}
		if c, err := net.Dial("udp", to); err == nil {
			_, _ = c.Write(z.Notify(uint16(kernel.Random64())))
			c.Close()
		}
	}
}
