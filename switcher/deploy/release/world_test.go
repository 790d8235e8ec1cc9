package release

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// parts are those of the repository that repositoryOf makes.
var parts = map[string]string{"backend": "backend", "frontend": "frontend"}

// said collects progress.
type said struct {
	mu    sync.Mutex
	lines []string
}

func (s *said) line(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, text)
}

func (s *said) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.lines, "\n")
}

func newStore(t testing.TB) *Store {
	t.Helper()
	s, _ := newStoreIn(t, filepath.Join(t.TempDir(), "root"))
	return s
}

func newStoreIn(t testing.TB, root string) (*Store, *said) {
	t.Helper()
	told := new(said)
	s, err := OpenWith(root, Options{Progress: told.line})
	if err != nil {
		t.Fatal(err)
	}
	// What is sealed is read-only, which t.TempDir cannot remove unless as root.
	t.Cleanup(func() { loosenAll(root) })
	return s, told
}

func loosenAll(root string) {
	_ = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			_ = os.Chmod(path, 0o755)
		}
		return nil
	})
}

// repo is a git repository of a test.
type repo struct {
	t   testing.TB
	dir string
}

// newRepo makes a repository with two parts and one commit.
func newRepo(t testing.TB) repo {
	t.Helper()
	r := repo{t, t.TempDir()}
	r.git("init", "-q", "-b", "main")
	r.write("backend/index.js", "console.log(1)\n")
	r.write("frontend/package.json", "{}\n")
	r.run("backend/start.sh", "#!/bin/sh\n")
	r.commit("the first one")
	return r
}

func (r repo) git(args ...string) string {
	r.t.Helper()
	cmd := exec.Command("git", append([]string{"-C", r.dir, "-c", "user.name=Hanako", "-c", "user.email=h@example.org", "-c", "protocol.file.allow=always"}, args...)...)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "GIT_COMMITTER_DATE=2026-11-24T08:15:00Z")
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func (r repo) write(name, text string) { write(r.t, filepath.Join(r.dir, name), text, 0o644) }

func (r repo) run(name, text string) { write(r.t, filepath.Join(r.dir, name), text, 0o755) }

func (r repo) link(target, name string) {
	r.t.Helper()
	if err := os.Symlink(target, filepath.Join(r.dir, name)); err != nil {
		r.t.Fatal(err)
	}
}

// commit commits all that is there and returns the revision.
func (r repo) commit(subject string) string {
	r.t.Helper()
	r.git("add", "-A")
	r.git("commit", "-q", "--allow-empty", "-m", subject)
	return r.git("rev-parse", "HEAD")
}

func write(t testing.TB, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// nameAt is a name whose time is n seconds after another's.
func nameAt(n int) string {
	return NameOf(time.Date(2026, 11, 24, 8, 15, n, 0, time.UTC), "1a2b3c4d5e6f")
}

// built makes a directory with both parts.
func built(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "backend/index.js"), "console.log(1)\n", 0o644)
	write(t, filepath.Join(dir, "backend/start.sh"), "#!/bin/sh\n", 0o755)
	write(t, filepath.Join(dir, "backend/node_modules/a/a.js"), "a\n", 0o644)
	write(t, filepath.Join(dir, "frontend/package.json"), "{}\n", 0o644)
	if err := os.MkdirAll(filepath.Join(dir, "backend/node_modules/.bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../a/a.js", filepath.Join(dir, "backend/node_modules/.bin/a")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// drafted imports a directory as a draft, which the test's end discards.
func drafted(t testing.TB, s *Store, name, dir string) *Draft {
	t.Helper()
	d, err := s.Import(t.Context(), dir, name, parts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Discard(); err != nil {
			t.Error(err)
		}
	})
	return &d
}

func sealed(t testing.TB, s *Store, name string) Release {
	t.Helper()
	r, err := drafted(t, s, name, built(t)).Seal()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func listed(t testing.TB, s *Store) []string {
	t.Helper()
	list, err := s.List()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, r := range list {
		names = append(names, r.Name)
	}
	return names
}

func wantError(t testing.TB, err, want error, texts ...string) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got the error %v, want %v", err, want)
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("the error %q does not say %q", err, text)
		}
	}
}

// wantNothing checks that neither a release nor a draft is there.
func wantNothing(t testing.TB, s *Store) {
	t.Helper()
	if names := listed(t, s); len(names) > 0 {
		t.Errorf("listed: %v", names)
	}
	for _, dir := range []string{releasesDir, draftsDir} {
		entries, err := os.ReadDir(filepath.Join(s.root, dir))
		if err != nil || len(entries) > 0 {
			t.Errorf("left in %s: %v, %v", dir, entries, err)
		}
	}
}

func asRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("needs root")
		}
		t.Skip("needs root")
	}
}
