package release

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// life is a store with everything that happens in one: there are two releases
// and a link to the first, and another comes, is pointed at, and drives the
// second one out.
type life struct {
	root, artifact string
}

func (l life) link() string { return filepath.Join(l.root, "backend", "blue") }

var onlyBackend = map[string]string{"backend": "backend"}

// prepare makes what was there before.
func (l life) prepare(t *testing.T) *Store {
	t.Helper()
	write(t, filepath.Join(l.artifact, "backend/index.js"), "code\n", 0o644)
	write(t, filepath.Join(l.artifact, "backend/.env"), "an example\n", 0o644)
	s, _ := newStoreIn(t, l.root)
	write(t, filepath.Join(l.root, sharedDir, "backend/.env"), "SECRET=1\n", 0o600)
	for n := 1; n <= 2; n++ {
		d, err := s.Import(t.Context(), l.artifact, nameAt(n), onlyBackend)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(d.PartDir("backend"), "node_modules/a/a.js"), "module\n", 0o755)
		if err := os.Symlink("a/a.js", filepath.Join(d.PartDir("backend"), "node_modules/a.js")); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Seal(); err != nil {
			t.Fatal(err)
		}
	}
	first, err := s.Find(nameAt(1))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Point(l.link(), first, "backend"); err != nil {
		t.Fatal(err)
	}
	return s
}

// live is what happens.
func (l life) live(s *Store) (err error) {
	if _, err := s.Sweep(); err != nil {
		return err
	}
	old, err := s.Find(nameAt(2))
	if err != nil {
		return err
	}
	d, err := s.Import(context.Background(), l.artifact, nameAt(3), onlyBackend)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Discard()) }()
	if err := d.Reuse(old, "backend", []string{"node_modules"}); err != nil {
		return err
	}
	if err := d.Share("backend", []string{".env"}); err != nil {
		return err
	}
	if err := d.Chown(os.Geteuid(), os.Getegid()); err != nil {
		return err
	}
	r, err := d.Seal()
	if err != nil {
		return err
	}
	if err := s.Point(l.link(), r, "backend"); err != nil {
		return err
	}
	_, err = s.Prune(0, []string{nameAt(1)})
	return err
}

// whole is what is in each release, apart from its record.
var whole = []string{
	". dir", "backend dir", "backend/index.js code", "backend/node_modules dir",
	"backend/node_modules/a dir", "backend/node_modules/a.js -> a/a.js", "backend/node_modules/a/a.js module",
}

// wantSound checks R1 to R4, whatever has happened.
func (l life) wantSound(t *testing.T, s *Store) {
	t.Helper()
	names := listed(t, s)
	if !slices.Contains(names, nameAt(1)) {
		t.Errorf("what a link led to before is gone: %v", names)
	}
	for _, name := range names {
		r, err := s.Find(name)
		if err != nil {
			t.Fatal(err)
		}
		wantFrozen(t, s, r)
		l.wantWhole(t, s, r)
	}
	r, ok, err := s.Pointed(l.link())
	if err != nil || !ok || r.Name != nameAt(1) && r.Name != nameAt(3) {
		t.Errorf("the link leads to %+v, %t, %v", r, ok, err)
	}
}

func (l life) wantWhole(t *testing.T, s *Store, r Release) {
	t.Helper()
	got := contents(t, s.Dir(r))
	env := "backend/.env an example"
	if r.Name == nameAt(3) {
		env = "backend/.env -> " + filepath.Join(l.root, sharedDir, "backend/.env")
	}
	want := slices.Sorted(slices.Values(append(slices.Clone(whole), env)))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s is not whole:\n%s", r.Name, diff)
	}
}

// contents lists a tree, sorted.
func contents(t testing.TB, dir string) []string {
	t.Helper()
	var got []string
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		rel, _ := filepath.Rel(dir, path)
		switch {
		case err != nil || rel == recordName:
			return err
		case e.IsDir():
			got = append(got, rel+" dir")
		case e.Type() == os.ModeSymlink:
			target, _ := os.Readlink(path)
			got = append(got, rel+" -> "+target)
		default:
			got = append(got, rel+" "+strings.TrimSpace(read(t, path)))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(got)
	return got
}

// wantWayOut checks that what is left can be swept, and that all of it then
// works.
func (l life) wantWayOut(t *testing.T, s *Store) {
	t.Helper()
	if _, err := s.Sweep(); err != nil {
		t.Fatalf("sweeping: %v", err)
	}
	if left, _ := os.ReadDir(filepath.Join(l.root, draftsDir)); len(left) > 0 {
		t.Errorf("still in drafts: %v", left)
	}
	if err := l.again(s); err != nil {
		t.Fatalf("trying again: %v", err)
	}
	if r, ok, err := s.Pointed(l.link()); err != nil || !ok || r.Name != nameAt(3) {
		t.Errorf("in the end the link leads to %+v, %t, %v", r, ok, err)
	}
	l.wantSound(t, s)
}

// again lives what has not been lived yet.
func (l life) again(s *Store) error {
	r, err := s.Find(nameAt(3))
	if errors.Is(err, ErrNotFound) {
		return l.live(s)
	} else if err != nil {
		return err
	}
	if err := s.Point(l.link(), r, "backend"); err != nil {
		return err
	}
	_, err = s.Prune(0, []string{nameAt(1)})
	return err
}

func newLife(t *testing.T) (life, *Store) {
	t.Helper()
	base := t.TempDir()
	l := life{filepath.Join(base, "root"), filepath.Join(base, "artifact")}
	return l, l.prepare(t)
}

// countSteps is how many steps live has.
func countSteps(t *testing.T) int {
	t.Helper()
	l, s := newLife(t)
	steps := 0
	s.disk.before = func(string, string) error { steps++; return nil }
	if err := l.live(s); err != nil {
		t.Fatal(err)
	}
	s.disk.before = nil
	l.wantSound(t, s)
	if diff := cmp.Diff([]string{nameAt(3), nameAt(1)}, listed(t, s)); diff != "" {
		t.Error(diff)
	}
	return steps
}

// TestEveryStepMayFail fails each step, once or with all that follow, as a full
// or a broken disk does.
func TestEveryStepMayFail(t *testing.T) {
	for n := range countSteps(t) {
		for _, fault := range []error{unix.ENOSPC, unix.EIO} {
			for _, lasting := range []bool{false, true} {
				t.Run(fmt.Sprintf("%d %v lasting %t", n+1, fault, lasting), func(t *testing.T) { testFault(t, n+1, fault, lasting) })
			}
		}
	}
}

func testFault(t *testing.T, n int, fault error, lasting bool) {
	l, s := newLife(t)
	steps, hit := 0, ""
	s.disk.before = func(op, path string) error {
		steps++
		if steps == n || lasting && steps > n {
			if hit == "" {
				hit = op + " " + path
			}
			return fault
		}
		return nil
	}
	err := l.live(s)
	s.disk.before = nil
	t.Logf("at %q: %v", hit, err)
	if err != nil && !errors.Is(err, fault) {
		t.Errorf("the error does not say why: %v", err)
	}
	if err != nil && errors.Is(fault, unix.ENOSPC) && strings.Contains(err.Error(), "sealing") && !errors.Is(err, ErrNoSpace) {
		t.Errorf("a full disk is not called one: %v", err)
	}
	if err != nil && !lasting && strings.Contains(err.Error(), "sealing") && slices.Contains(listed(t, s), nameAt(3)) {
		t.Error("what could not be sealed is listed")
	}
	l.wantSound(t, s)
	l.wantWayOut(t, s)
}

// liveAndDie is the process that is ended before its n-th step.
func liveAndDie(args []string) error {
	l := life{args[0], args[1]}
	n, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	s, err := Open(l.root)
	if err != nil {
		return err
	}
	steps := 0
	s.disk.before = func(string, string) error {
		if steps++; steps == n {
			return syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
		return nil
	}
	return l.live(s)
}

// TestAKillBeforeEveryStepLeavesAllOrNothing kills a process at each step.
func TestAKillBeforeEveryStepLeavesAllOrNothing(t *testing.T) {
	for n := range countSteps(t) {
		t.Run(strconv.Itoa(n+1), func(t *testing.T) {
			t.Parallel()
			l, s := newLife(t)
			err := child(t, "life", l.root, l.artifact, strconv.Itoa(n+1)).Run()
			if err == nil || !strings.Contains(err.Error(), "killed") {
				t.Fatalf("it ended otherwise: %v", err)
			}
			l.wantSound(t, s)
			l.wantWayOut(t, s)
		})
	}
}
