package release

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Release is one built revision.
type Release struct {
	// Name is <UTC time>-<revision>, such as 20261124T081500Z-1a2b3c4d5e6f: it
	// sorts by time.
	Name     string `json:"name"`
	Revision string `json:"revision"` // the full git hash, or sha256:… of an artifact
	Ref      string `json:"ref,omitempty"`
	// Source is the repository, without credentials, or the artifact's path.
	Source    string            `json:"source"`
	Subject   string            `json:"subject,omitempty"` // the first line of the commit's message
	Author    string            `json:"author,omitempty"`
	Committed time.Time         `json:"committed,omitzero"`
	Created   time.Time         `json:"created"`
	Sealed    bool              `json:"sealed"` // built and read-only
	Parts     map[string]string `json:"parts"`  // service -> directory within the release
}

// Options are what a store may be told.
type Options struct {
	// Progress is called with what happens, a line each: git's own progress and
	// what was decided for the operator. Another goroutine may call it, but not
	// after the method that it belongs to has returned.
	Progress func(line string)
}

// Store is one root directory with its releases. Its methods may be called by
// several goroutines and by several processes.
type Store struct {
	root     string
	progress func(string)
	disk     disk
}

const (
	releasesDir = "releases"
	draftsDir   = "drafts"
	sharedDir   = "shared"
	cacheDir    = "cache"
	linksDir    = "links"
	marksDir    = "marks"
	recordName  = ".release.json"
	maxRecord   = 1 << 20
)

// Open makes what is missing below root, and refuses a root that others may
// write.
func Open(root string) (*Store, error) { return OpenWith(root, Options{}) }

// OpenWith is [Open] with options.
func OpenWith(root string, o Options) (*Store, error) {
	s := &Store{root: root, progress: o.Progress}
	if err := s.open(); err != nil {
		return nil, fmt.Errorf("opening the releases in %s: %w", root, err)
	}
	return s, nil
}

// Look returns a store for whoever only looks: it makes nothing and needs no
// rights but to read. Where nothing was ever deployed, it is empty.
func Look(root string) *Store { return &Store{root: root} }

func (s *Store) open() error {
	if !filepath.IsAbs(s.root) || filepath.Clean(s.root) != s.root || !printable(s.root) {
		return fmt.Errorf("%w: %q is not a plain absolute path", ErrUnsafe, s.root)
	}
	if err := makeAll(s.root); err != nil {
		return err
	}
	if err := trust(s.root); err != nil {
		return err
	}
	// The build's user passes through drafts/, and lists neither that nor links/.
	for name, mode := range map[string]os.FileMode{
		releasesDir: 0o755, sharedDir: 0o755, cacheDir: 0o755, draftsDir: 0o711, linksDir: 0o700, marksDir: 0o755,
	} {
		if err := makeOwn(filepath.Join(s.root, name), mode); err != nil {
			return err
		}
	}
	return nil
}

// makeAll makes what is missing of a directory. The users of slots and builds
// pass through it, whatever the umask of whoever deploys.
func makeAll(path string) error {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return nil
	}
	if err := makeAll(filepath.Dir(path)); err != nil {
		return err
	}
	err := os.Mkdir(path, 0o755)
	if errors.Is(err, fs.ErrExist) {
		return nil // made meanwhile, or no directory, which is found out
	} else if err != nil {
		return err
	}
	return os.Chmod(path, 0o755)
}

// makeOwn makes a directory with this mode whatever the umask; one that is
// there keeps its mode, but nobody else may be able to write it.
func makeOwn(path string, mode os.FileMode) error {
	err := os.Mkdir(path, mode)
	switch {
	case err == nil:
		return os.Chmod(path, mode)
	case errors.Is(err, fs.ErrExist):
		return trustOne(path, 0)
	}
	return err
}

func (s *Store) say(format string, args ...any) {
	if s.progress != nil {
		s.progress(fmt.Sprintf(format, args...))
	}
}

// Dir is the release's directory.
func (s *Store) Dir(r Release) string { return filepath.Join(s.root, releasesDir, r.Name) }

// PartDir is the directory within the release that is the service's.
func (s *Store) PartDir(r Release, service string) string {
	return filepath.Join(s.Dir(r), r.Parts[service])
}

// List returns the releases, newest first. What a crash left half made, and
// what is no release, is not listed.
func (s *Store) List() ([]Release, error) {
	d, err := s.releases()
	if missing(err) {
		return nil, nil // nothing was ever deployed
	} else if err != nil {
		return nil, fmt.Errorf("listing releases: %w", err)
	}
	defer d.Close()
	return d.list()
}

func (s *Store) releases() (*dir, error) { return s.disk.openDir(filepath.Join(s.root, releasesDir)) }

func (d *dir) list() ([]Release, error) {
	names, err := d.names()
	if err != nil {
		return nil, fmt.Errorf("listing releases: %w", err)
	}
	var list []Release
	for _, name := range slices.Backward(names) {
		r, ok, err := d.read(name)
		if err != nil {
			return nil, fmt.Errorf("listing releases: %w", err)
		}
		if ok {
			list = append(list, r)
		}
	}
	return list, nil
}

// read returns the release of that name, and false where there is none: an
// error is the disk's.
func (d *dir) read(name string) (Release, bool, error) {
	if checkName(name) != nil {
		return Release{}, false, nil
	}
	if st, err := d.stat(name); missing(err) || err == nil && !isDir(st) {
		return Release{}, false, nil
	}
	sub, err := d.sub(name)
	if missing(err) {
		return Release{}, false, nil // pruned meanwhile
	} else if err != nil {
		return Release{}, false, err
	}
	defer sub.Close()
	raw, err := sub.readAll(recordName, maxRecord)
	if missing(err) {
		return Release{}, false, nil
	} else if err != nil {
		return Release{}, false, err
	}
	r, err := decodeRecord(raw)
	return r, err == nil && r.Name == name, nil
}

func (d *dir) readAll(name string, most int64) ([]byte, error) {
	f, err := d.open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, most))
}

// decodeRecord reads a .release.json and checks all of it that becomes a path.
func decodeRecord(raw []byte) (Release, error) {
	var r Release
	if err := json.Unmarshal(raw, &r); err != nil {
		return Release{}, err
	}
	if err := errors.Join(checkName(r.Name), checkParts(r.Parts)); err != nil {
		return Release{}, err
	}
	if !r.Sealed || r.Revision == "" {
		return Release{}, errors.New("not sealed")
	}
	return r, nil
}

// minPrefix is the shortest beginning of a name or a revision that is looked
// for.
const minPrefix = 4

// Find returns the release of this name, or the only one whose name or revision
// begins so.
func (s *Store) Find(name string) (Release, error) {
	list, err := s.List()
	if err != nil {
		return Release{}, err
	}
	var found []Release
	for _, r := range list {
		if r.Name == name {
			return r, nil
		}
		if len(name) >= minPrefix && r.begins(name) {
			found = append(found, r)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return Release{}, fmt.Errorf("%w: %q may be %s", ErrAmbiguous, name, namesOf(found))
	case len(list) == 0:
		return Release{}, fmt.Errorf("%w: %q; there is none at all", ErrNotFound, name)
	}
	return Release{}, fmt.Errorf("%w: %q; there are %s", ErrNotFound, name, namesOf(list))
}

func (r Release) begins(prefix string) bool {
	hash, _ := strings.CutPrefix(r.Revision, sha256Prefix)
	return strings.HasPrefix(r.Name, prefix) || strings.HasPrefix(hash, prefix) ||
		len(prefix) >= len(sha256Prefix)+minPrefix && strings.HasPrefix(r.Revision, prefix)
}

func namesOf(list []Release) string {
	const most = 5
	names := make([]string, 0, most+1)
	for i, r := range list {
		if i == most {
			names = append(names, fmt.Sprintf("%d more", len(list)-most))
			break
		}
		names = append(names, r.Name)
	}
	return strings.Join(names, ", ")
}

// Free is how many bytes of the root's disk may still be written.
func (s *Store) Free() (uint64, error) {
	st, err := s.statfs()
	return st.Bavail * uint64(st.Bsize), err
}

// FreeInodes is how many files it may still hold; a file system that does not
// count them has no end of them.
func (s *Store) FreeInodes() (uint64, error) {
	st, err := s.statfs()
	if err == nil && st.Files == 0 {
		return math.MaxUint64, nil
	}
	return st.Ffree, err
}

func (s *Store) statfs() (unix.Statfs_t, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(s.root, &st); err != nil {
		return st, fmt.Errorf("asking how much of the disk of %s is free: %w", s.root, err)
	}
	return st, nil
}

// room refuses what the disk cannot hold.
func (s *Store) room(bytes, files uint64) error {
	free, err := s.Free()
	if err != nil {
		return err
	}
	inodes, err := s.FreeInodes()
	if err != nil {
		return err
	}
	switch {
	case bytes > free:
		return fmt.Errorf("%w of %s: %d bytes are needed and %d are free", ErrNoSpace, s.root, bytes, free)
	case files > inodes:
		return fmt.Errorf("%w of %s: %d files are needed and there is room for %d", ErrNoSpace, s.root, files, inodes)
	}
	return nil
}
