package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"charactier-proxy/switcher/deploy"
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

func TestEachDeployHasALogOfItsOwn(t *testing.T) {
	root := t.TempDir()
	all := filepath.Join(root, "all")
	l := (&env{}).newDeployLog(all, root)
	if _, err := os.Stat(all); err == nil {
		t.Error("a log was made that has nothing to say")
	}
	for _, id := range []string{"first", "second"} {
		if err := os.MkdirAll(filepath.Join(root, "deploys", id), 0o700); err != nil {
			t.Fatal(err)
		}
		l.write(deploy.Report{Deploy: id, Step: "build", State: deploy.StateNote, Text: "of the " + id})
	}
	if err := l.close(); err != nil {
		t.Error(err)
	}
	for path, want := range map[string][2]bool{"all": {true, true}, "deploys/first/log": {true, false}, "deploys/second/log": {false, true}} {
		text, err := os.ReadFile(filepath.Join(root, path))
		has := [2]bool{strings.Contains(string(text), "of the first"), strings.Contains(string(text), "of the second")}
		if err != nil || has != want {
			t.Errorf("%s has %q, %v", path, text, err)
		}
	}
}
