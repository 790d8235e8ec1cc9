package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
	"charactier-proxy/switcher/deploy"
)

func newAbortCmd(e *env) *cobra.Command {
	var f common
	cmd := &cobra.Command{
		Use:   "abort",
		Short: "Stop the running operation or deploy, and undo what it did",
		Long: `An operation whose swap is still to come leaves the traffic where it was; after
the swap there is nothing to stop, and rollback returns the traffic. A deploy is
told to undo what it did; if its traffic has moved, that is returned. A deploy
whose command was killed is undone by this one, as root.`,
		Example: `  charactier-proxyctl abort`,
		Args:    noArgs,
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		result, err := e.askToAbort(cmd.Context())
		if err != nil {
			if done, undone := e.abortUnfinished(cmd.Context(), &f, err); done {
				return undone
			}
			return e.failed(cmd.Context(), switcher.Record{}, err, f.json)
		}
		if f.json {
			return e.printJSON(result)
		}
		if result.Asked {
			e.printf("the %s was asked to stop; %s status shows what it does\n", clean(string(result.Kind)), e.self())
			return nil
		}
		e.printf("the %s was told to stop; the traffic stays where it was\n", clean(string(result.Kind)))
		return nil
	}
	cmd.Flags().BoolVarP(&f.yes, "yes", "y", false, "do not ask (abort never does)")
	f.jsonFlag(cmd)
	return cmd
}

// askToAbort has the daemon stop whatever runs. A deploy whose command has just
// ended cannot stop any more: the daemon notices in a moment, and then says that
// there is nothing to stop.
func (e *env) askToAbort(ctx context.Context) (control.AbortResult, error) {
	const noticeTime = 2 * time.Second
	for began := e.now(); ; {
		result, err := e.client().Abort(ctx, control.AbortRequest{})
		if err != nil || !result.Asked || !e.isLeft() || e.now().Sub(began) > noticeTime {
			return result, err
		}
		select {
		case <-ctx.Done():
			return result, nil
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// isLeft reports whether there is a deploy that no command works on.
func (e *env) isLeft() bool {
	if e.uid != 0 {
		return false
	}
	cfg, err := e.loadConfig()
	if err != nil || deploy.Running(cfg.Deploy.Root) {
		return false
	}
	found, err := deploy.Unfinished(cfg.Deploy.Root)
	return err == nil && found != nil
}
