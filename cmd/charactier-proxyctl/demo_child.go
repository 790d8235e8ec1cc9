package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// errDemoOver is why the world ends when nothing is wrong.
var errDemoOver = errors.New("the demo is over")

const (
	childStop = 5 * time.Second // for SIGTERM to take effect
	childTail = 2 << 10         // bytes of its log that are shown
)

// child is one program that the demo has started.
type child struct {
	name string
	cmd  *exec.Cmd
	log  string        // a file with both of its outputs
	done chan struct{} // closed once it has ended
}

// spawn starts a program. Should it end before the world does, the world ends
// too, and says why.
func (w *demoWorld) spawn(name, path string, args ...string) error {
	c := &child{name: name, log: filepath.Join(w.dir, strings.ReplaceAll(name, " ", "-")+".log"), done: make(chan struct{})}
	log, err := os.Create(c.log)
	if err != nil {
		return fmt.Errorf("making a log for %s: %w", name, err)
	}
	defer log.Close()
	c.cmd = exec.Command(path, args...)
	c.cmd.Stdout, c.cmd.Stderr = log, log
	// A group of its own keeps a terminal's Ctrl-C from the children, who are to
	// end in order; and should we be killed, they are too.
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := c.cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", name, err)
	}
	w.children = append(w.children, c)
	go func() {
		defer close(c.done)
		// How it ended is in cmd.ProcessState, which says more than the error.
		_ = c.cmd.Wait()
		w.end(fmt.Errorf("%s has ended early: %s", c.name, c.cmd.ProcessState))
	}()
	return nil
}

// stop ends the child and returns when it has ended.
func (c *child) stop() {
	// One that is gone already cannot be signalled, and need not be.
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-c.done:
	case <-time.After(childStop):
		_ = c.cmd.Process.Kill()
		<-c.done
	}
}

// tail is the end of what the child said; empty if it said nothing.
func (c *child) tail() string {
	log, err := os.ReadFile(c.log)
	if err != nil {
		return err.Error()
	}
	log = bytes.TrimSpace(log)
	return string(log[max(0, len(log)-childTail):])
}
