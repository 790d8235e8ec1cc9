package release

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// marked makes n releases and marks some of them.
func marked(t *testing.T, s *Store, n int, failed ...int) {
	t.Helper()
	for i := range n {
		sealed(t, s, nameAt(i+1))
	}
	for _, i := range failed {
		if err := s.Mark(nameAt(i), "gate: no answer"); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAMarkIsReadByWhoOnlyLooks(t *testing.T) {
	s := newStore(t)
	marked(t, s, 2, 1)
	if err := s.Mark(nameAt(2), "gate: \x1b[2Jno\nanswer "+strings.Repeat("x", 2*maxReason)); err != nil {
		t.Fatal(err)
	}
	marks, err := Look(s.root).Marks()
	if err != nil || len(marks) != 2 {
		t.Fatalf("got %v, %v", marks, err)
	}
	if m := marks[nameAt(1)]; m.Reason != "gate: no answer" || m.At.IsZero() {
		t.Errorf("got %+v", m)
	}
	if r := marks[nameAt(2)].Reason; len(r) > maxReason || strings.ContainsAny(r, "\x1b\n") {
		t.Errorf("the reason is %q", r)
	}
	if err := s.Unmark(nameAt(1)); err != nil {
		t.Fatal(err)
	}
	if marks, err := s.Marks(); err != nil || len(marks) != 1 {
		t.Errorf("after one was forgotten: %v, %v", marks, err)
	}
}

func TestAMarkThatADiskSpoiltStillIsOne(t *testing.T) {
	s := newStore(t)
	marked(t, s, 1, 1)
	write(t, filepath.Join(s.root, marksDir, nameAt(1)), "{", 0o644)
	if marks, err := s.Marks(); err != nil || len(marks) != 1 {
		t.Errorf("got %v, %v", marks, err)
	}
}

func TestOnlyTheNameOfAReleaseIsMarked(t *testing.T) {
	s := newStore(t)
	for _, name := range []string{"", "../x", "x"} {
		if err := s.Mark(name, "x"); err == nil {
			t.Errorf("%q was marked", name)
		}
	}
}

func TestReleasesThatDidNotProveThemselvesGoFirstAndAreNotCounted(t *testing.T) {
	for name, c := range map[string]struct {
		failed []int
		inUse  []string
		want   []int
	}{
		"none failed":            {nil, nil, []int{6, 5, 4}},
		"the newer ones failed":  {[]int{5, 4}, nil, []int{6, 3, 2}},
		"the newest one failed":  {[]int{6}, nil, []int{6, 5, 4, 3}},
		"a failed one is in use": {[]int{2, 1}, []string{nameAt(2)}, []int{6, 5, 4, 2}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			marked(t, s, 6, c.failed...)
			if _, err := s.Prune(3, c.inUse); err != nil {
				t.Fatal(err)
			}
			var want []string
			for _, n := range c.want {
				want = append(want, nameAt(n))
			}
			if diff := cmp.Diff(want, listed(t, s)); diff != "" {
				t.Error(diff)
			}
			marks, err := s.Marks()
			if err != nil {
				t.Error(err)
			}
			for marked := range marks {
				if !slices.Contains(want, marked) {
					t.Errorf("the mark of %s, which is gone, stays", marked)
				}
			}
		})
	}
}

func TestAFailedReleaseThatALinkLeadsToStays(t *testing.T) {
	s := newStore(t)
	marked(t, s, 3, 1)
	r, err := s.Find(nameAt(1))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Point(filepath.Join(s.root, "backend", "blue"), r, "backend"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Prune(0, nil); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{nameAt(3), nameAt(1)}, listed(t, s)); diff != "" {
		t.Error(diff)
	}
}

func TestWhoLooksMakesNothing(t *testing.T) {
	root := filepath.Join(t.TempDir(), "root")
	s := Look(root)
	list, err := s.List()
	if err != nil || len(list) > 0 {
		t.Errorf("listed %v, %v", list, err)
	}
	if marks, err := s.Marks(); err != nil || len(marks) > 0 {
		t.Errorf("marks %v, %v", marks, err)
	}
	if _, err := os.Stat(root); !missing(err) {
		t.Errorf("%s is there: %v", root, err)
	}
}
