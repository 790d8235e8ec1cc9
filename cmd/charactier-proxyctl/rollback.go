package main

import (
	"context"
	"errors"
	"slices"

	"github.com/spf13/cobra"

	"charactier-proxy/switcher"
	"charactier-proxy/switcher/deploy"
)

func newRollbackCmd(e *env) *cobra.Command {
	var f moveFlags
	var to string
	cmd := &cobra.Command{
		Use:   "rollback",
		Short: "Move the traffic back to the slot that had it before",
		Long: `While the previous slot still runs, a rollback is a single swap. If its unit was
stopped, root has it started with the release it had, proven, and switched to;
--force changes nothing about that. --to takes any release that is kept. The
release that was rolled back from is remembered as bad: neither rollback nor
deploy offers it again, unless with --force.`,
		Example: `  charactier-proxyctl rollback
  charactier-proxyctl rollback --reason "checkout answers 500"
  charactier-proxyctl rollback --to 20261124T081500Z-1a2b3c4d5e6f`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return e.rollback(cmd.Context(), &f, to)
		},
	}
	f.register(e, cmd)
	cmd.Flags().BoolVar(&f.force, "force", false, "even if it was returned from, or is not healthy")
	cmd.Flags().StringVar(&to, "to", "", "return to the kept release `NAME`")
	completeReleases(e, cmd, "to")
	return cmd
}

// rollback is one swap where the previous slot answers. Where it does not, or a
// release is named, the slot is started first.
func (e *env) rollback(ctx context.Context, f *moveFlags, to string) error {
	if to != "" {
		return e.rollbackCold(ctx, f, to)
	}
	return e.move(ctx, f, switcher.KindRollback, "")
}

// isCold reports whether a rollback was refused because the slot it would go to
// is down, where this process may start it.
func (e *env) isCold(ctx context.Context, r switcher.Record, refused error) bool {
	if !errors.Is(refused, switcher.ErrUnhealthy) || e.uid != 0 {
		return false
	}
	status, err := e.client().Status(ctx)
	if err != nil {
		return false
	}
	for _, s := range status.Services {
		for _, slot := range s.Slots {
			goes := func(m switcher.Move) bool { return m.Service == s.Name && m.To == slot.Name }
			if slot.Unit != "" && slot.Health.State != healthy && slices.ContainsFunc(r.Moves, goes) {
				e.notef("%s of %s does not answer: starting it with its own release", slot.Name, clean(s.Name))
				return true
			}
		}
	}
	return false
}

func movedServices(moves []switcher.Move) []string {
	names := make([]string, len(moves))
	for i, m := range moves {
		names[i] = m.Service
	}
	return names
}

// rollbackCold is a deploy of what was there before.
func (e *env) rollbackCold(ctx context.Context, f *moveFlags, to string) error {
	w, err := e.openWorks(ctx, &deployFlags{common: f.common})
	if err != nil {
		return e.deployFailed(ctx, deploy.Result{}, err, f.json)
	}
	defer w.close()
	r := deploy.Request{
		Kind: switcher.KindRollback, Services: w.services, Source: deploy.Source{Release: to},
		Force: f.force, Reason: f.reason, CutStreams: true,
	}
	if to != "" {
		if r.Source.Release, err = w.releaseNamed(to); err != nil {
			return e.deployFailed(ctx, deploy.Result{}, err, f.json)
		}
	}
	return e.runDeploy(ctx, w, f.json, func(ctx context.Context, p *deploy.Pipeline) (deploy.Result, error) {
		if err := e.settleFirst(ctx, w, p); err != nil {
			return deploy.Result{}, err
		}
		return p.Run(ctx, r)
	})
}

// releaseNamed resolves a part of a release's name.
func (w *works) releaseNamed(name string) (string, error) {
	r, err := w.store.Find(name)
	if err != nil {
		return "", err
	}
	return r.Name, nil
}

// abortUnfinished undoes a deploy whose command has ended, where the daemon
// knows of nothing that could be aborted.
func (e *env) abortUnfinished(ctx context.Context, f *common, cause error) (bool, error) {
	if !errors.Is(cause, switcher.ErrNothingToAbort) || e.uid != 0 {
		return false, nil
	}
	cfg, err := e.loadConfig()
	if err != nil {
		return false, err
	}
	found, err := deploy.Unfinished(cfg.Deploy.Root)
	if err != nil || found == nil {
		return false, err
	}
	w, err := e.openWorks(ctx, &deployFlags{common: *f})
	if err != nil {
		return true, e.deployFailed(ctx, deploy.Result{}, err, f.json)
	}
	defer w.close()
	e.notef("undoing %s %s of %s, which ended in %s", found.Kind, found.ID, clock(found.Begun), found.At)
	return true, e.runDeploy(ctx, w, f.json, func(ctx context.Context, p *deploy.Pipeline) (deploy.Result, error) {
		r, err := p.Abort(ctx)
		if errors.Is(err, switcher.ErrAborted) && !errors.Is(err, deploy.ErrStuck) {
			err = nil // which is what was wanted
		}
		return r, err
	})
}
