package deploy

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestAHookThatHasEndedIsNotRunAgain(t *testing.T) {
	for name, c := range map[string]struct {
		killIn string // the call
		resume bool
		want   string // what the hooks wrote altogether
	}{
		"killed after the first hook's end":  {"start backend-green.service", true, "before\nafter\n"},
		"killed between the step and after":  {"step gate", true, "before\nafter\n"},
		"undone":                             {"start backend-green.service", false, "before\n"},
		"killed before any hook of the step": {"step start", true, "before\nafter\n"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			out := filepath.Join(t.TempDir(), "out")
			hooks := []string{"before start: echo before >> " + out, "after start: echo after >> " + out}
			w.fault = func(_ int, call string, _ func()) error {
				if call == c.killIn {
					panic(killed{})
				}
				return nil
			}
			with := func(do func(*Pipeline) (Result, error)) (err error, dead bool) {
				_, err, dead = w.run(func(p *Pipeline) (Result, error) {
					p.opts.Hooks, p.opts.HookTimeout = hooks, time.Minute
					return do(p)
				})
				return err, dead
			}
			if _, dead := with(func(p *Pipeline) (Result, error) { return p.Run(t.Context(), request()) }); !dead {
				t.Fatal("it was not killed")
			}
			w.fault = nil
			end := (*Pipeline).Abort
			if c.resume {
				end = (*Pipeline).Resume
			}
			if err, _ := with(func(p *Pipeline) (Result, error) { return end(p, t.Context()) }); err != nil && c.resume {
				t.Error(err)
			}
			text, err := os.ReadFile(out)
			if err != nil || string(text) != c.want {
				t.Errorf("the hooks wrote %q, %v; want %q", text, err, c.want)
			}
		})
	}
}

// The kill may come when a step is done and its hook has not ended.
func TestAHookThatWasCutOffIsRunAgain(t *testing.T) {
	w := newWorld(t)
	out := filepath.Join(t.TempDir(), "out")
	p := w.pipeline()
	p.opts.Hooks, p.opts.HookTimeout = []string{"after fetch: echo ran >> " + out}, time.Minute
	j, err := createJournal(p.deploys(), "x", entry{Phase: phaseBegin})
	if err != nil {
		t.Fatal(err)
	}
	s := newStory("x")
	s.request, s.last = request(), map[string]phase{"preflight": phaseDone, "fetch": phaseDone, "build": phaseDoing}
	s.hooks[p.opts.Hooks[0]] = phaseDoing
	p.newDeploy(j, s).finishHooks(t.Context())
	if _, err := os.Stat(out); err != nil {
		t.Error(err)
	}
	if err := errors.Join(j.close(), p.Close()); err != nil {
		t.Error(err)
	}
}

func TestAStepThatIsDoneAnewHasItsHooksAgain(t *testing.T) {
	s := newStory("x")
	s.take(entry{Phase: phaseDone, Hook: "before start: a"})
	s.take(entry{Phase: phaseDone, Hook: "before switch: b"})
	s.take(entry{Phase: phaseUndone, Step: "start"})
	if s.hooks["before start: a"] != "" || s.hooks["before switch: b"] != phaseDone {
		t.Errorf("the hooks are %v", s.hooks)
	}
}

func TestAHookDiesWithItsCommand(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
	// A hook with a child of its own, as a script has.
	cmd.Env = append(os.Environ(), hookVariable+"=echo $$ >&3; /bin/sh -c 'echo $$ >&3; exec sleep 600'; true")
	said, tell, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer said.Close()
	cmd.ExtraFiles = []*os.File{tell}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	tell.Close()
	var pids []int
	lines := bufio.NewScanner(said)
	for len(pids) < 2 && lines.Scan() {
		pid, err := strconv.Atoi(strings.TrimSpace(lines.Text()))
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	if err := cmd.Process.Kill(); err != nil || len(pids) < 2 {
		t.Fatalf("%v, the hook's processes are %v", err, pids)
	}
	_ = cmd.Wait() // killed
	deadline := time.Now().Add(10 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for _, pid := range pids {
		for syscall.Kill(pid, 0) == nil {
			if time.Now().After(deadline) {
				t.Fatalf("process %d of the hook outlives the command", pid)
			}
			<-tick.C
		}
	}
}
