package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"charactier-proxy/switcher/control"
	"charactier-proxy/switcher/deploy"
)

const (
	deployID    = "20260101T000000.000Z-aaaaaa"
	deployBegun = `{"time":"2026-01-01T00:00:00Z","phase":"begin","request":{"kind":"deploy"},"by":{"uid":0,"user":"root","pid":1}}` + "\n"
)

// journalOf writes a deploy's journal anew.
func journalOf(t *testing.T, root, id string, lines ...string) (path string) {
	t.Helper()
	path = filepath.Join(root, "deploys", id, "journal.jsonl")
	err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(strings.Join(lines, "")), 0o644))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func doing(step string) string { return `{"phase":"doing","step":"` + step + `"}` + "\n" }

// An operator who looks because something is odd must not be told that all is
// well, not even right after an operation.
func TestADeployThatWasLeftIsSeenAtOnce(t *testing.T) {
	root := shortDir(t)
	w := newWorld(t, services(service("backend", freeAddress(t), namedSlot(t, "blue"), namedSlot(t, "green")))+"deploy: {root: "+root+"}\n")
	expect := func(at string, running bool) {
		t.Helper()
		s := w.status()
		if s.Deploy == nil || s.Deploy.ID != deployID || s.Deploy.At != at || s.Deploy.Running != running {
			t.Errorf("the status has the deploy %+v, want it in %s, running: %v", s.Deploy, at, running)
		}
		if drift := strings.Join(s.Drift, "\n"); strings.Contains(drift, "deploy --resume") == running {
			t.Errorf("running: %v, and the drift says %q", running, drift)
		}
	}
	if s := w.status(); s.Deploy != nil {
		t.Errorf("without deploys there is %+v", s.Deploy)
	}
	if _, err := w.client.Switch(t.Context(), control.SwitchRequest{Force: true}); err != nil {
		t.Fatal(err)
	}
	journalOf(t, root, deployID, deployBegun, doing("build"))
	expect("build (doing)", false)
	p, err := deploy.Open(deploy.Options{Root: root})
	if err != nil {
		t.Fatal(err)
	}
	expect("build (doing)", true)
	journalOf(t, root, deployID, deployBegun, doing("build"), doing("switch"))
	expect("switch (doing)", true)
	if err := p.Close(); err != nil { // as when it is killed
		t.Fatal(err)
	}
	expect("switch (doing)", false)
	journalOf(t, root, deployID, deployBegun, doing("switch"), `{"phase":"end","outcome":"done"}`+"\n")
	if s := w.status(); s.Deploy != nil || len(s.Drift) > 0 {
		t.Errorf("after its end there is %+v and the drift %q", s.Deploy, s.Drift)
	}
}

func TestJournalsAreReadOnlyWhenSomethingChanged(t *testing.T) {
	root, now := shortDir(t), time.Now()
	path := journalOf(t, root, deployID, deployBegun, doing("build"))
	var d deploys
	long := now.Add(-time.Hour)
	settle := func() {
		t.Helper()
		if err := errors.Join(os.Chtimes(path, long, long), os.Chtimes(filepath.Join(root, "deploys"), long, long)); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(when time.Time, at string) {
		t.Helper()
		if f := d.unfinished(root, when); f == nil || f.At != at {
			t.Errorf("found %+v, want it in %s", f, at)
		}
	}
	settle()
	expect(now, "build (doing)")
	expect(now, "build (doing)")
	// What has the same time and size is not read.
	journalOf(t, root, deployID, deployBegun, doing("point"))
	settle()
	expect(now, "build (doing)")
	expect(now.Add(journalAge), "point (doing)")
	journalOf(t, root, deployID, deployBegun, doing("start"))
	expect(now.Add(journalAge), "start (doing)")
	// A newer one gets its first line some time after its directory.
	journalOf(t, root, "20260102T000000.000Z-bbbbbb")
	expect(now.Add(journalAge), "start (doing)")
	journalOf(t, root, "20260102T000000.000Z-bbbbbb", deployBegun, doing("fetch"))
	expect(now, "fetch (doing)")
	// And another root is another story.
	if f := d.unfinished(shortDir(t), now); f != nil {
		t.Errorf("elsewhere is %+v", f)
	}
}

func TestWhoHasAFileForThemselvesIsListed(t *testing.T) {
	const locks = `1: POSIX  ADVISORY  WRITE 10 fe:00:41 0 EOF
2: FLOCK  ADVISORY  READ 11 fe:00:42 0 EOF
3: FLOCK  ADVISORY  WRITE 12 fe:00:43 0 EOF
3: -> FLOCK  ADVISORY  WRITE 13 fe:00:44 0 EOF
4: FLOCK  ADVISORY  WRITE 14 fe:00:145 0 EOF
`
	for inode, want := range map[uint64]bool{41: false, 42: false, 43: true, 44: false, 45: false, 145: true} {
		if got := hasLock([]byte(locks), inode); got != want {
			t.Errorf("inode %d: %v, want %v", inode, got, want)
		}
	}
}
