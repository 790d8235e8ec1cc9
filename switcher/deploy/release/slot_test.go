package release

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestALinkIsPointedAtARelease(t *testing.T) {
	s := newStore(t)
	first, second := sealed(t, s, nameAt(1)), sealed(t, s, nameAt(2))
	link := filepath.Join(s.root, "backend/blue")
	if r, ok, err := s.Pointed(link); ok || err != nil {
		t.Errorf("no link: got %+v, %t, %v", r, ok, err)
	}
	for _, r := range []Release{first, second, second, first} {
		if err := s.Point(link, r, "backend"); err != nil {
			t.Fatal(err)
		}
		got, ok, err := s.Pointed(link)
		if diff := cmp.Diff(r, got); diff != "" || !ok || err != nil {
			t.Errorf("%t, %v, %s", ok, err, diff)
		}
		if name := ReleaseOfLink(link); name != r.Name {
			t.Errorf("got %q", name)
		}
		if got := read(t, filepath.Join(link, "index.js")); got != "console.log(1)\n" {
			t.Errorf("got %q", got)
		}
	}
	if entries, _ := os.ReadDir(filepath.Dir(link)); len(entries) != 1 {
		t.Errorf("left beside it: %v", entries)
	}
}

func TestWhatIsNoLinkIsNotReplaced(t *testing.T) {
	s := newStore(t)
	r := sealed(t, s, nameAt(1))
	file := filepath.Join(s.root, "backend/file")
	write(t, file, "precious", 0o644)
	wantError(t, s.Point(file, r, "backend"), ErrUnsafe, "not a symbolic link")
	wantError(t, s.Point(filepath.Dir(file), r, "backend"), ErrUnsafe)
	if got := read(t, file); got != "precious" {
		t.Errorf("got %q", got)
	}
	for _, bad := range []string{"", "relative", "/", "/srv/../x", "/a\nb"} {
		wantError(t, s.Point(bad, r, "backend"), ErrUnsafe)
	}
	link := filepath.Join(s.root, "backend/blue")
	wantError(t, s.Point(link, r, "images"), ErrNotFound)
	wantError(t, s.Point(link, Release{Name: nameAt(7), Parts: parts}, "backend"), ErrNotFound)
	if err := os.Chmod(filepath.Dir(link), 0o777); err != nil {
		t.Fatal(err)
	}
	wantError(t, s.Point(link, r, "backend"), ErrUnsafe, "writable by others")
}

func TestALinkThatIsNotOursLeadsToNoRelease(t *testing.T) {
	s := newStore(t)
	r := sealed(t, s, nameAt(1))
	dir := filepath.Join(s.root, "backend")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		target, name string
		ours         bool
	}{
		"elsewhere": {"/srv/app", "", false},
		"gone":      {filepath.Join(s.root, releasesDir, nameAt(5), "backend"), nameAt(5), false},
		"relative":  {"../releases/" + r.Name + "/backend", r.Name, true},
		"stranger":  {"/opt/releases/" + r.Name, r.Name, false},
		"no name":   {filepath.Join(s.root, releasesDir, "current"), "", false},
		"itself":    {"itself", "", false},
		"all of it": {s.Dir(r), r.Name, true},
	} {
		link := filepath.Join(dir, name)
		if err := os.Symlink(c.target, link); err != nil {
			t.Fatal(err)
		}
		if got := ReleaseOfLink(link); got != c.name {
			t.Errorf("%s: got %q, want %q", name, got, c.name)
		}
		if _, ok, err := s.Pointed(link); ok != c.ours || err != nil {
			t.Errorf("%s: got %t, %v, want %t", name, ok, err, c.ours)
		}
	}
	for _, none := range []string{"missing", "."} {
		if got := ReleaseOfLink(filepath.Join(dir, none)); got != "" {
			t.Errorf("%s: got %q", none, got)
		}
	}
}

func TestPruningKeepsWhatIsUsedAndTheNewest(t *testing.T) {
	for name, c := range map[string]struct {
		keep    int
		inUse   []int
		linked  int
		removed []int
	}{
		"none to keep":                {0, nil, 0, []int{4, 3, 2, 1}},
		"two to keep":                 {2, nil, 0, []int{3, 2, 1}},
		"those in use are besides":    {2, []int{5, 1}, 0, []int{2}},
		"a link is a use":             {1, []int{5}, 2, []int{3, 1}},
		"the newest is not in use":    {0, []int{3}, 0, []int{4, 2, 1}},
		"more to keep than there are": {9, nil, 0, nil},
		"unknown names in use":        {1, []int{8}, 0, []int{4, 3, 2, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			for n := 1; n <= 5; n++ {
				r := sealed(t, s, nameAt(n))
				if n == c.linked {
					if err := s.Point(filepath.Join(s.root, "backend/green"), r, "backend"); err != nil {
						t.Fatal(err)
					}
				}
			}
			before := listed(t, s)
			removed, err := s.Prune(c.keep, namesAt(c.inUse))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(namesAt(c.removed), removed); diff != "" {
				t.Error(diff)
			}
			want := slices.DeleteFunc(before, func(name string) bool { return slices.Contains(removed, name) })
			if diff := cmp.Diff(want, listed(t, s)); diff != "" {
				t.Error(diff)
			}
			if left, _ := os.ReadDir(filepath.Join(s.root, draftsDir)); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
	if _, err := newStore(t).Prune(-1, nil); err == nil {
		t.Error("a negative number was taken")
	}
}

func namesAt(ns []int) []string {
	var names []string
	for _, n := range ns {
		names = append(names, nameAt(n))
	}
	return names
}

func TestPruningNeverTakesAReleaseFromALinkThatIsPointedMeanwhile(t *testing.T) {
	s := newStore(t)
	for n := range 25 {
		sealed(t, s, nameAt(n))
	}
	links := []string{filepath.Join(s.root, "backend/blue"), filepath.Join(s.root, "backend/green")}
	list, err := s.List()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, len(links))
	for i, link := range links {
		go func() { done <- pointAll(s, link, list, i) }()
	}
	for keep := len(list); keep >= 0; keep-- {
		if _, err := s.Prune(keep, nil); err != nil {
			t.Error(err)
		}
	}
	for range links {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	for _, link := range links {
		if r, ok, err := s.Pointed(link); err != nil || !ok {
			t.Errorf("%s leads to %+v, %t, %v", link, r, ok, err)
		}
	}
}

func TestPointingWaitsWhileReleasesArePruned(t *testing.T) {
	s := newStore(t)
	old := sealed(t, s, nameAt(1))
	sealed(t, s, nameAt(2))
	link := filepath.Join(s.root, "backend/blue")
	waits, done := make(chan struct{}), make(chan error, 1)
	other, err := OpenWith(s.root, Options{Progress: func(string) { close(waits) }})
	if err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	s.disk.before = func(op, _ string) error {
		if op == "renaming" {
			once.Do(func() {
				go func() { done <- other.Point(link, old, "backend") }()
				select {
				case <-waits:
				case <-time.After(20 * time.Second):
					t.Error("pointing does not wait")
				}
			})
		}
		return nil
	}
	if removed, err := s.Prune(0, nil); err != nil || len(removed) != 1 {
		t.Fatalf("got %v, %v", removed, err)
	}
	wantError(t, <-done, ErrNotFound)
	if _, ok, err := s.Pointed(link); ok || err != nil {
		t.Errorf("it leads to what was pruned: %t, %v", ok, err)
	}
}

func TestADraftIsNotSweptWhileItIsMade(t *testing.T) {
	s := newStore(t)
	artifact, done := built(t), make(chan struct{})
	want := contents(t, artifact)
	swept := make(chan error, 1)
	go func() {
		var err error
		for running := true; running && err == nil; {
			_, err = s.Sweep()
			select {
			case <-done:
				running = false
			default:
			}
		}
		swept <- err
	}()
	for range 200 {
		d, err := s.Import(t.Context(), artifact, nameAt(1), parts)
		if errors.Is(err, ErrBusy) {
			continue // the sweeper had just begun with the one before
		} else if err != nil {
			t.Error(err)
			break
		}
		if diff := cmp.Diff(want, contents(t, d.Dir())); diff != "" {
			t.Error(diff)
		}
		if err := d.Discard(); err != nil {
			t.Error(err)
		}
	}
	close(done)
	if err := <-swept; err != nil {
		t.Error(err)
	}
}

// pointAll points a link at one release after another. One that was pruned
// before is not found; one that the link leads to is there.
func pointAll(s *Store, link string, list []Release, from int) error {
	for i := range 4 * len(list) {
		r := list[(i*7+from)%len(list)]
		err := s.Point(link, r, "backend")
		if errors.Is(err, ErrNotFound) {
			continue
		} else if err != nil {
			return err
		}
		if _, err := os.Stat(filepath.Join(link, "index.js")); err != nil {
			return err
		}
	}
	return nil
}

func TestSweepLeavesALiveDraft(t *testing.T) {
	s := newStore(t)
	live := drafted(t, s, nameAt(1), built(t))
	dead := filepath.Join(s.root, draftsDir, nameAt(2), treeName)
	write(t, filepath.Join(dead, "backend/index.js"), "half", 0o444)
	if err := os.Chmod(filepath.Join(dead, "backend"), 0o555); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(s.root, filepath.Join(s.root, draftsDir, "link")); err != nil {
		t.Fatal(err)
	}
	swept, err := s.Sweep()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{nameAt(2), "link"}, swept); diff != "" {
		t.Error(diff)
	}
	if got := read(t, filepath.Join(live.PartDir("backend"), "index.js")); got == "" {
		t.Error("the live one is gone")
	}
}

func TestATreeThatIsNestedTooDeepIsRefusedAndRemoved(t *testing.T) {
	s := newStore(t)
	d := drafted(t, s, nameAt(1), built(t))
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(d.PartDir("backend"))
	for range 3*maxDepth + 10 {
		if err := os.Mkdir("d", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chdir("d"); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chdir(wd); err != nil {
		t.Fatal(err)
	}
	fewFiles(t, 2*maxDepth+50)
	_, err = d.Seal()
	wantError(t, err, ErrUnsupported, "nested deeper")
	if err := d.Discard(); err != nil {
		t.Fatal(err)
	}
	wantNothing(t, s)
}

// fewFiles bounds how many files this process may have open.
func fewFiles(t *testing.T, most uint64) {
	t.Helper()
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: most, Max: before.Max}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
			t.Error(err)
		}
	})
}
