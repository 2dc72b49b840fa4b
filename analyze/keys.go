package analyze

import (
	"bytes"

	"peel/tlswire"
)

// keyRing holds the lines of key logs that belong to no known socket, by
// client random, and the connections that each random is of.
type keyRing struct {
	lines   map[string][][]byte
	waiting map[string][]*tlsConn
	n       int
	// unused counts randoms that no connection had; others are errors in a
	// log.
	bad int
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
	if c.c.bySocket || random == "" || random == c.random {
		return
	}
	c.random = random
	for _, line := range k.lines[random] {
		c.dec.SharedSecret(line)
	}
	if len(k.waiting) < 1<<16 {
		k.waiting[random] = append(k.waiting[random], c)
	}
	c.opened = true
}
