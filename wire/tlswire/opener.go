package tlswire

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"hash"
	"strings"

	"golang.org/x/crypto/chacha20poly1305"
)

// suite says how records of a cipher suite are protected.
type suite struct {
	key, mac, iv int // lengths in bytes; iv is the part of it that is derived
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

// protections are the ends of the names of cipher suites whose records can be
// opened. The standard library has no AES-CCM, Camellia and ARIA, and nobody
// who may be read today speaks RC4 or 3DES.
var protections = map[string]*suite{
	"AES_128_GCM_SHA256":       {key: 16, iv: 4, kind: gcm, hash: sha256.New},
	"AES_256_GCM_SHA384":       {key: 32, iv: 4, kind: gcm, hash: sha512.New384},
	"CHACHA20_POLY1305_SHA256": {key: 32, iv: 12, kind: chacha, hash: sha256.New},
	"AES_128_CBC_SHA":          {key: 16, mac: 20, kind: cbc, hash: sha256.New, macHash: sha1.New},
	"AES_256_CBC_SHA":          {key: 32, mac: 20, kind: cbc, hash: sha256.New, macHash: sha1.New},
	"AES_128_CBC_SHA256":       {key: 16, mac: 32, kind: cbc, hash: sha256.New, macHash: sha256.New},
	"AES_256_CBC_SHA256":       {key: 32, mac: 32, kind: cbc, hash: sha256.New, macHash: sha256.New},
	"AES_256_CBC_SHA384":       {key: 32, mac: 48, kind: cbc, hash: sha512.New384, macHash: sha512.New384},
}

// suites are those whose records can be opened, by IANA number. The key
// exchange, which comes first in a name, makes no difference once the secrets
// are known.
var suites = openable()

func openable() map[uint16]*suite {
	all := map[uint16]*suite{}
	for id, name := range suiteNames {
		_, end, ok := strings.Cut(name, "_WITH_")
		if !ok {
			end = strings.TrimPrefix(name, "TLS_") // TLS 1.3 names no key exchange
		}
		if s := protections[end]; s != nil {
			all[id] = s
		}
	}
	return all
}

// opener opens the records of one direction under one key.
type opener struct {
	suite   *suite
	version uint16
	aead    cipher.AEAD
	block   cipher.Block
	cbc     cbcMode
	mac     hash.Hash
	iv      []byte
	etm     bool // encrypt_then_mac (RFC 7366)
	seq     uint64
	padding int // of the record opened last
	// padded tells that a record was padded that need not have been, and
	// lastNonce is what came with the last record of it in TLS 1.2.
	padded     bool
	nonceKnown bool
	lastNonce  uint64
	nonce      [12]byte
	aad        [13]byte
	sum        [64]byte
}

// cbcMode is a decrypter that can be used again with another IV.
type cbcMode interface {
	cipher.BlockMode
	SetIV([]byte)
}

var (
	errAuth  = errors.New("it does not authenticate")
	errShort = errors.New("its length does not fit its cipher suite")
)

func (o *opener) setKey(key []byte) (err error) {
	switch o.suite.kind {
	case chacha:
		o.aead, err = chacha20poly1305.New(key)
	default:
		o.block, err = aes.NewCipher(key)
		if err == nil && o.suite.kind == gcm {
			o.aead, err = cipher.NewGCM(o.block)
		}
	}
	return err
}

// record opens a record and appends its content to dst. typ is the content's
// type.
func (o *opener) record(dst, rec []byte) (out []byte, typ byte, err error) {
	o.padding = 0
	switch {
	case o.version == version13:
		out, typ, err = o.record13(dst, rec)
	case o.aead != nil:
		out, err = o.recordAEAD(dst, rec)
	default:
		out, err = o.recordCBC(dst, rec)
	}
	if err != nil {
		return dst, 0, err
	}
	o.seq++
	o.padded = o.padded || o.padding > 0
	if o.lastNonce, o.nonceKnown = o.explicit(rec); o.version != version13 {
		typ = rec[0]
	}
	return out, typ, nil
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
	copy(o.aad[:], rec[:recordHeader])
	out, err := o.aead.Open(dst, o.xorNonce(), rec[recordHeader:], o.aad[:recordHeader])
	if err != nil {
		return dst, 0, errAuth
	}
	// The content type is the last byte that is not zero; the zeros behind it
	// are padding (RFC 8446 §5.4).
	end := len(out)
	for end > n && out[end-1] == 0 {
		end--
	}
	if end == n {
		return dst, 0, errors.New("it holds nothing but padding")
	}
	o.padding = len(out) - end
	return out[:end-1], out[end-1], nil
}

func (o *opener) recordAEAD(dst, rec []byte) ([]byte, error) {
	body := rec[recordHeader:]
	nonce := o.nonce[:]
	if o.suite.kind == chacha {
		nonce = o.xorNonce()
	} else {
		// RFC 5288 §3: 4 bytes are derived, 8 come with the record.
		if len(body) < 8 {
			return dst, errShort
		}
		copy(nonce, o.iv)
		copy(nonce[4:], body[:8])
		body = body[8:]
	}
	if len(body) < o.aead.Overhead() {
		return dst, errShort
	}
	o.header(rec, len(body)-o.aead.Overhead())
	out, err := o.aead.Open(dst, nonce, body, o.aad[:])
	if err != nil {
		return dst, errAuth
	}
	return out, nil
}

// recordCBC is RFC 5246 §6.2.3.2, or with encrypt_then_mac RFC 7366 §3.
func (o *opener) recordCBC(dst, rec []byte) ([]byte, error) {
	body := rec[recordHeader:]
	size := o.block.BlockSize()
	if o.etm {
		end := len(body) - o.suite.mac
		if end < 0 {
			return dst, errShort
		}
		if !o.authentic(rec, body[:end], body[end:]) {
			return dst, errAuth
		}
		body = body[:end]
	}
	if len(body) < 2*size || len(body)%size != 0 {
		return dst, errShort
	}
	if o.cbc == nil {
		o.cbc, _ = cipher.NewCBCDecrypter(o.block, body[:size]).(cbcMode)
	}
	n := len(dst)
	out := append(dst, body[size:]...)
	if o.cbc != nil {
		o.cbc.SetIV(body[:size])
		o.cbc.CryptBlocks(out[n:], out[n:])
	} else {
		cipher.NewCBCDecrypter(o.block, body[:size]).CryptBlocks(out[n:], out[n:])
	}
	// The last byte counts the bytes before it that have its value.
	o.padding = int(out[len(out)-1]) + 1
	end := len(out) - o.padding
	if end < n {
		return dst, errAuth
	}
	for _, b := range out[end:] {
		if int(b) != o.padding-1 {
			return dst, errAuth
		}
	}
	if o.etm {
		return out[:end], nil
	}
	tag := end - o.suite.mac
	if tag < n || !o.authentic(rec, out[n:tag], out[tag:end]) {
		return dst, errAuth
	}
	return out[:tag], nil
}

// header builds what TLS 1.2 authenticates beside the content: sequence
// number, type, version, length.
func (o *opener) header(rec []byte, length int) {
	binary.BigEndian.PutUint64(o.aad[:], o.seq)
	copy(o.aad[8:], rec[:3])
	binary.BigEndian.PutUint16(o.aad[11:], uint16(length))
}

func (o *opener) authentic(rec, content, sum []byte) bool {
	o.header(rec, len(content))
	o.mac.Reset()
	o.mac.Write(o.aad[:])
	o.mac.Write(content)
	return hmac.Equal(o.mac.Sum(o.sum[:0]), sum)
}
