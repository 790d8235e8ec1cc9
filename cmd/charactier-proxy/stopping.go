package main

import (
	"context"
	"time"

	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
)

// stoppingWait bounds how long a unit's stop is put off for the answers to what its
// slot has got.
const stoppingWait = 5 * time.Second

// Stopping is told, by the unit's ExecStop, that a unit is about to be stopped. It is
// no operation: nothing moves, and nobody is kept out.
func (d *daemon) Stopping(ctx context.Context, r control.StoppingRequest, _ switcher.Actor) (control.StoppingResult, error) {
	for name, s := range d.config.current().Services {
		for slot, at := range s.Slots {
			if at.Unit == "" || at.Unit != r.Unit {
				continue
			}
			ctx, cancel := context.WithTimeout(ctx, stoppingWait)
			defer cancel()
			p := place{name, switcher.Slot(slot)}
			result := control.StoppingResult{Service: p.service, Slot: p.slot}
			result.Left, result.Active = d.emptySlot(ctx, p)
			return result, nil
		}
	}
	return control.StoppingResult{}, nil
}

// emptySlot sends no more to the slot, if it is active, and waits for the answers
// that are under way, also those of the process before this one.
func (d *daemon) emptySlot(ctx context.Context, p place) (left int64, active bool) {
	d.predecessor.stopping(p)
	if left, active = d.proxy.Stopping(ctx, p.service, string(p.slot)); active {
		left += d.predecessor.awaitAnswers(ctx, p)
	}
	return left, active
}

// wentAway is told that a slot has another process than before.
func (d *daemon) wentAway(p place) {
	d.proxy.Went(p.service, string(p.slot))
	if !d.predecessor.isGone() {
		d.tasks.start("going of "+p.String(), func(context.Context) error {
			d.predecessor.went(p)
			return nil
		})
	}
}
