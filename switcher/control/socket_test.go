package control_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"charactier-proxy/switcher/control"
)

// openDoor lets every user connect, so that the roles decide and not the file.
func openDoor(t *testing.T, socket string) {
	t.Helper()
	if err := os.Chmod(socket, 0o666); err != nil {
		t.Fatal(err)
	}
}

func chgrp(t *testing.T, path, group string) {
	t.Helper()
	g, err := user.LookupGroup(group)
	if err != nil {
		t.Fatal(err)
	}
	gid, err := strconv.Atoi(g.Gid)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(path, -1, gid); err != nil {
		t.Fatal(err)
	}
}

func listen(t *testing.T, path string) net.Listener {
	t.Helper()
	ln, err := control.Listen(t.Context(), path, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() }) // most tests close it themselves
	return ln
}

// stale leaves a socket behind that nobody listens on.
func stale(t *testing.T, path string) {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestSocketAndItsDirectoryAreClosedToOthers(t *testing.T) {
	dir := filepath.Join(publicDir(t), "run")
	ln, err := control.Listen(t.Context(), filepath.Join(dir, "control.sock"), "daemon")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for path, want := range map[string]fs.FileMode{dir: fs.ModeDir | 0o750, dir + "/control.sock": fs.ModeSocket | 0o660} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != want {
			t.Errorf("%s has mode %v, want %v", path, info.Mode(), want)
		}
		if got := groupOf(t, path); got != "daemon" {
			t.Errorf("%s is of group %s, want daemon", path, got)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("beside the socket there is %v (%v)", entries, err)
	}
}

func TestStaleSocketIsReplaced(t *testing.T) {
	path := filepath.Join(publicDir(t), "s")
	stale(t, path)
	ln := listen(t, path)
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatalf("connecting to the new socket: %v", err)
	}
	if err := errors.Join(c.Close(), ln.Close()); err != nil {
		t.Error(err)
	}
}

func TestLiveSocketIsLeftAloneAndItsDaemonNamed(t *testing.T) {
	path := filepath.Join(publicDir(t), "s")
	listen(t, path)
	_, err := control.Listen(t.Context(), path, "")
	want := fmt.Sprintf("another daemon (pid %d) listens on %s", os.Getpid(), path)
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
	if c, err := net.Dial("unix", path); err != nil {
		t.Errorf("the first daemon lost its socket: %v", err)
	} else if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func TestOfManyDaemonsThatStartTogetherOneGetsTheSocket(t *testing.T) {
	path := filepath.Join(publicDir(t), "s")
	stale(t, path)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var won []net.Listener
	for range 16 {
		wg.Go(func() {
			ln, err := control.Listen(context.Background(), path, "")
			if err != nil {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			won = append(won, ln)
		})
	}
	wg.Wait()
	for _, ln := range won {
		if err := ln.Close(); err != nil {
			t.Error(err)
		}
	}
	if len(won) != 1 {
		t.Errorf("%d listeners, want 1", len(won))
	}
}

func TestWhatIsNotASocketIsNotTouched(t *testing.T) {
	path := filepath.Join(publicDir(t), "s")
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := control.Listen(t.Context(), path, ""); err == nil || !strings.Contains(err.Error(), "is not a socket") {
		t.Errorf("got %v", err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "precious" {
		t.Errorf("the file is now %q (%v)", got, err)
	}
}

func TestPlacesWhereASocketWouldNotBeSafeOrPossible(t *testing.T) {
	dir := publicDir(t)
	open := filepath.Join(dir, "open")
	if err := os.Mkdir(open, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(open, "s"):                               "everybody may write",
		filepath.Join(dir, "file", "s"):                        "not a directory",
		filepath.Join(dir, "no", "such", "s"):                  "no such file or directory",
		dir + "/" + strings.Repeat("x", control.MaxSocketPath): "bytes long, the kernel takes 107",
	} {
		if _, err := control.Listen(t.Context(), path, ""); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", path, err, want)
		}
	}
}

func TestLongestPathWorks(t *testing.T) {
	dir := publicDir(t)
	path := dir + "/" + strings.Repeat("x", control.MaxSocketPath-len(dir)-1)
	if err := listen(t, path).Close(); err != nil {
		t.Error(err)
	}
	short := filepath.Join(dir, strings.Repeat("d", control.MaxSocketPath-len(dir)-4))
	if err := os.Mkdir(short, 0o750); err != nil {
		t.Fatal(err)
	}
	if err := listen(t, short+"/s").Close(); err != nil {
		t.Error(err)
	}
}

func TestClosingRemovesOnlyTheOwnSocket(t *testing.T) {
	path := filepath.Join(publicDir(t), "s")
	first := listen(t, path)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	second := listen(t, path)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the second daemon's socket is gone: %v", err)
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
	if err := second.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closing twice: got %v, want net.ErrClosed", err)
	}
}

func groupOf(t *testing.T, path string) string {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return groupName(t, info)
}

func groupName(t *testing.T, info fs.FileInfo) string {
	t.Helper()
	gid := info.Sys().(*syscall.Stat_t).Gid
	g, err := user.LookupGroupId(strconv.FormatUint(uint64(gid), 10))
	if err != nil {
		t.Fatal(err)
	}
	return g.Name
}
