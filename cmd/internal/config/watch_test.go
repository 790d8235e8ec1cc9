package config_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"charactier-proxy/cmd/internal/config"
)

// watching is a watch of a file under test. Every call is answered by reading
// the file, so a test sees what a daemon would load.
type watching struct {
	t     *testing.T
	path  string
	calls chan string
}

// bound is far more than any step takes; a test that reaches it has failed.
const bound = 30 * time.Second

func watchFile(t *testing.T, path string) *watching {
	t.Helper()
	w := &watching{t: t, path: path, calls: make(chan string, 100)}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	since := config.VersionOf(path)
	go func() {
		ended <- config.WatchSince(ctx, path, since, func() {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Errorf("called while the file cannot be read: %v", err)
			}
			w.calls <- string(text)
		})
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("WatchSince = %v", err)
		}
	})
	return w
}

// expect waits for the one call after which the file reads as wanted. Nothing
// else may have been told before: each step of a test leaves a whole file.
func (w *watching) expect(want string) {
	w.t.Helper()
	select {
	case got := <-w.calls:
		if got != want {
			w.t.Fatalf("told of %q, want %q", got, want)
		}
	case <-time.After(bound):
		w.t.Fatalf("not told of %q", want)
	}
}

func TestAFileWrittenInPlaceIsNoticed(t *testing.T) {
	path := write(t, t.TempDir(), "c.yaml", "one")
	w := watchFile(t, path)
	write(t, filepath.Dir(path), "c.yaml", "two")
	w.expect("two")
	write(t, filepath.Dir(path), "c.yaml", "three")
	w.expect("three")
}

// Editors write beside the file and rename over it, some move the old one
// aside first.
func TestAFileReplacedByAnEditorIsNoticed(t *testing.T) {
	dir := t.TempDir()
	path := write(t, dir, "c.yaml", "one")
	w := watchFile(t, path)
	rename(t, write(t, dir, ".c.yaml.swp", "two"), path)
	w.expect("two")
	rename(t, path, path+"~")
	write(t, dir, "c.yaml", "three")
	w.expect("three")
}

// Kubernetes swaps the link ..data; the file's own name never changes.
func TestAFileReplacedByASwapOfLinksIsNoticed(t *testing.T) {
	dir := t.TempDir()
	write(t, mkdir(t, dir, "..1"), "c.yaml", "one")
	link(t, "..1", filepath.Join(dir, "..data"))
	path := link(t, filepath.Join("..data", "c.yaml"), filepath.Join(dir, "c.yaml"))
	w := watchFile(t, path)
	for generation, text := range map[string]string{"..2": "two", "..3": "three"} {
		write(t, mkdir(t, dir, generation), "c.yaml", text)
		rename(t, link(t, generation, filepath.Join(dir, "..data_tmp")), filepath.Join(dir, "..data"))
		w.expect(text)
	}
	// What the link leads to now is watched as well.
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Dir(real), "c.yaml", "four")
	w.expect("four")
}

func TestAFileWhoseDirectoryIsMadeAnewIsNoticed(t *testing.T) {
	root := t.TempDir()
	dir := mkdir(t, root, "etc")
	path := write(t, dir, "c.yaml", "one")
	w := watchFile(t, path)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	write(t, mkdir(t, root, "etc"), "c.yaml", "two")
	w.expect("two")
	rename(t, dir, filepath.Join(root, "old"))
	write(t, mkdir(t, root, "next"), "c.yaml", "three")
	rename(t, filepath.Join(root, "next"), dir)
	w.expect("three")
}

func TestAFileThatIsNotThereYetIsNoticed(t *testing.T) {
	root := t.TempDir()
	w := watchFile(t, filepath.Join(root, "a", "b", "c.yaml"))
	write(t, mkdir(t, root, "a/b"), "c.yaml", "one")
	w.expect("one")
}

// A chmod may be what makes a refused file acceptable.
func TestAFileThatBecomesTrustedIsNoticed(t *testing.T) {
	path := write(t, t.TempDir(), "c.yaml", "one")
	chmod(t, path, 0o666)
	w := watchFile(t, path)
	chmod(t, path, 0o644)
	w.expect("one")
}

func TestAChangeBeforeTheWatchBeginsIsNoticed(t *testing.T) {
	path := write(t, t.TempDir(), "c.yaml", "one")
	since := config.VersionOf(path)
	write(t, filepath.Dir(path), "c.yaml", "two")
	ctx, stop := context.WithTimeout(t.Context(), bound)
	defer stop()
	told := false
	err := config.WatchSince(ctx, path, since, func() { told = true; stop() })
	if err != nil || !told {
		t.Errorf("WatchSince = %v, told: %v", err, told)
	}
}

// Whatever else happens in the directory, and to the file without changing
// it, is not worth a call: the first one is for the last change.
func TestWhatChangesNothingIsNotTold(t *testing.T) {
	dir := t.TempDir()
	path := write(t, dir, "c.yaml", "one")
	w := watchFile(t, path)
	write(t, dir, "c.yaml", "one")
	rename(t, write(t, dir, "new", "one"), path)
	chmod(t, path, 0o600)
	rename(t, path, path+"~")
	rename(t, path+"~", path)
	write(t, dir, "other.yaml", "two")
	write(t, dir, "c.yaml", "three")
	w.expect("three")
}

func TestAWatchEndsWithItsContext(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	stop()
	path := write(t, t.TempDir(), "c.yaml", "one")
	if err := config.Watch(ctx, path, func() { t.Error("called") }); err != nil {
		t.Errorf("Watch = %v", err)
	}
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}
