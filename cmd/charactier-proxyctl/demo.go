package main

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"charactier-proxy/cmd/internal/load"
	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
)

// demoFlags are the flags of demo.
type demoFlags struct {
	duration, interval time.Duration
	clients            int
	keep, json         bool
}

func newDemoCmd(e *env) *cobra.Command {
	var f demoFlags
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Switch under load on this machine, and see that no request is lost",
		Long: `Starts two slots and a daemon of their own, on free ports of loopback and in a
temporary directory, sends them requests from keep-alive clients that never
retry, most of them POSTs, and switches all the while. Ends with a count of what
was lost; a single lost request is exit code 1. Nothing that is installed on the
machine is touched.`,
		Example: `  charactier-proxyctl demo
  charactier-proxyctl demo --keep`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.check(); err != nil {
				return err
			}
			return e.demo(cmd.Context(), f)
		},
	}
	cmd.AddCommand(newDemoSlotCmd(e))
	cmd.Flags().DurationVar(&f.duration, "duration", 10*time.Second, "go on switching for this `TIME`")
	cmd.Flags().DurationVar(&f.interval, "interval", time.Second, "the `TIME` between two switches")
	cmd.Flags().IntVar(&f.clients, "clients", 32, "the `NUMBER` of keep-alive clients")
	cmd.Flags().BoolVar(&f.keep, "keep", false, "leave everything running afterwards, until Ctrl-C, to try the commands")
	cmd.Flags().BoolVar(&f.json, "json", false, "print the result as JSON")
	return cmd
}

func (f demoFlags) check() error {
	switch {
	case f.interval < 10*time.Millisecond:
		return usagef("the least is 10ms", "--interval %s is too short", f.interval)
	case f.duration < f.interval:
		return usagef("a demo switches at least once", "--duration %s is shorter than --interval %s", f.duration, f.interval)
	case f.clients < 1 || f.clients > 4096:
		return usagef("1 to 4096", "--clients %d is out of range", f.clients)
	case f.keep && f.json:
		return usagef("give one of them", "--keep and --json contradict each other")
	}
	return nil
}

// demoThink keeps the clients from measuring nothing but how busy the machine
// is.
const demoThink = 5 * time.Millisecond

// demo builds the world, runs the load and the switches in it, and judges.
func (e *env) demo(ctx context.Context, f demoFlags) (err error) {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	w, err := newDemoWorld(ctx, e)
	if err != nil {
		return e.demoFailed(w, err)
	}
	defer func() { err = errors.Join(err, w.close()) }()
	if err := w.start(); err != nil {
		return e.demoFailed(w, err)
	}
	view := e.newDemoView(f)
	view.begin(w)
	result, err := w.drive(f, view)
	view.end(result)
	if err != nil {
		return e.demoFailed(w, err)
	}
	if f.keep {
		if err := w.keep(e); err != nil {
			return e.demoFailed(w, err)
		}
	}
	if !result.NothingLost {
		return exitError(control.ExitFailed)
	}
	return nil
}

// demoFailed tells Ctrl-C from what went wrong, and shows what the programs
// said of that.
func (e *env) demoFailed(w *demoWorld, err error) error {
	if w.interrupted() {
		return exitError(exitInterrupted)
	}
	for _, c := range w.children {
		if c.tail() == "" {
			continue
		}
		e.notef("the last that %s said:", c.name)
		for line := range strings.Lines(c.tail()) {
			fmt.Fprintf(e.stderr, "  | %s\n", clean(strings.TrimSuffix(line, "\n")))
		}
	}
	return err
}

// demoResult is what a demo shows, and prints with --json.
type demoResult struct {
	NothingLost bool          `json:"nothing_lost"`
	Switches    int           `json:"switches"`
	SwapMax     time.Duration `json:"swap_max_ns"`
	// ExecutedTwice counts orders that a slot, or both, saw more than once;
	// Unexecuted those that were answered and never reached a slot.
	ExecutedTwice int         `json:"executed_twice"`
	Unexecuted    int         `json:"unexecuted"`
	Load          load.Report `json:"load"`
}

// drive runs load and switches for the demo's duration and judges. With an
// error, what it returns is how far it came.
func (w *demoWorld) drive(f demoFlags, view demoView) (demoResult, error) {
	g := load.New(load.Options{Addr: w.addr, Clients: f.clients, GetEvery: 4, Think: demoThink})
	loading, stopLoading := context.WithCancel(w.ctx)
	defer stopLoading()
	loaded := make(chan load.Report, 1)
	go func() { loaded <- g.Run(loading) }()

	result, err := w.switchAlong(f, view, g)
	stopLoading()
	result.Load = <-loaded
	if err != nil {
		return result, err
	}
	result.ExecutedTwice, result.Unexecuted, err = w.judge(result.Load)
	result.NothingLost = err == nil && result.Load.Failed == 0 && result.ExecutedTwice == 0 && result.Unexecuted == 0
	return result, err
}

// switchAlong switches once in every interval, and lets the load go on for
// half of one after the last.
func (w *demoWorld) switchAlong(f demoFlags, view demoView, g *load.Generator) (demoResult, error) {
	result := demoResult{}
	next, redraw := time.NewTicker(f.interval), time.NewTicker(demoRedraw)
	defer next.Stop()
	defer redraw.Stop()
	for result.Switches < int(f.duration/f.interval) {
		select {
		case <-w.ctx.Done():
			return result, context.Cause(w.ctx)
		case <-redraw.C:
			view.show(g.Report())
		case <-next.C:
			record, err := w.client.Switch(w.ctx, control.SwitchRequest{Reason: "demo"})
			if err != nil {
				return result, w.cause(err)
			}
			result.Switches++
			result.SwapMax = max(result.SwapMax, record.Swap)
			view.switched(record, g.Report())
		}
	}
	last := time.NewTimer(f.interval / 2)
	defer last.Stop()
	select {
	case <-last.C:
		return result, nil
	case <-w.ctx.Done():
		return result, context.Cause(w.ctx)
	}
}

// judge compares what the slots executed with what the clients were told.
func (w *demoWorld) judge(r load.Report) (twice, unexecuted int, err error) {
	executed, err := w.orders(r.Run)
	for _, n := range executed {
		if n > 1 {
			twice++
		}
	}
	return twice, max(0, int(r.Posts)-len(executed)), err
}

// keep goes on with a light load until Ctrl-C, for somebody to play with.
func (w *demoWorld) keep(e *env) error {
	e.demoInvitation(w)
	r := load.New(load.Options{Addr: w.addr, Clients: 4, GetEvery: 4, Think: 20 * demoThink}).Run(w.ctx)
	e.printf("\nsince then: %d requests, %d failed\n", r.Sent, r.Failed)
	if w.interrupted() {
		return nil
	}
	return context.Cause(w.ctx)
}

// activeSlot is where the traffic of the demo's service is.
func (w *demoWorld) activeSlot() switcher.Slot {
	status, err := w.client.Status(w.ctx)
	if err != nil || len(status.Services) == 0 {
		return ""
	}
	return status.Services[0].Active
}
