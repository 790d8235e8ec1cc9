package deploy

import (
	"context"
	"errors"
	"fmt"

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
		p.NewBefore, p.LeftRelease = aim.Target, aim.Release
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
		if err := d.stopSlot(ctx, s, p.New); err != nil {
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
		if err := d.stopSlot(ctx, s, p.New); err != nil {
			return err
		}
		if err := d.opts.Releases.Restore(at.Link, p.NewBefore); err != nil {
			return err
		}
		d.startBack(ctx, at.Unit, *p)
		return nil
	})
}

// startBack starts a unit if it ran before, and says what the standby is now.
func (d *deploy) startBack(ctx context.Context, unit string, p place) {
	if !p.NewRan {
		d.standby = append(d.standby, "no warm rollback now: "+unit+" is stopped, as it was before")
		return
	}
	defer d.waiting()()
	if err := d.opts.Units.Start(ctx, unit); err != nil {
		d.standby = append(d.standby, "no warm rollback now: "+unit+" is stopped")
		d.warn("point", hint(fmt.Errorf("%s ran before and does not start again: %w", unit, err), "sudo systemctl start "+unit+"  # once that is mended"))
		return
	}
	d.standby = append(d.standby, fmt.Sprintf("%s runs again%s, as before", unit, with(p.LeftRelease)))
}

func with(release string) string {
	if release == "" {
		return ""
	}
	return " with " + release
}

// onStandby calls do for every service, unless its new slot has the traffic.
func (d *deploy) onStandby(ctx context.Context, do func(Service, *place) error) error {
	// A daemon that is back may have let others in, who may be about to switch to
	// this very slot.
	if _, err := d.lease.held(ctx); errors.Is(err, switcher.ErrBusy) {
		return err
	}
	v, err := d.whereTraffic(ctx)
	if err != nil {
		return fmt.Errorf("asking where traffic is, before a unit is stopped: %w", err)
	}
	return d.each(func(s Service, p *place) error {
		if err := d.mustBeStandby(v, s, *p); err != nil {
			return err
		}
		if v.Services[s.Name].Slots[p.New].InFlight > 0 { // somebody was there and left
			if err := d.awaitDrain(ctx, s, p.New); err != nil {
				return err
			}
		}
		return do(s, p)
	})
}

// whereTraffic asks the daemon, or where that is gone its state file, by which it
// will go on: without one of them no unit is stopped. A daemon that is gone
// switches nobody, but it may have let others switch before that. Once the
// deploy's own switch has begun only the daemon knows.
func (d *deploy) whereTraffic(ctx context.Context) (View, error) {
	v, err := d.view(ctx)
	if err == nil || d.story.touched("switch") || d.opts.SavedActive == nil {
		return v, err
	}
	saved, fileErr := d.opts.SavedActive()
	if fileErr != nil {
		return v, fmt.Errorf("%w; its state file: %w", err, fileErr)
	}
	v = View{Services: map[string]ServiceView{}}
	for name, active := range saved {
		v.Services[name] = ServiceView{Active: active}
	}
	return v, nil
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
	return d.onStandby(ctx, func(s Service, p *place) error { return d.stopSlot(ctx, s, p.New) })
}
