package tlswire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
)

// ParseKeyLogLine reads one line of a key log (RFC 9850): a label, the
// client's random of 32 bytes and the secret, both in hexadecimal, with one
// space between. The line may end with LF or CRLF. A comment and an empty
// line give an empty label and no error.
func ParseKeyLogLine(line []byte) (label string, random, secret []byte, err error) {
	line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
	if len(line) == 0 || line[0] == '#' {
		return "", nil, nil, nil
	}
	name, rest, _ := bytes.Cut(line, []byte(" "))
	randomHex, secretHex, ok := bytes.Cut(rest, []byte(" "))
	if !ok {
		return "", nil, nil, errors.New("tlswire: key log line: a label, a client random and a secret with one space between are wanted")
	}
	if len(name) == 0 || len(name) > 64 {
		return "", nil, nil, fmt.Errorf("tlswire: key log line: a label of %d bytes", len(name))
	}
	for _, c := range name {
		if (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' {
			return "", nil, nil, fmt.Errorf("tlswire: key log line: %q in the label", c)
		}
	}
	if random, err = decodeHex(randomHex); err != nil || len(random) != 32 {
		return "", nil, nil, fmt.Errorf("tlswire: key log line: a client random of 64 hexadecimal digits is wanted, not %d bytes", len(randomHex))
	}
	// ECH_CONFIG is the longest known value; it carries keys for some groups.
	if secret, err = decodeHex(secretHex); err != nil || len(secret) == 0 || len(secret) > 4096 {
		return "", nil, nil, fmt.Errorf("tlswire: key log line: a secret in hexadecimal digits is wanted, not %d bytes", len(secretHex))
	}
	if want := secretSizes[string(name)]; want[0] > 0 && len(secret) != want[0] && len(secret) != want[1] {
		return "", nil, nil, fmt.Errorf("tlswire: key log line: %s of %d bytes", name, len(secret))
	}
	return string(name), random, secret, nil
}

func decodeHex(b []byte) ([]byte, error) {
	out := make([]byte, hex.DecodedLen(len(b)))
	_, err := hex.Decode(out, b)
	return out, err
}

// secretSizes are the lengths that secrets can have: of a hash with 256 or 384
// bits, or of a master secret (RFC 5246 §8.1).
var secretSizes = map[string][2]int{
	"CLIENT_RANDOM":                   {48, 48},
	"CLIENT_EARLY_TRAFFIC_SECRET":     {32, 48},
	"CLIENT_HANDSHAKE_TRAFFIC_SECRET": {32, 48},
	"SERVER_HANDSHAKE_TRAFFIC_SECRET": {32, 48},
	"CLIENT_TRAFFIC_SECRET_0":         {32, 48},
	"SERVER_TRAFFIC_SECRET_0":         {32, 48},
}

// maxSecrets bounds the lines kept for one connection: a handshake has six at
// most, the rest is for renegotiations.
const maxSecrets = 64

// secrets are the lines known of a connection.
type secrets struct {
	lines   []keyLine
	resumed []byte // the master secret of the session before
}

type keyLine struct {
	label          string
	random, secret []byte
}

func (s *secrets) add(label string, random, secret []byte) {
	if _, used := secretSizes[label]; !used || len(s.lines) >= maxSecrets {
		return
	}
	s.lines = append(s.lines, keyLine{label, random, secret})
}

// exact returns the secret whose line has that client random.
func (s *secrets) exact(label string, random []byte) []byte {
	for _, l := range s.lines {
		if l.label == label && bytes.Equal(l.random, random) {
			return l.secret
		}
	}
	return nil
}

// find returns a secret by its random, or else the last line of its kind: all
// lines are of this connection, and an encrypted ClientHello has its own
// random.
func (s *secrets) find(label string, random []byte) []byte {
	if found := s.exact(label, random); found != nil {
		return found
	}
	for i := len(s.lines) - 1; i >= 0; i-- {
		if s.lines[i].label == label {
			return s.lines[i].secret
		}
	}
	return nil
}

// master returns the master secret of a TLS 1.2 handshake, nil before it is
// known. Of the first handshake the random need not match.
func (s *secrets) master(random []byte, first bool) []byte {
	const label = "CLIENT_RANDOM"
	switch found := s.exact(label, random); {
	case random == nil:
		return nil
	case found != nil:
		return found
	case s.resumed != nil:
		return s.resumed
	case first:
		return s.find(label, random)
	}
	return nil
}
