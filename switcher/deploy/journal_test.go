package deploy

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"charactier-proxy/switcher"
)

func TestIDsSortByTime(t *testing.T) {
	at := time.Date(2026, 11, 24, 8, 15, 0, 0, time.UTC)
	last := ""
	for n := range 1000 {
		if id := newID(at.Add(time.Duration(n) * time.Millisecond)); id <= last {
			t.Fatalf("%s comes after %s", id, last)
		} else {
			last = id
		}
	}
}

// journalOf writes a journal as it lies on the disk.
func journalOf(t *testing.T, deploys, id, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(deploys, id), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(journalIn(deploys, id), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

const (
	beginLine = `{"time":"2026-11-24T08:15:00Z","phase":"begin","request":{"kind":"deploy","services":["backend"],"source":{"ref":"main"}},"by":{"uid":0,"user":"ops"}}` + "\n"
	doingLine = `{"time":"2026-11-24T08:15:01Z","phase":"doing","step":"build"}` + "\n"
	endLine   = `{"time":"2026-11-24T08:15:02Z","phase":"end","outcome":"done"}` + "\n"
)

func TestTheDeployWithoutAnEndIsFound(t *testing.T) {
	for name, c := range map[string]struct {
		journals map[string]string
		want     string
	}{
		"none":                               {nil, ""},
		"all ended":                          {map[string]string{"a": beginLine + endLine, "b": beginLine + doingLine + endLine}, ""},
		"the newest":                         {map[string]string{"a": beginLine + endLine, "b": beginLine + doingLine}, "b"},
		"one before it, by a clock set back": {map[string]string{"a": beginLine + doingLine, "b": beginLine + endLine}, "a"},
		"killed within a line":               {map[string]string{"a": beginLine + doingLine + endLine[:20]}, "a"},
		"killed before its first line":       {map[string]string{"a": "", "b": beginLine[:30]}, ""},
		"with garbage in it":                 {map[string]string{"a": beginLine + "\x00\x00garbage\n" + doingLine}, "a"},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			for id, text := range c.journals {
				journalOf(t, filepath.Join(root, "deploys"), id, text)
			}
			found, err := Unfinished(root)
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			if found != nil {
				got = found.ID
				if found.Kind != switcher.KindDeploy || found.By.User != "ops" || found.Begun.IsZero() {
					t.Errorf("found %+v", found)
				}
			}
			if got != c.want {
				t.Errorf("found %q, want %q", got, c.want)
			}
		})
	}
}

func FuzzJournal(f *testing.F) {
	f.Add([]byte(beginLine + doingLine + endLine))
	f.Add([]byte(beginLine + doingLine[:10]))
	f.Add([]byte("\n\n{}\n[]\nnull\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		root := t.TempDir()
		journalOf(t, filepath.Join(root, "deploys"), "x", string(data))
		found, err := Unfinished(root)
		if err != nil {
			t.Fatal(err)
		}
		if found != nil && ended(JournalPath(root, "x")) {
			t.Error("it has an end and was found unfinished")
		}
	})
}

func TestDeploysThatFailDoNotPileUp(t *testing.T) {
	w := newWorld(t)
	w.fault = func(_ int, call string, _ func()) error {
		if call == "reserve" {
			return errBroken
		}
		return nil
	}
	for range keepDeploys + 3 {
		if _, err := w.deploy(t.Context(), request()); !errors.Is(err, errBroken) {
			t.Fatal(err)
		}
	}
	ids, err := deployIDs(filepath.Join(w.root, "deploys"))
	if err != nil || len(ids) != keepDeploys {
		t.Errorf("%d deploys are kept, want %d; %v", len(ids), keepDeploys, err)
	}
}

func TestWhatIsUnfinishedIsNotForgotten(t *testing.T) {
	deploys := t.TempDir()
	for i := range keepDeploys + 3 {
		j, err := createJournal(deploys, fmt.Sprintf("%03d", i), entry{Phase: phaseBegin, Request: &Request{}})
		if err == nil && i > 0 {
			err = j.write(entry{Phase: phaseEnd})
		}
		if err := errors.Join(err, j.close()); err != nil {
			t.Fatal(err)
		}
	}
	if err := forgetDeploys(deploys, "001"); err != nil {
		t.Fatal(err)
	}
	ids, err := deployIDs(deploys)
	if err != nil || !slices.Equal(ids[:3], []string{"000", "001", "003"}) {
		t.Errorf("left are %v, %v", ids, err)
	}
}

func TestJournalsAreReadableWhateverTheUmask(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	w := newWorld(t)
	r, err := w.deploy(t.Context(), request())
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]os.FileMode{
		Dir(w.root): 0o755, r.Log: 0o755, JournalPath(w.root, r.ID): 0o644,
	} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s is %v, %v; want %v", path, info.Mode().Perm(), err, want)
		}
	}
}
