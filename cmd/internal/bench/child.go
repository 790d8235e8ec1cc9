package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	childStop = 10 * time.Second // for SIGTERM to take effect
	childTail = 4 << 10          // bytes of its log that are shown
)

// child is one program that the bench has started and that runs until it is
// stopped.
type child struct {
	name string
	cmd  *exec.Cmd
	log  string        // a file with both of its outputs
	done chan struct{} // closed once it has ended
}

// spawn starts a program on the processors given.
func (w *world) spawn(name string, cpus []int, env []string, path string, args ...string) (*child, error) {
	w.serial++
	c := &child{
		name: name,
		log:  filepath.Join(w.dir, fmt.Sprintf("%d-%s.log", w.serial, strings.ReplaceAll(name, " ", "-"))),
		done: make(chan struct{}),
	}
	log, err := os.Create(c.log)
	if err != nil {
		return nil, fmt.Errorf("making a log for %s: %w", name, err)
	}
	defer log.Close()
	// Not the bench's context: it is stopped in order.
	c.cmd = w.command(context.Background(), cpus, path, args...)
	c.cmd.Env = append(os.Environ(), env...)
	c.cmd.Stdout, c.cmd.Stderr = log, log
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	go func() {
		defer close(c.done)
		// How it ended is in cmd.ProcessState, which says more than the error.
		_ = c.cmd.Wait()
	}()
	return c, nil
}

// command is a program that runs on some processors only. taskset becomes the
// program, so its pid is the program's.
func (w *world) command(ctx context.Context, cpus []int, path string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, w.programs["taskset"], append([]string{"--cpu-list", list(cpus), path}, args...)...)
	cmd.Dir = w.dir
	// A group of its own keeps a terminal's Ctrl-C from it: it is ended in order.
	// Should we be killed, it is told to end, and can take its workers along.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	return cmd
}

func (c *child) pid() int { return c.cmd.Process.Pid }

// stop ends the child and returns when it has ended.
func (c *child) stop() {
	// One that is gone already cannot be signalled, and need not be.
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-c.done:
	case <-time.After(childStop):
		// Its group, so that a master's workers end too.
		_ = syscall.Kill(-c.pid(), syscall.SIGKILL)
		<-c.done
	}
}

// dead says how the child ended; nil while it runs.
func (c *child) dead() error {
	select {
	case <-c.done:
		return fmt.Errorf("%s has ended: %s\n%s", c.name, c.cmd.ProcessState, c.tail())
	default:
		return nil
	}
}

// tail is the end of what the child said.
func (c *child) tail() string {
	log, err := os.ReadFile(c.log)
	if err != nil {
		return err.Error()
	}
	log = bytes.TrimSpace(log)
	return string(log[max(0, len(log)-childTail):])
}
