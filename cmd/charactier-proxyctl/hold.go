package main

import (
	"github.com/spf13/cobra"

	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
)

func newHoldCmd(e *env) *cobra.Command {
	var f common
	cmd := &cobra.Command{
		Use:   "hold",
		Short: "Make requests wait instead of reaching a slot",
		Long: `Requests that come in are kept waiting, within the bounds that the configuration
sets (hold); beyond them they are answered 503. What is under way goes on. A
hold outlives a restart of the daemon; only release-hold ends it.`,
		Example: `  charactier-proxyctl hold --service backend --reason "database migration"
  charactier-proxyctl release-hold`,
		Args: noArgs,
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := e.confirm(f.yes, "hold makes all requests to "+f.scope()+" wait, and in the end fail"); err != nil {
			return err
		}
		r, err := e.client().Hold(cmd.Context(), control.HoldRequest{Services: f.services, Reason: f.reason})
		if err != nil {
			return e.failed(cmd.Context(), r, err, f.json)
		}
		return e.held(r, &f, "held: requests to %s wait now\n", "%s was held already; nothing changed\n",
			"to let them go: "+e.self()+" release-hold"+serviceFlags(f.services)+"\n")
	}
	f.changeFlags(e, cmd)
	return cmd
}

func newReleaseHoldCmd(e *env) *cobra.Command {
	var f common
	cmd := &cobra.Command{
		Use:     "release-hold",
		Short:   "Let the waiting requests go to the active slot",
		Example: `  charactier-proxyctl release-hold`,
		Args:    noArgs,
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		r, err := e.client().ReleaseHold(cmd.Context(), control.HoldRequest{Services: f.services, Reason: f.reason})
		if err != nil {
			return e.failed(cmd.Context(), r, err, f.json)
		}
		return e.held(r, &f, "released: requests to %s go on\n", "%s was not held; nothing changed\n", "")
	}
	f.changeFlags(e, cmd)
	return cmd
}

// held tells how hold or release-hold ended.
func (e *env) held(r switcher.Record, f *common, done, unchanged, next string) error {
	if f.json {
		return e.printJSON(r)
	}
	about := e.movesText(nil, r.Services)
	if about == "" {
		about = f.scope()
	}
	if r.Outcome == switcher.Unchanged {
		e.printf(unchanged, about)
		return nil
	}
	e.printf(done, about)
	e.printf("%s", next)
	return nil
}
