package release

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestSharedFilesAreLinkedIn(t *testing.T) {
	s, told := newStoreIn(t, filepath.Join(t.TempDir(), "root"))
	shared := filepath.Join(s.root, sharedDir, "backend")
	write(t, filepath.Join(shared, ".env"), "SECRET=1", 0o600)
	write(t, filepath.Join(shared, "public/uploads/a.png"), "png", 0o644)
	write(t, filepath.Join(shared, "logs/x"), "log", 0o644)
	artifact := built(t)
	write(t, filepath.Join(artifact, "backend/.env"), "an example", 0o644)
	if err := os.Mkdir(filepath.Join(artifact, "backend/logs"), 0o755); err != nil {
		t.Fatal(err)
	}
	d := drafted(t, s, nameAt(1), artifact)
	names := []string{".env", "public/uploads", "logs"}
	for range 2 { // it does no harm to do it twice
		if err := d.Share("backend", names); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{".env of the revision is replaced", "the empty logs"} {
		if !strings.Contains(told.text(), want) {
			t.Errorf("said %q, want %q", told.text(), want)
		}
	}
	r, err := d.Seal()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{".env": "SECRET=1", "public/uploads/a.png": "png", "logs/x": "log"} {
		if got := read(t, filepath.Join(s.PartDir(r, "backend"), name)); got != want {
			t.Errorf("%s: got %q", name, got)
		}
	}
	if info, err := os.Stat(filepath.Join(shared, ".env")); err != nil || info.Mode() != 0o600 {
		t.Errorf("the shared file became %v, %v", info.Mode(), err)
	}
	if _, err := s.Prune(0, nil); err != nil {
		t.Fatal(err)
	}
	if got := read(t, filepath.Join(shared, ".env")); got != "SECRET=1" {
		t.Errorf("got %q", got)
	}
}

func TestWhatCannotBeSharedIsRefused(t *testing.T) {
	s := newStore(t)
	shared := filepath.Join(s.root, sharedDir, "backend")
	for _, name := range []string{"index.js/x", "node_modules/x", "up", "link", "through/x"} {
		write(t, filepath.Join(shared, name), "x", 0o644)
	}
	artifact := built(t)
	for link, target := range map[string]string{"link": "index.js", "through": "../frontend"} {
		if err := os.Symlink(target, filepath.Join(artifact, "backend", link)); err != nil {
			t.Fatal(err)
		}
	}
	d := drafted(t, s, nameAt(1), artifact)
	for name, text := range map[string]string{
		"missing": "put the shared file or directory there", "node_modules": "has files in node_modules", "../up": "plain path", "/etc": "plain path",
		".": "all of a part", "link": "a link or no file", "through/x": "not a directory", "index.js/x": "not a directory", "a\nb": "plain path",
	} {
		if err := d.Share("backend", []string{name}); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%q: got %v, want it to say %q", name, err, text)
		}
	}
	wantError(t, d.Share("frontend-2", []string{"x"}), fs.ErrNotExist)
	if _, err := os.Stat(filepath.Join(d.PartDir("frontend"), "x")); err == nil {
		t.Error("a link of the revision was followed")
	}
}

func TestASharedLinkThatABuildReplacedIsSeen(t *testing.T) {
	for name, replace := range map[string]func(path string) error{
		"removed":   func(string) error { return nil },
		"a file":    func(path string) error { return os.WriteFile(path, nil, 0o644) },
		"elsewhere": func(path string) error { return os.Symlink("/etc/shadow", path) },
		"inside":    func(path string) error { return os.Symlink("index.js", path) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			write(t, filepath.Join(s.root, sharedDir, "backend/.env"), "x", 0o600)
			d := drafted(t, s, nameAt(1), built(t))
			if err := d.Share("backend", []string{".env"}); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(d.PartDir("backend"), ".env")
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if err := replace(path); err != nil {
				t.Fatal(err)
			}
			_, err := d.Seal()
			wantError(t, err, ErrUnsafe, "backend/.env")
		})
	}
}

func TestDirectoriesOfAnOlderReleaseAreCopied(t *testing.T) {
	s, told := newStoreIn(t, filepath.Join(t.TempDir(), "root"))
	old := sealed(t, s, nameAt(1))
	artifact := t.TempDir()
	for _, name := range []string{"backend", "frontend"} {
		if err := os.Mkdir(filepath.Join(artifact, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	d := drafted(t, s, nameAt(2), artifact)
	if err := d.Reuse(old, "backend", []string{"node_modules", ".next/cache"}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(told.text(), "has no .next/cache") {
		t.Errorf("said %q", told.text())
	}
	copied := filepath.Join(d.PartDir("backend"), "node_modules")
	if got := read(t, filepath.Join(copied, ".bin/a")); got != "a\n" {
		t.Errorf("got %q", got)
	}
	// The build may do what it likes to its copy.
	write(t, filepath.Join(copied, "a/a.js"), "changed", 0o644)
	if got := read(t, filepath.Join(s.PartDir(old, "backend"), "node_modules/a/a.js")); got != "a\n" {
		t.Errorf("the older release now says %q", got)
	}
	if info, err := os.Stat(filepath.Join(copied, "a")); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("got %v, %v", info.Mode(), err)
	}
	// A second time it is there already.
	if err := d.Reuse(old, "backend", []string{"node_modules"}); err != nil {
		t.Fatal(err)
	}
	if got := read(t, filepath.Join(copied, "a/a.js")); got != "changed" {
		t.Errorf("got %q", got)
	}
	for _, bad := range []string{"../frontend", "/etc", ""} {
		wantError(t, d.Reuse(old, "backend", []string{bad}), ErrUnsafe)
	}
	wantError(t, d.Reuse(Release{Name: nameAt(9), Parts: parts}, "backend", []string{"node_modules"}), ErrNotFound)
	wantError(t, d.Reuse(old, "images", []string{"node_modules"}), ErrNotFound)
}

func TestACopyOfALinkToASharedFileIsLeftOut(t *testing.T) {
	s := newStore(t)
	write(t, filepath.Join(s.root, sharedDir, "backend/cache/env"), "x", 0o600)
	first := drafted(t, s, nameAt(1), built(t))
	if err := first.Share("backend", []string{"cache/env"}); err != nil {
		t.Fatal(err)
	}
	old, err := first.Seal()
	if err != nil {
		t.Fatal(err)
	}
	d := drafted(t, s, nameAt(2), built(t))
	if err := d.Reuse(old, "backend", []string{"cache"}); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Seal(); err != nil {
		t.Error(err)
	}
}

func TestTheCopyOfAFileIsNotTheFile(t *testing.T) {
	s := newStore(t)
	old := sealed(t, s, nameAt(1))
	d := drafted(t, s, nameAt(2), built(t))
	if err := os.RemoveAll(filepath.Join(d.PartDir("backend"), "node_modules")); err != nil {
		t.Fatal(err)
	}
	if err := d.Reuse(old, "backend", []string{"node_modules"}); err != nil {
		t.Fatal(err)
	}
	var a, b unix.Stat_t
	if err := unix.Stat(filepath.Join(s.PartDir(old, "backend"), "node_modules/a/a.js"), &a); err != nil {
		t.Fatal(err)
	}
	if err := unix.Stat(filepath.Join(d.PartDir("backend"), "node_modules/a/a.js"), &b); err != nil {
		t.Fatal(err)
	}
	if a.Ino == b.Ino || a.Nlink != 1 || b.Nlink != 1 {
		t.Errorf("they share an inode: %d, %d", a.Ino, b.Ino)
	}
}
