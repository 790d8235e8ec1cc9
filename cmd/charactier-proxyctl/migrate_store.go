package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"charactier-proxy/switcher"
)

// Kinds and phases of a record.
const (
	kindMigrate = "migrate"
	kindUndo    = "undo"

	phaseBegun    = "begun"    // the backups are safe; files may have been replaced
	phaseDone     = "done"     // nginx was seen to have taken them
	phaseRestored = "restored" // the backups were put back
)

// migrationRecord tells a later run what one did, and how far it got.
type migrationRecord struct {
	Kind    string          `json:"kind"`
	Phase   string          `json:"phase"`
	Started time.Time       `json:"started"`
	Files   []recordedFile  `json:"files"`
	Blocks  []recordedBlock `json:"blocks"`

	dir string
}

// recordedFile is one that was replaced.
type recordedFile struct {
	File   string `json:"file"`
	Backup string `json:"backup"` // beside the record
	Before string `json:"before"` // SHA-256
	After  string `json:"after"`
}

// recordedBlock is an upstream before and after.
type recordedBlock struct {
	Service  string `json:"service"`
	Upstream string `json:"upstream"`
	File     string `json:"file"`
	Before   string `json:"before"`
	After    string `json:"after"`
}

// migrateStore keeps backups and records, one directory for each migration.
// It is not below nginx's directories, where a file is soon included by a
// pattern, nor below the daemon's state, which the daemon may write: what lies
// here becomes nginx's configuration, so only its owner may.
type migrateStore struct {
	dir string
	uid int
	now func() time.Time
}

const recordName = "record.json"

// lock makes the directory and keeps others out.
func (s *migrateStore) lock() (unlock func(), err error) {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, fmt.Errorf("making a place for backups: %w", err)
	}
	if err := s.trusted(); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(s.dir, "lock"), os.O_CREATE|os.O_RDWR|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking %s: %w", s.dir, err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("%w: another migrate runs", switcher.ErrBusy)
	}
	return func() { f.Close() }, nil
}

// trusted is an error if others could have written what lies there.
func (s *migrateStore) trusted() error {
	info, err := os.Lstat(s.dir)
	if err != nil {
		return err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !info.IsDir() || !ok || int(stat.Uid) != s.uid || info.Mode()&0o022 != 0 {
		return fmt.Errorf("%s must be a directory of your own that only you can write, for backups are kept there; where nginx's files are root's, be root", s.dir)
	}
	return nil
}

// records are all that can be read, the newest first.
func (s *migrateStore) records() ([]migrationRecord, error) {
	entries, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		err = s.trusted()
	}
	if err != nil {
		return nil, fmt.Errorf("reading the records of earlier migrations: %w", err)
	}
	var records []migrationRecord
	for _, entry := range entries {
		dir := filepath.Join(s.dir, entry.Name())
		raw, err := os.ReadFile(filepath.Join(dir, recordName))
		record := migrationRecord{dir: dir}
		// One without a record died before it changed anything.
		if err == nil && json.Unmarshal(raw, &record) == nil {
			records = append(records, record)
		}
	}
	slices.SortFunc(records, func(a, b migrationRecord) int { return strings.Compare(b.dir, a.dir) })
	return records, nil
}

// unfinished is the newest migration if it did not end, and nil if it did.
func (s *migrateStore) unfinished() (*migrationRecord, error) {
	records, err := s.records()
	if err != nil || len(records) == 0 || records[0].Phase != phaseBegun {
		return nil, err
	}
	return &records[0], nil
}

// begin saves the backups and then the record of a migration that is about to
// change files.
func (s *migrateStore) begin(kind string, files []edited, changes []change) (*migrationRecord, error) {
	r := &migrationRecord{Kind: kind, Phase: phaseBegun, Started: s.now()}
	if err := s.makeDir(r); err != nil {
		return nil, fmt.Errorf("making a directory for the backup: %w", err)
	}
	for i, f := range files {
		backup := fmt.Sprintf("%d-%s", i, filepath.Base(f.file.real))
		if err := writeFile(filepath.Join(r.dir, backup), f.file.src, nil); err != nil {
			return nil, fmt.Errorf("saving a backup: %w", err)
		}
		r.Files = append(r.Files, recordedFile{f.file.real, backup, sum(f.file.src), sum(f.after)})
	}
	for _, c := range changes {
		start, end := c.upstream.Span()
		block := c.upstream.Text()
		after := applyWithin(block, start, end, c.edits)
		r.Blocks = append(r.Blocks, recordedBlock{c.service.Name, c.upstream.Name, c.file.real, block, after})
	}
	return r, s.save(r, phaseBegun)
}

// makeDir finds a name that nobody used and that sorts by time.
func (s *migrateStore) makeDir(r *migrationRecord) error {
	for at := r.Started.UTC(); ; at = at.Add(time.Millisecond) {
		r.dir = filepath.Join(s.dir, at.Format("20060102T150405.000Z"))
		if err := os.Mkdir(r.dir, 0o700); !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
}

// save writes the record with another phase.
func (s *migrateStore) save(r *migrationRecord, phase string) error {
	r.Phase = phase
	raw, err := json.MarshalIndent(r, "", "  ")
	if err == nil {
		err = writeFile(filepath.Join(r.dir, recordName), append(raw, '\n'), nil)
	}
	if err == nil {
		err = syncDir(s.dir)
	}
	if err != nil {
		return fmt.Errorf("saving the record of the migration: %w", err)
	}
	return nil
}

// backup is where a file's former content lies.
func (r *migrationRecord) backup(file string) string {
	for _, f := range r.Files {
		if f.File == file {
			return filepath.Join(r.dir, f.Backup)
		}
	}
	return ""
}

// restore puts back each file that still holds what the migration wrote. It
// reports whether there was one.
func (r *migrationRecord) restore() (restored bool, err error) {
	for _, f := range r.Files {
		now, readErr := os.ReadFile(f.File)
		if readErr == nil && sum(now) != f.After {
			continue
		}
		before, backupErr := os.ReadFile(filepath.Join(r.dir, f.Backup))
		if backupErr == nil && sum(before) != f.Before {
			backupErr = fmt.Errorf("the backup %s is damaged", f.Backup)
		}
		fileErr := errors.Join(readErr, backupErr)
		if fileErr == nil {
			fileErr = replaceFile(f.File, before)
		}
		if fileErr != nil {
			err = errors.Join(err, fmt.Errorf("putting back %s, of which %s is the backup: %w", f.File, filepath.Join(r.dir, f.Backup), fileErr))
			continue
		}
		restored = true
	}
	return restored, err
}

// holds reports whether all files hold what the migration wrote.
func (r *migrationRecord) holds() bool {
	return !slices.ContainsFunc(r.Files, func(f recordedFile) bool {
		now, err := os.ReadFile(f.File)
		return err != nil || sum(now) != f.After
	})
}

func sum(text []byte) string {
	s := sha256.Sum256(text)
	return hex.EncodeToString(s[:])
}
