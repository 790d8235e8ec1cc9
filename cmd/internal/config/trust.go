package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// trusted refuses an open file that others than root and ourselves may change:
// who writes the configuration decides where all requests go. Whoever may write
// a directory may replace what is in it, so the directories count too: that of
// the file and that of each symbolic link on the way to it.
func trusted(path string, file fs.FileInfo) error {
	if err := notWritableByOthers(path, file, self()); err != nil {
		return err
	}
	for range maxLinks {
		dir := filepath.Dir(path)
		info, err := os.Stat(dir)
		if err != nil {
			return err
		}
		if err := notWritableByOthers(dir, info, self()); err != nil {
			return err
		}
		target, err := os.Readlink(path)
		if errors.Is(err, syscall.EINVAL) { // not a link
			return nil
		}
		if err != nil {
			return err
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(dir, target)
		}
		path = target
	}
	return fmt.Errorf("%s: too many symbolic links", path)
}

// maxLinks is the kernel's own limit (path_resolution(7)).
const maxLinks = 40

// identity is a user with a primary group.
type identity struct{ uid, gid uint32 }

func self() identity { return identity{uint32(os.Geteuid()), uint32(os.Getegid())} }

func notWritableByOthers(path string, info fs.FileInfo, by identity) error {
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("%s: the owner cannot be told", path)
	}
	if owner.Uid != 0 && owner.Uid != by.uid {
		return fmt.Errorf("%s belongs to user %d, who may change it; run: chown root %s", path, owner.Uid, path)
	}
	// In a sticky directory such as /tmp, entries of ours are safe from others.
	if info.IsDir() && info.Mode()&fs.ModeSticky != 0 {
		return nil
	}
	mode := info.Mode().Perm()
	if mode&0o002 != 0 || mode&0o020 != 0 && !privateGroup(owner, by) {
		return fmt.Errorf("%s may be written by others (mode %04o); run: chmod go-w %s", path, mode, path)
	}
	return nil
}

// privateGroup says whether the group's write permission gives nobody anything:
// it is root's, or an unprivileged user runs us by hand and both file and group
// are that user's own, as a umask of 002 leaves them.
func privateGroup(owner *syscall.Stat_t, by identity) bool {
	return owner.Gid == 0 || by.uid != 0 && owner.Uid == by.uid && owner.Gid == by.gid
}
