package analyze

import (
	"bytes"

	"peel/evidence/capture"
	"peel/trace"
	"peel/wire/tlswire"
)

// keyRing holds the lines of key logs that belong to no known socket, by
// client random, and the connections that each random is of.
type keyRing struct {
	lines   map[string][][]byte
	waiting map[string][]*tlsConn
	n       int
	order   []string // the randoms, in the order of the log
	tried   int64    // bytes of records of connections without a handshake
	search  int64    // bytes of records that may still be tried behind gaps
	bad     int      // lines that are none
}

// maxKeyLines bounds the lines kept: ten million connections of the newest
// form.
const maxKeyLines = 40_000_000

// shared takes lines of a key log that any connection may be opened by.
func (a *Analyzer) shared(log []byte) {
	for len(log) > 0 {
		line, rest, _ := bytes.Cut(log, []byte("\n"))
		log = rest
		line = bytes.TrimRight(line, "\r")
		label, random, _, err := tlswire.ParseKeyLogLine(line)
		if err != nil {
			a.keys.bad++
			continue
		}
		if label == "" || a.keys.n >= maxKeyLines {
			continue
		}
		a.keys.n++
		if a.keys.lines[string(random)] == nil {
			a.keys.order = append(a.keys.order, string(random))
		}
		a.keys.lines[string(random)] = append(a.keys.lines[string(random)], bytes.Clone(line))
		for _, t := range a.keys.waiting[string(random)] {
			if t.dec != nil && t.dec.SharedSecret(line) {
				t.take(t.dec.Drain())
			}
		}
	}
}

// KeyLog takes a key log (RFC 9850) that opens whatever connections it has
// secrets of. It returns how many of its lines could not be read.
func (a *Analyzer) KeyLog(log []byte) (bad int) {
	before := a.keys.bad
	a.shared(log)
	return a.keys.bad - before
}

// open gives a connection the shared secrets of its client random.
func (c *tlsConn) open() {
	k := &c.c.a.keys
	random := string(c.dec.ClientRandom())
	if c.c.bySocket && !c.inside || random == "" || random == c.random {
		return
	}
	c.random = random
	for _, line := range k.lines[random] {
		c.dec.SharedSecret(line)
	}
	if len(k.waiting) < 1<<16 && len(k.waiting[random]) < 16 {
		k.waiting[random] = append(k.waiting[random], c)
	}
	c.opened = true
}

// Bounds of the search for the secret of a connection whose handshake was
// before the capture, in bytes of records that are tried to be opened: for one
// direction, and for all.
const (
	maxTried      = 128 << 20
	maxTriedInAll = 2 << 30
)

// join looks for the secret that opens the first record of a direction, when
// its handshake was not captured: a key log has secrets of connections, and a
// record that opens proves whose it is. It returns the bytes to read once the
// record is whole.
func (c *tlsConn) join(dir capture.Direction, b []byte, offset int64) ([]byte, int64) {
	c.first[dir] = append(c.first[dir], b...)
	all := c.first[dir]
	start := offset + int64(len(b)) - int64(len(all))
	at, found := tlswire.FindRecord(all)
	all, start = all[at:], start+int64(at)
	rec := tlswire.WholeRecord(all)
	if (rec == nil || !found) && len(all) < 1<<15 {
		return nil, 0
	}
	c.tried[dir], c.first[dir] = true, nil
	k := &c.c.a.keys
	randoms := k.order
	if c.random != "" {
		randoms = []string{c.random} // the other direction has shown it
	}
	if rec == nil || len(randoms) == 0 {
		return all, start
	}
	label := "CLIENT_TRAFFIC_SECRET_0"
	if dir == capture.In {
		label = "SERVER_TRAFFIC_SECRET_0"
	}
	most := min(max(maxTried/(len(rec)*len(randoms)), 8), 1<<15)
	until := min(k.tried+maxTried, maxTriedInAll)
	for _, random := range randoms {
		for _, line := range k.lines[random] {
			l, _, secret, err := tlswire.ParseKeyLogLine(line)
			if err != nil || l != label {
				continue
			}
			if k.tried > until {
				return all, start
			}
			n, ok := c.dec.Join(tlswire.Dir(dir), secret, rec, most)
			k.tried += int64(n) * int64(len(rec))
			if ok {
				c.random = random
				c.facts().Version = tlswire.VersionName(c.dec.Version())
				c.facts().Suite = tlswire.SuiteName(c.dec.Suite())
				e := c.c.a.event(c.c.a.now, trace.LayerTLS, trace.EventTLSJoined, "the handshake was before the capture; a secret of the key log opens the records")
				e.Connection, e.Direction = c.c.tr.ID, dirNames[dir]
				return all, start
			}
		}
	}
	return all, start
}

// maxGapSearch bounds the bytes of records that are tried to be opened behind
// gaps, for all connections together.
const maxGapSearch = 1 << 30
