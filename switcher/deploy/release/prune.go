package release

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// Prune removes releases and returns their names. It keeps those in use, those
// that a link which [Store.Point] made leads to, the newest one, and besides
// the keep newest of the others that are not marked.
func (s *Store) Prune(keep int, inUse []string) ([]string, error) {
	if keep < 0 {
		return nil, fmt.Errorf("pruning releases: keeping %d of them makes no sense", keep)
	}
	drafts, err := s.disk.openDir(filepath.Join(s.root, draftsDir))
	if err != nil {
		return nil, fmt.Errorf("pruning releases: %w", err)
	}
	defer drafts.Close()
	removed, grave, err := s.bury(drafts, keep, inUse)
	if grave != nil {
		defer grave.Close()
		if err == nil {
			// This takes long, and nobody has to wait for it. After an error Sweep does it.
			err = grave.removeFrom(drafts, filepath.Base(grave.Name()))
		}
	}
	if err != nil {
		return removed, fmt.Errorf("pruning releases: %w", err)
	}
	return removed, nil
}

// bury takes the releases that have to go out of the list, each by one rename
// into a draft that is there to be removed.
func (s *Store) bury(drafts *dir, keep int, inUse []string) (removed []string, grave *dir, err error) {
	lock, err := s.lock(context.Background(), storeLock, unix.LOCK_EX)
	if err != nil {
		return nil, nil, err
	}
	defer lock.Close()
	releases, err := s.releases()
	if err != nil {
		return nil, nil, err
	}
	defer releases.Close()
	old, err := s.superfluous(releases, keep, inUse)
	if err != nil || len(old) == 0 {
		return nil, nil, err
	}
	grave, err = s.claim(drafts, scratch("pruned"))
	if err != nil {
		return nil, nil, err
	}
	for _, name := range old {
		if err := errors.Join(releases.loosen(name), releases.rename(name, grave, name)); err != nil {
			return removed, grave, err
		}
		removed = append(removed, name)
	}
	return removed, grave, errors.Join(releases.sync(), s.sweepMarks(releases))
}

func (s *Store) superfluous(releases *dir, keep int, inUse []string) ([]string, error) {
	list, err := releases.list()
	if err != nil {
		return nil, err
	}
	linked, err := s.linked()
	if err != nil {
		return nil, err
	}
	marks, err := s.Marks()
	if err != nil {
		return nil, err
	}
	var old []string
	for i, r := range list {
		_, failed := marks[r.Name]
		switch {
		case slices.Contains(inUse, r.Name), slices.Contains(linked, r.Name):
		case keep > 0 && !failed:
			keep--
		case i > 0: // the newest may be what is about to be used
			old = append(old, r.Name)
		}
	}
	return old, nil
}
