package tlswire

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"testing"

	"peel/trace"
)

// inside checks that fields lie in the message and children in their parent.
func inside(t testing.TB, fields []trace.Field, from, to int) {
	t.Helper()
	for _, f := range fields {
		if f.Offset < from || f.Length < 0 || f.Offset+f.Length > to {
			t.Fatalf("field %s at %d+%d is outside of %d to %d", f.Name, f.Offset, f.Length, from, to)
		}
		inside(t, f.Children, f.Offset, f.Offset+f.Length)
	}
}

// bulk is a decoder in the middle of a connection of TLS 1.3 with
// AES-128-GCM, and n records of 16 KiB for it.
func bulk(b *testing.B, n int) (restart func() *Decoder, records []byte) {
	secret := bytes.Repeat([]byte{7}, 32)
	aes128gcm := suites[0x1301]
	key, err := expandLabel(aes128gcm, secret, "key", 16)
	if err != nil {
		b.Fatal(err)
	}
	iv, _ := expandLabel(aes128gcm, secret, "iv", 12)
	block, _ := aes.NewCipher(key)
	aead, _ := cipher.NewGCM(block)
	plain := append(make([]byte, 1<<14), typeData)
	for seq := range n {
		head := binary.BigEndian.AppendUint16([]byte{typeData, 3, 3}, uint16(len(plain)+16))
		nonce := bytes.Clone(iv)
		for i := range 8 {
			nonce[4+i] ^= byte(seq >> (56 - 8*i))
		}
		records = append(records, head...)
		records = aead.Seal(records, nonce, plain, head)
	}
	return func() *Decoder {
		d := NewDecoder(Limits{})
		d.version, d.suite = version13, aes128gcm
		d.half[FromServer].guard.next(application)
		if !d.useSecret(FromServer, secret) {
			b.Fatal("the secret is not taken")
		}
		return d
	}, records
}

// A connection's bulk: 16 KiB records, read in pieces of 64 KiB.
func BenchmarkBulkAES128GCM(b *testing.B) {
	const n = 256
	restart, records := bulk(b, n)
	b.SetBytes(n << 14)
	b.ReportAllocs()
	for b.Loop() {
		d := restart()
		total := 0
		for at := 0; at < len(records); at += 1 << 16 {
			for _, e := range d.Input(FromServer, records[at:min(at+1<<16, len(records))], int64(at), 0) {
				if e.Kind != KindApplicationData {
					b.Fatalf("%+v", e)
				}
				total += len(e.Data)
			}
		}
		if total != n<<14 {
			b.Fatalf("%d bytes", total)
		}
	}
}
