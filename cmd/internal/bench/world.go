package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// startTime bounds how long a program may take to come up.
const startTime = 20 * time.Second

// world is where a bench takes place: a directory in memory if there is one, the
// programs, the processors and the slot.
type world struct {
	dir      string
	self     string
	programs map[string]string // name -> file
	cores    cores
	serial   int

	slot *instance
	echo *instance // the slot of WebSockets
}

// newWorld finds all that is needed and starts the slots. With an error there is
// nothing to close.
func newWorld(ctx context.Context, o options) (_ *world, err error) {
	w := &world{programs: map[string]string{}}
	if err := w.find(o); err != nil {
		return nil, err
	}
	if w.cores, err = layOut(o.cores); err != nil {
		return nil, err
	}
	if w.dir, err = os.MkdirTemp(memoryDir(), "charactier-proxy-bench-"); err != nil {
		return nil, fmt.Errorf("making a directory for the bench: %w", err)
	}
	if err := w.startSlots(ctx); err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

// memoryDir is a directory whose files lie in memory, or the usual one for
// temporary files.
func memoryDir() string {
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() {
		return "/dev/shm"
	}
	return ""
}

// find looks for every program before anything is started.
func (w *world) find(o options) (err error) {
	if w.self, err = os.Executable(); err != nil {
		return fmt.Errorf("looking for this program's file: %w", err)
	}
	var missing []error
	for _, name := range []string{"nginx", "haproxy", "wrk", "taskset"} {
		path, err := lookUp(name)
		if err != nil {
			missing = append(missing, fmt.Errorf("%s is missing: make bench-deps", name))
		}
		w.programs[name] = path
	}
	for _, build := range append(o.builds, build{name: "charactier-proxy", path: o.program}) {
		if _, err := os.Stat(build.path); err != nil {
			missing = append(missing, fmt.Errorf("looking for %s: %w", build.name, err))
		}
	}
	return errors.Join(missing...)
}

// lookUp finds a program, also where only root looks.
func lookUp(name string) (string, error) {
	path, err := exec.LookPath(name)
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if err != nil {
			path, err = exec.LookPath(filepath.Join(dir, name))
		}
	}
	return path, err
}

// close ends the slots and removes the directory.
func (w *world) close() error {
	if w.echo != nil {
		w.echo.stop()
	}
	if w.slot != nil {
		w.slot.stop()
	}
	if err := os.RemoveAll(w.dir); err != nil {
		return fmt.Errorf("removing the bench's directory: %w", err)
	}
	return nil
}

// scratch makes a directory for one program.
func (w *world) scratch(name string) (string, error) {
	dir, err := os.MkdirTemp(w.dir, name+"-")
	if err != nil {
		return "", fmt.Errorf("making a directory for %s: %w", name, err)
	}
	return dir, nil
}

// freeAddrs returns addresses that nobody listens on now.
func freeAddrs(n int) ([]string, error) {
	var addrs []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("looking for a free port: %w", err)
		}
		defer l.Close() // only now, so that no two are the same
		addrs = append(addrs, l.Addr().String())
	}
	return addrs, nil
}

// await asks until there is no error, the time is up or the child has died.
func (c *child) await(ctx context.Context, ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	pause := time.NewTicker(20 * time.Millisecond)
	defer pause.Stop()
	for {
		err := ask(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-pause.C:
		case <-c.done:
			return c.dead()
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w\n%s", c.name, err, c.tail())
		}
	}
}
