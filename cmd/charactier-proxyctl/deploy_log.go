package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"charactier-proxy/switcher/deploy"
)

// deployLog writes what happens into the log of all deploys and into each
// deploy's own. A log that cannot be written is told of once and ends nothing.
type deployLog struct {
	e     *env
	root  string
	files []*os.File
	own   string // the deploy that the second file belongs to

	mu     sync.Mutex
	failed bool
}

// openDeployLog opens the log of all deploys; no path means that there is none.
func (e *env) openDeployLog(path, root string) *deployLog {
	l := &deployLog{e: e, root: root}
	if path != "" {
		l.add(path)
	}
	return l
}

func (l *deployLog) add(path string) {
	f, err := openLog(path)
	if err != nil {
		l.fail(err)
		return
	}
	l.files = append(l.files, f)
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
	if r.Deploy != "" && r.Deploy != l.own {
		l.own = r.Deploy
		l.add(filepath.Join(l.root, "deploys", r.Deploy, "log"))
	}
	for _, f := range l.files {
		if _, err := fmt.Fprintf(f, "%s %s %s\n", r.Time.UTC().Format(time.RFC3339Nano), r.Deploy, text); err != nil {
			l.fail(err)
		}
	}
}

func (l *deployLog) close() error {
	for _, f := range l.files {
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}
