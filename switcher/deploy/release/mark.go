package release

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"time"
)

// Mark says that a release did not prove itself, and why.
type Mark struct {
	At     time.Time `json:"at"`
	Reason string    `json:"reason"`
}

const (
	maxMark   = 4 << 10
	maxReason = 1 << 10
)

// Mark notes that a release did not prove itself: it is the first to be pruned,
// and does not count among those that are kept. A release never changes, so the
// note lies beside it.
func (s *Store) Mark(name, reason string) error {
	if err := s.mark(name, Mark{time.Now().UTC().Truncate(time.Second), tidy(reason, maxReason)}); err != nil {
		return fmt.Errorf("marking release %s: %w", name, full(err))
	}
	return nil
}

func (s *Store) mark(name string, m Mark) error {
	if err := checkName(name); err != nil {
		return err
	}
	raw, err := json.Marshal(m)
	if err != nil {
		return err
	}
	marks, err := s.marks()
	if err != nil {
		return err
	}
	defer marks.Close()
	temp := "." + name + ".new"
	if err := gone(marks.unlink(temp)); err != nil {
		return err
	}
	if err := marks.write(temp, raw, 0o644); err != nil {
		return err
	}
	return errors.Join(marks.rename(temp, marks, name), marks.sync())
}

// Unmark forgets a mark, once the release has proven itself after all.
func (s *Store) Unmark(name string) error {
	if checkName(name) != nil {
		return nil
	}
	marks, err := s.marks()
	if err == nil {
		defer marks.Close()
		err = gone(marks.unlink(name))
	}
	if err != nil {
		return fmt.Errorf("forgetting the mark of release %s: %w", name, err)
	}
	return nil
}

// Marks are those of all releases, by name. One that cannot be understood still
// is a mark.
func (s *Store) Marks() (map[string]Mark, error) {
	marks, err := s.marks()
	if missing(err) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("reading the marks of releases: %w", err)
	}
	defer marks.Close()
	names, err := marks.names()
	if err != nil {
		return nil, fmt.Errorf("reading the marks of releases: %w", err)
	}
	all := map[string]Mark{}
	for _, name := range names {
		if checkName(name) != nil {
			continue
		}
		raw, err := marks.readAll(name, maxMark)
		if missing(err) {
			continue
		} else if err != nil {
			return nil, fmt.Errorf("reading the marks of releases: %w", err)
		}
		var m Mark
		_ = json.Unmarshal(raw, &m)
		all[name] = m
	}
	return all, nil
}

func (s *Store) marks() (*dir, error) { return s.disk.openDir(filepath.Join(s.root, marksDir)) }

// sweepMarks removes the marks of releases that are not there any more.
func (s *Store) sweepMarks(releases *dir) error {
	marks, err := s.marks()
	if err != nil {
		return err
	}
	defer marks.Close()
	names, err := marks.names()
	for _, name := range names {
		if _, there := releases.stat(name); missing(there) {
			err = errors.Join(err, gone(marks.unlink(name)))
		}
	}
	return err
}
