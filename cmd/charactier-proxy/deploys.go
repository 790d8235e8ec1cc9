package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"charactier-proxy/switcher/control"
	"charactier-proxy/switcher/deploy"
)

// deploys finds the deploy that has no end, for whoever asks for the status. The
// journals are read again only when something about them has changed.
type deploys struct {
	mu    sync.Mutex
	root  string
	dir   fileMark // of the directory that they are in
	file  fileMark // of the journal of found
	found *deploy.Found
	read  time.Time
}

const (
	// journalGrace is how long after a change of the directory all journals are
	// read each time: a new one gets its first line a little later, and two changes
	// may have the same time.
	journalGrace = 5 * time.Second
	// journalAge is how long what was read holds, whatever files say.
	journalAge = 30 * time.Second
)

// fileMark is what differs once a file was changed.
type fileMark struct {
	modified time.Time
	size     int64
}

func markOf(path string) (m fileMark) {
	if info, err := os.Stat(path); err == nil {
		m = fileMark{info.ModTime(), info.Size()}
	}
	return m
}

// unfinished is the deploy below root that has no end, or nil: also on a machine
// without deploys, or one whose journals are only root's to read.
func (d *deploys) unfinished(root string, now time.Time) *deploy.Found {
	d.mu.Lock()
	defer d.mu.Unlock()
	dir := markOf(deploy.Dir(root))
	if d.root == root && d.dir == dir && now.Sub(dir.modified) >= journalGrace && now.Sub(d.read) < journalAge &&
		(d.found == nil || d.file == markOf(deploy.JournalPath(root, d.found.ID))) {
		return d.found
	}
	// The mark is older than what is read: what comes in between is read once more.
	d.root, d.dir, d.read = root, dir, now
	if d.found != nil {
		d.file = markOf(deploy.JournalPath(root, d.found.ID))
	}
	before := d.found
	if d.found, _ = deploy.Unfinished(root); d.found != nil && (before == nil || before.ID != d.found.ID) {
		d.file = fileMark{} // it is read once more
	}
	return d.found
}

// deployStatus is nil where no deploy is unfinished.
func (d *daemon) deployStatus(now time.Time) *control.DeployStatus {
	root := d.config.current().Deploy.Root
	found := d.deploys.unfinished(root, now)
	if found == nil {
		return nil
	}
	return &control.DeployStatus{
		ID: found.ID, Kind: found.Kind, By: found.By, Begun: found.Begun, At: found.At, Release: found.Release,
		Running: d.switcher.Reservation() != nil || isLocked(deploy.LockPath(root)),
	}
}

// leftDeploy tells of a deploy whose command has ended before its time.
func leftDeploy(s *control.DeployStatus) []string {
	if s == nil || s.Running {
		return nil
	}
	return []string{fmt.Sprintf("%s %s, begun by %s at %s, ended in %s and is neither finished nor undone: charactier-proxyctl deploy --resume, or charactier-proxyctl abort",
		s.Kind, s.ID, s.By, s.Begun.UTC().Format(time.RFC3339), s.At)}
}

// isLocked reports whether a process has a file for itself. We may not open that
// of deploys, which is root's, so that nobody else can hold it; the kernel lists
// who holds what.
func isLocked(path string) bool {
	info, err := os.Stat(path)
	if err != nil {
		return false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	locks, err := os.ReadFile("/proc/locks")
	return ok && err == nil && hasLock(locks, stat.Ino)
}

// hasLock looks for a line such as
//
//	1: FLOCK  ADVISORY  WRITE 21983 fe:00:10028444 0 EOF
//
// Those who only look take it for READ. The device is not compared: where one is
// made up for stat(2), as with btrfs, it is another here.
func hasLock(locks []byte, inode uint64) bool {
	for line := range bytes.Lines(locks) {
		f := strings.Fields(string(line))
		if len(f) > 5 && f[1] == "FLOCK" && f[3] == "WRITE" && strings.HasSuffix(f[5], ":"+strconv.FormatUint(inode, 10)) {
			return true
		}
	}
	return false
}
