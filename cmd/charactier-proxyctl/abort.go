package main

import (
	"github.com/spf13/cobra"

	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
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
		result, err := e.client().Abort(cmd.Context(), control.AbortRequest{})
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
