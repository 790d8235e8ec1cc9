package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"charactier-proxy/switcher"
	"charactier-proxy/switcher/deploy"
)

type deployFlags struct {
	common
	artifact, release string
	bake              time.Duration
	noBake            bool
	confirm           bool
	dryRun            bool
	resume            bool
	list              bool
	force             bool
	cutStreams        bool
	verbose           bool
}

func newDeployCmd(e *env) *cobra.Command {
	var f deployFlags
	cmd := &cobra.Command{
		Use:   "deploy [REF]",
		Short: "Bring a revision to live traffic: build, prove, switch, watch",
		Long: `REF is a branch, a tag or a revision of deploy.repository; without it
deploy.ref is meant. The revision is built in a directory of its own, started in
the standby slot, and proven; then the traffic moves, in one instant for all
services, and is watched. Whatever fails before that leaves traffic where it
was; a release that does worse than the one before is returned from.

Ctrl-C, or a lost ssh session, undoes the deploy until the traffic has moved.
After that it only ends the waiting: the daemon goes on watching, and
deploy --resume finishes the rest. A deploy that was killed is finished or
undone by the next command.`,
		Example: `  charactier-proxyctl deploy
  charactier-proxyctl deploy v4.1.2 --reason "checkout fix" --bake 5m
  charactier-proxyctl deploy --artifact /tmp/build.tar.gz --service backend
  charactier-proxyctl deploy --dry-run`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			source, err := f.source(args)
			if err != nil {
				return err
			}
			return e.deploy(cmd.Context(), &f, source)
		},
	}
	f.register(e, cmd)
	return cmd
}

func (f *deployFlags) register(e *env, cmd *cobra.Command) {
	f.changeFlags(e, cmd)
	fs := cmd.Flags()
	fs.StringVar(&f.artifact, "artifact", "", "take a directory or archive built elsewhere: `PATH`")
	fs.StringVar(&f.release, "release", "", "take the kept release with this `NAME` or revision")
	fs.DurationVar(&f.bake, "bake", 0, "watch the new slot for `TIME` instead of bake.time")
	fs.BoolVar(&f.noBake, "no-bake", false, "do not watch it")
	fs.BoolVar(&f.confirm, "confirm", false, "ask a person whether to keep it; no answer, no return")
	fs.BoolVar(&f.dryRun, "dry-run", false, "print every step with its commands, and change nothing")
	fs.BoolVar(&f.resume, "resume", false, "go on with the deploy that was interrupted")
	fs.BoolVar(&f.list, "list", false, "list the releases that are kept")
	fs.BoolVar(&f.force, "force", false, "deploy what is active already, or was returned from")
	fs.BoolVar(&f.cutStreams, "cut-streams", false, "end the streams that are still open on the standby slot")
	fs.BoolVar(&f.verbose, "verbose", false, "print all that the build prints")
	completeReleases(e, cmd, "release")
}

// source is what is to be deployed.
func (f *deployFlags) source(args []string) (deploy.Source, error) {
	var s deploy.Source
	chosen := 0
	for _, given := range []string{f.artifact, f.release} {
		if given != "" {
			chosen++
		}
	}
	if len(args) > 0 {
		s.Ref = args[0]
		chosen++
	}
	switch {
	case chosen > 1:
		return s, usagef("give one of them", "REF, --artifact and --release contradict each other")
	case f.noBake && f.bake != 0:
		return s, usagef("give one of them", "--bake and --no-bake contradict each other")
	case f.bake < 0:
		return s, usagef("--no-bake does not watch at all", "--bake %s is negative", f.bake)
	case f.resume && (chosen > 0 || f.dryRun):
		return s, usagef("", "--resume goes on with the deploy that there is, and takes nothing else")
	}
	if f.artifact != "" {
		path, err := filepath.Abs(f.artifact)
		if err != nil {
			return s, fmt.Errorf("finding %s: %w", f.artifact, err)
		}
		s.Artifact = path
	}
	s.Release = f.release
	return s, nil
}

// bakeTime is the flags as the request has them.
func (f *deployFlags) bakeTime() time.Duration {
	switch {
	case f.noBake:
		return 0
	case f.bake > 0:
		return f.bake
	}
	return -1
}

// deploy is the verb.
func (e *env) deploy(ctx context.Context, f *deployFlags, source deploy.Source) error {
	switch {
	case f.list:
		return e.listReleases(ctx, f.json)
	case f.dryRun:
		return e.plan(ctx, f, source)
	}
	w, err := e.openWorks(ctx, f)
	if err != nil {
		return e.deployFailed(ctx, deploy.Result{}, err, f.json)
	}
	defer w.close()
	if f.resume {
		return e.runDeploy(ctx, w, f.json, func(ctx context.Context, p *deploy.Pipeline) (deploy.Result, error) { return p.Resume(ctx) })
	}
	return e.runDeploy(ctx, w, f.json, func(ctx context.Context, p *deploy.Pipeline) (deploy.Result, error) {
		if err := e.settleFirst(ctx, w, p); err != nil {
			return deploy.Result{}, err
		}
		return p.Run(ctx, w.request(f, source))
	})
}

// request is what the flags ask for.
func (w *works) request(f *deployFlags, source deploy.Source) deploy.Request {
	if source == (deploy.Source{}) {
		source.Ref = w.config.Deploy.Ref
	}
	return deploy.Request{
		Kind: switcher.KindDeploy, Services: w.services, Source: source, Force: f.force, Reason: f.reason,
		Bake: f.bakeTime(), Confirm: f.confirm, CutStreams: f.cutStreams,
	}
}

// settleFirst brings an unfinished deploy to an end before the next begins, and
// says what was found.
func (e *env) settleFirst(ctx context.Context, w *works, p *deploy.Pipeline) error {
	found, err := deploy.Unfinished(w.config.Deploy.Root)
	if err != nil || found == nil {
		return err
	}
	w.view.notef("found %s %s of %s, begun by %s, that ended in %s", found.Kind, found.ID, clock(found.Begun), clean(found.By.String()), found.At)
	r, err := p.Settle(ctx)
	if err != nil {
		return fmt.Errorf("bringing it to an end: %w", err)
	}
	if r != nil && r.Outcome == switcher.Done {
		w.view.notef("its traffic had moved, so it was finished")
	} else {
		w.view.notef("it was undone; the traffic is where it was before it")
	}
	return nil
}

// runDeploy opens the pipeline, lets do use it, and tells how that ended.
func (e *env) runDeploy(ctx context.Context, w *works, asJSON bool, do func(context.Context, *deploy.Pipeline) (deploy.Result, error)) error {
	p, err := deploy.Open(w.options(e))
	if err != nil {
		return e.deployFailed(ctx, deploy.Result{}, err, asJSON)
	}
	signalled, stop := e.untilSignal(ctx, w)
	defer stop()
	result, err := do(signalled, p)
	w.view.end()
	_ = p.Close() // all is on disk
	// The webhook comes last: it may take its time, and the operator has none.
	defer w.tellOutside(e, result, err)
	if err != nil {
		return e.deployFailed(ctx, result, err, asJSON)
	}
	if result.Outcome == switcher.Done {
		if err := w.store.Unmark(result.Release); err != nil { // it has proven itself, if not the first time
			result.Warnings = append(result.Warnings, err.Error())
		}
	}
	return e.deployed(result, asJSON)
}

// deployed tells of a deploy that is done, or had nothing to do.
func (e *env) deployed(r deploy.Result, asJSON bool) error {
	if asJSON {
		return e.printLine(r)
	}
	switch r.Outcome {
	case switcher.Unchanged:
		e.printf("%s is active already; nothing changed\n", clean(r.Release))
		e.warnAll(r.Warnings)
		return nil
	case switcher.Done:
	default:
		e.warnAll(r.Warnings)
		for _, line := range r.Standby {
			e.notef("%s", clean(line))
		}
		e.printf("undone: %s\n", placesOf(r.Moves, func(m switcher.Move) string { return fmt.Sprintf("%s is on %s", clean(m.Service), e.slot(m.From)) }))
		return nil
	}
	for _, m := range r.Moves {
		e.printf("%s: %s -> %s  (release %s)\n", e.paint(bold, clean(m.Service)), e.slot(m.From), e.slot(m.To), clean(r.Release))
	}
	if r.Bake != "" {
		e.printf("%s\n", clean(r.Bake))
	}
	e.warnAll(r.Warnings)
	log := ""
	if r.Log != "" {
		log = "; log in " + r.Log
	}
	e.printf("%s done in %s, %s of it ours%s\n", e.paint(green, e.glyph("✓ ", "")+string(r.Kind)), e.dur(r.Took), e.dur(r.OwnTime), log)
	if r.Kind != switcher.KindRollback { // there is no way back from a way back
		e.printf("to return: sudo %s rollback\n", e.self())
	}
	return nil
}

func (e *env) warnAll(warnings []string) {
	for _, w := range warnings {
		e.warnf("%s", clean(w))
	}
}

// deployFailed tells why a deploy was not done and where the traffic is.
func (e *env) deployFailed(ctx context.Context, r deploy.Result, err error, asJSON bool) error {
	var silent exitError
	var usage usageError
	if errors.As(err, &silent) || errors.As(err, &usage) {
		return err
	}
	hint := e.hint(ctx, switcher.Record{}, err)
	e.report(plainError{err})
	if where := whereNow(r, err); where != "" {
		e.trafficf("%s", where)
	}
	e.warnAll(r.Warnings)
	for _, line := range r.Standby {
		e.notef("%s", clean(line))
	}
	if hint != "" {
		e.hintf("%s", hint)
	}
	if r.Log != "" {
		e.notef("the deploy's log is in %s", r.Log)
	}
	if asJSON {
		failure := struct {
			deploy.Result
			Error string `json:"error"`
			Hint  string `json:"hint,omitempty"`
		}{r, err.Error(), hint}
		if err := e.printLine(failure); err != nil {
			return err
		}
	}
	return exitError(deployExit(err))
}

// whereNow says where the traffic is after a deploy, however that ended.
func whereNow(r deploy.Result, err error) string {
	switch {
	case len(r.Moves) == 0, errors.Is(err, deploy.ErrStuck):
		return ""
	case err == nil && r.Outcome == switcher.Done, errors.Is(err, deploy.ErrDetached), errors.Is(err, deploy.ErrDown):
		return placesOf(r.Moves, func(m switcher.Move) string { return fmt.Sprintf("%s is on %s", clean(m.Service), m.To) })
	case r.Returned:
		return placesOf(r.Moves, func(m switcher.Move) string {
			return fmt.Sprintf("%s was on %s and is back on %s", clean(m.Service), m.To, m.From)
		})
	}
	return placesOf(r.Moves, func(m switcher.Move) string { return fmt.Sprintf("%s stays on %s", clean(m.Service), m.From) })
}
