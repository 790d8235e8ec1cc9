package reconcile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// LockDir is the directory that is locked by who enables or disables units of
// slots. Only root may look into it, so that nobody else can hold it.
// charactier-proxy-reconcile.service, which may write nowhere, has it made.
const LockDir = "/run/charactier-proxy-reconcile"

// lockPause is how often a lock that somebody has is tried.
const lockPause = 5 * time.Millisecond

// Lock locks dir, which it makes where it is missing, and waits for whoever has
// it until ctx ends. The kernel gives it up with the process, however that ends.
func Lock(ctx context.Context, dir string) (unlock func(), err error) {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("making the directory that is locked: %w", err)
	}
	f, err := os.OpenFile(dir, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fmt.Errorf("opening the directory that is locked: %w", err)
	}
	tick := time.NewTicker(lockPause)
	defer tick.Stop()
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil //nolint:errcheck // nothing was written to it
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return nil, errors.Join(fmt.Errorf("locking %s: %w", dir, err), f.Close())
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("waiting for the lock of %s: %w", dir, context.Cause(ctx)), f.Close())
		}
	}
}

// Holder is the process that has dir locked, for people; empty where the kernel
// does not say.
func Holder(dir string) string {
	var st syscall.Stat_t
	locks, err := os.ReadFile("/proc/locks")
	if err != nil || syscall.Stat(dir, &st) != nil {
		return ""
	}
	major, minor := st.Dev>>8&0xfff|st.Dev>>32&^0xfff, st.Dev&0xff|st.Dev>>12&^0xff
	file := fmt.Sprintf("%02x:%02x:%d", major, minor, st.Ino)
	for line := range strings.Lines(string(locks)) {
		// 12: FLOCK  ADVISORY  WRITE 4711 00:19:1234 0 EOF
		fields := strings.Fields(line)
		if len(fields) < 6 || fields[1] != "FLOCK" || fields[5] != file {
			continue
		}
		pid := fields[4]
		if _, err := strconv.ParseUint(pid, 10, 32); err != nil || pid == "0" {
			return "" // of another container
		}
		name, _ := os.ReadFile("/proc/" + pid + "/comm") // it may have ended meanwhile
		return "pid " + pid + " (" + strings.TrimSpace(string(name)) + ")"
	}
	return ""
}
