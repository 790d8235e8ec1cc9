package deploy

import (
	"context"
	"fmt"
	"slices"
	"time"

	"charactier-proxy/switcher"
)

// preflight finds out what is asked for and whether it may begin.
func (d *deploy) preflight(ctx context.Context) error {
	v, err := d.view(ctx)
	if err != nil {
		return err
	}
	if err := d.findPlaces(v); err != nil {
		return err
	}
	if err := d.resolve(ctx, v); err != nil {
		return err
	}
	if err := d.checkSpace(); err != nil {
		return err
	}
	if v, err = d.firstProbes(ctx, v); err != nil {
		return err
	}
	return d.each(func(s Service, p *place) error { return d.checkStandby(ctx, s, *p, v.Services[s.Name]) })
}

// firstProbeTime is how long a daemon that has just begun may take to know
// whether a slot is healthy.
const firstProbeTime = 3 * time.Second

// firstProbes waits until the daemon knows of the active slots' health.
func (d *deploy) firstProbes(ctx context.Context, v View) (View, error) {
	defer d.waiting()()
	for deadline := time.Now().Add(firstProbeTime); d.unprobed(v) && time.Now().Before(deadline); {
		err := sleep(ctx, lookEvery)
		if err == nil {
			v, err = d.view(ctx)
		}
		if err != nil {
			return v, err
		}
	}
	return v, nil
}

func (d *deploy) unprobed(v View) bool {
	return slices.ContainsFunc(d.services, func(s Service) bool {
		now := v.Services[s.Name]
		slot := now.Slots[now.Active]
		return !slot.Healthy && slot.Health == ""
	})
}

// findPlaces says for each service where it is and where it goes.
func (d *deploy) findPlaces(v View) error {
	if d.facts().Places != nil {
		return nil
	}
	places := map[string]place{}
	for _, s := range d.services {
		now, ok := v.Services[s.Name]
		if !ok {
			return fmt.Errorf("%w %q: the daemon does not have it", switcher.ErrUnknownService, s.Name)
		}
		if now.Held {
			return hint(fmt.Errorf("%s is held, so that nothing would be known of the new slot", s.Name),
				"charactier-proxyctl release-hold --service "+s.Name)
		}
		p := place{Old: now.Active, New: now.Active.Other()}
		if at := s.Slots[p.New]; at.Unit == "" || at.Link == "" {
			return hint(fmt.Errorf("%s: the slot %s has no unit or no link", s.Name, p.New),
				fmt.Sprintf("set services.%s.slots.%s.unit and .link, or name other services with --service", s.Name, p.New))
		}
		places[s.Name] = p
	}
	d.facts().Places = places
	return nil
}

func (d *deploy) checkSpace() error {
	free, err := d.opts.Releases.Free()
	if err != nil {
		return err
	}
	if free < d.opts.MinFree && !d.facts().Origin.Built {
		return hint(fmt.Errorf("%s is too full for another release: %d MiB are free, deploy.min_free wants %d MiB", d.opts.Root, free>>20, d.opts.MinFree>>20),
			"df -h "+d.opts.Root+"; a smaller deploy.keep lets older releases go")
	}
	return nil
}

// checkStandby looks whether the place that the release will have is free.
func (d *deploy) checkStandby(ctx context.Context, s Service, p place, now ServiceView) error {
	at := s.Slots[p.New]
	switch active := now.Slots[p.Old]; {
	case active.Healthy:
	case active.Health == "":
		d.say("preflight", s.Name, "whether the active slot %s of %s is healthy is not known yet", p.Old, s.Name)
	default:
		d.say("preflight", s.Name, "the active slot %s of %s is not healthy: %s", p.Old, s.Name, active.Health)
	}
	if err := d.checkBake(s, now); err != nil {
		return err
	}
	if err := d.checkIdle(s, p, now.Slots[p.New]); err != nil {
		return err
	}
	if err := d.checkReady(ctx, s, at); err != nil {
		return err
	}
	unit, process, err := d.opts.Units.Owner(at.Address)
	if err != nil {
		return fmt.Errorf("looking who listens on %s: %w", at.Address, err)
	}
	if process != "" && unit != at.Unit && s.Identity {
		return hint(fmt.Errorf("%s, where %s of %s is to answer, is taken by %s", at.Address, p.New, s.Name, process),
			"end that process, or give the slot another address")
	}
	return nil
}

// checkReady looks at what the slot needs, whoever has the traffic.
func (d *deploy) checkReady(ctx context.Context, s Service, at SlotConfig) error {
	if _, err := d.opts.Releases.Pointed(at.Link); err != nil {
		return err
	}
	if _, err := d.opts.Units.Running(ctx, at.Unit); err != nil {
		return err
	}
	if err := d.checkUnit(ctx, at); err != nil {
		return err
	}
	if d.keepsLinks() || d.request().Source.Release != "" {
		return nil // it was shared when the release was made
	}
	return d.opts.Releases.CheckShared(s.Name, s.Shared)
}

// checkBake refuses a service whose last switch is still watched: the daemon
// would return its traffic, to this very slot, whatever runs there by then. Who
// just wants it back is let: that ends the bake.
func (d *deploy) checkBake(s Service, now ServiceView) error {
	if now.Bake == nil || now.Bake.Verdict != switcher.Baking || d.keepsLinks() {
		return nil
	}
	return hint(fmt.Errorf("%w: the last switch of %s is watched until %s, and may be returned to the slot that this is to take",
		switcher.ErrBusy, s.Name, now.Bake.Until.Local().Format(time.TimeOnly)),
		hints("wait until then, or return it now:", "charactier-proxyctl rollback --service "+s.Name))
}

// checkIdle refuses a slot that still serves: stopping it would cut those
// requests, and end streams before their time.
func (d *deploy) checkIdle(s Service, p place, slot SlotView) error {
	if slot.InFlight == 0 && (slot.Streams == 0 || d.request().CutStreams) {
		return nil
	}
	return hint(fmt.Errorf("%w: %s of %s has %d requests and %d streams left from the switch before", ErrDraining, p.New, s.Name, slot.InFlight, slot.Streams),
		"wait until charactier-proxyctl status shows none"+untilWhen(slot)+", or have the streams end now with --cut-streams")
}

// untilWhen says when the streams of a slot are ended anyway, where that is known.
func untilWhen(slot SlotView) string {
	if slot.StreamsUntil.IsZero() {
		return ""
	}
	return ", at about " + slot.StreamsUntil.Local().Format(time.TimeOnly)
}
