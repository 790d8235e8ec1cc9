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

// gate waits until the new slots are healthy and what they should be.
func (d *deploy) gate(ctx context.Context) error {
	defer d.waiting()()
	return d.each(func(s Service, p *place) error {
		began := time.Now()
		if err := d.awaitHealthy(ctx, s, *p); err != nil {
			return err
		}
		if err := d.checkProcess(ctx, s, s.Slots[p.New]); err != nil {
			return err
		}
		// Where systemd does not say, it is not missed at the end.
		p.Proven, _ = d.opts.Units.Life(ctx, s.Slots[p.New].Unit)
		d.say("gate", s.Name, "%s answers as %s after %s", s.Slots[p.New].Address, p.New, time.Since(began).Round(time.Millisecond))
		return nil
	})
}

// tellEvery is how often the gate says why it still waits.
const tellEvery = 5 * time.Second

// awaitHealthy asks, at first often, until the slot is healthy, its unit exits
// or the time is over.
func (d *deploy) awaitHealthy(ctx context.Context, s Service, p place) error {
	alive, leave := d.whileRunning(ctx, s.Slots[p.New].Unit)
	defer leave()
	patience := time.Duration(s.Tries) * s.Interval
	began := time.Now()
	deadline, told := began.Add(patience), began
	var taken intrusion
	for delay := 20 * time.Millisecond; ; delay = min(2*delay, s.Interval) {
		err := d.askSlot(alive, s, p)
		taken.note(err)
		switch {
		case err == nil:
			return nil
		case alive.Err() != nil && ctx.Err() == nil:
			return fmt.Errorf("%w: %w", ErrUnhealthy, context.Cause(alive))
		case ctx.Err() != nil:
			return aborted(ctx)
		case taken.lasts():
			err = d.withJournal(ctx, s, p.New, fmt.Errorf("%w: %s of %s: %w", ErrUnhealthy, p.New, s.Name, err))
			return hint(err, "end that process, or give the slot another address")
		case time.Now().After(deadline):
			err = fmt.Errorf("%w: %s of %s was not healthy within %s: %w", ErrUnhealthy, p.New, s.Name, patience, err)
			return d.withJournal(ctx, s, p.New, err)
		case time.Since(told) >= tellEvery:
			told = time.Now()
			text := fmt.Sprintf("not healthy after %s: %v", time.Since(began).Round(time.Second), err)
			d.report(Report{Step: "gate", State: StateWaiting, Service: s.Name, Text: text})
		}
		// The two ways to end early are looked at in the next round.
		_ = sleep(alive, taken.pause(delay))
	}
}

// askSlot asks the slot for its health, and who it is that answers. A stranger who
// has the port matters more than what it says.
func (d *deploy) askSlot(ctx context.Context, s Service, p place) error {
	header, err := d.opts.Probe(ctx, s, p.New)
	if err == nil {
		return d.checkIdentity(s, p, header)
	}
	if ctx.Err() == nil {
		if who := d.checkOwner(s, p); errors.Is(who, errStranger) {
			return who
		}
	}
	return err
}

// withJournal adds to a slot's failure what its unit wrote last, which is still
// there to be read: the unit runs.
func (d *deploy) withJournal(ctx context.Context, s Service, name switcher.Slot, err error) error {
	return hint(outputError{err, d.opts.Units.Tail(ctx, s.Slots[name].Unit, "")},
		fmt.Sprintf("charactier-proxyctl logs --slot %s --service %s", name, s.Name))
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
	if err := d.checkOwner(s, p); err != nil || s.ReleaseHeader == "" {
		return err
	}
	aim, err := d.opts.Releases.Pointed(at.Link)
	if err != nil || aim.Release == "" || header == aim.Release || header != "" && strings.HasPrefix(aim.Revision, header) {
		return err
	}
	return fmt.Errorf("the health answer names the release %q in %s, not %s", header, s.ReleaseHeader, aim.Release)
}

// smoke sends the requests that the new slots must answer.
func (d *deploy) smoke(ctx context.Context) error {
	asked := false
	defer d.waiting()()
	err := d.each(func(s Service, p *place) error {
		for _, check := range s.Smoke {
			asked = true
			if err := try(ctx, s.Slots[p.New].Address, check); err != nil {
				return d.withJournal(ctx, s, p.New, fmt.Errorf("%w: %s of %s: %w", ErrUnhealthy, p.New, s.Name, err))
			}
		}
		return nil
	})
	return skipIf(!asked, err)
}

// warmUp sends the requests that fill caches. What they answer does not matter.
func (d *deploy) warmUp(ctx context.Context) error {
	asked := false
	defer d.waiting()()
	err := d.each(func(s Service, p *place) error {
		for _, path := range s.WarmUp {
			asked = true
			if err := try(ctx, s.Slots[p.New].Address, Smoke{Path: path}); err != nil {
				d.say("warm-up", s.Name, "%v", err)
			}
		}
		return nil
	})
	return skipIf(!asked, err)
}

// isAbort tells an operator's abort from a command that just ends.
func isAbort(ctx context.Context) bool { return errors.Is(context.Cause(ctx), switcher.ErrAborted) }
