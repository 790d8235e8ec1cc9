package release

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Seal makes a release of what was built: it takes the tree back from the
// build's user, makes it read-only, checks it, syncs it, and lists it. A file
// keeps whether it can be run; all else of its mode becomes r--r--r--, because
// the slot's user must read it. After an error the draft is still there, and
// out of the build's reach.
func (d *Draft) Seal() (Release, error) {
	if d.outer == nil {
		return Release{}, fmt.Errorf("sealing a release: %w", errOver)
	}
	if err := d.seal(); err != nil {
		return Release{}, fmt.Errorf("sealing %s: %w", d.release.Name, full(err))
	}
	return d.release, nil
}

func (d *draft) seal() error {
	// From here on no path leads into the tree but root's. A process of the build
	// that is left over may still have directories of it open, so each is taken
	// from it before what is in it is looked at.
	if err := d.outer.setMode(0o700); err != nil {
		return err
	}
	tree, err := d.tree()
	if err != nil {
		return err
	}
	defer tree.Close()
	links := map[string]string{}
	if err := tree.walk(freezing(links)); err != nil {
		return err
	}
	if err := d.checkLinks(tree, links); err != nil {
		return err
	}
	if err := d.checkParts(tree); err != nil {
		return err
	}
	if err := d.record(tree); err != nil {
		return err
	}
	return d.publish(tree)
}

// freezing makes a tree root's and read-only. It notes the symbolic links, which
// can be judged only once nothing moves any more.
func freezing(links map[string]string) visitor {
	uid, gid := os.Geteuid(), os.Getegid()
	return visitor{
		enter: func(d *dir, _ string) error {
			// The owner first: he could undo the mode.
			if err := d.disk.chown(d.File, uid, gid); err != nil {
				return err
			}
			return d.setMode(0o700)
		},
		entry: func(in *dir, name, rel string, st unix.Stat_t) error {
			if err := plain(in.path(name), st); err != nil {
				return err
			}
			if !printable(name) {
				return fmt.Errorf("%w: the name %q has characters that are not to be printed", ErrUnsafe, rel)
			}
			if kind(st) == unix.S_IFREG {
				return in.freeze(name, st, uid, gid)
			}
			target, err := in.readlink(name)
			if err != nil {
				return err
			}
			links[rel] = target
			return in.chownEntry(name, uid, gid)
		},
		leave: func(d *dir, _ string) error { return d.setMode(0o555) },
	}
}

// freeze makes one file root's and read-only, and makes sure that nobody can
// still write it.
func (d *dir) freeze(name string, st unix.Stat_t, uid, gid int) error {
	if st.Nlink > 1 {
		if err := d.separate(name, st); err != nil {
			return err
		}
	}
	fd, err := openat(d.fd, name, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return &fs.PathError{Op: "opening", Path: d.path(name), Err: err}
	}
	defer unix.Close(fd)
	err = d.disk.do("setting the owner of", d.path(name), func() error { return unix.Fchown(fd, uid, gid) })
	if err == nil {
		err = d.disk.do("setting the mode of", d.path(name), func() error { return unix.Fchmod(fd, frozenMode(st)) })
	}
	if err != nil {
		return err
	}
	return unwritten(fd, d.path(name))
}

func frozenMode(st unix.Stat_t) uint32 {
	if st.Mode&0o100 != 0 {
		return 0o555
	}
	return 0o444
}

// writerWait is how long a file may still be open for writing. One that this
// process or the build has closed is so for a moment longer if a process was
// being forked just then.
const writerWait = time.Second

// unwritten refuses a file that a process has open for writing, or mapped so:
// the mode does not take that from it. The kernel grants a read lease only where
// there is no writer. Where it grants none at all, nothing can be told.
func unwritten(fd int, path string) error {
	for begun := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		_, err := unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_RDLCK)
		switch {
		case err == nil:
			_, err = unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_UNLCK)
			return err
		case !errors.Is(err, unix.EAGAIN):
			return nil
		case time.Since(begun) > writerWait:
			return fmt.Errorf("%w: a process still has %s open for writing", ErrUnsafe, path)
		}
	}
}

// separate gives a file that has other names, perhaps where the next build can
// write it, contents of its own.
func (d *dir) separate(name string, st unix.Stat_t) error {
	const temp = ".separate"
	if err := gone(d.unlink(temp)); err != nil {
		return err
	}
	from, err := d.open(name)
	if err != nil {
		return err
	}
	defer from.Close()
	if err := new(copier).copyFile(from, d, temp, st); err != nil {
		return err
	}
	return d.rename(temp, d, name)
}

// checkLinks refuses links that lead out of the tree, and shared ones that a
// build has replaced.
func (d *draft) checkLinks(tree *dir, links map[string]string) error {
	for rel, target := range d.shares {
		if links[rel] != target {
			return fmt.Errorf("%w: %s is no longer the link to %s: the build must leave it as it is", ErrUnsafe, rel, target)
		}
	}
	for rel, target := range links {
		if d.shares[rel] == target {
			continue
		}
		if err := tree.inside(rel, target); err != nil {
			return err
		}
	}
	return nil
}

// inside refuses the link at rel if following it, in a tree that nobody
// changes, would leave that.
func (d *dir) inside(rel, target string) error {
	if !printable(target) {
		return fmt.Errorf("%w: the link %s leads to %q, which is not to be printed", ErrUnsafe, rel, target)
	}
	how := &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS}
	path := target
	if !strings.HasPrefix(target, "/") {
		// Not cleaned: what "x/.." means depends on whether x is a link.
		path = filepath.Dir(rel) + "/" + target
	}
	fd, err := openBeneath(d.fd, path, how)
	switch {
	case err == nil:
		return unix.Close(fd)
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP):
		return nil // it leads nowhere, and always will
	case errors.Is(err, unix.EXDEV):
		return fmt.Errorf("%w: the link %s leads to %s, out of the release: let it lead to a file of the release, by a relative path, or name it in the service's shared", ErrUnsafe, rel, target)
	}
	return &fs.PathError{Op: "following the link", Path: rel, Err: err}
}

func openBeneath(at int, path string, how *unix.OpenHow) (int, error) {
	for {
		fd, err := unix.Openat2(at, path, how)
		// EAGAIN: something was renamed on the way, on any file system.
		if !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.EAGAIN) {
			return fd, err
		}
	}
}

// record writes what the release is into it.
func (d *draft) record(tree *dir) error {
	sealed := d.release
	sealed.Sealed = true
	raw, err := encodeRecord(sealed)
	if err != nil {
		return err
	}
	// It is there if an earlier try failed, or if the build made one.
	if err := tree.setMode(0o700); err != nil {
		return err
	}
	if err := gone(tree.unlink(recordName)); err != nil {
		return err
	}
	if err := tree.write(recordName, raw, 0o444); err != nil {
		return err
	}
	return tree.setMode(topMode())
}

// topMode is read-only for all but its owner, who could not rename it
// otherwise, unless he is root.
func topMode() uint32 {
	if os.Geteuid() != 0 {
		return 0o755
	}
	return 0o555
}

// publish makes all of it durable and then lists it.
func (d *draft) publish(tree *dir) error {
	releases, err := d.store.releases()
	if err != nil {
		return err
	}
	defer releases.Close()
	// The draft's directory has been open since before anything was written, so
	// this also tells of writes that went wrong long ago.
	if err := d.outer.syncAll(); err != nil {
		return err
	}
	err = d.outer.rename(treeName, releases, d.release.Name)
	if errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w: %s", ErrExists, d.release.Name)
	} else if err != nil {
		return err
	}
	if err := errors.Join(releases.sync(), d.outer.sync(), tree.setMode(0o555)); err != nil {
		// It may or may not survive a power cut: better that it is not there.
		return errors.Join(err, releases.loosen(d.release.Name), releases.rename(d.release.Name, d.outer, treeName))
	}
	d.release.Sealed = true
	// An empty draft that stays is swept.
	_ = d.discard()
	return nil
}

// full says of a full disk what it is.
func full(err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	return err
}
