package deploy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"charactier-proxy/switcher"
)

// step is one part of a deploy.
type step struct {
	name string
	// look finds out what do will need, and changes nothing. What it learns is on
	// disk before do begins.
	look func(context.Context) error
	do   func(context.Context) error
	// undo takes back what do did or began; nil where there is nothing.
	undo func(context.Context) error
	// committed: the deploy counts by now, and a failure is only a warning.
	committed bool
}

// deploy is one that runs.
type deploy struct {
	opts     Options
	story    story
	journal  *journal
	services []Service // the chosen ones
	lease    *keeper
	warnings []string
	standby  []string // what the standby slots are once it was undone
	cause    error    // of its undoing
	resumed  bool     // another command began it
	// earlierHooks are those that this other command began, and how far it came.
	earlierHooks map[string]phase
	bake         string
	bakeFailed   bool // and the traffic could not be returned
	began        time.Time
	waited       atomic.Int64 // nanoseconds that were not our own work

	reporting sync.Mutex
}

func (p *Pipeline) newDeploy(j *journal, s story) *deploy {
	d := &deploy{opts: p.opts, story: s, journal: j, began: time.Now()}
	for _, name := range s.request.Services {
		if i := slices.IndexFunc(p.opts.Services, func(c Service) bool { return c.Name == name }); i >= 0 {
			d.services = append(d.services, p.opts.Services[i])
		}
	}
	return d
}

func (d *deploy) close() {
	if d.lease != nil {
		d.lease.close()
	}
	_ = d.journal.close() // every line is on disk already
}

func (d *deploy) facts() *facts    { return &d.story.facts }
func (d *deploy) request() Request { return d.story.request }

// steps are all of them, in order.
func (d *deploy) steps() []step {
	return []step{
		{name: "preflight", do: d.preflight},
		{name: "fetch", do: d.fetch, undo: d.discard},
		{name: "build", do: d.build, undo: d.discard},
		{name: "point", look: d.lookAtStandby, do: d.point, undo: d.pointBack},
		{name: "start", do: d.start, undo: d.stop},
		{name: "gate", do: d.gate},
		{name: "smoke", do: d.smoke},
		{name: "warm-up", do: d.warmUp},
		{name: "switch", do: d.move, undo: d.moveBack},
		{name: "drain", do: d.drain},
		{name: "bake", do: d.awaitBake},
		{name: "confirm", do: d.confirm},
		{name: "enable", do: d.enable, committed: true},
		{name: "retire", do: d.retire, committed: true},
		{name: "prune", do: d.prune, committed: true},
	}
}

// StepNames lists the steps, for configuration and completion.
func StepNames() []string {
	var names []string
	for _, s := range (&deploy{}).steps() {
		names = append(names, s.name)
	}
	return names
}

// forward runs the steps from the n-th on, and undoes them if one fails.
func (d *deploy) forward(ctx context.Context, n int) (Result, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := d.lease.onAsk(func(by string) { cancel(fmt.Errorf("%w by %s", switcher.ErrAborted, by)) })
	defer stop()
	if d.resumed {
		d.finishHooks(ctx)
	}
	for _, s := range d.steps()[n:] {
		err := d.run(ctx, s)
		switch {
		case err == nil:
		case errors.Is(err, errSkipped):
		case errors.Is(err, errUnchanged):
			return d.end(nil, errUnchanged)
		case errors.Is(err, ErrDetached):
			return d.detach(s, err)
		case s.committed:
			d.warn(s.name, err)
		default:
			return d.backward(err)
		}
	}
	err := d.lastLook(ctx)
	return d.end(err, err)
}

// errSkipped says that a step had nothing to do.
var errSkipped = errors.New("skipped")

// run runs one step, with its lines in the journal.
func (d *deploy) run(ctx context.Context, s step) error {
	began := time.Now()
	d.report(Report{Step: s.name, State: StateDoing})
	err := d.tryStep(ctx, s)
	took := time.Since(began)
	switch {
	case err == nil:
		d.report(Report{Step: s.name, State: StateDone, Took: took})
	case errors.Is(err, ErrDetached):
		d.report(Report{Step: s.name, State: StateLeft, Took: took})
	case errors.Is(err, errSkipped), errors.Is(err, errUnchanged):
		d.report(Report{Step: s.name, State: StateSkipped, Took: took})
	default:
		d.report(Report{Step: s.name, State: StateFailed, Text: err.Error(), Took: took})
		d.showOutput(s.name, err)
		// The journal knows already that the step began, which is what counts.
		_ = d.write(entry{Phase: phaseFailed, Step: s.name, Error: err.Error()})
	}
	return err
}

// tryStep runs a step, unless the deploy is to stop. Whatever fails once it is
// failed for that.
func (d *deploy) tryStep(ctx context.Context, s step) error {
	if s.committed { // it is too late to stop, and half of it helps nobody
		return d.doStep(context.WithoutCancel(ctx), s)
	}
	if ctx.Err() != nil {
		return d.stopped(ctx, ctx.Err())
	}
	err := d.doStep(ctx, s)
	if err != nil && ctx.Err() != nil {
		return d.stopped(ctx, err)
	}
	return err
}

func (d *deploy) doStep(ctx context.Context, s step) error {
	if s.look != nil {
		if err := s.look(ctx); err != nil {
			return err
		}
	}
	if err := d.note(phaseDoing, s.name); err != nil {
		return err
	}
	// What is left of a deploy that counts is done without the daemon too, but not
	// beside somebody else.
	if err := d.lease.step(ctx, s.name); err != nil && (!s.committed || errors.Is(err, switcher.ErrBusy)) {
		return err
	}
	if err := d.hook(ctx, "before", s.name); err != nil {
		return err
	}
	err := s.do(ctx)
	if err != nil && !errors.Is(err, errSkipped) {
		return err
	}
	if noted := d.note(phaseDone, s.name); noted != nil {
		return noted
	}
	if hooked := d.hook(ctx, "after", s.name); hooked != nil {
		d.warn(s.name, hooked)
	}
	return err
}

// note writes where a step is, and all that is known by now.
func (d *deploy) note(p phase, step string) error {
	f := *d.facts()
	f.Places = maps.Clone(f.Places)
	e := entry{Phase: p, Step: step, Facts: &f}
	if err := d.write(e); err != nil {
		return err
	}
	d.story.take(e)
	return nil
}

// stopped says what it means that err came as ctx had ended.
func (d *deploy) stopped(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, ErrDetached), errors.Is(err, switcher.ErrAborted), errors.Is(err, errSkipped), errors.Is(err, errUnchanged):
		return err
	case d.story.last["switch"] == phaseDone:
		return d.left(ctx)
	}
	return aborted(ctx)
}

// aborted says why ctx ended.
func aborted(ctx context.Context) error {
	cause := context.Cause(ctx)
	if errors.Is(cause, switcher.ErrAborted) {
		return cause
	}
	return fmt.Errorf("%w: %w", switcher.ErrAborted, cause)
}

// warn tells of something that went wrong and does not undo the deploy.
func (d *deploy) warn(step string, err error) {
	text := err.Error()
	if h := hintOf(err); h != "" {
		text += ": " + strings.ReplaceAll(h, "\n", "; ")
	}
	d.warnings = append(d.warnings, text)
	d.report(Report{Step: step, State: StateWarning, Text: text})
}

// showOutput tells the last lines of whatever failed, where the error has them.
func (d *deploy) showOutput(step string, err error) {
	var ended interface{ Output() []string }
	if errors.As(err, &ended) {
		for _, line := range ended.Output() {
			d.report(Report{Step: step, State: StateOutput, Text: line})
		}
	}
}

func (d *deploy) line(step, service, text string) {
	d.report(Report{Step: step, State: StateLine, Service: service, Text: text})
}

func (d *deploy) say(step, service, format string, args ...any) {
	d.report(Report{Step: step, State: StateNote, Service: service, Text: fmt.Sprintf(format, args...)})
}

func (d *deploy) report(r Report) {
	if d.opts.Report == nil {
		return
	}
	d.reporting.Lock()
	defer d.reporting.Unlock()
	r.Time, r.Deploy = time.Now(), d.story.id
	d.opts.Report(r)
}

// waiting counts the time until the function it returns is called as not ours.
func (d *deploy) waiting() func() {
	began := time.Now()
	return func() { d.waited.Add(int64(time.Since(began))) }
}

// each calls do for every chosen service, in order, until one fails.
func (d *deploy) each(do func(Service, *place) error) error {
	for _, s := range d.services {
		p := d.facts().Places[s.Name]
		err := do(s, &p)
		d.facts().Places[s.Name] = p
		if err != nil {
			return err
		}
	}
	return nil
}

func skipIf(skip bool, err error) error {
	if err == nil && skip {
		return errSkipped
	}
	return err
}
