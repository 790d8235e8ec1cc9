package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
)

const (
	bakeEvery = 250 * time.Millisecond // between two questions how a bake stands
	// bakeGrace is how long after its time a bake is asked after, by when a daemon
	// that was restarted meanwhile is back.
	bakeGrace = 15 * time.Second
)

// errStillBaking says that the verdict did not come.
var errStillBaking = errors.New("the bake has no verdict yet")

// awaitBake waits for the verdict on a switch and returns its record with it.
// The daemon bakes whether anybody waits or not: a signal ends the waiting.
func (e *env) awaitBake(ctx context.Context, r switcher.Record) (switcher.Record, error) {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	e.notef("baking for %s: the new slot is watched, and the traffic returned if it is worse than the one before; Ctrl-C only ends the waiting",
		r.Bake.Until.Sub(r.Bake.Since).Round(time.Millisecond))
	tick := time.NewTicker(bakeEvery)
	defer tick.Stop()
	late := time.After(time.Until(r.Bake.Until) + bakeGrace)
	for {
		if found := e.findRecord(ctx, r.ID); found != nil && found.Bake != nil && found.Bake.Verdict != switcher.Baking {
			return *found, nil
		}
		select {
		case <-tick.C:
		case <-late:
			return r, errStillBaking
		case <-ctx.Done():
			return r, exitError(exitInterrupted)
		}
	}
}

// findRecord asks the daemon for one operation; nil if it does not answer.
func (e *env) findRecord(ctx context.Context, id string) *switcher.Record {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	records, err := e.client().History(ctx, regainDepth)
	if err != nil {
		records = nil
	}
	if status, err := e.client().Status(ctx); err == nil && status.Last != nil {
		records = append([]switcher.Record{*status.Last}, records...) // the history may be impossible to write
	}
	i := slices.IndexFunc(records, func(r switcher.Record) bool { return r.ID == id })
	if i < 0 {
		return nil
	}
	return &records[i]
}

// baked waits for the verdict and tells it.
func (e *env) baked(ctx context.Context, r switcher.Record, asJSON bool) error {
	r, err := e.awaitBake(ctx, r)
	switch {
	case errors.Is(err, errStillBaking):
		e.notef("%s; the daemon goes on with it", err)
		e.hintf("%s status", e.self())
		err = exitError(control.ExitUnreachable)
	case err != nil:
		e.notef("stopped waiting: the bake goes on, and the traffic is returned if it fails; %s status shows how it stands", e.self())
	default:
		err = e.verdict(ctx, *r.Bake, r.Moves)
	}
	if asJSON {
		if err := e.printJSON(r); err != nil {
			return err
		}
	} else if err == nil {
		e.printf("bake: %s: %s\n", clean(string(r.Bake.Verdict)), clean(r.Bake.Text))
	}
	return err
}

// verdict says what a bake means if the traffic is not, or may not be, where
// it was moved.
func (e *env) verdict(ctx context.Context, b switcher.BakeResult, moves []switcher.Move) error {
	text := clean(b.Text)
	switch {
	case b.Returned != "":
		e.notef("done and undone: the bake ended as %s and the traffic was returned: %s", clean(string(b.Verdict)), text)
		e.movedTraffic(ctx, moves)
		e.hintf("%s history -n 2  # shows both; the release that was left is not offered again", e.self())
		return exitError(control.ExitUndone)
	case b.Verdict == switcher.BakeFailed:
		e.notef("the bake failed, and the traffic could not be returned: %s", text)
		e.movedTraffic(ctx, moves)
		e.hintf("%s", lines(e.self()+" status  # shows why", "sudo "+e.self()+" rollback"))
		return exitError(control.ExitFailed)
	case b.Verdict == switcher.BakeEnded:
		e.notef("the bake was ended by another operation: %s", text)
		e.movedTraffic(ctx, moves)
		e.hintf("%s history", e.self())
		return exitError(control.ExitFailed)
	case b.Verdict == switcher.Inconclusive:
		e.warnf("the bake has no verdict, and the traffic stays")
	}
	return nil
}

// movedTraffic says where the traffic of the moved services is now.
func (e *env) movedTraffic(ctx context.Context, moves []switcher.Move) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	status, err := e.client().Status(ctx)
	if err != nil {
		e.trafficf("not known: %s", clean(err.Error()))
		return
	}
	e.trafficf("%s", placesText(slices.DeleteFunc(status.Services, func(s control.ServiceStatus) bool {
		return !slices.ContainsFunc(moves, func(m switcher.Move) bool { return m.Service == s.Name })
	})))
}
