package analyze

import (
	"bytes"
	"compress/zlib"
	"testing"

	"github.com/andybalholm/brotli"

	"peel/wire/tlswire"
)

// A Certificate message that comes compressed is the same as one that does not.
func TestCompressedCertificate(t *testing.T) {
	body := append([]byte{0, 0, 0, 8, 0, 0, 3}, "der\x00\x00"...)
	number := func(n int) []byte { return []byte{byte(n >> 16), byte(n >> 8), byte(n)} }
	message := func(algorithm byte, length int, packed []byte) []byte {
		b := append([]byte{0, algorithm}, number(length)...)
		b = append(append(b, number(len(packed))...), packed...)
		return append(append([]byte{byte(tlswire.TypeCompressedCert)}, number(len(b))...), b...)
	}
	var z, br bytes.Buffer
	w := zlib.NewWriter(&z)
	w.Write(body)
	w.Close()
	v := brotli.NewWriter(&br)
	v.Write(body)
	v.Close()
	for _, msg := range [][]byte{message(1, len(body), z.Bytes()), message(2, len(body), br.Bytes())} {
		ders, err := tlswire.ParseCertificate(0x0304, unpackCertificate(msg))
		if err != nil || len(ders) != 1 || string(ders[0]) != "der" {
			t.Errorf("%q, %v", ders, err)
		}
	}
	bomb := new(bytes.Buffer)
	w = zlib.NewWriter(bomb)
	w.Write(make([]byte, 10<<20))
	w.Close()
	for name, msg := range map[string][]byte{"wrong length": message(1, len(body)+1, z.Bytes()), "unknown": message(9, len(body), z.Bytes()), "cut": message(1, len(body), z.Bytes()[:8]),
		"bomb": message(1, maxUnpacked, bomb.Bytes())} {
		if b := unpackCertificate(msg); b != nil {
			t.Errorf("%s: %d bytes", name, len(b))
		}
	}
}
