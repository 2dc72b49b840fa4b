package kernel

import (
	"crypto/rand"
	"encoding/binary"
)

// Random64 gives 64 bits of the system's randomness.
func Random64() uint64 {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return binary.LittleEndian.Uint64(b[:])
}
