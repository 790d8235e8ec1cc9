package release

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// lockPoll is how often a lock that another process has is asked for.
const lockPoll = 50 * time.Millisecond

// Locks are files and directories that only their owner can open: flock takes
// no more than an open file, so a build could otherwise hold what we wait for.
const (
	storeLock  = ".lock"
	mirrorLock = ".mirror.lock"
)

// flock takes or refuses at once, with EWOULDBLOCK.
func flock(f *os.File, how int) error {
	for {
		err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// lock waits for the lock of that name below the root. Closing the file gives
// it up.
func (s *Store) lock(ctx context.Context, name string, how int) (*os.File, error) {
	path := filepath.Join(s.root, name)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking: %w", err)
	}
	for said := false; ; said = true {
		err := flock(f, how)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, errors.Join(fmt.Errorf("locking %s: %w", path, err), f.Close())
		}
		if !said {
			s.say("waiting for another process that has %s", path)
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("waiting for another process that has %s: %w", path, ctx.Err()), f.Close())
		case <-time.After(lockPoll):
		}
	}
}
