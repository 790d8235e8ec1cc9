package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
	"charactier-proxy/switcher/deploy"
	"charactier-proxy/systemd"
)

// deployReports are those of a deploy that fails at its gate.
func deployReports(at time.Time) []deploy.Report {
	r := func(step string, s deploy.State, service, text string, took time.Duration) deploy.Report {
		return deploy.Report{Time: at, Deploy: "20261124T081500Z-abcdef", Step: step, State: s, Service: service, Text: text, Took: took}
	}
	return []deploy.Report{
		r("preflight", deploy.StateDoing, "", "", 0),
		r("preflight", deploy.StateNote, "", "release 20261124T081500Z-1a2b3c4d5e6f (Mend \x1b[2Jit)", 0),
		r("preflight", deploy.StateDone, "", "", 12*time.Millisecond),
		r("build", deploy.StateDoing, "", "", 0),
		r("build", deploy.StateLine, "backend", "added 70 packages", 0),
		r("build", deploy.StateDone, "", "", 3*time.Second),
		r("smoke", deploy.StateDoing, "", "", 0),
		r("smoke", deploy.StateSkipped, "", "", 0),
		r("gate", deploy.StateDoing, "", "", 0),
		r("gate", deploy.StateWaiting, "", "not healthy after 5s: 503", 0),
		r("gate", deploy.StateFailed, "", "green of backend was not healthy within 1m0s", time.Minute),
		r("start", deploy.StateUndoing, "", "", 0),
		r("start", deploy.StateUndone, "", "", 40*time.Millisecond),
	}
}

func TestADeployIsToldInLinesOutsideATerminal(t *testing.T) {
	var stderr bytes.Buffer
	e := &env{stdout: &bytes.Buffer{}, stderr: &stderr, now: time.Now}
	v := e.newDeployView(&deployFlags{})
	at := time.Date(2026, 11, 24, 8, 15, 0, 0, time.Local)
	for _, r := range deployReports(at) {
		v.report(r)
	}
	v.end()
	want := `2026-11-24 08:15:00  preflight: doing
2026-11-24 08:15:00  preflight: release 20261124T081500Z-1a2b3c4d5e6f (Mend [2Jit)
2026-11-24 08:15:00  preflight: done in 12 ms
2026-11-24 08:15:00  build: doing
2026-11-24 08:15:00  build: done in 3.0 s
2026-11-24 08:15:00  smoke: doing
2026-11-24 08:15:00  smoke: nothing to do
2026-11-24 08:15:00  gate: doing
2026-11-24 08:15:00  gate: not healthy after 5s: 503
2026-11-24 08:15:00  gate: failed: green of backend was not healthy within 1m0s
2026-11-24 08:15:00  start: undoing
2026-11-24 08:15:00  start: undone in 40 ms
`
	if got := stderr.String(); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestADeployAsJSONIsOneObjectInEachLine(t *testing.T) {
	var stdout bytes.Buffer
	e := &env{stdout: &stdout, stderr: &bytes.Buffer{}, now: time.Now}
	f := &deployFlags{}
	f.json = true
	v := e.newDeployView(f)
	reports := deployReports(time.Now())
	for _, r := range reports {
		v.report(r)
	}
	v.end()
	lines := strings.Split(strings.TrimSpace(stdout.String()), "\n")
	if len(lines) != len(reports) {
		t.Fatalf("%d lines for %d reports", len(lines), len(reports))
	}
	for _, line := range lines {
		var r deploy.Report
		if err := json.Unmarshal([]byte(line), &r); err != nil || r.Step == "" {
			t.Errorf("%s: %v", line, err)
		}
	}
}

// A question ends the drawing, and the deploy goes on after its answer.
func TestWhatComesAfterAQuestionIsToldInLines(t *testing.T) {
	var stderr bytes.Buffer
	e := &env{stdout: &bytes.Buffer{}, stderr: &stderr, now: time.Now, errTerminal: true, width: func() int { return 80 }}
	v := e.newDeployView(&deployFlags{})
	v.report(deploy.Report{Time: e.now(), Step: "confirm", State: deploy.StateDoing})
	v.end()
	drawn := stderr.Len()
	v.report(deploy.Report{Time: e.now(), Step: "enable", State: deploy.StateDone, Took: 12 * time.Millisecond})
	v.notef("%s: stopping", os.Interrupt)
	v.end()
	want := "enable: done in 12 ms\ncharactier-proxyctl: interrupt: stopping\n"
	if got := stderr.String()[drawn:]; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestOnlyAUnitsEndIsTakenForOne(t *testing.T) {
	ended := &systemd.UnitError{Unit: "a.service", Doing: systemd.Running}
	if err := exitOf(ended); !errors.Is(err, ended) {
		t.Errorf("the end of a unit is told as %v", err)
	}
	if err := exitOf(systemd.ErrDisconnected); err != nil {
		t.Errorf("a lost connection is told as the end of a unit: %v", err)
	}
}

func TestTheScreenShowsEveryStepOnce(t *testing.T) {
	var stderr bytes.Buffer
	at := time.Now()
	e := &env{stdout: &bytes.Buffer{}, stderr: &stderr, errTerminal: true, width: func() int { return 80 }, now: func() time.Time { return at }}
	v := &deployScreen{e: e, began: at}
	for _, r := range deployReports(at) {
		v.report(r)
	}
	got := strings.Join(v.lines(), "\n")
	want := `✓ preflight  12 ms
      release 20261124T081500Z-1a2b3c4d5e6f (Mend [2Jit)
✓ build      3.0 s
· smoke      nothing to do
✗ gate       1 min
      green of backend was not healthy within 1m0s
↩ start      40 ms`
	if got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestTheScreenShowsWhyAStepStillWaits(t *testing.T) {
	at := time.Now()
	e := &env{stderr: &bytes.Buffer{}, now: func() time.Time { return at }, plain: true}
	v := &deployScreen{e: e, began: at}
	gate := func(state deploy.State, text string) string {
		v.report(deploy.Report{Time: at, Step: "gate", State: state, Text: text})
		return strings.Join(v.lines(), "\n")
	}
	gate(deploy.StateDoing, "")
	gate(deploy.StateWaiting, "after 5s: connection refused")
	if got := gate(deploy.StateWaiting, "after 10s: 503"); strings.Contains(got, "5s") || !strings.Contains(got, "after 10s: 503") {
		t.Errorf("the last answer is not what is shown:\n%s", got)
	}
	if got := gate(deploy.StateDone, ""); strings.Contains(got, "503") {
		t.Errorf("it is shown for good:\n%s", got)
	}
	if got := gate(deploy.StateLeft, ""); !strings.Contains(got, "left to be finished") || strings.Contains(got, "nothing to do") {
		t.Errorf("a step that was left:\n%s", got)
	}
}

func TestWhatIsKnownBesideTheResultIsPrinted(t *testing.T) {
	var out, errs bytes.Buffer
	e := &env{stdout: &out, stderr: &errs, plain: true}
	if err := e.deployed(deploy.Result{Outcome: switcher.Unchanged, Release: "r1", Warnings: []string{"it runs elsewhere"}}, false); err != nil {
		t.Fatal(err)
	}
	if err := e.deployed(deploy.Result{Outcome: switcher.Aborted, Standby: []string{"no warm rollback now"}}, false); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"nothing changed", "it runs elsewhere", "no warm rollback now"} {
		if !strings.Contains(out.String()+errs.String(), want) {
			t.Errorf("%q is missing in\n%s%s", want, &out, &errs)
		}
	}
}

func TestTheScreenShowsTheLastLinesOfABuildAndABar(t *testing.T) {
	at := time.Now()
	e := &env{stderr: &bytes.Buffer{}, now: func() time.Time { return at }, plain: true}
	v := &deployScreen{e: e, began: at}
	v.report(deploy.Report{Time: at, Step: "build", State: deploy.StateDoing})
	for n := range screenLines + 3 {
		v.report(deploy.Report{Time: at, Step: "build", State: deploy.StateLine, Text: "line " + string(rune('a'+n))})
	}
	if got := strings.Join(v.lines(), "\n"); strings.Contains(got, "line c") || !strings.Contains(got, "| line d") || !strings.Contains(got, "| line i") {
		t.Errorf("the last %d lines are not those shown:\n%s", screenLines, got)
	}
	v.report(deploy.Report{Time: at, Step: "build", State: deploy.StateDone})
	v.report(deploy.Report{Time: at, Step: "bake", State: deploy.StateDoing})
	v.report(deploy.Report{Time: at, Step: "bake", State: deploy.StateDoing, Done: 30, Total: 60})
	if got := strings.Join(v.lines(), "\n"); !strings.Contains(got, "[============            ]") {
		t.Errorf("no bar at its half:\n%s", got)
	}
}

func TestEveryEndOfADeployHasItsExitCode(t *testing.T) {
	for want, errs := range map[int][]error{
		control.ExitFailed:      {errors.New("x"), deploy.ErrBadRelease, deploy.ErrDraining, switcher.ErrAborted, deploy.ErrStuck},
		control.ExitRefused:     {deploy.ErrUnhealthy},
		control.ExitBusy:        {switcher.ErrBusy},
		control.ExitUnreachable: {control.ErrUnreachable},
		control.ExitUndone:      {errors.Join(deploy.ErrReturned, deploy.ErrUnhealthy)},
		exitInterrupted:         {deploy.ErrDetached},
	} {
		for _, err := range errs {
			if got := deployExit(err); got != want {
				t.Errorf("%v: exit %d, want %d", err, got, want)
			}
		}
	}
}

func TestTheHistoryTakesWhatEverADeployEndsWith(t *testing.T) {
	for text, want := range map[string]string{
		"one\ntwo\tthree\x1b[2J": "one two three[2J",
		"short":                  "short",
		"ああああああああ":               "あああああ...",
	} {
		if got := inHistory(text, 20); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestAPersonIsAskedAsLongAsTheDeployRuns(t *testing.T) {
	ask := func(ctx context.Context, stdin io.Reader) (bool, error) {
		return (&env{stdin: stdin, stderr: io.Discard}).askPerson(ctx, "keep it?")
	}
	for said, want := range map[string]bool{"y\n": true, "Yes\n": true, "n\n": false, "\n": false} {
		if yes, err := ask(t.Context(), strings.NewReader(said)); yes != want || err != nil {
			t.Errorf("%q: %t, %v", said, yes, err)
		}
	}
	if yes, err := ask(t.Context(), strings.NewReader("")); yes || err == nil {
		t.Errorf("a terminal that is gone: %t, %v, want neither yes nor no", yes, err)
	}
	silent, end := io.Pipe()
	defer end.Close()
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("hangup"))
	if yes, err := ask(ctx, silent); yes || err == nil || err.Error() != "hangup" {
		t.Errorf("stopped while it waits: %t, %v", yes, err)
	}
}

func TestTheDeployLogHasAllLines(t *testing.T) {
	root := t.TempDir()
	own := filepath.Join(root, "deploys", "20261124T081500Z-abcdef")
	if err := os.MkdirAll(own, 0o755); err != nil {
		t.Fatal(err)
	}
	e := &env{stderr: &bytes.Buffer{}, now: time.Now}
	l := e.newDeployLog(filepath.Join(root, "all.log"), root)
	for _, r := range deployReports(time.Now()) {
		l.write(r)
	}
	if err := l.close(); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(root, "all.log"), filepath.Join(own, "log")} {
		text, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(text), "build backend| added 70 packages") {
			t.Errorf("%s: %v\n%s", path, err, text)
		}
		first, _, _ := strings.Cut(string(text), " ")
		if _, err := time.Parse(time.RFC3339Nano, first); err != nil {
			t.Errorf("%s does not begin with a time: %v", path, err)
		}
	}
}
