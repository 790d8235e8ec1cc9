package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"charactier-proxy/switcher"
)

// backward undoes every step that may have changed something, the newest
// first. One that cannot be undone ends it: what lies before it may be what
// traffic stands on.
func (d *deploy) backward(cause error) (Result, error) {
	d.cause = cause
	d.mark(cause)
	// Whoever wanted to leave must wait for this.
	ctx := context.Background()
	for _, s := range slices.Backward(d.steps()) {
		if !d.story.touched(s.name) || s.undo == nil {
			continue
		}
		if err := d.takeBack(ctx, s); err != nil {
			return d.stuck(cause, s, err)
		}
	}
	if d.facts().Returned {
		cause = fmt.Errorf("%w: %w", ErrReturned, cause)
	}
	return d.end(cause, cause)
}

func (d *deploy) takeBack(ctx context.Context, s step) error {
	began := time.Now()
	d.report(Report{Step: s.name, State: StateUndoing})
	// A disk that is full takes no line, and is emptied by what comes next. Whoever
	// finds the journal without it undoes the step, as if it had not begun.
	_ = d.note(phaseUndoing, s.name)
	d.lease.tell(ctx, "undoing "+s.name)
	if err := s.undo(ctx); err != nil {
		return fmt.Errorf("undoing %s: %w", s.name, err)
	}
	d.report(Report{Step: s.name, State: StateUndone, Took: time.Since(began)})
	if err := d.note(phaseUndone, s.name); err != nil {
		// It is undone nevertheless: the next command does it once more, for nothing.
		d.warn(s.name, err)
	}
	return nil
}

// stuck leaves the journal open, so that the next command tries again.
func (d *deploy) stuck(cause error, s step, err error) (Result, error) {
	d.report(Report{Step: s.name, State: StateFailed, Text: err.Error()})
	both := fmt.Errorf("%w: %w; after %w", ErrStuck, err, cause)
	return d.result(switcher.Failed), hint(both, d.later(hints("once that is mended:", "charactier-proxyctl abort            # undoes the rest", "charactier-proxyctl deploy --resume  # goes on")))
}

// detach leaves a deploy whose traffic has moved to be finished later.
func (d *deploy) detach(s step, err error) (Result, error) {
	d.report(Report{Step: s.name, State: StateNote, Text: "left unfinished: " + d.places()})
	if hintOf(err) != "" {
		return d.result(switcher.Interrupted), err
	}
	return d.result(switcher.Interrupted), hint(fmt.Errorf("%w: traffic has moved, %s", err, d.places()),
		d.later(hints("charactier-proxyctl deploy --resume  # finishes it", "charactier-proxyctl rollback         # returns the traffic")))
}

// end writes the last line and has the history say how it ended. failure is
// nil where the deploy ended as it should; err is for the caller.
func (d *deploy) end(failure, err error) (Result, error) {
	r := d.result(outcomeOf(failure, err))
	rec := switcher.Record{
		Kind: d.request().Kind, Outcome: r.Outcome, Moves: r.Moves, Services: d.request().Services,
		Reason: d.request().Reason, Warning: strings.Join(r.Warnings, "; "),
	}
	if err != nil && !errors.Is(err, errUnchanged) {
		rec.Error = err.Error()
	}
	if d.lease != nil {
		d.tellEnd(rec)
	}
	d.writeEnd(entry{Phase: phaseEnd, Outcome: r.Outcome, Record: &rec, Error: rec.Error})
	// Here and not in a step, for those that fail again and again leave theirs too.
	if err := forgetDeploys(Dir(d.opts.Root), d.story.id); err != nil {
		d.warn("", fmt.Errorf("removing the logs of old deploys: %w", err))
	}
	if errors.Is(err, errUnchanged) {
		err = nil
	}
	r.Warnings = d.warnings // with those of the end itself
	return r, err
}

func (d *deploy) tellEnd(rec switcher.Record) {
	var exonerate []string
	if rec.Outcome == switcher.Done && !d.bakeFailed {
		exonerate = d.facts().BadForced
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err := d.lease.with(ctx, func(l Lease) error { return l.End(ctx, rec, exonerate) })
	if err != nil {
		d.warn("", fmt.Errorf("the history does not say how the deploy ended: %w", err))
	}
}

func outcomeOf(failure, err error) switcher.Outcome {
	switch {
	case errors.Is(err, errUnchanged):
		return switcher.Unchanged
	case failure == nil && err == nil:
		return switcher.Done
	case errors.Is(failure, ErrReturned):
		return switcher.Returned
	case errors.Is(err, switcher.ErrAborted):
		return switcher.Aborted
	case errors.Is(err, ErrUnhealthy), errors.Is(err, ErrBadRelease), errors.Is(err, ErrDraining), errors.Is(err, switcher.ErrBusy):
		return switcher.Refused
	}
	return switcher.Failed
}

func (d *deploy) result(o switcher.Outcome) Result {
	f := d.facts()
	took := time.Since(d.began)
	r := Result{
		ID: d.story.id, Kind: d.request().Kind, Outcome: o, Release: f.Origin.Release, Revision: f.Origin.Revision, Subject: f.Origin.Subject,
		Bake: d.bake, Warnings: d.warnings, Standby: d.standby, Returned: f.Returned, Took: took, OwnTime: d.ownTime(took), Log: d.journal.dir,
	}
	if o != switcher.Unchanged {
		r.Moves = f.moves(d.request().Services, d.keepsLinks())
	}
	return r
}

// ownTime is how long the deploy took that nobody but us can be blamed for.
func (d *deploy) ownTime(took time.Duration) time.Duration {
	return max(0, took-time.Duration(d.waited.Load()))
}
