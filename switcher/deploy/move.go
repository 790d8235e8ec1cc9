package deploy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"charactier-proxy/switcher"
)

// lookEvery is how often the daemon is asked how a drain or a bake stands.
const lookEvery = 100 * time.Millisecond

// move is the switch: one instant for all services.
func (d *deploy) move(ctx context.Context) error {
	v, err := d.view(ctx)
	if err != nil {
		return err
	}
	at, err := d.whereIs(v)
	if err != nil {
		return err
	}
	if at == onOld {
		d.enableNew(ctx)
		if err := d.moveNow(ctx); err != nil {
			return err
		}
	}
	return d.awaitRoles(ctx)
}

func (d *deploy) moveNow(ctx context.Context) error {
	r := d.request()
	kind := switcher.KindSwitch
	if r.Kind == switcher.KindRollback {
		kind = switcher.KindRollback
	}
	rec, err := d.insist(ctx, kind, r.Bake, d.reason(), onNew)
	if kind == switcher.KindRollback && errors.Is(err, switcher.ErrNothingToRollBack) {
		// A kept release was named: there is a place to go to, whatever came before.
		rec, err = d.insist(ctx, switcher.KindSwitch, r.Bake, d.reason(), onNew)
	}
	if err != nil {
		return err
	}
	// A deploy that was returned, stuck and resumed is not returned any more.
	d.facts().Switched, d.facts().Returned = cmp.Or(rec.ID, "not told"), false
	d.say("switch", "", "traffic moved in %s: %s", rec.Swap.Round(time.Microsecond), d.places())
	return nil
}

// insist has the daemon move the services, once more if it ended over that: an
// answer that was lost says nothing, and where traffic is says all.
func (d *deploy) insist(ctx context.Context, kind switcher.Kind, bake time.Duration, reason string, want whereabouts) (switcher.Record, error) {
	for again := false; ; again = true {
		rec, err := d.ask(ctx, kind, bake, reason, want)
		if err == nil {
			return rec, nil
		}
		if err = d.movedAfterAll(ctx, err, want); err == nil || again || !d.lease.lost() || ctx.Err() != nil {
			return rec, err
		}
	}
}

// ask has the daemon move the services, unless they are where they are wanted:
// while a reservation was lost they may have been moved, and asked to move them
// the daemon would move them away again.
func (d *deploy) ask(ctx context.Context, kind switcher.Kind, bake time.Duration, reason string, want whereabouts) (rec switcher.Record, err error) {
	err = d.lease.with(ctx, func(l Lease) error {
		v, err := d.view(ctx)
		if err != nil {
			return err
		}
		if at, err := d.whereIs(v); err != nil || at == want {
			return err
		}
		rec, err = l.Move(ctx, kind, d.request().Services, bake, reason)
		return err
	})
	return rec, err
}

// movedAfterAll asks where traffic is when the answer to a move is an error, and
// returns that unless traffic is where it was wanted.
func (d *deploy) movedAfterAll(ctx context.Context, cause error, want whereabouts) error {
	if errors.Is(cause, switcher.ErrUnhealthy) {
		return fmt.Errorf("%w: %w", ErrUnhealthy, cause)
	}
	v, err := d.view(context.WithoutCancel(ctx))
	if err != nil {
		return fmt.Errorf("%w; asking where traffic is: %w", cause, err)
	}
	if at, err := d.whereIs(v); err != nil || at != want {
		return errors.Join(cause, err)
	}
	return nil
}

// reason is what the history says of the switch.
func (d *deploy) reason() string {
	text := fmt.Sprintf("%s %s, release %s", d.request().Kind, d.story.id, d.facts().Origin.Release)
	if why := d.request().Reason; why != "" {
		text += ": " + why
	}
	return text
}

// places is "backend on green, frontend on blue": where the deploy wants it.
func (d *deploy) places() string {
	var parts []string
	for _, s := range d.services {
		parts = append(parts, fmt.Sprintf("%s on %s", s.Name, d.facts().Places[s.Name].New))
	}
	return strings.Join(parts, ", ")
}

// awaitRoles waits until the new slots took their role, where they must.
func (d *deploy) awaitRoles(ctx context.Context) error {
	defer d.waiting()()
	return d.each(func(s Service, p *place) error {
		if !s.RoleRequired {
			return nil
		}
		deadline := time.Now().Add(s.rolePatience())
		for {
			slot, err := d.slot(ctx, s, p.New)
			if err != nil {
				return err
			}
			if slot.Role == slot.Wanted {
				return nil
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("%w: %s of %s did not take the role %s: %s", ErrUnhealthy, p.New, s.Name, slot.Wanted, slot.RoleError)
			}
			if err := sleep(ctx, lookEvery/2); err != nil {
				return d.left(ctx)
			}
		}
	})
}

// rolePatience is how long the daemon may need: the old slot is told first and
// may be silent for one timeout; then the new one, on all the ways, and once more.
func (s Service) rolePatience() time.Duration {
	return time.Duration(1+2*max(1, s.RoleWays)) * s.RoleTimeout
}

func (d *deploy) slot(ctx context.Context, s Service, name switcher.Slot) (SlotView, error) {
	v, err := d.view(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return SlotView{}, d.left(ctx)
		}
		return SlotView{}, err
	}
	return v.Services[s.Name].Slots[name], nil
}

// left says what the end of ctx means after the switch: an operator who aborts
// wants the traffic back, a command that ends leaves the rest for later.
func (d *deploy) left(ctx context.Context) error {
	if isAbort(ctx) {
		return aborted(ctx)
	}
	return ErrDetached
}
