package deploy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// hook runs what is configured before or after a step, in order; the first
// that fails is the last. One that a command which was killed has seen to its
// end is not run again.
func (d *deploy) hook(ctx context.Context, when, step string) error {
	for _, line := range d.opts.Hooks {
		at, command := cutHook(line)
		if at != when+" "+step || d.earlierHooks[line] == phaseDone {
			continue
		}
		if err := d.noteHook(phaseDoing, line); err != nil {
			return err
		}
		err := d.runHook(ctx, step, command)
		end := phaseDone
		if err != nil {
			end = phaseFailed
		}
		if noted := d.noteHook(end, line); err == nil {
			err = noted
		}
		if err != nil {
			return fmt.Errorf("running the hook %s %s: %w", when, step, err)
		}
	}
	return nil
}

func (d *deploy) noteHook(p phase, line string) error {
	e := entry{Phase: p, Hook: line}
	if err := d.write(e); err != nil {
		return err
	}
	d.story.take(e)
	return nil
}

// isHookOf reports whether a configured line is of a step.
func isHookOf(line, step string) bool {
	at, _ := cutHook(line)
	return at == "before "+step || at == "after "+step
}

// cutHook is when a configured line is run, such as "before switch", and what.
func cutHook(line string) (at, command string) {
	at, command, _ = strings.Cut(line, ":")
	return at, strings.TrimSpace(command)
}

// finishHooks runs those after the last step that was done: its command was
// killed before they had ended, if they had begun.
func (d *deploy) finishHooks(ctx context.Context) {
	last := ""
	for _, s := range d.steps() {
		if d.story.last[s.name] != phaseDone {
			break
		}
		last = s.name
	}
	if err := d.hook(ctx, "after", last); err != nil {
		d.warn(last, err)
	}
}

// bounded runs a hook so that all of it ends with us, also when we are killed:
// the shell is told of our death, and takes along whatever it started. It waits
// for the command in a way that a signal interrupts.
const bounded = `trap 'kill -s KILL -- -$$' TERM; /bin/sh -c "$1" & wait $!`

func (d *deploy) runHook(ctx context.Context, step, command string) error {
	defer d.waiting()()
	ctx, cancel := context.WithTimeout(ctx, d.opts.HookTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", bounded, "hook", command)
	cmd.Env = append(os.Environ(), d.hookEnv(step)...)
	// What it started must not outlive it, nor hold its output open.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	out, in := io.Pipe()
	cmd.Stdout, cmd.Stderr = in, in
	told := make(chan struct{})
	go func() {
		defer close(told)
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			d.line(step, "", lines.Text())
		}
		_, _ = io.Copy(io.Discard, out) // after a line too long for the scanner
	}()
	err := runFromHere(cmd)
	_ = in.Close() // never fails
	<-told
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("%s: not done within %s", command, d.opts.HookTimeout)
	}
	if err != nil && !errors.Is(err, exec.ErrWaitDelay) { // which is a good end, and something left in the background
		return fmt.Errorf("%s: %w", command, err)
	}
	return nil
}

// runFromHere keeps its thread until the command has ended, because that is what
// the command's death signal waits for.
func runFromHere(cmd *exec.Cmd) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	return cmd.Run()
}

// hookEnv tells a hook what it is about.
func (d *deploy) hookEnv(step string) []string {
	o := d.facts().Origin
	env := []string{"DEPLOY=" + d.story.id, "KIND=" + string(d.request().Kind), "STEP=" + step, "RELEASE=" + o.Release, "REVISION=" + o.Revision}
	for _, s := range d.services {
		p := d.facts().Places[s.Name]
		name := strings.ToUpper(strings.ReplaceAll(s.Name, "-", "_"))
		env = append(env, name+"_OLD="+string(p.Old), name+"_NEW="+string(p.New))
	}
	return env
}
