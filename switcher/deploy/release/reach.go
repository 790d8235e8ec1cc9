package release

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"
)

// Reach asks a repository for a branch or a tag in the way that a deploy would,
// and keeps nothing of it.
func Reach(ctx context.Context, repository, ref string) error {
	repo, err := parseRepository(repository)
	if err == nil {
		err = CheckRef(ref)
	}
	if err == nil {
		err = reach(ctx, repo, ref)
	}
	if err != nil {
		return fmt.Errorf("asking %s for %s: %w", Shown(repository), ref, err)
	}
	return nil
}

func reach(ctx context.Context, repo repository, ref string) (err error) {
	dir, err := os.MkdirTemp("", "charactier-proxy-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s, err := Open(dir)
	if err != nil {
		return err
	}
	m, err := s.lockMirror(ctx, unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer m.Close()
	if err := m.ready(ctx); err != nil {
		return err
	}
	err = m.gitRemote(ctx, repo, gitCall{args: []string{"ls-remote", "--exit-code", "origin", ref}})
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 2 {
		return fmt.Errorf("%w: it has no %s", ErrNoSuchRef, ref)
	}
	return err
}

// Shown is a repository as it may be shown to people: without credentials.
func Shown(repository string) string {
	repo, err := parseRepository(repository)
	if err != nil {
		return "the repository"
	}
	return repo.source
}
