package main

import (
	"cmp"
	"context"

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
		if !f.yes {
			err := e.confirm(false, "hold makes all requests to "+e.named(cmd.Context(), &f)+" wait, and in the end fail")
			if err != nil {
				return err
			}
		}
		asked := e.wish(switcher.KindHold)
		r, err := e.client().Hold(cmd.Context(), control.HoldRequest{Services: f.services, Reason: f.reason})
		if r, err = e.learn(cmd.Context(), asked, r, err); err != nil {
			return e.failed(cmd.Context(), r, err, f.json)
		}
		return e.held(r, &f, "held: requests to %s wait now\n", alreadyHeld,
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
		asked := e.wish(switcher.KindReleaseHold)
		r, err := e.client().ReleaseHold(cmd.Context(), control.HoldRequest{Services: f.services, Reason: f.reason})
		if r, err = e.learn(cmd.Context(), asked, r, err); err != nil {
			return e.failed(cmd.Context(), r, err, f.json)
		}
		return e.held(r, &f, "released: requests to %s go on\n", notHeld, "")
	}
	f.changeFlags(e, cmd)
	return cmd
}

// alreadyHeld and notHeld are what an operation without effect found; without
// names, it was about all services.
func alreadyHeld(names string) string {
	if names == "" {
		return "every service is held already; nothing changed\n"
	}
	return names + " was held already; nothing changed\n"
}

func notHeld(names string) string {
	if names == "" {
		return "no service is held; nothing changed\n"
	}
	return names + " was not held; nothing changed\n"
}

// named are the services that a command line is about, by name if the daemon
// tells them.
func (e *env) named(ctx context.Context, f *common) string {
	if len(f.services) == 0 {
		ctx, cancel := context.WithTimeout(ctx, hintTime)
		defer cancel()
		if names := e.serviceNames(ctx); len(names) > 0 {
			return list(names)
		}
	}
	return f.scope()
}

// held tells how hold or release-hold ended.
func (e *env) held(r switcher.Record, f *common, done string, unchanged func(string) string, next string) error {
	if f.json {
		return e.printJSON(r)
	}
	names := r.Services
	if len(names) == 0 {
		names = f.services
	}
	about := e.movesText(nil, names)
	if r.Outcome == switcher.Unchanged {
		e.printf("%s", unchanged(about))
		return nil
	}
	e.printf(done, cmp.Or(about, "every service"))
	e.printf("%s", next)
	return nil
}
