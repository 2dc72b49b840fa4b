//go:build !unix

package main

import (
	"errors"
	"os"
)

// Systems without these have no users to keep apart in shared directories:
// their directory for temporary files is the user's own.
const (
	noFollow      = 0
	onlyDirectory = 0
)

func ours(*os.File) error { return nil }

func become(name string) error {
	if name == "" {
		return nil
	}
	return errors.New("--user: this system knows no way to become another user")
}
