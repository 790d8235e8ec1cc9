package switcher

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// The files of a state directory.
const (
	stateName    = "state.json"
	previousName = "state.previous.json" // the last committed state before state.json
	damagedName  = "state.json.damaged-" // and the time when it was set aside
)

// FileStore keeps the state in a directory of its own:
//
//	state.json            the state; while a switch runs, with its intent
//	state.previous.json   the committed state before it, never with an intent
//	state.json.damaged-*  what could not be read and was set aside
//	history.jsonl         the history, see [FileHistory]
//	lock                  the process id of the daemon that has the directory
//
// Save writes a new file, syncs it, renames it into place and syncs the
// directory, so that a power cut leaves the old state or the new one. What Load
// makes of anything else:
//
//	nothing there at all        the first start: a state of generation zero
//	state.json is missing,      the previous state, brought up to date by the
//	torn, edited or not JSON    history, with a note; the file is set aside
//	and so is the previous one  an error that wraps [ErrStateUnknown]
//	its format is a newer one   an error that wraps [ErrStateUnknown]
//	it is older than what the   brought up to date by the history, with a note
//	history says was done
//	others can write to it,     an error that names the command to mend it
//	own it, or it is a symlink
//
// A service that the configuration does not know stays in the state.
type FileStore struct {
	dir  string
	disk disk
	lock *os.File

	mu        sync.Mutex
	committed []byte // state.json, if it holds a committed state
	aside     bool   // state.json is unusable and has to be set aside
}

// OpenFileStore makes the directory where it is missing and takes it for this
// process. It fails if another process has it, or if others may write to it.
func OpenFileStore(dir string) (*FileStore, error) { return openLocked(dir, nil) }

// AdoptFileStore is OpenFileStore for who was given the lock of the process that
// had the directory ([FileStore.Lock]).
func AdoptFileStore(dir string, lock *os.File) (*FileStore, error) { return openLocked(dir, lock) }

func openLocked(dir string, lock *os.File) (*FileStore, error) {
	d := osDisk{checked: true}
	if err := makeDir(d, dir); err != nil {
		return nil, err
	}
	info, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("opening the state directory: %w", err)
	}
	if err := trust(dir, info); err != nil {
		return nil, fmt.Errorf("opening the state directory: %w", err)
	}
	if lock == nil {
		lock, err = lockDir(dir)
	} else {
		err = adoptLock(dir, lock)
	}
	if err != nil {
		return nil, err
	}
	s, err := openFileStore(d, dir)
	if err != nil {
		lock.Close()
		return nil, err
	}
	s.lock = lock
	return s, nil
}

// makeDir makes a directory that only its owner can read, and its name durable.
func makeDir(d disk, dir string) error {
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making the state directory: %w", err)
	}
	if err := d.syncDir(filepath.Dir(dir)); err != nil {
		return fmt.Errorf("making the state directory: %w", err)
	}
	return nil
}

// openFileStore removes what an unfinished write left behind.
func openFileStore(d disk, dir string) (*FileStore, error) {
	names, err := d.list(dir)
	if err != nil {
		return nil, fmt.Errorf("opening the state directory: %w", err)
	}
	for _, name := range names {
		if !strings.HasSuffix(name, tempSuffix) {
			continue
		}
		// One that stays does no harm.
		_ = d.remove(filepath.Join(dir, name))
	}
	return &FileStore{dir: dir, disk: d}, nil
}

// Lock is what keeps other processes out of the directory. Who has a copy of its
// descriptor has the directory too, for as long as that is open.
func (s *FileStore) Lock() *os.File { return s.lock }

// Close gives the directory up.
func (s *FileStore) Close() error {
	if s.lock == nil {
		return nil
	}
	return s.lock.Close()
}

// Load reads the state as described at [FileStore]. It changes nothing: what is
// damaged is set aside by the Save that takes its place.
func (s *FileStore) Load() (State, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st, raw, err := readState(s.disk, filepath.Join(s.dir, stateName))
	s.committed, s.aside = nil, false
	if err == nil {
		if st.Intent == nil {
			s.committed = raw
		}
		return catchUp(s.disk, s.dir, st), nil
	}
	s.aside = errors.Is(err, errDamaged) || errors.Is(err, errFuture)
	return restore(s.disk, s.dir, err)
}

// Save makes st what Load returns. Before it takes the place of a committed
// state, that is kept as the previous one.
func (s *FileStore) Save(st State) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	raw, err := encodeState(st)
	if err != nil {
		return err
	}
	if err := s.keep(); err != nil {
		return err
	}
	s.committed = nil
	if err := replace(s.disk, filepath.Join(s.dir, stateName), raw); err != nil {
		return err
	}
	if err := s.disk.syncDir(s.dir); err != nil {
		return fmt.Errorf("syncing %s: %w", s.dir, err)
	}
	if st.Intent == nil {
		s.committed = raw
	}
	return nil
}

// keep saves what is about to be replaced: a committed state as the previous
// one, a damaged file under another name.
func (s *FileStore) keep() error {
	path := filepath.Join(s.dir, stateName)
	if s.aside {
		to := filepath.Join(s.dir, damagedName+time.Now().UTC().Format("20060102T150405.000Z"))
		if err := s.disk.rename(path, to); err != nil {
			return fmt.Errorf("setting the damaged state aside: %w", err)
		}
		s.aside = false
	}
	if s.committed == nil {
		return nil
	}
	return replace(s.disk, filepath.Join(s.dir, previousName), s.committed)
}

// ReadState returns the state in a directory without taking it, for looking at
// it while no daemon runs.
func ReadState(dir string) (State, error) {
	d := osDisk{}
	st, _, err := readState(d, filepath.Join(dir, stateName))
	if err != nil {
		return restore(d, dir, err)
	}
	return catchUp(d, dir, st), nil
}

func readState(d disk, path string) (State, []byte, error) {
	raw, err := d.read(path)
	if err != nil {
		return State{}, nil, err
	}
	st, err := decodeState(raw)
	if err != nil {
		return State{}, nil, fmt.Errorf("%s is %w", path, err)
	}
	return st, raw, nil
}
