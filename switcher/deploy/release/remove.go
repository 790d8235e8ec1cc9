package release

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Sweep removes what crashes left half made or half removed, and returns what
// it was called. A draft that a living process makes stays.
func (s *Store) Sweep() ([]string, error) {
	drafts, err := s.disk.openDir(filepath.Join(s.root, draftsDir))
	if err != nil {
		return nil, fmt.Errorf("sweeping drafts: %w", err)
	}
	defer drafts.Close()
	names, err := drafts.names()
	var swept []string
	for _, name := range names {
		gone, failed := s.sweepOne(drafts, name)
		if gone {
			swept = append(swept, name)
		}
		err = errors.Join(err, failed)
	}
	if err != nil {
		return swept, fmt.Errorf("sweeping drafts: %w", err)
	}
	return swept, nil
}

// sweepOne removes an entry of drafts/ unless it is locked.
func (s *Store) sweepOne(drafts *dir, name string) (bool, error) {
	st, err := drafts.stat(name)
	if missing(err) {
		return true, nil
	} else if err != nil {
		return false, err
	}
	if !isDir(st) {
		return true, drafts.unlink(name)
	}
	d, err := drafts.lockSub(name)
	if err != nil || d == nil {
		return false, err
	}
	defer d.Close()
	return true, d.removeFrom(drafts, name)
}

// removeFrom removes the locked directory d, which is parent's entry name, and
// all in it. Nobody but root can get into it meanwhile.
func (d *dir) removeFrom(parent *dir, name string) error {
	if err := d.setMode(0o700); err != nil {
		return err
	}
	for {
		names, err := d.names()
		if err != nil {
			return err
		}
		if len(names) == 0 {
			break
		}
		for _, entry := range names {
			if err := d.removeEntry(entry, d, 0); err != nil {
				return err
			}
		}
	}
	return gone(parent.rmdir(name))
}

// removeEntry removes an entry and what is below it. What is nested deeper than
// can be walked is moved up to top, for the next round.
func (d *dir) removeEntry(name string, top *dir, depth int) error {
	st, err := d.stat(name)
	if err != nil {
		return gone(err)
	}
	if !isDir(st) {
		return gone(d.unlink(name))
	}
	if depth > maxDepth {
		return gone(d.rename(name, top, scratch("deep")))
	}
	if err := d.emptyOut(name, top, depth); err != nil {
		return gone(err)
	}
	return gone(d.rmdir(name))
}

func (d *dir) emptyOut(name string, top *dir, depth int) error {
	if err := d.loosen(name); err != nil {
		return err
	}
	sub, err := d.sub(name)
	if err != nil {
		return err
	}
	defer sub.Close()
	names, err := sub.names()
	if err != nil {
		return err
	}
	for _, entry := range names {
		if err := sub.removeEntry(entry, top, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// loosen lets us move or empty a sealed directory, which is read-only to all but
// root.
func (d *dir) loosen(name string) error {
	if os.Geteuid() == 0 {
		return nil
	}
	return d.disk.do("setting the mode of", d.path(name), func() error { return unix.Fchmodat(d.fd, name, 0o755, 0) })
}

// gone forgives that something was removed already.
func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
