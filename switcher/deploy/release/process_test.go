package release

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var errEnough = errors.New("enough of it")

// silentServer takes a connection, ends the context, and says nothing.
func silentServer(t *testing.T, cancel context.CancelCauseFunc) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		cancel(errEnough)
		_, _ = conn.Read(make([]byte, 1<<16))
		_, _ = conn.Read(make([]byte, 1)) // until the other side is dead
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}

// processesIn are those that have a directory of root as theirs.
func processesIn(t *testing.T, root string) []string {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, proc := range all {
		cwd, err := os.Readlink(filepath.Join(proc, "cwd"))
		if err == nil && strings.HasPrefix(cwd, root) {
			line, _ := os.ReadFile(filepath.Join(proc, "cmdline"))
			found = append(found, strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return found
}
