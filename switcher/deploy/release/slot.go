package release

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Point makes link lead to the service's part of a release, instead of what it
// led to before, in one step. It does nothing where it does so already, and
// refuses when something that is not a symbolic link is in the way.
func (s *Store) Point(link string, r Release, service string) error {
	if err := s.point(link, r, service); err != nil {
		return fmt.Errorf("pointing %s at %s: %w", link, r.Name, full(err))
	}
	return nil
}

func (s *Store) point(link string, r Release, service string) error {
	if !filepath.IsAbs(link) || filepath.Clean(link) != link || link == "/" || !printable(link) {
		return fmt.Errorf("%w: %q is not a plain absolute path", ErrUnsafe, link)
	}
	// Not while releases are pruned: this one could be among them.
	lock, err := s.lock(context.Background(), storeLock, unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer lock.Close()
	part, err := s.part(r, service)
	if err != nil {
		return err
	}
	part.Close()
	if err := s.rememberLink(link); err != nil {
		return err
	}
	parent, err := s.linkParent(link)
	if err != nil {
		return err
	}
	defer parent.Close()
	return parent.relink(filepath.Base(link), s.PartDir(r, service))
}

// linkParent opens the directory that the link is in, and makes it where it is
// missing.
func (s *Store) linkParent(link string) (*dir, error) {
	parent := filepath.Dir(link)
	if err := makeAll(parent); err != nil {
		return nil, err
	}
	if err := trust(parent); err != nil {
		return nil, err
	}
	resolved, err := filepath.EvalSymlinks(parent)
	if err != nil {
		return nil, err
	}
	return s.disk.openDir(resolved)
}

// relink replaces the link of that name, and leaves one that is right.
func (d *dir) relink(name, target string) error {
	st, err := d.stat(name)
	if err != nil && !missing(err) {
		return err
	}
	if err == nil {
		if kind(st) != unix.S_IFLNK {
			return fmt.Errorf("%w: %s is not a symbolic link: move it away", ErrUnsafe, d.path(name))
		}
		if there, err := d.readlink(name); err != nil {
			return err
		} else if there == target {
			return d.sync() // whoever made it may have been ended before he could
		}
	}
	temp := "." + name + ".new"
	if err := gone(d.unlink(temp)); err != nil {
		return err
	}
	if err := d.symlink(target, temp); err != nil {
		return err
	}
	if err := d.rename(temp, d, name); err != nil {
		return errors.Join(err, gone(d.unlink(temp)))
	}
	return d.sync()
}

// rememberLink notes that this link may lead to a release, so that it counts as
// a use of it from then on: a note is a link to the link.
func (s *Store) rememberLink(link string) error {
	links, err := s.disk.openDir(filepath.Join(s.root, linksDir))
	if err != nil {
		return err
	}
	defer links.Close()
	hash := sha256.Sum256([]byte(link))
	name := hex.EncodeToString(hash[:8])
	if there, err := links.readlink(name); err == nil && there == link {
		return nil
	}
	if err := links.relink(name, link); err != nil {
		return fmt.Errorf("noting that it is used: %w", err)
	}
	return nil
}

// linked are the names of the releases that remembered links lead to.
func (s *Store) linked() ([]string, error) {
	links, err := s.disk.openDir(filepath.Join(s.root, linksDir))
	if err != nil {
		return nil, err
	}
	defer links.Close()
	notes, err := links.names()
	var names []string
	for _, note := range notes {
		link, err := links.readlink(note)
		if err != nil {
			return nil, err
		}
		if name := ReleaseOfLink(link); name != "" {
			names = append(names, name)
		}
	}
	return names, err
}

// Pointed returns the release that a link leads to, and false where there is no
// link or it leads to none of ours.
func (s *Store) Pointed(link string) (Release, bool, error) {
	r, ok, err := s.pointed(link)
	if err != nil {
		return Release{}, false, fmt.Errorf("looking where %s leads: %w", link, err)
	}
	return r, ok, nil
}

func (s *Store) pointed(link string) (Release, bool, error) {
	target, err := os.Readlink(link)
	if missing(err) || errors.Is(err, unix.EINVAL) { // no link
		return Release{}, false, nil
	} else if err != nil {
		return Release{}, false, err
	}
	rest, ours := strings.CutPrefix(absolute(link, target), filepath.Join(s.root, releasesDir)+"/")
	if !ours {
		return Release{}, false, nil
	}
	releases, err := s.releases()
	if err != nil {
		return Release{}, false, err
	}
	defer releases.Close()
	name, _, _ := strings.Cut(rest, "/")
	return releases.read(name)
}

// absolute is where a link leads, by its text alone.
func absolute(link, target string) string {
	if filepath.IsAbs(target) {
		return filepath.Clean(target)
	}
	return filepath.Join(filepath.Dir(link), target)
}

// ReleaseOfLink is the name of the release that a link leads to, by the link's
// text alone, and "" if it leads to none. It needs no rights but to read the
// link, and does not look whether the release is there.
func ReleaseOfLink(link string) string {
	target, err := os.Readlink(link)
	if err != nil {
		return ""
	}
	return releaseOfPath(absolute(link, target))
}

func releaseOfPath(path string) string {
	names := strings.Split(path, "/")
	for i := len(names) - 1; i > 0; i-- {
		if names[i-1] == releasesDir && checkName(names[i]) == nil {
			return names[i]
		}
	}
	return ""
}

// Restore makes link lead to where it led before, as its text says, and removes
// it where there was none.
func (s *Store) Restore(link, target string) error {
	if err := s.restore(link, target); err != nil {
		return fmt.Errorf("leading %s back: %w", link, full(err))
	}
	return nil
}

func (s *Store) restore(link, target string) error {
	parent, err := s.linkParent(link)
	if err != nil {
		return err
	}
	defer parent.Close()
	if target != "" {
		return parent.relink(filepath.Base(link), target)
	}
	st, err := parent.stat(filepath.Base(link))
	if missing(err) {
		return nil
	}
	if err == nil && kind(st) != unix.S_IFLNK {
		err = fmt.Errorf("%w: it is not a symbolic link: move it away", ErrUnsafe)
	}
	if err != nil {
		return err
	}
	return errors.Join(gone(parent.unlink(filepath.Base(link))), parent.sync())
}
