package main

import (
	"context"
	"errors"

	"go.uber.org/zap"

	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
)

// The daemon is the control socket's Operations: each call asks the switcher
// and logs one line with its outcome.
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
	record, draining, err := do(ctx, switcher.Request{
		Services: r.Services, To: r.To, Force: r.Force, Reason: r.Reason, Actor: by, Wait: r.Wait,
	})
	d.logRecord(record, err)
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
	record, err := d.switcher.Hold(ctx, switcher.Request{Services: r.Services, Reason: r.Reason, Actor: by})
	d.logRecord(record, err)
	return record, err
}

// ReleaseHold lets them go.
func (d *daemon) ReleaseHold(ctx context.Context, r control.HoldRequest, by switcher.Actor) (switcher.Record, error) {
	record, err := d.switcher.ReleaseHold(ctx, switcher.Request{Services: r.Services, Reason: r.Reason, Actor: by})
	d.logRecord(record, err)
	return record, err
}

// Abort stops the running operation if its swap has not begun.
func (d *daemon) Abort(_ context.Context, r control.AbortRequest, by switcher.Actor) (control.AbortResult, error) {
	op, err := d.switcher.Abort(r.ID, by)
	if err != nil {
		return control.AbortResult{}, err
	}
	return control.AbortResult{ID: op.ID, Kind: op.Kind}, nil
}

// Reload reads the configuration again.
func (d *daemon) Reload(ctx context.Context, by switcher.Actor) (control.ConfigStatus, error) {
	return d.reload(ctx, by)
}

// History returns the newest records first.
func (d *daemon) History(limit int) ([]switcher.Record, error) {
	return d.history.Tail(limit)
}

// Events emits what happened after seq, and then what happens.
func (d *daemon) Events(ctx context.Context, after uint64, emit func(switcher.Event) error) error {
	return d.events.Subscribe(ctx, after, emit)
}

// logRecord writes one line for one operation.
func (d *daemon) logRecord(r switcher.Record, err error) {
	fields := []zap.Field{
		zap.String("operation", r.ID),
		zap.String("kind", string(r.Kind)),
		zap.String("outcome", string(r.Outcome)),
		zap.Any("moves", r.Moves),
		zap.String("by", r.Actor.User),
		zap.Uint32("uid", r.Actor.UID),
		zap.String("reason", r.Reason),
		zap.Bool("forced", r.Forced),
		zap.Duration("probing", r.Probing),
		zap.Duration("swap", r.Swap),
		zap.Duration("took", r.Took),
	}
	switch {
	case err == nil:
		d.log.Info("operation ended", fields...)
	case errors.Is(err, switcher.ErrNotSaved):
		d.log.Error("operation failed; traffic is where it was", append(fields, zap.Error(err))...)
	default:
		d.log.Warn("operation not done; traffic is where it was", append(fields, zap.Error(err))...)
	}
}
