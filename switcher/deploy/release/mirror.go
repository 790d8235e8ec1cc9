package release

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	mirrorDir = "mirror.git"
	// spareDir is a mirror that is made anew beside a damaged one.
	spareDir = "mirror.git.new"
	// fetchedFrom is the file in the mirror that says what it mirrors.
	fetchedFrom = "fetched-from"
)

// mirror is the kept bare repository, which only root may look into. Whoever has
// it has its lock.
type mirror struct {
	store *Store
	dir   string
	lock  *os.File
}

func (s *Store) lockMirror(ctx context.Context, how int) (*mirror, error) {
	lock, err := s.lock(ctx, mirrorLock, how)
	if err != nil {
		return nil, err
	}
	return &mirror{s, filepath.Join(s.root, mirrorDir), lock}, nil
}

func (m *mirror) Close() error { return m.lock.Close() }

// ready makes the mirror, or mends what a killed fetch left. It needs the
// exclusive lock: with it no lock file and no half of a pack is anybody's.
func (m *mirror) ready(ctx context.Context) error {
	if err := os.RemoveAll(m.spare().dir); err != nil {
		return err
	}
	if err := m.clear(); err != nil && !missing(err) {
		return err
	}
	if m.isInitialised() {
		return nil
	}
	return m.init(ctx)
}

func (m *mirror) init(ctx context.Context) error {
	if err := makeOwn(m.dir, 0o700); err != nil {
		return err
	}
	_, err := m.gitOutput(ctx, "init", "--quiet", "--bare", "--template=")
	return err
}

func (m *mirror) isInitialised() bool {
	for _, name := range []string{"HEAD", "config"} {
		if info, err := os.Stat(filepath.Join(m.dir, name)); err != nil || info.Size() == 0 {
			return false
		}
	}
	return true
}

// clear removes the lock files and the unfinished packs of commands that were
// killed.
func (m *mirror) clear() error {
	return filepath.WalkDir(m.dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		name := e.Name()
		if strings.HasSuffix(name, ".lock") || name == "gc.pid" ||
			strings.HasPrefix(name, "tmp_") || strings.HasPrefix(name, ".tmp-") {
			return os.Remove(path)
		}
		return nil
	})
}

// isFrom reports that the last fetch was from this repository.
func (m *mirror) isFrom(repo repository) bool {
	text, err := os.ReadFile(filepath.Join(m.dir, fetchedFrom))
	return err == nil && string(text) == repo.source
}

// fetch brings the branches and tags up to date. Where that fails though the
// repository answers, the mirror may be damaged: then it is made anew, and the
// old one stays unless that works.
func (m *mirror) fetch(ctx context.Context, repo repository) error {
	err := m.fetchAll(ctx, repo)
	if err == nil || ctx.Err() != nil {
		return err
	}
	spare := m.spare()
	if again := m.renew(ctx, repo, spare); again != nil {
		err = errors.Join(err, os.RemoveAll(spare.dir))
	} else {
		m.store.say("the mirror was damaged (%v) and was made anew", err)
		err = nil
	}
	return err
}

func (m *mirror) fetchAll(ctx context.Context, repo repository) error {
	m.store.say("fetching %s", repo.source)
	err := m.fetchRefs(ctx, repo, "--prune", "origin", "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
	if err != nil {
		return fmt.Errorf("fetching %s: %w", repo.source, err)
	}
	if err := os.WriteFile(filepath.Join(m.dir, fetchedFrom), []byte(repo.source), 0o600); err != nil {
		return err
	}
	// Seldom anything to do; a mirror that cannot be packed is a mirror still.
	_ = m.git(ctx, gitCall{args: []string{"gc", "--auto", "--quiet"}})
	return ctx.Err()
}

func (m *mirror) fetchRefs(ctx context.Context, repo repository, args ...string) error {
	fetch := []string{"fetch", "--progress", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", "--no-auto-maintenance"}
	return m.gitRemote(ctx, repo, gitCall{
		args: append(fetch, args...),
		show: func(line string) { m.store.say("%s", line) },
	})
}

// answers asks the repository for its branches and does nothing with them.
func (m *mirror) answers(ctx context.Context, repo repository) error {
	return m.gitRemote(ctx, repo, gitCall{args: []string{"ls-remote", "--heads", "origin"}})
}

func (m *mirror) spare() *mirror {
	return &mirror{m.store, filepath.Join(m.store.root, spareDir), m.lock}
}

// renew puts a new mirror in the place of this one, if the repository answers.
func (m *mirror) renew(ctx context.Context, repo repository, spare *mirror) error {
	if err := spare.init(ctx); err != nil {
		return err
	}
	if err := spare.answers(ctx, repo); err != nil {
		return err
	}
	if err := spare.fetchAll(ctx, repo); err != nil {
		return err
	}
	if err := unix.Renameat2(unix.AT_FDCWD, spare.dir, unix.AT_FDCWD, m.dir, unix.RENAME_EXCHANGE); err != nil {
		return err
	}
	return os.RemoveAll(spare.dir)
}
