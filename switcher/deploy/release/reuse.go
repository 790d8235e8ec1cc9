package release

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Reuse copies directories of an older release's part, such as node_modules, so
// that a build begins with them. The copy is the draft's own: what the build
// does to it does not reach the older release. A directory that the older
// release lacks, or that the draft has already, is left as it is.
func (d *Draft) Reuse(from Release, service string, dirs []string) error {
	for _, directory := range dirs {
		if err := d.reuse(from, service, directory); err != nil {
			return fmt.Errorf("copying %s of %s from %s: %w", directory, service, from.Name, full(err))
		}
	}
	return nil
}

func (d *draft) reuse(from Release, service, directory string) error {
	if err := checkLocal(directory); err != nil {
		return err
	}
	old, err := d.store.part(from, service)
	if err != nil {
		return err
	}
	defer old.Close()
	source, err := old.descend(directory)
	if missing(err) {
		d.store.say("%s has no %s of %s: the build makes it", from.Name, directory, service)
		return nil
	} else if err != nil {
		return err
	}
	defer source.Close()
	parent, name, err := d.place(service, directory)
	if err != nil {
		return err
	}
	defer parent.Close()
	if _, err := parent.stat(name); err == nil {
		d.store.say("%s of %s is in the revision: nothing is copied", directory, service)
		return nil
	} else if !missing(err) {
		return err
	}
	return copyWhole(source, parent, name)
}

// copyWhole makes name in parent a copy of source. Links out of the release are
// left out: only those to shared files can be there, and Share makes them anew.
func copyWhole(source, parent *dir, name string) error {
	if err := parent.mkdir(name, 0o755); err != nil {
		return err
	}
	to, err := parent.sub(name)
	if err != nil {
		return err
	}
	defer to.Close()
	return new(copier).copyTree(source, to, func(_, target string) bool { return !strings.HasPrefix(target, "/") })
}

// part opens the service's directory of a release.
func (s *Store) part(r Release, service string) (*dir, error) {
	directory, ok := r.Parts[service]
	if !ok {
		return nil, fmt.Errorf("%w: %s has no part for %s", ErrNotFound, r.Name, service)
	}
	if err := errors.Join(checkName(r.Name), checkLocal(directory)); err != nil {
		return nil, err
	}
	releases, err := s.releases()
	if err != nil {
		return nil, err
	}
	defer releases.Close()
	if _, ok, err := releases.read(r.Name); err != nil {
		return nil, err
	} else if !ok {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, r.Name)
	}
	return releases.descend(filepath.Join(r.Name, directory))
}

// place opens the directory that a path of the service's part is in, and makes
// what is missing of the way. Once the build's user owns the tree, nothing is
// put there any more.
func (d *draft) place(service, path string) (*dir, string, error) {
	directory, ok := d.release.Parts[service]
	if !ok {
		return nil, "", fmt.Errorf("%w: the draft has no part for %s", ErrNotFound, service)
	}
	if d.owned {
		return nil, "", fmt.Errorf("%w: the build's user has the draft already", ErrUnsafe)
	}
	tree, err := d.tree()
	if err != nil {
		return nil, "", err
	}
	defer tree.Close()
	parent, err := tree.ensure(filepath.Join(directory, filepath.Dir(path)))
	return parent, filepath.Base(path), err
}

// Share makes each name of the service's part a link to
// root/shared/<service>/<name>, which must exist. A file or an empty directory
// of the revision is replaced; anything else in its place is an error.
func (d *Draft) Share(service string, names []string) error {
	for _, name := range names {
		if err := d.share(service, name); err != nil {
			return fmt.Errorf("sharing %s of %s: %w", name, service, full(err))
		}
	}
	return nil
}

// CheckShared reports what Share would miss, without a draft.
func (s *Store) CheckShared(service string, names []string) error {
	for _, name := range names {
		if _, err := s.sharedTarget(service, name); err != nil {
			return fmt.Errorf("sharing %s of %s: %w", name, service, err)
		}
	}
	return nil
}

func (d *draft) share(service, name string) error {
	target, err := d.store.sharedTarget(service, name)
	if err != nil {
		return err
	}
	parent, base, err := d.place(service, name)
	if err != nil {
		return err
	}
	defer parent.Close()
	if err := d.makeWay(parent, base, name, target); err != nil {
		return err
	}
	if err := parent.symlink(target, base); err != nil {
		return err
	}
	d.shares[filepath.Join(d.release.Parts[service], name)] = target
	return nil
}

// sharedTarget is what is shared under this name. It must be there before a
// slot needs it.
func (s *Store) sharedTarget(service, name string) (string, error) {
	if err := checkLocal(name); err != nil {
		return "", err
	}
	if name == "." {
		return "", fmt.Errorf("%w: all of a part cannot be shared", ErrUnsafe)
	}
	target := filepath.Join(s.root, sharedDir, service, name)
	var st unix.Stat_t
	if err := unix.Stat(target, &st); err != nil {
		return "", fmt.Errorf("%s: %w: put the shared file or directory there first", target, err)
	}
	return target, nil
}

// makeWay removes what the revision has in the place of a shared link.
func (d *draft) makeWay(parent *dir, base, name, target string) error {
	st, err := parent.stat(base)
	if missing(err) {
		return nil
	} else if err != nil {
		return err
	}
	switch kind(st) {
	case unix.S_IFREG:
		d.store.say("%s of the revision is replaced by the shared %s", name, target)
		return parent.unlink(base)
	case unix.S_IFDIR:
		err := parent.rmdir(base)
		if errors.Is(err, unix.ENOTEMPTY) {
			return fmt.Errorf("%w: the revision has files in %s, which %s would hide: remove them from the repository, or do not share it", ErrUnsafe, name, target)
		}
		if err == nil {
			d.store.say("the empty %s of the revision is replaced by the shared %s", name, target)
		}
		return err
	}
	if there, err := parent.readlink(base); err == nil && there == target {
		return parent.unlink(base)
	}
	return fmt.Errorf("%w: %s of the revision is a link or no file: remove it from the repository, or do not share it", ErrUnsafe, name)
}
