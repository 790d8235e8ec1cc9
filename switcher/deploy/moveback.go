package deploy

import (
	"context"
	"errors"
	"fmt"

	"charactier-proxy/switcher"
)

// moveBack returns the traffic, if it is not back already, and waits until
// nothing is left on the new slots: they will be stopped next.
func (d *deploy) moveBack(ctx context.Context) error {
	v, err := d.view(ctx)
	if err != nil {
		return fmt.Errorf("asking where traffic is: %w", err)
	}
	at, err := d.whereIs(v)
	if err != nil {
		return err
	}
	if at == onNew {
		if err := d.returnNow(ctx); err != nil {
			return err
		}
	}
	if at == onNew || d.facts().Switched != "" {
		d.facts().Returned = true
	}
	d.enableOld(ctx)
	return d.each(func(s Service, p *place) error { return d.awaitDrain(ctx, s, p.New) })
}

func (d *deploy) returnNow(ctx context.Context) error {
	kind := switcher.KindRollback // by which the release is bad
	if d.request().Kind == switcher.KindRollback || !d.isJudged() {
		kind = switcher.KindSwitch // also as rolling back what was rolled back is refused
	}
	err := d.wakeOld(ctx)
	if err == nil {
		_, err = d.insist(ctx, kind, 0, "returned by "+d.reason(), onOld)
	}
	if err != nil {
		return fmt.Errorf("returning the traffic: %w", err)
	}
	return nil
}

// isJudged says that the traffic is returned because of what the release did, or
// because a person has looked at it and said no. Whoever aborts a deploy has
// their reasons, and the release may have none of the fault; nor has it where the
// disk is full.
func (d *deploy) isJudged() bool {
	return errors.Is(d.cause, errUnkept) || !errors.Is(d.cause, switcher.ErrAborted) && !errors.Is(d.cause, errUnwritten)
}

// wakeOld starts the old slots that do not run any more, after a reboot or when
// their warm time ended while a deploy was left: they are to have the traffic. One
// that runs may just have been started, as after a power cut.
func (d *deploy) wakeOld(ctx context.Context) error {
	defer d.waiting()()
	return d.each(func(s Service, p *place) error {
		unit := s.Slots[p.Old].Unit
		if unit == "" {
			return nil
		}
		running, err := d.opts.Units.Running(ctx, unit)
		if err != nil {
			return nil // where systemd does not say, the daemon finds out whether the slot answers
		}
		back := place{Old: p.New, New: p.Old}
		s.ReleaseHeader = "" // it names another release than this deploy's
		if running {
			s.Identity = false               // who answers there has had the traffic
			_ = d.awaitHealthy(ctx, s, back) // if it never is, the daemon says so
			return nil
		}
		if err := d.opts.Units.Start(ctx, unit); err != nil {
			return fmt.Errorf("%w: starting %s: %w", ErrUnhealthy, unit, err)
		}
		return d.awaitHealthy(ctx, s, back)
	})
}
