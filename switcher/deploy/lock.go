package deploy

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// lookTime is how long a lock may be taken by those who only look whether it is.
const lookTime = 100 * time.Millisecond

func takeLock(f *os.File) error {
	for deadline := time.Now().Add(lookTime); ; time.Sleep(lookTime / 20) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

// Running says whether a command has the lock below root. To find out it has it
// for a moment itself, with others who look.
func Running(root string) bool {
	f, err := os.Open(LockPath(root))
	if err != nil {
		return false
	}
	defer f.Close()
	return unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB) != nil
}

// sign says in the lock file who holds it, as well as that is possible: an abort
// must be so on a disk that is full.
func (p *Pipeline) sign() {
	who := fmt.Sprintf(" by %s, pid %d, since %s", p.opts.Actor, os.Getpid(), time.Now().UTC().Format(time.RFC3339))
	if p.lock.Truncate(0) == nil {
		_, _ = p.lock.WriteAt([]byte(who), 0)
	}
}
