package switcher

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func record(n int) Record {
	return Record{ID: fmt.Sprintf("0000-0000-%03d", n), Kind: KindSwitch, Outcome: Done}
}

func drainedRecord(n int) Record {
	r := record(n)
	r.Drain = []DrainCount{{Service: "backend", Slot: Blue, Moved: int64(n)}}
	return r
}

func appendAll(t testing.TB, h *FileHistory, rs ...Record) {
	t.Helper()
	for _, r := range rs {
		if err := h.Append(r); err != nil {
			t.Fatal(err)
		}
	}
}

func wantTail(t testing.TB, h *FileHistory, n int, want ...Record) {
	t.Helper()
	got, err := h.Tail(n)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("tail (-want +got):\n%s", diff)
	}
}

func TestTailIsNewestFirstAndBounded(t *testing.T) {
	h := OpenFileHistory(t.TempDir())
	wantTail(t, h, 5)
	appendAll(t, h, record(1), record(2), record(3))
	wantTail(t, h, 2, record(3), record(2))
	wantTail(t, h, 9, record(3), record(2), record(1))
	wantTail(t, h, 0)
}

func TestADrainIsShownWithItsOperation(t *testing.T) {
	h := OpenFileHistory(t.TempDir())
	appendAll(t, h, record(1), record(2), drainedRecord(2), record(3), drainedRecord(1))
	wantTail(t, h, 9, record(3), drainedRecord(2), drainedRecord(1))
	wantTail(t, h, 1, record(3))
}

func TestATornLineIsPassedOver(t *testing.T) {
	dir := t.TempDir()
	h := OpenFileHistory(dir)
	appendAll(t, h, record(1), record(2))
	path := filepath.Join(dir, "history.jsonl")
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, int64(len(raw)-10)); err != nil {
		t.Fatal(err)
	}
	wantTail(t, h, 9, record(1))
	appendAll(t, h, record(3))
	wantTail(t, h, 9, record(3), record(1))
}

func TestTheHistoryIsMovedAsideWhenItIsLong(t *testing.T) {
	dir := t.TempDir()
	h := OpenFileHistory(dir)
	h.max = 400
	for n := range 20 {
		appendAll(t, h, record(n), drainedRecord(n))
	}
	var size int64
	for _, name := range []string{"history.jsonl", "history.jsonl.1"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if mode := info.Mode().Perm(); mode != 0o600 {
			t.Errorf("%s has mode %04o", name, mode)
		}
		size += info.Size()
	}
	if size > 2*(h.max+500) {
		t.Errorf("both files have %d bytes", size)
	}
	wantTail(t, h, 2, drainedRecord(19), drainedRecord(18))
}

func TestAHistoryThatOthersMayWriteIsNotBelieved(t *testing.T) {
	dir := t.TempDir()
	h := OpenFileHistory(dir)
	appendAll(t, h, record(1))
	if err := os.Chmod(filepath.Join(dir, "history.jsonl"), 0o602); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Tail(1); err == nil || !strings.Contains(err.Error(), "chmod go-w") {
		t.Errorf("error is %v", err)
	}
}

func TestWhatTheHistoryCouldNotTakeIsMadeGood(t *testing.T) {
	w := newWorld(t)
	s := w.mustBoot()
	breakFrom(w, "disk grow", 1, failOn)
	mustSwitch(t, s, to(Green))
	if got := strings.Join(s.Warnings(), ""); !strings.Contains(got, "the history misses 2 records, the first is ") {
		t.Errorf("warnings are %q", got)
	}
	mend(w)
	if _, _, err := s.Switch(t.Context(), to(Green)); err != nil {
		t.Fatal(err)
	}
	all := history(t, w.disk)
	if len(all) != 2 || all[0].Outcome != Unchanged || all[1].Outcome != Done || len(all[1].Drain) != 2 {
		t.Errorf("history is %+v", all)
	}
	if len(s.Warnings()) > 0 {
		t.Errorf("warnings are %q", s.Warnings())
	}
}
