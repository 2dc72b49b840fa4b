//go:build !linux

package accept

import "syscall"

// onThisSystem are errors that pass and that not every system has.
var onThisSystem []syscall.Errno
