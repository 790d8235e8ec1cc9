package release

import (
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// maxDepth bounds how deep a release is nested: each level keeps a directory
// open while a tree is walked.
const maxDepth = 200

// visitor is what a walk does: enter before a directory is read, leave after all
// in it was visited, entry for everything that is not a directory. rel is the
// path from where the walk began.
type visitor struct {
	skip         func(rel string) bool // what is not visited; nil: all is
	enter, leave func(d *dir, rel string) error
	entry        func(in *dir, name, rel string, st unix.Stat_t) error
}

func (d *dir) walk(v visitor) error { return d.walkFrom(".", 0, v) }

func (d *dir) walkFrom(rel string, depth int, v visitor) error {
	if depth > maxDepth {
		return tooDeep(d.Name())
	}
	if v.enter != nil {
		if err := v.enter(d, rel); err != nil {
			return err
		}
	}
	names, err := d.names()
	if err != nil {
		return err
	}
	for _, name := range names {
		if v.skip != nil && v.skip(filepath.Join(rel, name)) {
			continue
		}
		if err := d.visit(name, filepath.Join(rel, name), depth, v); err != nil {
			return err
		}
	}
	if v.leave != nil {
		return v.leave(d, rel)
	}
	return nil
}

func (d *dir) visit(name, rel string, depth int, v visitor) error {
	st, err := d.stat(name)
	if err != nil {
		return err
	}
	if !isDir(st) {
		return v.entry(d, name, rel, st)
	}
	sub, err := d.sub(name)
	if err != nil {
		return err
	}
	defer sub.Close()
	return sub.walkFrom(rel, depth+1, v)
}

func tooDeep(path string) error {
	return fmt.Errorf("%w: %s is nested deeper than %d directories", ErrUnsupported, path, maxDepth)
}

// plain refuses what is neither a file nor a symbolic link.
func plain(path string, st unix.Stat_t) error {
	if k := kind(st); k != unix.S_IFREG && k != unix.S_IFLNK {
		return fmt.Errorf("%w: %s is neither a file nor a directory nor a link, but a device, a pipe or a socket", ErrUnsafe, path)
	}
	return nil
}
