package main

import (
	"context"
	"errors"
	"io/fs"

	"github.com/spf13/cobra"

	"charactier-proxy/switcher/control"
	"charactier-proxy/switcher/deploy"
	"charactier-proxy/systemd"
)

// newPlanCmd is deploy --dry-run by a shorter name.
func newPlanCmd(e *env) *cobra.Command {
	f := deployFlags{dryRun: true}
	cmd := &cobra.Command{
		Use:   "plan [REF]",
		Short: "Print what a deploy would do, and change nothing",
		Long: `Every step with its commands and units, as deploy --dry-run prints it. The
repository is not asked, so the revision is still open.`,
		Example: `  charactier-proxyctl plan
  charactier-proxyctl plan v4.1.2 --service backend`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			source, err := f.source(args)
			if err != nil {
				return err
			}
			return e.deploy(cmd.Context(), &f, source)
		},
	}
	cmd.Flags().StringSliceVar(&f.services, "service", nil, serviceHelp)
	cmd.Flags().StringVar(&f.artifact, "artifact", "", "take a directory or archive built elsewhere: `PATH`")
	cmd.Flags().StringVar(&f.release, "release", "", "take the kept release with this `NAME` or revision")
	completeReleases(e, cmd, "release")
	f.jsonFlag(cmd)
	completeServices(e, cmd)
	return cmd
}

// plan is deploy --dry-run. It needs no rights but to ask.
func (e *env) plan(ctx context.Context, f *deployFlags, source deploy.Source) error {
	w, err := e.lookAtWorks(ctx, f)
	if err != nil {
		return e.deployFailed(ctx, deploy.Result{}, err, f.json)
	}
	defer w.close()
	return e.printPlan(ctx, w, w.request(f, source), f.json)
}

// lookAtWorks is openWorks for who changes nothing.
func (e *env) lookAtWorks(ctx context.Context, f *deployFlags) (*works, error) {
	w := &works{view: &deployLines{e: e}}
	var err error
	if w.config, err = e.loadConfig(); err != nil {
		return nil, err
	}
	if w.services, err = w.choose(f.services); err != nil {
		return nil, err
	}
	// It is asked again for the plan, and would be waited for there.
	if _, err := e.client().Status(ctx); errors.Is(err, fs.ErrPermission) || errors.Is(err, control.ErrForbidden) {
		return nil, e.betterAsRoot(err)
	} else if err != nil {
		return nil, err
	}
	w.store = deploy.LookStore(w.config.Deploy.Root)
	w.log = e.newDeployLog("", w.config.Deploy.Root)
	if w.units, err = newReconnecting(ctx, systemd.ConnectUnits); err != nil {
		return nil, e.betterAsRoot(err)
	}
	w.onClose(w.units.Close)
	return w, nil
}

// betterAsRoot says of what failed that root may have more luck.
func (e *env) betterAsRoot(err error) error {
	if e.uid == 0 {
		return err
	}
	return hintedError{err, e.asRoot()}
}

// printPlan is what plan and deploy --dry-run print.
func (e *env) printPlan(ctx context.Context, w *works, r deploy.Request, asJSON bool) error {
	plan, err := deploy.Plan(ctx, w.options(e), r)
	if err != nil {
		return e.deployFailed(ctx, deploy.Result{}, err, asJSON)
	}
	if asJSON {
		return e.printJSON(plan)
	}
	for n, step := range plan {
		e.printf("%2d  %s\n", n+1, e.paint(bold, step.Step))
		for _, line := range step.Lines {
			e.printf("      %s\n", clean(line))
		}
	}
	e.printf("\nnothing was changed; with a failure before the switch, all of it is undone\n")
	return nil
}
