package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
)

func newStoppingCmd(e *env) *cobra.Command {
	var f common
	cmd := &cobra.Command{
		Use:   "stopping UNIT",
		Short: "Say that a slot's unit is about to be stopped",
		Long: `For the ExecStop of the slots' units. If the slot is the active one, requests
wait from now on (within hold.requests and hold.time), and what the slot has got
is answered, for at most 5 s; then the stop may come. The requests go to the
slot when it has come up again, or to the other one after a switch. A unit that
is no slot's, or the standby's, needs none of that.`,
		Example: `  ExecStop=-+/usr/local/bin/charactier-proxyctl stopping %n`,
		Args:    cobra.ExactArgs(1),
		Hidden:  true, // for units, not for people
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		const most = 10 * time.Second // a stop must not wait for a daemon that hangs
		ctx, cancel := context.WithTimeout(cmd.Context(), most)
		defer cancel()
		result, err := e.client().Stopping(ctx, control.StoppingRequest{Unit: args[0]})
		switch {
		case err != nil:
			return e.failed(cmd.Context(), switcher.Record{}, err, f.json)
		case f.json:
			return e.printJSON(result)
		}
		e.printf("%s\n", e.stoppingText(args[0], result))
		return nil
	}
	f.jsonFlag(cmd)
	return cmd
}

func (e *env) stoppingText(unit string, r control.StoppingResult) string {
	switch {
	case r.Service == "":
		return clean(unit) + " is no slot's: nothing to do"
	case !r.Active:
		return clean(r.Service) + ": " + e.slot(r.Slot) + " is not active: nothing to do"
	case r.Left > 0:
		return clean(r.Service) + ": requests for " + e.slot(r.Slot) + " wait; " + plural(r.Left, "request is", "requests are") + " not answered yet"
	}
	return clean(r.Service) + ": requests for " + e.slot(r.Slot) + " wait until it has come up again"
}
