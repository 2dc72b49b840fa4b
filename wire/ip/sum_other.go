//go:build !amd64

package ip

func sumWide([]byte) (sum uint64, n int) { return 0, 0 }
