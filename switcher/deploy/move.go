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

// awaitBake waits for the daemon's verdict on every service.
func (d *deploy) awaitBake(ctx context.Context) error {
	if d.request().Bake == 0 {
		return errSkipped
	}
	defer d.waiting()()
	for {
		v, err := d.view(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return d.left(ctx)
			}
			return err
		}
		running, err := d.verdicts(v)
		if err != nil || !running {
			return err
		}
		if err := sleep(ctx, lookEvery); err != nil {
			return d.left(ctx)
		}
	}
}

// verdicts reads how the bakes stand. The error is that of traffic which was
// returned.
func (d *deploy) verdicts(v View) (running bool, err error) {
	var texts []string
	var kept []error
	var longest, passed time.Duration
	for _, s := range d.services {
		now := v.Services[s.Name]
		if now.Active != d.facts().Places[s.Name].New {
			return false, d.returned(now)
		}
		if now.Bake == nil {
			continue
		}
		texts = append(texts, s.Name+": "+now.Bake.Text)
		switch now.Bake.Verdict {
		case switcher.BakeFailed:
			kept = append(kept, d.notReturned(s, now))
		case switcher.Inconclusive:
			kept = append(kept, d.undecided(s, now))
		case switcher.Baking:
			running = true
			longest = max(longest, now.Bake.Until.Sub(now.Bake.Since))
			passed = max(passed, time.Since(now.Bake.Since))
		}
	}
	d.bake = strings.Join(texts, "; ")
	if running {
		d.report(Report{Step: "bake", State: StateDoing, Text: d.bake, Done: int64(passed), Total: int64(longest)})
		return true, nil
	}
	d.say("bake", "", "%s", d.bake)
	d.bakeFailed = len(kept) > 0
	for _, err := range kept {
		d.warn("bake", err)
	}
	return false, nil
}

// notReturned is for traffic that the daemon wanted to return and could not, for
// the old slot is worse still: undoing the deploy would not help either.
func (d *deploy) notReturned(s Service, now ServiceView) error {
	return hint(fmt.Errorf("the bake of %s failed and the traffic stays on %s, it could not be returned", s.Name, now.Active),
		"charactier-proxyctl status says why; charactier-proxyctl rollback --service "+s.Name+" returns it once the old slot is mended")
}

// undecided is for traffic that stays although nothing proved that it may.
func (d *deploy) undecided(s Service, now ServiceView) error {
	return hint(fmt.Errorf("the bake of %s has no verdict and the traffic stays on %s", s.Name, now.Active),
		"see how "+s.Name+" does; charactier-proxyctl rollback --service "+s.Name+" returns it")
}

func (d *deploy) returned(now ServiceView) error {
	d.facts().Returned = true
	text := "somebody moved it back"
	if now.Bake != nil && now.Bake.Returned != "" {
		text = now.Bake.Text
	}
	return fmt.Errorf("%w: %s", ErrUnhealthy, text)
}

// confirm asks a person whether the deploy counts.
func (d *deploy) confirm(ctx context.Context) error {
	if !d.request().Confirm {
		return errSkipped
	}
	if d.opts.Confirm == nil {
		return d.unconfirmed("nobody can be asked here")
	}
	defer d.waiting()()
	yes, err := d.opts.Confirm(ctx, fmt.Sprintf("%s with release %s: keep it?", d.places(), d.facts().Origin.Release))
	switch {
	case ctx.Err() != nil:
		return d.left(ctx)
	case err != nil:
		return d.unconfirmed("nobody answers: " + err.Error())
	case !yes:
		return errUnkept
	}
	return d.stillMoved(ctx)
}

// stillMoved makes sure that a yes is about what has the traffic: a person may
// take hours, and a daemon that restarts meanwhile lets others move it.
func (d *deploy) stillMoved(ctx context.Context) error {
	v, err := d.view(ctx)
	if err != nil {
		return err
	}
	for _, s := range d.services {
		if now := v.Services[s.Name]; now.Active != d.facts().Places[s.Name].New {
			return d.returned(now)
		}
	}
	return nil
}

// unconfirmed leaves the deploy to whoever can answer.
func (d *deploy) unconfirmed(why string) error {
	return hint(fmt.Errorf("%w: it waits to be confirmed, and %s; %s", ErrDetached, why, d.places()),
		"charactier-proxyctl deploy --resume confirms it, charactier-proxyctl abort returns the traffic")
}

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

// errUnkept is a person's no.
var errUnkept = fmt.Errorf("%w: it was not confirmed", switcher.ErrAborted)

// isJudged says that the traffic is returned because of what the release did, or
// because a person has looked at it and said no. Whoever aborts a deploy has
// their reasons, and the release may have none of the fault; nor has it where the
// disk is full.
func (d *deploy) isJudged() bool {
	return errors.Is(d.cause, errUnkept) || !errors.Is(d.cause, switcher.ErrAborted) && !errors.Is(d.cause, errUnwritten)
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
