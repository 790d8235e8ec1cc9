package deploy

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"charactier-proxy/switcher"
)

// deployWith runs a deploy with hooks, and returns what it reported.
func deployWith(t *testing.T, w *world, timeout time.Duration, hooks ...string) (r Result, said string, err error) {
	t.Helper()
	p := w.pipeline()
	defer p.Close()
	var all strings.Builder
	p.opts.Hooks, p.opts.HookTimeout = hooks, timeout
	p.opts.Report = func(r Report) { all.WriteString(string(r.State) + " " + r.Step + " " + r.Text + "\n") }
	r, err = p.Run(t.Context(), request())
	return r, all.String(), err
}

func TestHooksKnowWhatTheyAreAbout(t *testing.T) {
	w := newWorld(t)
	out := filepath.Join(t.TempDir(), "out")
	_, said, err := deployWith(t, w, time.Minute,
		"before switch: echo $STEP $KIND $RELEASE $BACKEND_OLD $BACKEND_NEW >> "+out,
		"after switch: echo moved; echo after >> "+out)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(out)
	if want := "switch deploy r2-222222222222 blue green\nafter\n"; err != nil || string(text) != want {
		t.Errorf("the hooks wrote %q, %v; want %q", text, err, want)
	}
	if !strings.Contains(said, "line switch moved\n") {
		t.Errorf("what a hook prints is not told:\n%s", said)
	}
}

func TestAHookThatFailsBeforeAStepUndoesTheDeploy(t *testing.T) {
	for name, c := range map[string]struct {
		timeout time.Duration
		hook    string
		want    string
	}{
		"exit code": {time.Minute, "before start: exit 7", "exit status 7"},
		"too long":  {100 * time.Millisecond, "before start: sleep 600", "not done within 100ms"},
		"too long, with a child that holds its output": {100 * time.Millisecond, "before start: sleep 600 & wait", "not done within 100ms"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			links, ran := w.warmStandby()
			r, _, err := deployWith(t, w, c.timeout, c.hook)
			if err == nil || !strings.Contains(err.Error(), c.want) || r.Outcome != switcher.Failed {
				t.Errorf("deploy = %s, %v, want failed with %q", r.Outcome, err, c.want)
			}
			if err := w.checkSettled(links, ran); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAHookThatFailsAfterAStepIsAWarning(t *testing.T) {
	w := newWorld(t)
	r, _, err := deployWith(t, w, time.Minute, "after switch: exit 7")
	if err != nil || r.Outcome != switcher.Done || len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "after switch") {
		t.Errorf("deploy = %+v, %v", r, err)
	}
}

func TestAHookMayLeaveSomethingInTheBackground(t *testing.T) {
	w := newWorld(t)
	if _, _, err := deployWith(t, w, time.Minute, "before switch: sleep 3 &"); err != nil {
		t.Errorf("deploy = %v", err)
	}
}
