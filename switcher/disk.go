package switcher

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// disk is the seam to the operating system: everything that the files of this
// package do to a directory, so that a test can fail or end exactly one step.
type disk interface {
	read(path string) ([]byte, error)
	list(dir string) ([]string, error)
	create(path string) (file, error) // empties what is there
	grow(path string) (file, error)   // appends; made where it is missing
	rename(from, to string) error
	remove(path string) error
	syncDir(dir string) error
}

type file interface {
	io.Writer
	// end returns the file's size and its last byte, zero in an empty file.
	end() (size int64, last byte, err error)
	Sync() error
	Close() error
}

// maxFile bounds what is read: far above anything that this package writes.
const maxFile = 64 << 20

// replace puts data in path's place so that a crash leaves either what was
// there or all of data. The new name is durable once its directory is synced.
func replace(d disk, path string, data []byte) error {
	temp := path + tempSuffix
	err := writeNew(d, temp, data)
	if err == nil {
		err = d.rename(temp, path)
	}
	if err != nil {
		// What is left behind is removed at the next open.
		_ = d.remove(temp)
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}

const tempSuffix = ".tmp"

func writeNew(d disk, path string, data []byte) error {
	f, err := d.create(path)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// osDisk is the real one. With checked set it reads only files that nobody but
// root and this user can have written.
type osDisk struct{ checked bool }

type osFile struct{ *os.File }

func (d osDisk) read(path string) ([]byte, error) {
	// O_NONBLOCK keeps a named pipe from blocking the open.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, syscall.ELOOP) {
		return nil, fmt.Errorf("%s is a symbolic link: put the file itself there", path)
	} else if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	if d.checked {
		if err := trust(path, info); err != nil {
			return nil, err
		}
	}
	return io.ReadAll(io.LimitReader(f, maxFile))
}

// trust refuses what others may have written.
func trust(path string, info fs.FileInfo) error {
	if mode := info.Mode().Perm(); mode&0o022 != 0 {
		return fmt.Errorf("%s is writable by others than its owner (mode %04o): `chmod go-w %s`", path, mode, path)
	}
	us := os.Geteuid()
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && stat.Uid != 0 && int(stat.Uid) != us {
		owner, ourselves := userName(int(stat.Uid)), userName(us)
		return fmt.Errorf("%s belongs to %s and this program runs as %s: run it as %s (`runuser -u %s -- ...`), or `chown %s %s`",
			path, owner, ourselves, owner, owner, ourselves, path)
	}
	return nil
}

// userName is the number where the user has no name.
func userName(uid int) string {
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return u.Username
	}
	return strconv.Itoa(uid)
}

func (osDisk) list(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

func (osDisk) create(path string) (file, error) {
	return open(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC)
}

func (osDisk) grow(path string) (file, error) {
	return open(path, os.O_RDWR|os.O_CREATE|os.O_APPEND)
}

func open(path string, flags int) (file, error) {
	f, err := os.OpenFile(path, flags|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (osDisk) rename(from, to string) error { return os.Rename(from, to) }

func (osDisk) remove(path string) error { return os.Remove(path) }

func (osDisk) syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (f osFile) end() (int64, byte, error) {
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return 0, 0, err
	}
	var last [1]byte
	_, err = f.ReadAt(last[:], info.Size()-1)
	return info.Size(), last[0], err
}
