package main

import (
	"fmt"
	"io"
	"os"
	"sync"

	"go.uber.org/zap"

	"charactier-proxy/cmd/internal/config"
	"charactier-proxy/proxy"
)

// accessLogFile is where access logs go. It is opened anew with each reload,
// so that a rotated file is let go, while requests that still run go on writing
// to whichever is open.
type accessLogFile struct {
	stderr io.Writer

	mu   sync.Mutex
	file *os.File // nil: stderr
}

// Write writes one line.
func (a *accessLogFile) Write(line []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.file == nil {
		return a.stderr.Write(line)
	}
	return a.file.Write(line)
}

// open goes on with the file at path, or with stderr if path is empty. On error
// nothing has changed.
func (a *accessLogFile) open(path string) error {
	var file *os.File
	if path != "" {
		var err error
		if file, err = os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640); err != nil {
			return fmt.Errorf("opening the access log: %w", err)
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	old := a.file
	a.file = file
	if old == nil {
		return nil
	}
	return old.Close()
}

// reopen lets a rotated file go.
func (a *accessLogFile) reopen() error {
	a.mu.Lock()
	file := a.file
	a.mu.Unlock()
	if file == nil {
		return nil
	}
	return a.open(file.Name())
}

func (a *accessLogFile) close() error { return a.open("") }

// settings are the data path's settings with the access log that cfg wants.
func (d *daemon) settings(cfg *config.Config) (proxy.Settings, error) {
	set := cfg.ProxySettings()
	if !cfg.AccessLog.Enabled {
		return set, nil
	}
	if err := d.access.open(cfg.AccessLog.Path); err != nil {
		return set, err
	}
	log := newLogger(d.access, "json", zap.NewAtomicLevel())
	set.AccessLog = proxy.NewAccessLog(log, proxy.AccessLogOptions{Query: cfg.AccessLog.Query == "verbatim"})
	return set, nil
}
