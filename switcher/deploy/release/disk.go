package release

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// disk is the seam to the operating system: whatever changes something below
// the root asks it first, so that a test can fail, or end the process at,
// exactly one step.
type disk struct {
	before func(op, path string) error // nil outside of tests
}

func (k *disk) do(op, path string, act func() error) error {
	if k.before != nil {
		if err := k.before(op, path); err != nil {
			return &fs.PathError{Op: op, Path: path, Err: err}
		}
	}
	for {
		err := act()
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EINTR) {
			return &fs.PathError{Op: op, Path: path, Err: err}
		}
	}
}

// dir is an open directory. What is done in it names one entry, and never
// follows a symbolic link. Its Name is a path for messages only.
type dir struct {
	*os.File
	fd   int // of File, which asking it for would cost two system calls
	disk *disk
}

// openDir opens a directory by its path, of which only the last name may not be
// a symbolic link.
func (k *disk) openDir(path string) (*dir, error) {
	return k.openAt(unix.AT_FDCWD, path, path)
}

func (k *disk) openAt(at int, name, path string) (*dir, error) {
	fd, err := openat(at, name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOTDIR) {
		return nil, fmt.Errorf("%s is not a directory: %w", path, err)
	} else if err != nil {
		return nil, &fs.PathError{Op: "opening", Path: path, Err: err}
	}
	return &dir{os.NewFile(uintptr(fd), path), fd, k}, nil
}

func openat(at int, name string, flags int, mode uint32) (int, error) {
	for {
		fd, err := unix.Openat(at, name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, mode)
		if !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}

func (d *dir) path(name string) string { return filepath.Join(d.Name(), name) }

func (d *dir) sub(name string) (*dir, error) {
	return d.disk.openAt(d.fd, name, d.path(name))
}

// names are the directory's entries, in order.
func (d *dir) names() ([]string, error) {
	again, err := d.sub(".") // whoever asked before has read d to its end
	if err != nil {
		return nil, err
	}
	defer again.Close()
	names, err := again.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}

func (d *dir) stat(name string) (unix.Stat_t, error) {
	var st unix.Stat_t
	err := unix.Fstatat(d.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	if err != nil {
		err = &fs.PathError{Op: "looking at", Path: d.path(name), Err: err}
	}
	return st, err
}

func (d *dir) readlink(name string) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(d.fd, name, buf)
	if err != nil {
		return "", &fs.PathError{Op: "reading the link", Path: d.path(name), Err: err}
	}
	return string(buf[:n]), nil
}

// open opens a file to read it, and does not wait if it is a pipe.
func (d *dir) open(name string) (*os.File, error) {
	fd, err := openat(d.fd, name, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "opening", Path: d.path(name), Err: err}
	}
	return os.NewFile(uintptr(fd), d.path(name)), nil
}

// create makes a file that was not there.
func (d *dir) create(name string, mode uint32) (f *os.File, err error) {
	err = d.disk.do("creating", d.path(name), func() error {
		fd, err := openat(d.fd, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, mode)
		if err == nil {
			f = os.NewFile(uintptr(fd), d.path(name))
		}
		return err
	})
	return f, err
}

func (d *dir) mkdir(name string, mode uint32) error {
	return d.disk.do("making the directory", d.path(name), func() error { return unix.Mkdirat(d.fd, name, mode) })
}

func (d *dir) symlink(target, name string) error {
	return d.disk.do("making the link", d.path(name), func() error { return unix.Symlinkat(target, d.fd, name) })
}

func (d *dir) unlink(name string) error {
	return d.disk.do("removing", d.path(name), func() error { return unix.Unlinkat(d.fd, name, 0) })
}

func (d *dir) rmdir(name string) error {
	return d.disk.do("removing the directory", d.path(name), func() error { return unix.Unlinkat(d.fd, name, unix.AT_REMOVEDIR) })
}

func (d *dir) rename(name string, to *dir, newName string) error {
	return d.disk.do("renaming", d.path(name), func() error { return unix.Renameat(d.fd, name, to.fd, newName) })
}

func (d *dir) setMode(mode uint32) error { return d.disk.chmod(d.File, mode) }

func (k *disk) chmod(f *os.File, mode uint32) error {
	return k.do("setting the mode of", f.Name(), func() error { return unix.Fchmod(int(f.Fd()), mode) })
}

func (k *disk) chown(f *os.File, uid, gid int) error {
	return k.do("setting the owner of", f.Name(), func() error { return unix.Fchown(int(f.Fd()), uid, gid) })
}

// chownEntry gives away an entry, and not what it leads to if it is a link.
func (d *dir) chownEntry(name string, uid, gid int) error {
	return d.disk.do("setting the owner of", d.path(name), func() error {
		return unix.Fchownat(d.fd, name, uid, gid, unix.AT_SYMLINK_NOFOLLOW)
	})
}

// sync makes the directory's names durable.
func (d *dir) sync() error {
	return d.disk.do("syncing", d.Name(), func() error { return unix.Fsync(d.fd) })
}

// syncAll makes everything on its file system durable.
func (d *dir) syncAll() error {
	return d.disk.do("syncing the disk of", d.Name(), func() error { return unix.Syncfs(d.fd) })
}

// write makes a file of data, without the promise that it is on disk.
func (d *dir) write(name string, data []byte, mode uint32) error {
	f, err := d.create(name, mode)
	if err != nil {
		return err
	}
	err = d.disk.do("writing", f.Name(), func() error { _, err := f.Write(data); return err })
	if err == nil {
		err = d.disk.chmod(f, mode)
	}
	return errors.Join(err, f.Close())
}

// descend opens a directory further down. No name on the way may be a link.
func (d *dir) descend(rel string) (*dir, error) {
	return d.step(rel, func(at *dir, name string) (*dir, error) { return at.sub(name) })
}

// ensure opens a directory further down and makes what is missing of the way.
func (d *dir) ensure(rel string) (*dir, error) {
	return d.step(rel, func(at *dir, name string) (*dir, error) {
		if err := at.mkdir(name, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
		return at.sub(name)
	})
}

func (d *dir) step(rel string, open func(at *dir, name string) (*dir, error)) (*dir, error) {
	at, err := d.sub(".")
	if err != nil {
		return nil, err
	}
	for name := range strings.SplitSeq(filepath.Clean(rel), "/") {
		if name == "." {
			continue
		}
		next, err := open(at, name)
		at.Close()
		if err != nil {
			return nil, err
		}
		at = next
	}
	return at, nil
}

func kind(st unix.Stat_t) uint32 { return st.Mode & unix.S_IFMT }

func isDir(st unix.Stat_t) bool { return kind(st) == unix.S_IFDIR }

// missing reports that something is not there.
func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
