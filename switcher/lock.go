package switcher

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// lockDir takes the directory for this process, so that two daemons never
// write the same state. The kernel gives the lock up with the process, however
// that ends.
func lockDir(dir string) (*os.File, error) {
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the state directory: %w", err)
	}
	if err := flock(f); err != nil {
		defer f.Close()
		return nil, fmt.Errorf("locking the state directory %s: %w", dir, heldBy(f, err))
	}
	if err := writePID(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("locking the state directory: %w", err)
	}
	return f, nil
}

func flock(f *os.File) error {
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

// heldBy names the process that has the lock.
func heldBy(f *os.File, err error) error {
	if !errors.Is(err, syscall.EWOULDBLOCK) {
		return err
	}
	pid := make([]byte, 32)
	n, _ := f.ReadAt(pid, 0)
	return fmt.Errorf("another charactier-proxy uses it, process %s", strings.TrimSpace(string(pid[:n])))
}

func writePID(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt(fmt.Appendf(nil, "%d\n", os.Getpid()), 0)
	return err
}
