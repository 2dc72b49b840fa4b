package tlswire

import (
	"crypto/hkdf"
	"crypto/hmac"
	"encoding/binary"
	"hash"
)

// earlyData is what becomes of 0-RTT data.
type earlyData uint8

const (
	earlyNone earlyData = iota
	earlyUnsettled
	earlyTaken
	earlyRefused
)

// protection says how the next record of a direction is to be read, and
// derives its keys when they are due.
func (d *Decoder) protection(dir Dir, rec []byte) (verdict, string) {
	switch {
	case d.version == 0:
		return d.protection0(dir, rec)
	case d.version == version13:
		return d.protection13(dir, rec)
	case isDraft13(d.version) && rec[0] == typeData:
		return lost, d.notDecryptable()
	}
	return d.protection12(dir, rec)
}

func shortAlert(rec []byte) bool { return rec[0] == typeAlert && len(rec) == recordHeader+2 }

// protection0 is for what comes before the ServerHello.
func (d *Decoder) protection0(dir Dir, rec []byte) (verdict, string) {
	h := &d.half[dir]
	switch {
	case shortAlert(rec):
		return inClear, ""
	case dir == FromClient && h.hello && !d.half[FromServer].silent():
		// Not before the ServerHello it is known what the client's records
		// after its hello mean: 0-RTT data, a ChangeCipherSpec of either version.
		return later, ""
	case rec[0] != typeData:
		return inClear, ""
	case dir == FromClient && d.retry && !h.hello:
		return skipped, "early data that the server did not take: it sent a HelloRetryRequest"
	case dir == FromClient && !h.hello:
		return lost, "encrypted records without a ClientHello"
	}
	return lost, "encrypted records without a ServerHello"
}

func (d *Decoder) protection13(dir Dir, rec []byte) (verdict, string) {
	g := &d.half[dir].guard
	switch {
	case rec[0] == typeCCS || shortAlert(rec):
		return inClear, "" // middlebox compatibility; an alert for want of keys
	case rec[0] != typeData:
		return wrong, "a record in the clear after the hellos"
	case d.suite == nil:
		return lost, d.notDecryptable()
	case len(rec) > recordHeader+maxSealed13:
		return lost, "a record is longer than 2^14+256 bytes"
	case g.open != nil:
		return sealed, ""
	case g.stage == early:
		return d.protectionEarly(), ""
	case d.rekey13(dir, g.stage):
		return sealed, ""
	}
	return later, ""
}

// protectionEarly is for a client that has offered early data (RFC 8446
// §4.2.10): only EncryptedExtensions tell whether the server takes it.
func (d *Decoder) protectionEarly() verdict {
	g := &d.half[FromClient].guard
	switch {
	case d.earlyData == earlyUnsettled && !d.half[FromServer].silent():
		return later
	case d.earlyData == earlyTaken && d.rekey13(FromClient, early):
		return sealed
	case d.secrets.find(label13(FromClient, handshake), d.clientRandom) == nil:
		return later
	}
	// Nothing says where data ends that is refused or that has no secret: what
	// does not open is tried with the next key.
	g.trial = d.rekey13(FromClient, early) || d.rekey13(FromClient, handshake)
	return sealed
}

func (d *Decoder) protection12(dir Dir, rec []byte) (verdict, string) {
	g := &d.half[dir].guard
	switch {
	case g.stage == clear && rec[0] == typeData:
		return skipped, "application data before the handshake's end"
	case g.stage == clear:
		return inClear, ""
	case g.hs.suite == nil:
		return lost, d.notDecryptable()
	case g.open != nil || d.rekey12(dir):
		return sealed, ""
	}
	return later, ""
}

// awaitsSecret tells that a direction waits for a secret, and not for the
// other side.
func (d *Decoder) awaitsSecret(dir Dir) bool {
	early := d.half[dir].guard.stage == early && d.earlyData == earlyUnsettled
	return d.version != 0 && (!early || d.half[1-dir].silent())
}

func (d *Decoder) notDecryptable() string {
	if d.version < version12 || d.version > version13 {
		return VersionName(d.version) + " is not opened"
	}
	return "cipher suite " + SuiteName(d.suiteID) + " is not opened"
}

// missing says what a direction waits for.
func (d *Decoder) missing(dir Dir) string {
	g := &d.half[dir].guard
	switch {
	case d.version == 0:
		return "encrypted records without a ServerHello"
	case d.suite == nil:
		return d.notDecryptable()
	case d.version == version13 && g.stage != clear:
		return "no key log line " + label13(dir, g.stage) + " for this connection"
	case g.epoch > 1:
		return "no key log line CLIENT_RANDOM for the renegotiation"
	}
	return "no key log line CLIENT_RANDOM for this connection"
}

// label13 names the key log line that opens a stage of a direction.
func label13(dir Dir, s stage) string {
	switch {
	case s == early:
		return "CLIENT_EARLY_TRAFFIC_SECRET"
	case s == handshake && dir == FromClient:
		return "CLIENT_HANDSHAKE_TRAFFIC_SECRET"
	case s == handshake:
		return "SERVER_HANDSHAKE_TRAFFIC_SECRET"
	case dir == FromClient:
		return "CLIENT_TRAFFIC_SECRET_0"
	}
	return "SERVER_TRAFFIC_SECRET_0"
}

// rekey13 takes up the keys of a stage (RFC 8446 §7.3). It is false when the
// secret is not there (yet).
func (d *Decoder) rekey13(dir Dir, s stage) bool {
	secret := d.secrets.find(label13(dir, s), d.clientRandom)
	if secret == nil || !d.useSecret(dir, secret) {
		return false
	}
	g := &d.half[dir].guard
	g.stage, g.epoch = s, int(s)
	return true
}

func (d *Decoder) useSecret(dir Dir, secret []byte) bool {
	s := d.suite
	key, err1 := expandLabel(s, secret, "key", s.key)
	iv, err2 := expandLabel(s, secret, "iv", 12)
	if err1 != nil || err2 != nil {
		return false
	}
	o := &opener{suite: s, version: version13, iv: iv}
	if o.setKey(key) != nil {
		return false
	}
	g := &d.half[dir].guard
	g.open, g.secret = o, secret
	return true
}

// keyUpdate13 goes on to the next generation of a direction's keys (RFC 8446
// §7.2).
func (d *Decoder) keyUpdate13(dir Dir) {
	g := &d.half[dir].guard
	if d.version != version13 || g.stage != application || g.open == nil {
		return
	}
	next, err := expandLabel(d.suite, g.secret, "traffic upd", d.suite.hash().Size())
	if err == nil && d.useSecret(dir, next) {
		g.epoch++
	}
}

// expandLabel is HKDF-Expand-Label with an empty context (RFC 8446 §7.1).
func expandLabel(s *suite, secret []byte, label string, length int) ([]byte, error) {
	full := "tls13 " + label
	info := make([]byte, 0, 4+len(full))
	info = binary.BigEndian.AppendUint16(info, uint16(length))
	info = append(info, byte(len(full)))
	info = append(info, full...)
	info = append(info, 0)
	return hkdf.Expand(s.hash, secret, string(info), length)
}

// rekey12 takes up the keys that the last ChangeCipherSpec of a direction
// started (RFC 5246 §6.3). It is false when the master secret is not there
// (yet).
func (d *Decoder) rekey12(dir Dir) bool {
	g := &d.half[dir].guard
	master := d.secrets.master(g.hs.clientRandom, g.epoch == 1)
	if master == nil {
		return false
	}
	s := g.hs.suite
	seed := append(append([]byte("key expansion"), g.hs.serverRandom...), g.hs.clientRandom...)
	b := prf12(s.hash, master, seed, 2*(s.mac+s.key+s.iv))
	take := func(n int) (own []byte) {
		own = b[n*int(dir) : n*int(dir)+n]
		b = b[2*n:]
		return own
	}
	o := &opener{suite: s, version: version12, etm: g.hs.etm[FromClient] && g.hs.etm[FromServer]}
	if mac := take(s.mac); s.mac > 0 {
		o.mac = hmac.New(s.macHash, mac)
	}
	key := take(s.key)
	o.iv = take(s.iv)
	if o.setKey(key) != nil {
		return false
	}
	g.open = o
	return true
}

// prf12 is the pseudorandom function of TLS 1.2 (RFC 5246 §5).
func prf12(h func() hash.Hash, secret, seed []byte, length int) []byte {
	var out, a []byte
	m := hmac.New(h, secret)
	m.Write(seed)
	a = m.Sum(nil)
	for len(out) < length {
		m.Reset()
		m.Write(a)
		m.Write(seed)
		out = m.Sum(out)
		m.Reset()
		m.Write(a)
		a = m.Sum(a[:0])
	}
	return out[:length]
}
