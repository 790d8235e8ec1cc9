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
			result := control.StoppingResult{Service: name, Slot: switcher.Slot(slot)}
			result.Left, result.Active = d.proxy.Stopping(ctx, name, slot)
			return result, nil
		}
	}
	return control.StoppingResult{}, nil
}
