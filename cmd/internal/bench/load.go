package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
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
