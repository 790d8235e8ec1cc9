package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
)

const (
	regainTime  = 10 * time.Second // for a daemon that ended to be back
	regainEvery = 200 * time.Millisecond
	regainDepth = 50 // records that are searched
)

// wish is one operation that was asked for. A process asks for one of a kind.
type wish struct {
	kind switcher.Kind
	sent time.Time
}

func (e *env) wish(kind switcher.Kind) wish { return wish{kind, e.now()} }

// made reports whether w became r. A process number comes back only after
// others had their turn, so that the clock may have been set back a little.
func (w wish) made(e *env, r switcher.Record) bool {
	return e.own(r.Actor) && r.Kind == w.kind && r.Started.After(w.sent.Add(-time.Second))
}

// learn finds out how an operation ended whose answer never came; any other
// end it passes on. An error that is left is ErrOutcomeUnknown only if nobody
// can tell.
func (e *env) learn(ctx context.Context, w wish, r switcher.Record, err error) (switcher.Record, error) {
	if !errors.Is(err, control.ErrOutcomeUnknown) {
		return r, err
	}
	e.notef("the connection ended without an answer; asking the daemon what became of the %s", w.kind)
	found, status := e.seek(ctx, w)
	switch {
	case found != nil:
	case status != nil:
		e.trafficf("%s", placesText(status.Services))
		return r, fmt.Errorf("%w; the daemon answers again and has no record of it", err)
	default:
		if found = e.seekOffline(w); found == nil {
			return r, fmt.Errorf("%w; the daemon did not come back within %s", err, e.regain)
		}
	}
	if err := outcomeError(*found); err != nil {
		return *found, err
	}
	e.notef("the %s is done, as its record says", w.kind)
	if len(found.Moves) > 0 && len(found.Drain) == 0 {
		e.notef("what became of the requests that were under way is not known")
	}
	return *found, nil
}

// seek asks until the daemon knows the operation's end, or started anew
// without a record of it, or time is up. The status is the last one that came.
func (e *env) seek(ctx context.Context, w wish) (found *switcher.Record, last *control.Status) {
	ctx, cancel := context.WithTimeout(ctx, e.regain)
	defer cancel()
	tick := time.NewTicker(regainEvery)
	defer tick.Stop()
	for {
		found, status, err := e.lookUp(ctx, w)
		switch {
		case err != nil:
		case found != nil:
			return found, status
		default:
			last = status
			running := status.Operation != nil && e.own(status.Operation.Actor)
			if status.Started.After(w.sent) && !running {
				return nil, last
			}
		}
		select {
		case <-ctx.Done():
			return nil, last
		case <-tick.C:
		}
	}
}

// lookUp asks once. The status comes first, so that an operation which ends
// between the two questions is in the history.
func (e *env) lookUp(ctx context.Context, w wish) (*switcher.Record, *control.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	client := e.client()
	status, err := client.Status(ctx)
	if err != nil {
		return nil, nil, err
	}
	records, err := client.History(ctx, regainDepth)
	if err != nil {
		return nil, nil, err
	}
	if status.Last != nil {
		records = append(records, *status.Last) // the history may be impossible to write
	}
	made := func(r switcher.Record) bool { return w.made(e, r) }
	if i := slices.IndexFunc(records, made); i >= 0 {
		return &records[i], &status, nil
	}
	return nil, &status, nil
}

// seekOffline looks into the state file of a daemon that stays away, and shows
// what it says if that is not the end of the operation.
func (e *env) seekOffline(w wish) *switcher.Record {
	dir := e.paths().StateDir
	state, err := switcher.ReadState(dir)
	switch {
	case err != nil:
		e.notef("the state in %s cannot be told: %s", dir, clean(err.Error()))
	case state.Last != nil && w.made(e, *state.Last):
		e.notef("the daemon stays away; its state file in %s has the record", dir)
		return state.Last
	case state.Generation > 0:
		page := *e
		page.colour = e.errColour
		fmt.Fprint(e.stderr, page.stateText(dir, state))
	}
	return nil
}

// outcomeError is the error that the daemon would have answered with.
func outcomeError(r switcher.Record) error {
	switch r.Outcome {
	case switcher.Done, switcher.Unchanged:
		return nil
	case switcher.Refused:
		return &control.Error{Code: "unhealthy", Message: r.Error, Record: &r}
	case switcher.Aborted:
		return &control.Error{Code: "aborted", Message: r.Error, Record: &r}
	case switcher.Interrupted:
		return fmt.Errorf("%w: %s", control.ErrInterrupted, r.Error)
	}
	return fmt.Errorf("the %s %s: %s", r.Kind, r.Outcome, r.Error)
}

// placesText says where the traffic is.
func placesText(services []control.ServiceStatus) string {
	var parts []string
	for _, s := range services {
		parts = append(parts, fmt.Sprintf("%s is on %s", clean(s.Name), clean(string(s.Active))))
	}
	return strings.Join(parts, ", ")
}
