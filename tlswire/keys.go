package tlswire

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"

	"golang.org/x/crypto/chacha20poly1305"
)

// ParseKeyLogLine reads one line of a key log: LABEL, the client's random and
// the secret, the latter two in hexadecimal (RFC 9850).
func ParseKeyLogLine(line []byte) (label string, random, secret []byte, err error) {
	var parts [3]string
	n := 0
	for _, f := range splitSpaces(string(line)) {
		if n == 3 {
			return "", nil, nil, errors.New("tlswire: a key log line has three parts")
		}
		parts[n] = f
		n++
	}
	if n != 3 || len(parts[1]) != 64 || len(parts[2]) > 256 {
		return "", nil, nil, errors.New("tlswire: not a key log line: label, 64 hex digits, secret")
	}
	if random, err = hex.DecodeString(parts[1]); err == nil {
		secret, err = hex.DecodeString(parts[2])
	}
	if err != nil {
		return "", nil, nil, fmt.Errorf("tlswire: key log line: %w", err)
	}
	return parts[0], random, secret, nil
}

func splitSpaces(s string) []string {
	var out []string
	start := -1
	for i := 0; i <= len(s); i++ {
		space := i == len(s) || s[i] == ' ' || s[i] == '\t' || s[i] == '\r' || s[i] == '\n'
		switch {
		case space && start >= 0:
			out = append(out, s[start:i])
			start = -1
		case !space && start < 0:
			start = i
		}
	}
	return out
}

// suite says how records of a cipher suite are protected.
type suite struct {
	key, mac, iv int // lengths in bytes; iv is the fixed part
	kind         kind
	hash         func() hash.Hash // of the key schedule
	macHash      func() hash.Hash
}

type kind uint8

const (
	gcm kind = iota
	chacha
	cbc
)

var (
	aes128gcm = suite{key: 16, iv: 4, kind: gcm, hash: sha256.New}
	aes256gcm = suite{key: 32, iv: 4, kind: gcm, hash: sha512.New384}
	chacha20  = suite{key: 32, iv: 12, kind: chacha, hash: sha256.New}
	cbc128    = suite{key: 16, mac: 20, kind: cbc, hash: sha256.New, macHash: sha1.New}
	cbc256    = suite{key: 32, mac: 20, kind: cbc, hash: sha256.New, macHash: sha1.New}
	cbc128s   = suite{key: 16, mac: 32, kind: cbc, hash: sha256.New, macHash: sha256.New}
	cbc256s   = suite{key: 32, mac: 32, kind: cbc, hash: sha256.New, macHash: sha256.New}
	cbc256s3  = suite{key: 32, mac: 48, kind: cbc, hash: sha512.New384, macHash: sha512.New384}
)

// suites are those whose records can be opened, by IANA number. In TLS 1.2
// the key exchange makes no difference once the master secret is known.
var suites = map[uint16]*suite{
	0x1301: &aes128gcm, 0x1302: &aes256gcm, 0x1303: &chacha20,
	0xc02b: &aes128gcm, 0xc02f: &aes128gcm, 0x009c: &aes128gcm, 0x009e: &aes128gcm,
	0xc02c: &aes256gcm, 0xc030: &aes256gcm, 0x009d: &aes256gcm, 0x009f: &aes256gcm,
	0xcca8: &chacha20, 0xcca9: &chacha20, 0xccaa: &chacha20,
	0xc009: &cbc128, 0xc013: &cbc128, 0x002f: &cbc128, 0x0033: &cbc128,
	0xc00a: &cbc256, 0xc014: &cbc256, 0x0035: &cbc256, 0x0039: &cbc256,
	0xc023: &cbc128s, 0xc027: &cbc128s, 0x003c: &cbc128s, 0x0067: &cbc128s,
	0xc024: &cbc256s3, 0xc028: &cbc256s3, 0x003d: &cbc256s, 0x006b: &cbc256s,
}

// opener opens the records of one direction.
type opener struct {
	suite   *suite
	version uint16
	ready   bool
	aead    cipher.AEAD
	block   cipher.Block
	macKey  []byte
	iv      []byte
	etm     bool
	seq     uint64
	nonce   [12]byte
	aad     [13]byte
}

var errAuth = errors.New("it does not authenticate")

// record opens a record and appends its content to dst. typ is the content's
// type.
func (o *opener) record(dst, rec []byte) (out []byte, typ byte, err error) {
	switch {
	case o.suite.kind == cbc:
		return o.cbcRecord(dst, rec)
	case o.version == version13:
		return o.record13(dst, rec)
	}
	return o.record12(dst, rec)
}

// xorNonce is the nonce of TLS 1.3 and of ChaCha20 in 1.2: the IV xor the
// sequence number (RFC 8446 §5.3, RFC 7905 §2).
func (o *opener) xorNonce() []byte {
	copy(o.nonce[:], o.iv)
	for i := range 8 {
		o.nonce[4+i] ^= byte(o.seq >> (56 - 8*i))
	}
	return o.nonce[:]
}

func (o *opener) record13(dst, rec []byte) ([]byte, byte, error) {
	n := len(dst)
	out, err := o.aead.Open(dst, o.xorNonce(), rec[recordHeader:], rec[:recordHeader])
	if err != nil {
		return dst, 0, errAuth
	}
	o.seq++
	// The content type is the last byte that is not zero; the zeros behind it
	// are padding (RFC 8446 §5.4).
	end := len(out)
	for end > n && out[end-1] == 0 {
		end--
	}
	if end == n {
		return dst, 0, errors.New("it holds nothing but padding")
	}
	return out[:end-1], out[end-1], nil
}

func (o *opener) record12(dst, rec []byte) ([]byte, byte, error) {
	body := rec[recordHeader:]
	var nonce []byte
	if o.suite.kind == chacha {
		nonce = o.xorNonce()
	} else {
		if len(body) < 8+o.aead.Overhead() {
			return dst, 0, errors.New("it is too short for its cipher suite")
		}
		copy(o.nonce[:4], o.iv)
		copy(o.nonce[4:], body[:8])
		nonce, body = o.nonce[:], body[8:]
	}
	if len(body) < o.aead.Overhead() {
		return dst, 0, errors.New("it is too short for its cipher suite")
	}
	o.header(rec, len(body)-o.aead.Overhead())
	out, err := o.aead.Open(dst, nonce, body, o.aad[:])
	if err != nil {
		return dst, 0, errAuth
	}
	o.seq++
	return out, rec[0], nil
}

// header builds what TLS 1.2 authenticates beside the content: sequence
// number, type, version, length.
func (o *opener) header(rec []byte, length int) {
	binary.BigEndian.PutUint64(o.aad[:], o.seq)
	copy(o.aad[8:], rec[:3])
	binary.BigEndian.PutUint16(o.aad[11:], uint16(length))
}

func (o *opener) cbcRecord(dst, rec []byte) ([]byte, byte, error) {
	body := rec[recordHeader:]
	size := o.block.BlockSize()
	if o.etm {
		if len(body) < o.suite.mac {
			return dst, 0, errors.New("it is too short for its cipher suite")
		}
		sum := body[len(body)-o.suite.mac:]
		body = body[:len(body)-o.suite.mac]
		o.header(rec, len(body))
		if !o.authentic(body, sum) {
			return dst, 0, errAuth
		}
	}
	if len(body) < 2*size || len(body)%size != 0 {
		return dst, 0, errors.New("its length does not fit its cipher suite")
	}
	n := len(dst)
	out := append(dst, body[size:]...)
	plain := out[n:]
	cipher.NewCBCDecrypter(o.block, body[:size]).CryptBlocks(plain, plain)
	pad := int(plain[len(plain)-1]) + 1
	if pad > len(plain) {
		return dst, 0, errAuth
	}
	plain = plain[:len(plain)-pad]
	if !o.etm {
		if len(plain) < o.suite.mac {
			return dst, 0, errAuth
		}
		sum := plain[len(plain)-o.suite.mac:]
		plain = plain[:len(plain)-o.suite.mac]
		o.header(rec, len(plain))
		if !o.authentic(plain, sum) {
			return dst, 0, errAuth
		}
	}
	o.seq++
	return out[:n+len(plain)], rec[0], nil
}

func (o *opener) authentic(content, sum []byte) bool {
	m := hmac.New(o.suite.macHash, o.macKey)
	m.Write(o.aad[:])
	m.Write(content)
	return hmac.Equal(m.Sum(nil), sum)
}

func newAEAD(s *suite, key []byte) (cipher.AEAD, error) {
	if s.kind == chacha {
		return chacha20poly1305.New(key)
	}
	b, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(b)
}

// label13 names the key log line that opens a stage of a direction.
func label13(dir Dir, s stage) string {
	side := "CLIENT"
	if dir == FromServer {
		side = "SERVER"
	}
	switch s {
	case early:
		return "CLIENT_EARLY_TRAFFIC_SECRET"
	case handshake:
		return side + "_HANDSHAKE_TRAFFIC_SECRET"
	}
	return side + "_TRAFFIC_SECRET_0"
}

// advance13 moves a direction to its next stage (RFC 8446 §7.3): from the
// clear to 0-RTT or the handshake keys, from those to the application's. It
// is false when the secret is not there (yet).
func (d *Decoder) advance13(dir Dir) bool {
	h := &d.half[dir]
	switch {
	case h.stage == handshake:
		// Without the secret the direction waits at its next record.
		if !d.rekey13(dir, application) {
			h.open = nil
			h.stage = application
			return false
		}
		return true
	case h.stage == application:
		return d.rekey13(dir, application)
	case dir == FromClient && d.earlyOffered && h.stage == clear:
		if d.rekey13(dir, early) {
			return true
		}
		h.skipping = true
	}
	return d.rekey13(dir, handshake)
}

// rekey13 opens a stage by its secret.
func (d *Decoder) rekey13(dir Dir, s stage) bool {
	secret := d.secrets[label13(dir, s)]
	if secret == nil || d.suite == nil {
		return false
	}
	return d.useSecret(dir, s, secret)
}

func (d *Decoder) useSecret(dir Dir, s stage, secret []byte) bool {
	key, err1 := expandLabel(d.suite, secret, "key", d.suite.key)
	iv, err2 := expandLabel(d.suite, secret, "iv", 12)
	if err1 != nil || err2 != nil {
		return false
	}
	aead, err := newAEAD(d.suite, key)
	if err != nil {
		return false
	}
	h := &d.half[dir]
	h.open = &opener{suite: d.suite, version: version13, ready: true, aead: aead, iv: iv}
	h.stage, h.traced = s, secret
	return true
}

// keyUpdate13 goes on to the next generation of a direction's keys (RFC 8446
// §7.2).
func (d *Decoder) keyUpdate13(dir Dir) {
	h := &d.half[dir]
	if d.version != version13 || h.stage != application || h.traced == nil {
		return
	}
	next, err := expandLabel(d.suite, h.traced, "traffic upd", d.suite.hash().Size())
	if err == nil {
		d.useSecret(dir, application, next)
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

// opener12 derives a direction's keys in TLS 1.2 (RFC 5246 §6.3). When the
// master secret is not there, the opener is not ready and records wait.
func (d *Decoder) opener12(dir Dir) *opener {
	o := &opener{suite: d.suite, version: version12}
	if d.suite == nil {
		o.suite = &suite{}
		return o
	}
	o.ready = d.keys12(dir, o)
	return o
}

func (d *Decoder) keys12(dir Dir, o *opener) bool {
	master := d.secrets["CLIENT_RANDOM"]
	if master == nil {
		return false
	}
	s := d.suite
	seed := append(append([]byte("key expansion"), d.serverRandom...), d.clientRandom...)
	b := prf12(s.hash, master, seed, 2*(s.mac+s.key+s.iv))
	take := func(n int) (c, v []byte) {
		c, v = b[:n], b[n:2*n]
		b = b[2*n:]
		return c, v
	}
	cm, sm := take(s.mac)
	ck, sk := take(s.key)
	ci, si := take(s.iv)
	key := ck
	o.macKey, o.iv = cm, ci
	if dir == FromServer {
		o.macKey, o.iv, key = sm, si, sk
	}
	var err error
	if s.kind == cbc {
		o.block, err = aes.NewCipher(key)
		o.etm = d.etm[FromClient] && d.etm[FromServer]
	} else {
		o.aead, err = newAEAD(s, key)
	}
	return err == nil
}

// prf12 is the pseudorandom function of TLS 1.2 (RFC 5246 §5).
func prf12(h func() hash.Hash, secret, seed []byte, length int) []byte {
	var out []byte
	a := seed
	for len(out) < length {
		m := hmac.New(h, secret)
		m.Write(a)
		a = m.Sum(nil)
		m = hmac.New(h, secret)
		m.Write(a)
		m.Write(seed)
		out = m.Sum(out)
	}
	return out[:length]
}
