package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"charactier-proxy/switcher"
	"charactier-proxy/switcher/deploy"
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
	f.jsonFlag(cmd)
	completeServices(e, cmd)
	return cmd
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

// listReleases is deploy --list.
func (e *env) listReleases(w *works, asJSON bool) error {
	releases, err := w.store.List()
	if err != nil {
		return e.deployFailed(context.Background(), deploy.Result{}, err, asJSON)
	}
	if asJSON {
		return e.printJSON(releases)
	}
	if len(releases) == 0 {
		e.printf("there is no release below %s yet\n", w.config.Deploy.Root)
	}
	used := w.usedBy()
	for _, r := range releases {
		line := fmt.Sprintf("%-32s  %s", clean(r.Name), clean(r.Subject))
		for _, place := range used[r.Name] {
			line += "  " + e.slot(place.slot) + " of " + place.service
		}
		e.printf("%s\n", line)
	}
	return nil
}

// usedPlace is a slot that leads to a release.
type usedPlace struct {
	service string
	slot    switcher.Slot
}
