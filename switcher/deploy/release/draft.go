package release

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// treeName is the release to be, within its draft. The draft's own directory
// belongs to root throughout: shutting it shuts out whoever owns the tree.
const treeName = "tree"

// Draft is a release that is being made. It is locked until it is sealed or
// discarded, or its process ends. Its methods are for one goroutine at a time.
type Draft struct{ *draft }

// draft is what the copies of a Draft share.
type draft struct {
	store   *Store
	base    string // its name below drafts/
	outer   *dir   // has the lock; nil once it is over
	release Release
	shares  map[string]string // path in the tree -> what it links to
	owned   bool              // another user has it
}

var errOver = errors.New("it was sealed or discarded already")

// begin makes an empty draft.
func (s *Store) begin(base string, r Release) (*draft, error) {
	if err := s.vacant(r.Name); err != nil {
		return nil, err
	}
	drafts, err := s.disk.openDir(filepath.Join(s.root, draftsDir))
	if err != nil {
		return nil, err
	}
	defer drafts.Close()
	outer, err := s.claim(drafts, base)
	if err != nil {
		return nil, err
	}
	d := &draft{store: s, base: base, outer: outer, release: r, shares: map[string]string{}}
	if err := d.furnish(); err != nil {
		return nil, errors.Join(err, d.discard())
	}
	return d, nil
}

// vacant refuses a name that a release has. "" is chosen later.
func (s *Store) vacant(name string) error {
	if name == "" {
		return nil
	}
	if err := checkName(name); err != nil {
		return err
	}
	d, err := s.releases()
	if err != nil {
		return err
	}
	defer d.Close()
	if _, ok, err := d.read(name); err != nil || ok {
		return errors.Join(err, fmt.Errorf("%w: %s", ErrExists, name))
	}
	return nil
}

// claim makes and locks a directory of that name, instead of one that a crash
// left.
func (s *Store) claim(drafts *dir, base string) (*dir, error) {
	for {
		err := drafts.mkdir(base, 0o700)
		if errors.Is(err, fs.ErrExist) {
			if swept, err := s.sweepOne(drafts, base); err != nil {
				return nil, err
			} else if !swept {
				return nil, fmt.Errorf("making %s: %w", base, ErrBusy)
			}
			continue
		} else if err != nil {
			return nil, err
		}
		d, err := drafts.lockSub(base)
		if err != nil || d != nil {
			return d, err
		}
	}
}

// lockSub opens and locks a directory. It returns nil where another process has
// the lock, or has removed the directory before we had it.
func (d *dir) lockSub(name string) (*dir, error) {
	sub, err := d.sub(name)
	if missing(err) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	if err := flock(sub.File, unix.LOCK_EX); err != nil {
		sub.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, nil
		}
		return nil, fmt.Errorf("locking %s: %w", sub.Name(), err)
	}
	var ours unix.Stat_t
	there, err := d.stat(name)
	if err == nil {
		err = unix.Fstat(sub.fd, &ours)
	}
	if err != nil || ours.Ino != there.Ino || ours.Dev != there.Dev {
		sub.Close()
		if missing(err) {
			err = nil
		}
		return nil, err
	}
	return sub, nil
}

func (d *draft) furnish() error {
	if err := d.outer.setMode(0o711); err != nil {
		return err
	}
	return d.outer.mkdir(treeName, 0o755)
}

// scratch is a name for a draft whose release has none yet, or that is only
// there to be removed.
func scratch(why string) string {
	return why + "-" + time.Now().UTC().Format(nameTime) + "-" + strings.ToLower(rand.Text()[:8])
}

// Dir is the draft's directory, to be built in. The release will have another.
func (d *Draft) Dir() string {
	return filepath.Join(d.store.root, draftsDir, d.base, treeName)
}

// PartDir is the directory within it that is the service's.
func (d *Draft) PartDir(service string) string {
	return filepath.Join(d.Dir(), d.release.Parts[service])
}

// Release is what the draft will be; it is not sealed yet.
func (d *Draft) Release() Release { return d.release }

func (d *draft) tree() (*dir, error) {
	if d.outer == nil {
		return nil, errOver
	}
	return d.outer.sub(treeName)
}

// checkParts says which part is not there.
func (d *draft) checkParts(tree *dir) error {
	for _, service := range slices.Sorted(maps.Keys(d.release.Parts)) {
		directory := d.release.Parts[service]
		part, err := tree.descend(directory)
		if missing(err) {
			return fmt.Errorf("%w: %s has no directory %s, which is to be %s", ErrUnsupported, d.release.Source, directory, service)
		} else if err != nil {
			return fmt.Errorf("%s, which is to be %s: %w", directory, service, err)
		}
		part.Close()
	}
	return nil
}

// Chown gives the tree to the user that builds in it.
func (d *Draft) Chown(uid, gid int) error {
	tree, err := d.tree()
	if err != nil {
		return fmt.Errorf("giving a draft to user %d: %w", uid, err)
	}
	defer tree.Close()
	if d.owned {
		return fmt.Errorf("giving a draft to user %d: %w: it was given away already, and cannot be trusted any more", uid, ErrUnsafe)
	}
	d.owned = true
	err = tree.walk(visitor{
		entry: func(in *dir, name, _ string, st unix.Stat_t) error {
			if st.Nlink > 1 {
				return fmt.Errorf("%w: %s has another name elsewhere", ErrUnsafe, in.path(name))
			}
			return in.chownEntry(name, uid, gid)
		},
		// A directory comes after what it holds: until then nobody can exchange that.
		leave: func(d *dir, _ string) error { return d.disk.chown(d.File, uid, gid) },
	})
	if err != nil {
		return fmt.Errorf("giving a draft to user %d: %w", uid, err)
	}
	return nil
}

// Discard removes the draft. It may be called at any time, and does nothing
// after [Draft.Seal].
func (d *Draft) Discard() error {
	if err := d.discard(); err != nil {
		return fmt.Errorf("discarding %s: %w", d.base, err)
	}
	return nil
}

func (d *draft) discard() error {
	if d.outer == nil {
		return nil
	}
	drafts, err := d.store.disk.openDir(filepath.Join(d.store.root, draftsDir))
	if err == nil {
		defer drafts.Close()
		err = d.outer.removeFrom(drafts, d.base)
	}
	return errors.Join(err, d.over())
}

// over gives the lock up.
func (d *draft) over() error {
	err := d.outer.Close()
	d.outer = nil
	return err
}

func encodeRecord(r Release) ([]byte, error) {
	raw, err := json.MarshalIndent(r, "", "  ")
	return append(raw, '\n'), err
}
