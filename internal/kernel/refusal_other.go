//go:build !linux

package kernel

import "syscall"

// Elsewhere an error queue is not read.
type witness struct{}

func watch(syscall.RawConn, bool) *witness { return nil }
func (*witness) close()                    {}
func (*witness) told() *ICMPError          { return nil }
