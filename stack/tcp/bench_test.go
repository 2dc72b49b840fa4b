package tcp

import (
	"testing"
	"time"
)

// BenchmarkTransfer is what the engine costs, both ends and the path between
// them: 4 MiB each way.
func BenchmarkTransfer(b *testing.B) {
	for _, path := range []struct {
		name string
		loss float64
	}{{"good", 0}, {"lossy", 0.01}} {
		b.Run(path.name, func(b *testing.B) {
			b.SetBytes(8 << 20)
			for b.Loop() {
				w := newLossyPath(1, [2]*Config{{}, {}})
				w.loss = path.loss
				w.transfer(b, 4<<20, 4<<20, 2000*time.Second)
			}
		})
	}
}
