package main

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// The directory of the log may be writable by others, and who deploys is root.
func TestALogIsAPlainFileOrNone(t *testing.T) {
	dir := t.TempDir()
	victim := filepath.Join(dir, "victim")
	if err := os.WriteFile(victim, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for name, plant := range map[string]func(path string) error{
		"a link":               func(path string) error { return os.Symlink(victim, path) },
		"a link to nothing":    func(path string) error { return os.Symlink(victim+"2", path) },
		"a second name":        func(path string) error { return os.Link(victim, path) },
		"a pipe nobody reads":  func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"a directory":          func(path string) error { return os.Mkdir(path, 0o700) },
		"something like a tty": func(path string) error { return os.Symlink("/dev/null", path) },
	} {
		path := filepath.Join(t.TempDir(), "log")
		if err := plant(path); err != nil {
			t.Fatal(err)
		}
		if f, err := openLog(path); err == nil {
			f.Close()
			t.Errorf("%s was taken for a log", name)
		}
	}
	if _, err := os.Lstat(victim + "2"); err == nil {
		t.Error("what a link led to was made")
	}
	f, err := openLog(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}
