package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"

	"charactier-proxy/cmd/internal/bench/drive"
)

// crowd are idle connections that a part of this program keeps open.
type crowd struct {
	cmd    *exec.Cmd
	stdin  io.Closer
	lines  *bufio.Reader
	stderr bytes.Buffer
}

// idleOpen is what that part says when they are open.
const idleOpen = "open"

// crowd opens idle connections and returns when all are.
func (w *world) crowd(ctx context.Context, addr string, connections int) (*crowd, error) {
	c := &crowd{cmd: w.command(ctx, w.cores.rest, w.self, "idle", "-addr", addr, "-connections", fmt.Sprint(connections))}
	c.cmd.Stderr = &c.stderr
	stdin, err1 := c.cmd.StdinPipe()
	stdout, err2 := c.cmd.StdoutPipe()
	if err := errors.Join(err1, err2, c.cmd.Start()); err != nil {
		return nil, fmt.Errorf("starting idle connections: %w", err)
	}
	c.stdin, c.lines = stdin, bufio.NewReader(stdout)
	line, err := c.lines.ReadString('\n')
	if err != nil || strings.TrimSpace(line) != idleOpen {
		_, _, ended := c.leave()
		return nil, errors.Join(fmt.Errorf("opening idle connections: %q: %w", line, err), ended)
	}
	return c, nil
}

// leave closes them. Those that were closed before have failed.
func (c *crowd) leave() (r drive.Result, cpu time.Duration, err error) {
	c.stdin.Close()
	rest, err := io.ReadAll(c.lines)
	if err := errors.Join(err, c.cmd.Wait()); err != nil {
		return r, 0, fmt.Errorf("keeping idle connections: %w\n%s", err, &c.stderr)
	}
	return r, cpuTime(c.cmd), json.Unmarshal(rest, &r)
}

// idle weighs the instance without and with idle connections.
func (w *world) idle(ctx context.Context, in *instance, connections int, settle time.Duration) (o outcome, err error) {
	before, err := memoryOf(in.child.pid())
	if err != nil {
		return o, err
	}
	c, err := w.crowd(ctx, in.addr, connections)
	if err != nil {
		return o, err
	}
	select {
	case <-time.After(settle):
	case <-ctx.Done():
	}
	after, err := memoryOf(in.child.pid())
	result, cpu, ended := c.leave()
	if err := errors.Join(ctx.Err(), err, ended); err != nil {
		return o, err
	}
	n := float64(connections)
	more := map[string]float64{"rss": float64(after.rss-before.rss) / n, "pss": float64(after.pss-before.pss) / n}
	return outcome{Result: result, load: cpu, more: more}, nil
}

// driveCrowd loads an instance that has idle connections besides. They are open
// before its processor time is counted.
func driveCrowd(k wrk) driveFunc {
	return func(ctx context.Context, b *bench, in *instance, d time.Duration) (o outcome, err error) {
		c, err := b.world.crowd(ctx, in.addr, b.opts.idle)
		if err != nil {
			return o, err
		}
		before, err1 := b.look(in)
		o, err2 := k.run(ctx, b.world, in.addr, d)
		after, err3 := b.look(in)
		idle, cpu, err4 := c.leave()
		if err := errors.Join(err1, err2, err3, err4); err != nil {
			return o, err
		}
		o.load += cpu
		if o.Failed += idle.Failed; idle.Failed > 0 {
			o.Fault = idle.Fault
		}
		o.more = map[string]float64{"cpu": float64(after.contender-before.contender) / float64(o.Sent) / float64(time.Microsecond)}
		return o, nil
	}
}
