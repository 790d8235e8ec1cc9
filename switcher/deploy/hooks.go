package deploy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// hook runs what is configured before or after a step, in order; the first
// that fails is the last.
func (d *deploy) hook(ctx context.Context, when, step string) error {
	for _, line := range d.opts.Hooks {
		head, command, _ := strings.Cut(line, ":")
		if head != when+" "+step {
			continue
		}
		if err := d.runHook(ctx, step, strings.TrimSpace(command)); err != nil {
			return fmt.Errorf("running the hook %s %s: %w", when, step, err)
		}
	}
	return nil
}

func (d *deploy) runHook(ctx context.Context, step, command string) error {
	defer d.waiting()()
	ctx, cancel := context.WithTimeout(ctx, d.opts.HookTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", command)
	cmd.Env = append(os.Environ(), d.hookEnv(step)...)
	// What it started must not outlive it, nor hold its output open.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
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
	err := cmd.Run()
	_ = in.Close() // never fails
	<-told
	if ctx.Err() != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("%s: not done within %s", command, d.opts.HookTimeout)
	}
	if err != nil && !errors.Is(err, exec.ErrWaitDelay) { // which is a good end, and something left in the background
		return fmt.Errorf("%s: %w", command, err)
	}
	return nil
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
