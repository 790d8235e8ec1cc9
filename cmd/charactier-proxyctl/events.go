package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
)

// reconnectEvery is the pause before the daemon is called again.
const reconnectEvery = time.Second

func newEventsCmd(e *env) *cobra.Command {
	var asJSON, follow bool
	var after uint64
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Show what happens, as it happens",
		Long: `The events that the daemon still remembers come first. A daemon that restarts is
waited for. Ctrl-C ends.`,
		Example: `  charactier-proxyctl events
  charactier-proxyctl events --json | jq -r 'select(.level != "info").text'`,
		Args: noArgs,
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		w := watcher{e: e, client: e.client(), json: asJSON, last: after}
		if err := w.watch(cmd.Context()); err != nil {
			return e.failed(cmd.Context(), switcher.Record{}, err, false)
		}
		return nil
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", true, "go on showing what happens")
	cmd.Flags().Lookup("follow").Hidden = true // it always does; the flag is for those who type it anyway
	cmd.Flags().Uint64Var(&after, "after", 0, "show only events with a number above `SEQ`")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print each event as one line of JSON")
	return cmd
}

// watcher follows the events through restarts of the daemon.
type watcher struct {
	e       *env
	client  *control.Client
	json    bool
	last    uint64    // the newest event that was shown
	started time.Time // of the daemon that numbered it
}

// watch returns the error of the first call, and afterwards waits for the
// daemon to come back.
func (w *watcher) watch(ctx context.Context) error {
	for met := false; ; met = true {
		status, err := w.client.Status(ctx)
		if err == nil {
			w.meet(status, met)
			err = w.client.Events(ctx, w.last, w.show)
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case !errors.Is(err, control.ErrUnreachable), !met && w.started.IsZero():
			return err
		}
		if err := w.pause(ctx, err); err != nil {
			return nil
		}
	}
}

// meet begins to count anew with a daemon that did.
func (w *watcher) meet(s control.Status, again bool) {
	if again {
		w.e.notef("the daemon is there again (pid %d)", s.PID)
	}
	if again && !s.Started.Equal(w.started) {
		w.last = 0
	}
	w.started = s.Started
}

func (w *watcher) pause(ctx context.Context, why error) error {
	w.e.notef("%s; waiting for it", clean(why.Error()))
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(reconnectEvery):
		}
		if _, err := w.client.Version(ctx); !errors.Is(err, control.ErrUnreachable) {
			return nil
		}
	}
}

func (w *watcher) show(ev switcher.Event) error {
	if missing := ev.Seq - w.last - 1; w.last > 0 && ev.Seq > w.last+1 {
		w.e.notef("%s missed: they came faster than they were read", plural(missing, "event was", "events were"))
	}
	w.last = ev.Seq
	if w.json {
		line, err := json.Marshal(ev)
		if err != nil {
			return fmt.Errorf("writing JSON: %w", err)
		}
		_, err = fmt.Fprintf(w.e.stdout, "%s\n", line)
		return err
	}
	_, err := fmt.Fprintln(w.e.stdout, w.e.eventLine(ev))
	return err
}

// eventLine is one event in one line; its text names service and slot.
func (e *env) eventLine(ev switcher.Event) string {
	level := fmt.Sprintf("%-5s", clean(ev.Level))
	switch ev.Level {
	case "warn":
		level = e.paint(yellow, level)
	case "error":
		level = e.paint(red, level)
	}
	return fmt.Sprintf("%s  %s  %-12s  %s", clock(ev.Time), level, clean(ev.Kind), clean(ev.Text))
}
