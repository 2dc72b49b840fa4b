package ip

import "golang.org/x/sys/cpu"

//go:noescape
func sumAVX2(p *byte, n int) uint64

var hasAVX2 = cpu.X86.HasAVX2

// wideFrom is the least length for which the wide sum is worth its start.
const wideFrom = 256

// sumWide sums the beginning of b where the processor can do it faster, and
// returns the sum and how much of b it is of.
func sumWide(b []byte) (sum uint64, n int) {
	if len(b) < wideFrom || !hasAVX2 {
		return 0, 0
	}
	n = len(b) &^ 63
	return sumAVX2(&b[0], n), n
}
