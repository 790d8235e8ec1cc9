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
		Short: "Stop the running operation, if its swap is still to come",
		Long: `The traffic stays where it was. After the swap there is nothing to stop:
rollback returns the traffic then.

A deploy is asked to stop: its own command undoes what it began.`,
		Example: `  charactier-proxyctl abort`,
		Args:    noArgs,
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		result, err := e.client().Abort(cmd.Context(), control.AbortRequest{})
		if err != nil {
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
