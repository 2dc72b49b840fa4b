//go:build !unix

package kernel

import "errors"

func bindAny(uintptr, bool) (uint16, error) {
	return 0, errors.New("kernel: a socket cannot be bound early on this system")
}
