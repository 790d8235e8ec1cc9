package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"syscall"
	"time"

	"charactier-proxy/switcher/deploy"
)

// deployLog writes what happens into the log of all deploys and into each
// deploy's own, which are opened with the first line: a plan has none. A log that
// cannot be written is told of once and ends nothing.
type deployLog struct {
	e          *env
	path, root string

	mu     sync.Mutex
	opened bool
	all    *os.File
	own    *os.File
	deploy string // that own belongs to
	failed bool
}

// newDeployLog is for the log of all deploys in path; no path means that there
// is none.
func (e *env) newDeployLog(path, root string) *deployLog {
	return &deployLog{e: e, path: path, root: root, opened: path == ""}
}

// openLocked opens the logs that a line of a deploy belongs into.
func (l *deployLog) openLocked(id string) {
	if !l.opened {
		l.opened, l.all = true, l.openOne(l.path)
	}
	if id == l.deploy || id == "" {
		return
	}
	if err := closeLog(l.own); err != nil {
		l.fail(err)
	}
	l.deploy, l.own = id, l.openOne(deploy.LogPath(l.root, id))
}

func (l *deployLog) openOne(path string) *os.File {
	f, err := openLog(path)
	if errors.Is(err, fs.ErrNotExist) && path != l.path {
		return nil // a rollback on a full disk has no directory, and has said so
	}
	if err != nil {
		l.fail(err)
		return nil
	}
	return f
}

// openLog opens a plain file, and neither what a link leads to nor what nobody
// reads: the directory may be one that others than root write, and we are root.
func openLog(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o640)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a plain file", path)
	}
	if err == nil && links(info) > 1 {
		err = fmt.Errorf("%s has another name elsewhere", path)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func links(info os.FileInfo) uint64 {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 1
	}
	return uint64(st.Nlink)
}

func (l *deployLog) fail(err error) {
	if !l.failed {
		l.e.warnf("the deploy goes on without its log: %v", err)
	}
	l.failed = true
}

// write appends a report as "TIME DEPLOY STEP: text".
func (l *deployLog) write(r deploy.Report) {
	text := reportText(l.e, r, true)
	if text == "" {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.openLocked(r.Deploy)
	for _, f := range []*os.File{l.all, l.own} {
		if f == nil {
			continue
		}
		if _, err := fmt.Fprintf(f, "%s %s %s\n", r.Time.UTC().Format(time.RFC3339Nano), r.Deploy, text); err != nil {
			l.fail(err)
		}
	}
}

func (l *deployLog) close() error { return errors.Join(closeLog(l.all), closeLog(l.own)) }

func closeLog(f *os.File) error {
	if f == nil {
		return nil
	}
	return f.Close()
}
