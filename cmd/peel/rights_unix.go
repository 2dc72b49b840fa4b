//go:build unix

package main

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// What a file is opened with that may not be a symbolic link, and that has to
// be a directory.
const (
	noFollow      = syscall.O_NOFOLLOW
	onlyDirectory = syscall.O_DIRECTORY
)

// ours fails on a directory that somebody else owns or can write to.
func ours(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("it belongs to user %d, not to this one", st.Uid)
	}
	if info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("others can write to it (%v)", info.Mode())
	}
	return nil
}

// become gives up the rights of the user that opened the ports.
func become(name string) error {
	if name == "" {
		return nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return fmt.Errorf("--user: %w", err)
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	if err := errors.Join(err1, err2); err != nil {
		return fmt.Errorf("--user %s: %w", name, err)
	}
	// The groups go first: without the user's rights they cannot.
	if err := errors.Join(syscall.Setgroups([]int{gid}), syscall.Setgid(gid), syscall.Setuid(uid)); err != nil {
		return fmt.Errorf("--user %s: %w; only root can become another user", name, err)
	}
	if uid != 0 && syscall.Setuid(0) == nil {
		return fmt.Errorf("--user %s: the rights of root could be had back", name)
	}
	return nil
}
