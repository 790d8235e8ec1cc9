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
	"charactier-proxy/switcher/control"
)

// outcome is what one turn has shown.
type outcome struct {
	drive.Result
	load time.Duration // processor time of the load itself
	// more holds measures besides those that the result gives.
	more map[string]float64
}

// once runs a load to its end and returns what it printed and its CPU.
func (w *world) once(ctx context.Context, path string, args ...string) ([]byte, time.Duration, error) {
	cmd := w.command(ctx, w.cores.rest, path, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, 0, fmt.Errorf("running %s: %w\n%s%s", path, errors.Join(ctx.Err(), err), &stdout, &stderr)
	}
	return stdout.Bytes(), cpuTime(cmd), nil
}

// cpuTime is that of a command that has ended.
func cpuTime(cmd *exec.Cmd) time.Duration {
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
}

// drive runs a part of this program as the load.
func (w *world) drive(ctx context.Context, args ...string) (outcome, error) {
	out, cpu, err := w.once(ctx, w.self, args...)
	if err != nil {
		return outcome{}, err
	}
	o := outcome{load: cpu}
	if err := json.Unmarshal(out, &o.Result); err != nil {
		return o, fmt.Errorf("reading the load's result: %w in %q", err, out)
	}
	return o, nil
}

// paced sends small requests at a fixed rate.
func (w *world) paced(ctx context.Context, addr string, rate float64, d time.Duration) (outcome, error) {
	return w.drive(ctx, "paced", "-addr", addr, "-rate", fmt.Sprint(rate), "-time", d.String())
}

// webSocket sends messages.
func (w *world) webSocket(ctx context.Context, addr string, d time.Duration) (outcome, error) {
	return w.drive(ctx, "websocket", "-addr", addr, "-path", "/socket", "-time", d.String())
}

// switchEvery is the time between two switches under load.
const switchEvery = 100 * time.Millisecond

// switching is paced, and all the while the traffic is moved to and fro.
func (w *world) switching(ctx context.Context, in *instance, rate float64, d time.Duration) (outcome, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type end struct {
		switches int
		err      error
	}
	ended, stop := make(chan end, 1), make(chan struct{})
	go func() {
		n, err := switches(ctx, in.control, stop)
		ended <- end{n, err}
	}()
	o, err := w.paced(ctx, in.addr, rate, d)
	close(stop)
	e := <-ended
	o.more = map[string]float64{"switches": float64(e.switches) / o.Elapsed.Seconds()}
	return o, errors.Join(err, e.err)
}

// switches moves the traffic again and again until it is to stop.
func switches(ctx context.Context, c *control.Client, stop <-chan struct{}) (n int, err error) {
	tick := time.NewTicker(switchEvery)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return n, nil
		case <-tick.C:
			if _, err := c.Switch(ctx, control.SwitchRequest{Reason: "bench"}); err != nil {
				return n, fmt.Errorf("switching: %w", err)
			}
			n++
		}
	}
}

// idleOpen is what an idle load says when its connections are open.
const idleOpen = "open"

// idle opens connections that are idle and weighs the instance with them.
func (w *world) idle(ctx context.Context, in *instance, connections int, settle time.Duration) (o outcome, err error) {
	before, err := memoryOf(in.child.pid())
	if err != nil {
		return o, err
	}
	cmd := w.command(ctx, w.cores.rest, w.self, "idle", "-addr", in.addr, "-connections", fmt.Sprint(connections))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdin, err1 := cmd.StdinPipe()
	stdout, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		return o, fmt.Errorf("starting idle connections: %w", err)
	}
	lines := bufio.NewReader(stdout)
	after, err := weigh(ctx, in, lines, settle)
	stdin.Close()
	rest, err3 := io.ReadAll(lines)
	if err := errors.Join(err, err3, cmd.Wait()); err != nil {
		return o, fmt.Errorf("keeping idle connections: %w\n%s", err, &stderr)
	}
	o.load = cpuTime(cmd)
	n := float64(connections)
	o.more = map[string]float64{"rss": float64(after.rss-before.rss) / n, "pss": float64(after.pss-before.pss) / n}
	return o, json.Unmarshal(rest, &o.Result)
}

// weigh waits until the connections are open and have been idle for a while.
func weigh(ctx context.Context, in *instance, lines *bufio.Reader, settle time.Duration) (memory, error) {
	line, err := lines.ReadString('\n')
	if err != nil || strings.TrimSpace(line) != idleOpen {
		return memory{}, fmt.Errorf("waiting for the connections: %q: %w", line, err)
	}
	select {
	case <-time.After(settle):
	case <-ctx.Done():
		return memory{}, ctx.Err()
	}
	return memoryOf(in.child.pid())
}
