package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"charactier-proxy/systemd"
)

const buildUnit = "charactier-build-test.service"

// script is a command of /bin/sh with its output in a file.
func script(t *testing.T, text string) systemd.Command {
	return systemd.Command{
		Unit: buildUnit, Description: "A build", Argv: []string{"/bin/sh", "-c", text},
		Output: filepath.Join(t.TempDir(), "output"),
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// isGone checks that nothing is left of the unit, in processes or in systemd's
// memory.
func isGone(t *testing.T, u *systemd.Units) {
	t.Helper()
	if s, err := u.State(t.Context(), buildUnit); s.LoadState != "not-found" || err != nil {
		t.Errorf("afterwards the unit is %s and %s, %v", s.LoadState, s.ActiveState, err)
	}
	// Of the sleeps that tests leave behind in it.
	if out, err := exec.Command("pgrep", "-fa", "sleep 98765").CombinedOutput(); err == nil {
		t.Errorf("afterwards there is %s", out)
	}
}

func TestUnitsRunTellsHowACommandEnded(t *testing.T) {
	inside(t, func(t *testing.T) {
		u := connectUnits(t)
		tests := map[string]struct {
			change       func(*systemd.Command)
			text         string
			want, result string
		}{
			"exit code":              {nil, "exit 7", "ended with exit code 7 (result exit-code)", "exit-code"},
			"signal":                 {nil, "kill -KILL $$", "ended by SIGKILL (result signal)", "signal"},
			"a signal to end nicely": {nil, "kill -TERM $$", "ended by SIGTERM", "success"},
			"timeout":                {func(c *systemd.Command) { c.Timeout = 300 * time.Millisecond }, "sleep 98765", "took too long", "timeout"},
			"timeout, ignored":       {func(c *systemd.Command) { c.Timeout = 300 * time.Millisecond }, `trap "" TERM; sleep 98765; sleep 98765`, "took too long", "timeout"},
			"stopped by somebody":    {nil, "systemctl stop --no-block " + buildUnit + "; sleep 98765", "", "success"},
			"no such program":        {func(c *systemd.Command) { c.Argv = []string{"/nowhere/npm"} }, "", "ended with exit code 203: its program cannot be run (result exit-code)", "exit-code"},
			"no such directory":      {func(c *systemd.Command) { c.Dir = "/nowhere" }, "", "ended with exit code 200: its working directory cannot be entered (result exit-code)", "exit-code"},
			"no such user":           {func(c *systemd.Command) { c.User = "nobody-there" }, "", "ended with exit code 217: its user does not exist (result exit-code)", "exit-code"},
			"no such output":         {func(c *systemd.Command) { c.Output = "/nowhere/log" }, "", "ended with exit code 209: its output cannot be written (result exit-code)", "exit-code"},
			"no such path to write":  {func(c *systemd.Command) { c.ReadWritePaths = []string{"/nowhere"} }, "", "ended with exit code 226: a path of its sandbox does not exist (result exit-code)", "exit-code"},
		}
		for name, tt := range tests {
			t.Run(name, func(t *testing.T) {
				c := script(t, tt.text)
				if tt.change != nil {
					tt.change(&c)
				}
				err := u.Run(t.Context(), c)
				e := failure(t, err)
				if got := err.Error(); !strings.HasPrefix(got, buildUnit+" "+tt.want) {
					t.Errorf("the error is %q, want %q", got, tt.want)
				}
				if e.State.Result != tt.result && tt.want != "" {
					t.Errorf("the result is %s, want %s", e.State.Result, tt.result)
				}
				isGone(t, u)
			})
		}
		t.Run("well", func(t *testing.T) {
			for range 20 {
				if err := u.Run(t.Context(), script(t, ":")); err != nil {
					t.Error(err)
				}
			}
			isGone(t, u)
		})
		t.Run("in the journal without an output", func(t *testing.T) {
			c := script(t, "echo 'error TS2304: Cannot find name'; exit 2")
			c.Output = ""
			e := failure(t, u.Run(t.Context(), c))
			if !strings.Contains(strings.Join(e.Journal, "\n"), "error TS2304") {
				t.Errorf("the journal is %q", e.Journal)
			}
		})
		t.Run("nonsense", func(t *testing.T) {
			for _, c := range []systemd.Command{{Unit: "x"}, {Unit: "x.service"}, {Unit: "x.service", Argv: []string{"/bin/true"}, Dir: "here"}} {
				if err := u.Run(t.Context(), c); err == nil {
					t.Errorf("%+v was run", c)
				}
			}
		})
	})
}

func TestUnitsRunHasItsSurroundings(t *testing.T) {
	inside(t, func(t *testing.T) {
		u := connectUnits(t)
		dir := t.TempDir()
		run(t, "chmod", "a+rx", dir, filepath.Dir(dir))
		c := systemd.Command{
			Unit: buildUnit, Argv: []string{"/bin/sh", "-c", `pwd; id -un; echo "$GREETING $0 $1"; echo to stderr >&2; umask`, "a $HOME b", "%n ${PATH}"},
			Dir: dir, User: "daemon", Environment: []string{"GREETING=hello 'you' $HOME %n \"x\"\\"},
			Output: filepath.Join(dir, "output"),
		}
		if err := os.WriteFile(c.Output, []byte("before\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := u.Run(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		want := "before\n" + dir + "\ndaemon\nhello 'you' $HOME %n \"x\"\\ a $HOME b %n ${PATH}\nto stderr\n0022\n"
		if got := read(t, c.Output); got != want {
			t.Errorf("the output is\n%s, want\n%s", got, want)
		}
	})
}

// Whoever enables a unit has systemd read all of them again.
func TestUnitsRunOutlivesAReload(t *testing.T) {
	inside(t, func(t *testing.T) {
		u := connectUnits(t)
		c := script(t, `echo begun; until test -e /run/go-on; do sleep 0.05; done; echo "done $0"`)
		c.Argv = append(c.Argv, "a $HOME b %n")
		ran := make(chan error, 1)
		go func() { ran <- u.Run(t.Context(), c) }()
		eventually(t, "it has begun", func() error {
			if text, err := os.ReadFile(c.Output); err != nil || !strings.Contains(string(text), "begun") {
				return fmt.Errorf("%q, %v", text, err)
			}
			return nil
		})
		for range 3 {
			if err := u.Reload(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if s, err := u.State(t.Context(), buildUnit); err != nil || s.LoadState != "loaded" {
			t.Errorf("read again, the unit is %q, %v", s.LoadState, err)
		}
		if err := os.WriteFile("/run/go-on", nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := <-ran; err != nil {
			t.Error(err)
		}
		if got, want := read(t, c.Output), "begun\ndone a $HOME b %n\n"; got != want {
			t.Errorf("the output is %q, want %q", got, want)
		}
		isGone(t, u)
	})
}

func TestUnitsRunSetsItsBounds(t *testing.T) {
	inside(t, func(t *testing.T) {
		u := connectUnits(t)
		c := script(t, "systemctl show "+buildUnit+" --property=MemoryMax,CPUWeight,IOWeight,TasksMax,RuntimeMaxUSec,OOMScoreAdjust,ProtectSystem,ReadWritePaths,NoNewPrivileges,Description")
		c.MemoryMax, c.CPUWeight, c.IOWeight, c.TasksMax, c.Timeout = 1<<30, 20, 30, 500, time.Hour
		c.ReadWritePaths = []string{"/var/tmp"}
		if err := u.Run(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		got := read(t, c.Output)
		for _, want := range []string{"MemoryMax=1073741824", "CPUWeight=20", "IOWeight=30", "TasksMax=500", "RuntimeMaxUSec=1h", "OOMScoreAdjust=500",
			"ProtectSystem=strict", "ReadWritePaths=/var/tmp", "Description=A build", "NoNewPrivileges=no"} {
			if !strings.Contains(got, want+"\n") {
				t.Errorf("the unit lacks %s:\n%s", want, got)
			}
		}
	})
}

func TestUnitsRunKeepsACommandToItsPaths(t *testing.T) {
	inside(t, func(t *testing.T) {
		u := connectUnits(t)
		for _, dir := range []string{"/var/open", "/var/shut"} {
			run(t, "install", "-d", "-o", "daemon", dir)
		}
		for _, private := range []bool{false, true} {
			c := script(t, `touch /var/open/x || exit 1; touch /var/shut/x && exit 2; exit 0`)
			c.User, c.ReadWritePaths, c.Private = "daemon", []string{"/var/open"}, private
			if err := u.Run(t.Context(), c); err != nil {
				t.Errorf("private %v: %v\n%s", private, err, read(t, c.Output))
			}
		}
		run(t, "sh", "-c", "echo secret >/root/secret; echo secret >/tmp/secret; chmod a+r /tmp/secret")
		// What a build does, and what it need not do.
		c := script(t, `
			touch /tmp/mine && /usr/bin/node -e 'require("net").createServer().listen(0, "127.0.0.1", function () { this.close() })' || exit 1
			grep -q secret /tmp/secret && exit 2
			ls /root/. 2>/dev/null | grep -q . && exit 3
			test -e /proc/1/cmdline && exit 4
			unshare --user true 2>/dev/null && exit 5
			exit 0`)
		c.User, c.ReadWritePaths, c.Private = "daemon", []string{"/var/open"}, true
		if err := u.Run(t.Context(), c); err != nil {
			t.Errorf("%v\n%s", err, read(t, c.Output))
		}
	})
}

func TestUnitsRunEndsWithItsContext(t *testing.T) {
	inside(t, func(t *testing.T) {
		u := connectUnits(t)
		dir := t.TempDir()
		begun := filepath.Join(dir, "begun")
		why := errors.New("the operator pressed Ctrl-C")
		for name, text := range map[string]string{
			"its grandchildren too": "setsid sh -c 'sleep 98765 & sleep 98765' & touch %s; wait",
			"even stubborn ones":    `trap "" TERM; touch %s; while :; do sleep 98765; done`,
		} {
			t.Run(name, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				ended := make(chan error, 1)
				go func() { ended <- u.Run(ctx, script(t, fmt.Sprintf(text, begun))) }()
				awaitFile(t, begun)
				cancel(why)
				if err := <-ended; !errors.Is(err, why) {
					t.Errorf("Run = %v", err)
				}
				isGone(t, u)
				os.Remove(begun)
			})
		}
		t.Run("at whatever moment", func(t *testing.T) {
			for i := range 60 {
				ctx, cancel := context.WithTimeoutCause(t.Context(), time.Duration(i)*500*time.Microsecond, why)
				if err := u.Run(ctx, script(t, "sleep 98765")); !errors.Is(err, why) {
					t.Errorf("Run = %v", err)
				}
				cancel()
				isGone(t, u)
			}
		})
		t.Run("what a command leaves behind is stopped as well", func(t *testing.T) {
			if err := u.Run(t.Context(), script(t, "setsid sleep 98765 & exit 0")); err != nil {
				t.Error(err)
			}
			isGone(t, u)
		})
		t.Run("what a killed run left is stopped first", func(t *testing.T) {
			run(t, "systemd-run", "--quiet", "--unit="+buildUnit, "sleep", "98765")
			if err := u.Run(t.Context(), script(t, "! pgrep -f 'sleep 9876[5]'")); err != nil {
				t.Error(err)
			}
			isGone(t, u)
		})
		t.Run("a unit that has a file is left alone", func(t *testing.T) {
			writeUnits(t, u, map[string]string{"slot.service": "[Service]\nExecStart=/bin/sleep 1000\n"})
			if err := u.Start(t.Context(), "slot.service"); err != nil {
				t.Fatal(err)
			}
			err := u.Run(t.Context(), systemd.Command{Unit: "slot.service", Argv: []string{"/bin/true"}})
			if s, _ := u.State(t.Context(), "slot.service"); err == nil || !s.Runs() {
				t.Errorf("Run = %v, and the unit is %s", err, s.ActiveState)
			}
		})
	})
}

func awaitFile(t *testing.T, path string) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-tick.C {
		if _, err := os.Stat(path); err == nil {
			return
		}
	}
	t.Fatalf("%s has not appeared", path)
}
