package release

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

var errEnough = errors.New("enough of it")

// silence is a server that takes a connection and says nothing.
type silence struct {
	addr   string
	hangUp func() // at the latest when the test ends
}

// silentServer ends the context once it was asked for something.
func silentServer(t *testing.T, cancel context.CancelCauseFunc) silence {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = conn.Read(make([]byte, 1<<16))
		cancel(errEnough)
		<-ended.Done()
	}()
	t.Cleanup(func() { stop(); l.Close(); <-done })
	return silence{l.Addr().String(), stop}
}

// processesIn are those that have a directory of root as theirs, with what they
// were started as.
func processesIn(t *testing.T, root string) map[int]string {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	found := map[int]string{}
	for _, proc := range all {
		cwd, err := os.Readlink(filepath.Join(proc, "cwd"))
		if err != nil || !strings.HasPrefix(cwd, root) {
			continue
		}
		line, err := os.ReadFile(filepath.Join(proc, "cmdline"))
		pid, bad := strconv.Atoi(filepath.Base(proc))
		if err == nil && bad == nil && len(line) > 0 {
			found[pid] = strings.ReplaceAll(string(line), "\x00", " ")
		}
	}
	return found
}

// await polls until it is so.
func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); !is(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
