package deploy

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"charactier-proxy/switcher"
)

// lookAtStandby remembers what the standby slots were, for the way back.
func (d *deploy) lookAtStandby(ctx context.Context) error {
	if d.story.touched("point") {
		return nil // a resumed deploy finds its own traces
	}
	v, err := d.view(ctx)
	if err != nil {
		return err
	}
	return d.each(func(s Service, p *place) error {
		if err := d.mustBeStandby(v, s, *p); err != nil {
			return err
		}
		if err := d.checkIdle(s, *p, v.Services[s.Name].Slots[p.New]); err != nil {
			return err
		}
		at := s.Slots[p.New]
		aim, err := d.opts.Releases.Pointed(at.Link)
		if err != nil {
			return err
		}
		p.NewBefore = aim.Target
		p.NewRan, err = d.opts.Units.Running(ctx, at.Unit)
		return err
	})
}

// mustBeStandby is the last look before a unit is stopped: never the one that
// gets the traffic.
func (d *deploy) mustBeStandby(v View, s Service, p place) error {
	now, ok := v.Services[s.Name]
	switch {
	case !ok:
		return fmt.Errorf("%w %q: the daemon does not have it any more, so its units are not touched", switcher.ErrUnknownService, s.Name)
	case now.Active == p.New:
		return fmt.Errorf("%s is on %s by now: its unit is not touched", s.Name, p.New)
	}
	return nil
}

// point stops the standby slots and leads them to the release.
func (d *deploy) point(ctx context.Context) error {
	v, err := d.view(ctx)
	if err != nil {
		return err
	}
	return d.each(func(s Service, p *place) error {
		if err := d.mustBeStandby(v, s, *p); err != nil {
			return err
		}
		if err := d.checkIdle(s, *p, v.Services[s.Name].Slots[p.New]); err != nil {
			return err
		}
		if err := d.stopUnit(ctx, s.Slots[p.New].Unit); err != nil {
			return err
		}
		if d.keepsLinks() {
			return nil
		}
		return d.opts.Releases.Point(s.Slots[p.New].Link, d.facts().Origin.Release, s)
	})
}

func (d *deploy) stopUnit(ctx context.Context, unit string) error {
	defer d.waiting()()
	return d.opts.Units.Stop(ctx, unit)
}

// pointBack leads the slots to what they had, and starts what ran, so that a
// warm rollback is as near as it was.
func (d *deploy) pointBack(ctx context.Context) error {
	return d.onStandby(ctx, func(s Service, p *place) error {
		at := s.Slots[p.New]
		if err := d.stopUnit(ctx, at.Unit); err != nil {
			return err
		}
		if err := d.opts.Releases.Restore(at.Link, p.NewBefore); err != nil {
			return err
		}
		if !p.NewRan {
			return nil
		}
		defer d.waiting()()
		if err := d.opts.Units.Start(ctx, at.Unit); err != nil {
			d.warn("point", fmt.Errorf("%s ran before and does not start again: %w", at.Unit, err))
		}
		return nil
	})
}

// onStandby calls do for every service, unless its new slot has the traffic.
func (d *deploy) onStandby(ctx context.Context, do func(Service, *place) error) error {
	// A daemon that is gone switches nobody; one that is back may have let others
	// in, who may be about to switch to this very slot.
	if _, err := d.lease.held(ctx); errors.Is(err, switcher.ErrBusy) {
		return err
	}
	v, err := d.view(ctx)
	if err != nil && d.story.touched("switch") {
		return fmt.Errorf("asking where traffic is, before a unit is stopped: %w", err)
	}
	return d.each(func(s Service, p *place) error {
		if err == nil {
			if err := d.mustBeStandby(v, s, *p); err != nil {
				return err
			}
			if v.Services[s.Name].Slots[p.New].InFlight > 0 { // somebody was there and left
				if err := d.awaitDrain(ctx, s, p.New); err != nil {
					return err
				}
			}
		}
		return do(s, p)
	})
}

// start starts the new slots' units.
func (d *deploy) start(ctx context.Context) error {
	defer d.waiting()()
	return d.each(func(s Service, p *place) error {
		unit := s.Slots[p.New].Unit
		if err := d.opts.Units.Start(ctx, unit); err != nil {
			return fmt.Errorf("%w: starting %s: %w", ErrUnhealthy, unit, err)
		}
		d.say("start", s.Name, "%s started", unit)
		return nil
	})
}

func (d *deploy) stop(ctx context.Context) error {
	return d.onStandby(ctx, func(s Service, p *place) error { return d.stopUnit(ctx, s.Slots[p.New].Unit) })
}

// gate waits until the new slots are healthy and what they should be.
func (d *deploy) gate(ctx context.Context) error {
	defer d.waiting()()
	return d.each(func(s Service, p *place) error {
		began := time.Now()
		if err := d.awaitHealthy(ctx, s, *p); err != nil {
			return err
		}
		d.say("gate", s.Name, "%s answers as %s after %s", s.Slots[p.New].Address, p.New, time.Since(began).Round(time.Millisecond))
		return nil
	})
}

// awaitHealthy asks, at first often, until the slot is healthy, its unit exits
// or the time is over.
func (d *deploy) awaitHealthy(ctx context.Context, s Service, p place) error {
	alive, leave := d.whileRunning(ctx, s.Slots[p.New].Unit)
	defer leave()
	patience := time.Duration(s.Tries) * s.Interval
	deadline := time.Now().Add(patience)
	for delay := 20 * time.Millisecond; ; delay = min(2*delay, s.Interval) {
		header, err := d.opts.Probe(alive, s, p.New)
		if err == nil {
			err = d.checkIdentity(s, p, header)
		}
		switch {
		case err == nil:
			return nil
		case alive.Err() != nil && ctx.Err() == nil:
			return fmt.Errorf("%w: %w", ErrUnhealthy, context.Cause(alive))
		case ctx.Err() != nil:
			return aborted(ctx)
		case time.Now().After(deadline):
			return fmt.Errorf("%w: %s of %s was not healthy within %s: %w", ErrUnhealthy, p.New, s.Name, patience, err)
		}
		// The two ways to end early are looked at in the next round.
		_ = sleep(alive, delay)
	}
}

// whileRunning returns a context that ends when the unit does not run any more.
// leave must be called.
func (d *deploy) whileRunning(ctx context.Context, unit string) (alive context.Context, leave func()) {
	alive, cancel := context.WithCancelCause(ctx)
	var watch sync.WaitGroup
	watch.Go(func() {
		if err := d.opts.Units.Exited(alive, unit); err != nil && alive.Err() == nil {
			cancel(err)
		}
	})
	return alive, func() { cancel(nil); watch.Wait() }
}

// checkIdentity makes sure that it is the new slot's own process that answers,
// and the release that it should be.
func (d *deploy) checkIdentity(s Service, p place, header string) error {
	at := s.Slots[p.New]
	if s.Identity {
		unit, process, err := d.opts.Units.Owner(at.Address)
		switch {
		case err != nil:
			return fmt.Errorf("looking who listens on %s: %w", at.Address, err)
		case unit != at.Unit:
			return fmt.Errorf("%s is answered by %s, which does not belong to %s", at.Address, orNobody(process), at.Unit)
		}
	}
	if s.ReleaseHeader == "" {
		return nil
	}
	aim, err := d.opts.Releases.Pointed(at.Link)
	if err != nil || aim.Release == "" || header == aim.Release || header != "" && strings.HasPrefix(aim.Revision, header) {
		return err
	}
	return fmt.Errorf("the health answer names the release %q in %s, not %s", header, s.ReleaseHeader, aim.Release)
}

func orNobody(process string) string {
	if process == "" {
		return "nobody"
	}
	return process
}

// smoke sends the requests that the new slots must answer.
func (d *deploy) smoke(ctx context.Context) error {
	any := false
	defer d.waiting()()
	err := d.each(func(s Service, p *place) error {
		for _, check := range s.Smoke {
			any = true
			if err := try(ctx, s.Slots[p.New].Address, check); err != nil {
				return fmt.Errorf("%w: %s of %s: %w", ErrUnhealthy, p.New, s.Name, err)
			}
		}
		return nil
	})
	return skipIf(!any, err)
}

// warmUp sends the requests that fill caches. What they answer does not matter.
func (d *deploy) warmUp(ctx context.Context) error {
	any := false
	defer d.waiting()()
	err := d.each(func(s Service, p *place) error {
		for _, path := range s.WarmUp {
			any = true
			if err := try(ctx, s.Slots[p.New].Address, Smoke{Path: path}); err != nil {
				d.say("warm-up", s.Name, "%v", err)
			}
		}
		return nil
	})
	return skipIf(!any, err)
}

// isAbort tells an operator's abort from a command that just ends.
func isAbort(ctx context.Context) bool { return errors.Is(context.Cause(ctx), switcher.ErrAborted) }
