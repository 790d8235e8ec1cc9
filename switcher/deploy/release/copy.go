package release

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// copier copies files so that no copy shares with its original what a write
// could change: as a clone where the file system has that, else byte by byte,
// never as a hard link.
type copier struct {
	ctx     context.Context // nil: nothing ends it
	noClone bool            // the file system cannot
}

// copyFile makes the file name in to, with the contents of from.
func (c *copier) copyFile(from *os.File, to *dir, name string, st unix.Stat_t) error {
	mode := uint32(0o644)
	if st.Mode&0o100 != 0 {
		mode = 0o755
	}
	f, err := to.create(name, mode)
	if err != nil {
		return err
	}
	err = to.disk.do("copying to", f.Name(), func() error { return c.contents(from, f) })
	if err == nil {
		err = to.disk.chmod(f, mode) // whatever the umask
	}
	return errors.Join(err, f.Close())
}

func (c *copier) contents(from, to *os.File) error {
	if c.ctx != nil && c.ctx.Err() != nil {
		return c.ctx.Err()
	}
	if !c.noClone {
		if unix.IoctlFileClone(int(to.Fd()), int(from.Fd())) == nil {
			return nil
		}
		c.noClone = true
	}
	_, err := io.Copy(to, from) // copy_file_range(2)
	return err
}

// copyTree copies what is below from into the directory to. take says what is
// taken along; target is that of a symbolic link and "" for all else.
func (c *copier) copyTree(from, to *dir, take func(rel, target string) bool) error {
	return c.copyLevel(from, to, ".", 0, take)
}

func (c *copier) copyLevel(from, to *dir, rel string, depth int, take func(rel, target string) bool) error {
	if depth > maxDepth {
		return tooDeep(from.Name())
	}
	names, err := from.names()
	for _, name := range names {
		if err == nil {
			err = c.copyEntry(from, to, name, filepath.Join(rel, name), depth, take)
		}
	}
	return err
}

func (c *copier) copyEntry(from, to *dir, name, rel string, depth int, take func(rel, target string) bool) error {
	st, err := from.stat(name)
	if err != nil {
		return err
	}
	if kind(st) == unix.S_IFLNK {
		target, err := from.readlink(name)
		if err != nil || !take(rel, target) {
			return err
		}
		return to.symlink(target, name)
	}
	if !take(rel, "") {
		return nil
	}
	if isDir(st) {
		return c.copyDir(from, to, name, rel, depth, take)
	}
	if err := plain(from.path(name), st); err != nil {
		return err
	}
	file, err := from.open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	return c.copyFile(file, to, name, st)
}

func (c *copier) copyDir(from, to *dir, name, rel string, depth int, take func(rel, target string) bool) error {
	below, err := from.sub(name)
	if err != nil {
		return err
	}
	defer below.Close()
	if err := to.mkdir(name, 0o755); err != nil {
		return err
	}
	made, err := to.sub(name)
	if err != nil {
		return err
	}
	defer made.Close()
	return c.copyLevel(below, made, rel, depth+1, take)
}
