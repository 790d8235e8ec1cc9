package deploy

import (
	"context"
	"time"

	"charactier-proxy/switcher"
)

// drain waits for the old slots' requests. Streams are not waited for.
func (d *deploy) drain(ctx context.Context) error {
	defer d.waiting()()
	return d.each(func(s Service, p *place) error { return d.awaitDrain(ctx, s, p.Old) })
}

func (d *deploy) awaitDrain(ctx context.Context, s Service, name switcher.Slot) error {
	began := time.Now()
	for delay := 5 * time.Millisecond; ; delay = min(2*delay, lookEvery) {
		slot, err := d.slot(ctx, s, name)
		if err != nil {
			return err
		}
		if slot.InFlight == 0 || time.Since(began) > s.DrainTimeout {
			d.say("drain", s.Name, "%s of %s: %d requests and %d streams left after %s", name, s.Name, slot.InFlight, slot.Streams, time.Since(began).Round(time.Millisecond))
			return nil
		}
		if err := sleep(ctx, delay); err != nil {
			return d.left(ctx)
		}
	}
}
