package main

import (
	"bytes"
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"charactier-proxy/switcher/control"
)

type statusFlags struct {
	common
	watch    bool
	interval time.Duration
}

func newStatusCmd(e *env) *cobra.Command {
	var f statusFlags
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show what is active, how healthy it is and what it does",
		Long: `The arrow marks the active slot. RATE, P50 and P99 are over the last ten
seconds, ERRORS since the daemon started. If the daemon does not answer, what
its state file says is shown instead.`,
		Example: `  charactier-proxyctl status
  charactier-proxyctl status --watch --interval 1s
  charactier-proxyctl status --json | jq -r '.services[] | "\(.name) \(.active)"'`,
		Args: noArgs,
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		switch {
		case f.watch && f.json:
			return usagef("for a program, events --json tells of every change", "--watch and --json contradict each other")
		case f.interval < 100*time.Millisecond:
			return usagef("", "--interval %s is under 100ms", f.interval)
		case f.watch:
			return e.watchStatus(cmd.Context(), &f)
		}
		return e.showStatus(cmd.Context(), &f)
	}
	cmd.Flags().StringSliceVar(&f.services, "service", nil, serviceHelp)
	cmd.Flags().BoolVarP(&f.watch, "watch", "w", false, "draw it again and again until Ctrl-C")
	cmd.Flags().DurationVar(&f.interval, "interval", 2*time.Second, "the `TIME` between two drawings")
	f.jsonFlag(cmd)
	completeServices(e, cmd)
	return cmd
}

func (e *env) showStatus(ctx context.Context, f *statusFlags) error {
	status, err := ask(e, func() (control.Status, error) { return e.client().Status(ctx) })
	if err == nil {
		status.Services, err = chosen(status.Services, f.services)
	}
	if err != nil {
		return e.statusFailed(f, err)
	}
	if f.json {
		return e.printJSON(status)
	}
	e.printf("%s", e.statusText(status))
	return nil
}

// watchStatus draws the status until a signal comes.
func (e *env) watchStatus(ctx context.Context, f *statusFlags) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	tick := time.NewTicker(f.interval)
	defer tick.Stop()
	for {
		e.draw(ctx, f)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// draw builds the screen apart and writes it at once, so that it does not
// flicker.
func (e *env) draw(ctx context.Context, f *statusFlags) {
	var screen bytes.Buffer
	page := *e
	page.notice = 0
	page.stdout, page.stderr, page.errColour = &screen, &screen, e.colour
	page.report(page.showStatus(ctx, f)) // what fails is on the screen, and tried again
	e.warned = page.warned
	if ctx.Err() != nil {
		return
	}
	if !e.isTerminal {
		e.printf("%s\n", screen.Bytes())
		return
	}
	text := bytes.ReplaceAll(screen.Bytes(), []byte("\n"), []byte("\x1b[K\n"))
	e.printf("\x1b[H%s\x1b[J", text)
}
