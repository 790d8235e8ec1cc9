package e2e

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"charactier-proxy/cmd/internal/load"
	"charactier-proxy/switcher/control"
)

// demo runs the demo with a temporary directory of its own, so that what it
// leaves behind can be seen.
func demo(t *testing.T, ctl string, args ...string) (cmd *exec.Cmd, tmp string) {
	t.Helper()
	if err := dependOnSources(); err != nil {
		t.Fatal(err)
	}
	tmp = shortDir(t)
	cmd = exec.Command(ctl, append([]string{"demo"}, args...)...)
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
	return cmd, tmp
}

func wantNothingLeft(t *testing.T, tmp string) {
	t.Helper()
	left, err := os.ReadDir(tmp)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range left {
		t.Errorf("the demo left %s behind", entry.Name())
	}
	if running := started(t, tmp); len(running) > 0 {
		t.Errorf("the demo left running:\n%s", strings.Join(running, "\n"))
	}
}

// started are the command lines of all processes whose environment, inherited
// from parent to child, names the demo's temporary directory.
func started(t *testing.T, tmp string) (found []string) {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range dirs {
		// Processes of others, and those that have just ended, cannot be read.
		environ, err := os.ReadFile(filepath.Join(dir, "environ"))
		if err != nil || !strings.Contains(string(environ), "TMPDIR="+tmp+"\x00") {
			continue
		}
		line, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		if err == nil {
			found = append(found, strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return found
}

func TestTheDemoLosesNothingAndLeavesNothing(t *testing.T) {
	cmd, tmp := demo(t, built.ctl, "--duration", "2s", "--interval", "100ms", "--clients", "8", "--json")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s%s", err, out, stderrOf(err))
	}
	var got struct {
		NothingLost   bool `json:"nothing_lost"`
		Switches      int
		ExecutedTwice int `json:"executed_twice"`
		Unexecuted    int
		Load          load.Report
	}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	if !got.NothingLost || got.Switches != 20 || got.Load.Failed+int64(got.ExecutedTwice+got.Unexecuted) != 0 ||
		got.Load.BySlot["blue"] == 0 || got.Load.BySlot["green"] == 0 {
		t.Errorf("got %+v", got)
	}
	wantNothingLeft(t, tmp)
}

func TestTheDemoTellsInPlainLines(t *testing.T) {
	cmd, tmp := demo(t, built.ctl, "--duration", "300ms", "--interval", "100ms")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s%s", err, out, stderrOf(err))
	}
	for _, want := range []string{"blue -> green", "green -> blue", "nothing was lost", "3 switches", "demo --keep"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("nothing about %q in:\n%s", want, out)
		}
	}
	if strings.Contains(string(out), "\x1b") {
		t.Errorf("escape sequences without a terminal: %q", out)
	}
	wantNothingLeft(t, tmp)
}

func TestTheDemoEndsEverythingOnCtrlC(t *testing.T) {
	cmd, tmp := demo(t, built.ctl, "--duration", "300ms", "--interval", "100ms", "--keep")
	p := start(t, "demo", cmd)
	eventually(t, "the demo invites to try the commands", func() error {
		if !strings.Contains(p.tail(), "Ctrl-C here ends it all") {
			return errors.New(p.tail())
		}
		return nil
	})
	if running := started(t, tmp); len(running) != 4 {
		t.Errorf("want the demo, two slots and the daemon running, got:\n%s", strings.Join(running, "\n"))
	}
	p.signal(syscall.SIGINT)
	if state := p.await(patience); state.ExitCode() != control.ExitDone {
		t.Errorf("%s\n%s", state, p.tail())
	}
	wantNothingLeft(t, tmp)
}

// TestTheDemoShowsWhatADyingDaemonSaid puts a daemon beside the program that
// dies at once.
func TestTheDemoShowsWhatADyingDaemonSaid(t *testing.T) {
	dir := t.TempDir()
	ctl := filepath.Join(dir, "charactier-proxyctl")
	if err := os.Link(built.ctl, ctl); err != nil {
		t.Fatal(err)
	}
	script := "#!/bin/sh\necho the disk is full\nexit 7\n"
	if err := os.WriteFile(filepath.Join(dir, "charactier-proxy"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd, tmp := demo(t, ctl)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != control.ExitFailed {
		t.Errorf("%v, want exit code %d", err, control.ExitFailed)
	}
	for _, want := range []string{"charactier-proxy has ended early: exit status 7", "| the disk is full"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("nothing about %q in:\n%s", want, out)
		}
	}
	wantNothingLeft(t, tmp)
}

func stderrOf(err error) []byte {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.Stderr
	}
	return nil
}
