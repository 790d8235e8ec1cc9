package deploy

import (
	"context"
	"errors"
	"fmt"

	"charactier-proxy/switcher"
)

// enableNew makes a reboot start the new slots too, before they get the traffic:
// whichever has it when the power is cut answers as soon as the machine is up.
// What fails here, the step enable tells.
func (d *deploy) enableNew(ctx context.Context) {
	for _, s := range d.services {
		_ = d.opts.Units.Enable(ctx, []string{s.Slots[d.facts().Places[s.Name].New].Unit}, nil)
	}
}

// enableOld makes a reboot start the old slots, which have the traffic again.
func (d *deploy) enableOld(ctx context.Context) {
	for _, s := range d.services {
		p := d.facts().Places[s.Name]
		if err := d.enableOnly(ctx, s, p.Old, p.New); err != nil {
			d.warn("switch", err)
		}
	}
}

// enable makes a reboot start the new slots and not the old ones.
func (d *deploy) enable(ctx context.Context) error {
	var all []error
	for _, s := range d.services {
		p := d.facts().Places[s.Name]
		all = append(all, d.enableOnly(ctx, s, p.New, p.Old))
	}
	return errors.Join(all...)
}

func (d *deploy) enableOnly(ctx context.Context, s Service, this, other switcher.Slot) error {
	enabled, disabled := s.Slots[this].Unit, s.Slots[other].Unit
	if err := d.opts.Units.Enable(ctx, []string{enabled}, []string{disabled}); err != nil {
		return hint(fmt.Errorf("after a reboot the wrong slot of %s would run: %w", s.Name, err),
			"sudo systemctl enable "+enabled+" && sudo systemctl disable "+disabled)
	}
	return nil
}

// retire stops the old slots that are not to stay warm.
func (d *deploy) retire(ctx context.Context) error {
	var all []error
	for _, s := range d.services {
		p := d.facts().Places[s.Name]
		unit := s.Slots[p.Old].Unit
		switch {
		case unit == "":
		case s.Warm > 0:
			d.say("retire", s.Name, "%s of %s stays warm for %s, so that a rollback is one swap; then it is stopped", p.Old, s.Name, s.Warm)
		default:
			all = append(all, d.retireNow(ctx, s, p))
		}
	}
	return errors.Join(all...)
}

func (d *deploy) retireNow(ctx context.Context, s Service, p place) error {
	v, err := d.view(ctx)
	if err != nil {
		return err
	}
	unit := s.Slots[p.Old].Unit
	if now := v.Services[s.Name]; now.Active != p.New {
		return fmt.Errorf("%s is not on %s any more: %s was not stopped", s.Name, p.New, unit)
	}
	if life, err := d.opts.Units.Life(ctx, s.Slots[p.New].Unit); err == nil && !life.Up {
		return fmt.Errorf("%s does not run any more: %s was not stopped, so that a rollback finds it", s.Slots[p.New].Unit, unit)
	}
	slot := v.Services[s.Name].Slots[p.Old]
	if slot.InFlight > 0 || slot.Streams > 0 && !d.request().CutStreams {
		return hint(fmt.Errorf("%s still has %d requests and %d streams and was not stopped", unit, slot.InFlight, slot.Streams),
			"sudo systemctl stop "+unit+"  # once charactier-proxyctl status shows none"+untilWhen(slot))
	}
	if err := d.stopSlot(ctx, s, p.Old); err != nil {
		return hint(fmt.Errorf("stopping the old slot: %w", err), "sudo systemctl stop "+unit)
	}
	return nil
}

// prune removes releases that nobody needs.
func (d *deploy) prune(context.Context) error {
	inUse := []string{d.facts().Origin.Release}
	for _, p := range d.facts().Places {
		inUse = append(inUse, p.LeftRelease) // which an abort would lead back to
	}
	for _, s := range d.opts.Services {
		for _, at := range s.Slots {
			if at.Link == "" {
				continue
			}
			aim, err := d.opts.Releases.Pointed(at.Link)
			if err != nil {
				return err
			}
			if aim.Release != "" {
				inUse = append(inUse, aim.Release)
			}
		}
	}
	removed, err := d.opts.Releases.Prune(d.opts.Keep, inUse)
	for _, name := range removed {
		d.say("prune", "", "removed release %s", name)
	}
	return err
}
