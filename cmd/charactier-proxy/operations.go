package main

import (
	"context"
	"errors"
	"fmt"

	"charactier-proxy/cmd/internal/config"
	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
)

// The daemon is the control socket's Operations: each call asks the switcher.
// The control server logs each operation with its outcome.
var _ control.Operations = (*daemon)(nil)

// Switch moves services to the wanted slot and waits for the drain.
func (d *daemon) Switch(ctx context.Context, r control.SwitchRequest, by switcher.Actor) (switcher.Record, error) {
	return d.move(ctx, r, by, d.switcher.Switch)
}

// Rollback moves services back to their previous slot and waits for the drain.
func (d *daemon) Rollback(ctx context.Context, r control.SwitchRequest, by switcher.Actor) (switcher.Record, error) {
	return d.move(ctx, r, by, d.switcher.Rollback)
}

func (d *daemon) move(ctx context.Context, r control.SwitchRequest, by switcher.Actor,
	do func(context.Context, switcher.Request) (switcher.Record, *switcher.Draining, error),
) (switcher.Record, error) {
	if err := d.mayUse(r.Within, by); err != nil {
		return switcher.Record{}, err
	}
	record, draining, err := do(ctx, switcher.Request{
		Services: r.Services, To: r.To, Force: r.Force, Reason: r.Reason, Actor: by, Wait: r.Wait, Within: r.Within, Bake: d.bakeWith(r.Bake),
	})
	if err != nil {
		return record, err
	}
	if r.Drain != 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, r.Drain)
		defer cancel()
	}
	// A drain that does not end in time is no failure: traffic has moved, and
	// the counts say what is still open.
	record.Drain, _ = draining.Wait(ctx)
	return record, nil
}

// Hold makes requests wait.
func (d *daemon) Hold(ctx context.Context, r control.HoldRequest, by switcher.Actor) (switcher.Record, error) {
	return d.switcher.Hold(ctx, switcher.Request{Services: r.Services, Reason: r.Reason, Actor: by})
}

// ReleaseHold lets them go.
func (d *daemon) ReleaseHold(ctx context.Context, r control.HoldRequest, by switcher.Actor) (switcher.Record, error) {
	return d.switcher.ReleaseHold(ctx, switcher.Request{Services: r.Services, Reason: r.Reason, Actor: by})
}

// Abort stops the running operation if its swap has not begun, or asks the
// reservation to end.
func (d *daemon) Abort(_ context.Context, r control.AbortRequest, by switcher.Actor) (control.AbortResult, error) {
	op, err := d.switcher.Abort(r.ID, by)
	if err != nil {
		return control.AbortResult{}, err
	}
	reserved := d.switcher.Reservation()
	return control.AbortResult{ID: op.ID, Kind: op.Kind, Asked: reserved != nil && reserved.ID == op.ID}, nil
}

// Reload reads the configuration again.
func (d *daemon) Reload(ctx context.Context, by switcher.Actor) (control.ConfigStatus, error) {
	status, err := d.reload(ctx, by)
	if problems, ok := errors.AsType[config.Problems](err); ok {
		err = fmt.Errorf("%w: %s", control.ErrBadConfig, problems.Summary())
	}
	return status, err
}

// History returns the newest records first.
func (d *daemon) History(limit int) ([]switcher.Record, error) {
	return d.history.Tail(limit)
}

// Events emits what happened after seq, and then what happens.
func (d *daemon) Events(ctx context.Context, after uint64, emit func(switcher.Event) error) error {
	return d.events.Subscribe(ctx, after, emit)
}
