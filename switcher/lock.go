package switcher

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// lockName is the file that names the process which has the directory.
const lockName = "lock"

// lockDir takes the directory for this process, so that two daemons never
// write the same state. The kernel gives the lock up with the process, however
// that ends. The directory itself is locked: that needs no file to be written,
// so a full or read-only disk does not keep the proxy from starting.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(dir, os.O_RDONLY|syscall.O_DIRECTORY, 0)
	if err != nil {
		return nil, fmt.Errorf("locking the state directory: %w", err)
	}
	if err := flock(f); err != nil {
		defer f.Close()
		return nil, fmt.Errorf("locking the state directory %s: %w", dir, heldBy(dir, err))
	}
	// It only makes the message to a second daemon clearer.
	_ = writePID(dir)
	return f, nil
}

// adoptLock takes the directory over from the process that has it, with the lock
// itself: at no time can a third one have it.
func adoptLock(dir string, lock *os.File) error {
	have, err := lock.Stat()
	if err != nil {
		return fmt.Errorf("taking over the lock of the state directory: %w", err)
	}
	want, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("taking over the lock of the state directory: %w", err)
	}
	if !os.SameFile(have, want) {
		return fmt.Errorf("taking over the lock of the state directory: it is of another directory than %s", dir)
	}
	if err := flock(lock); err != nil {
		return fmt.Errorf("taking over the lock of the state directory: %w", err)
	}
	_ = writePID(dir)
	return nil
}

func flock(f *os.File) error {
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

// heldBy names the process that has the lock, if it could write that down.
func heldBy(dir string, err error) error {
	if !errors.Is(err, syscall.EWOULDBLOCK) {
		return err
	}
	pid, err := os.ReadFile(filepath.Join(dir, lockName))
	if err != nil {
		return errors.New("another charactier-proxy uses it")
	}
	return fmt.Errorf("another charactier-proxy uses it, process %s", strings.TrimSpace(string(pid)))
}

func writePID(dir string) error {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_WRONLY|os.O_CREATE|os.O_TRUNC|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, os.Getpid())
	return errors.Join(err, f.Close())
}
