//go:build unix

package accept

import "syscall"

// Files returns how many file descriptors this process may have open.
func Files() int {
	var l syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) != nil {
		return 1024
	}
	return int(min(l.Cur, 1<<20))
}
