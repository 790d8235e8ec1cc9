package chaos

import (
	"context"
	"errors"
	"fmt"
	"time"

	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
)

// operator moves the traffic, one operation at a time, and holds the daemon to
// its word: what it answers, what it says it is afterwards, and what its state
// file says must all be what the model allows.
type operator struct {
	*world
	done []finished
}

// finished is an operation that was answered as done.
type finished struct {
	switcher.Record
	from, till moment
}

func (o *operator) remember(r switcher.Record, from moment) {
	o.done = append(o.done, finished{r, from, now()})
}

// healthTime is how long a switch waits for the target, so that a refusal means
// more than a probe that came late on a busy machine.
const healthTime = 5 * time.Second

// move asks for a switch or a rollback and settles what came of it.
func (o *operator) move(ctx context.Context, what string, services []string, force bool, ask func(context.Context) (switcher.Record, error)) {
	from := now()
	before := o.actives(services)
	o.model.attempt(services)
	r, err := ask(context.WithoutCancel(ctx))
	o.notes.did("%s of %v: %s, %v", what, services, r.Outcome, short(err))
	switch {
	case err == nil:
		o.moved(services, before, r, from)
	case unknown(err):
		o.notes.did("the outcome is not known; the next status decides")
	default:
		for _, s := range services {
			// A swap whose result could not be saved was taken back.
			o.model.settle(s, before[s], errors.Is(err, switcher.ErrNotSaved) || r.Swap > 0)
		}
		o.mayFail(what, services, before, force, from, err)
	}
	o.inspect(ctx)
}

func (o *operator) actives(services []string) map[string]switcher.Slot {
	active := map[string]switcher.Slot{}
	for _, s := range services {
		active[s], _ = o.model.active(s)
	}
	return active
}

// moved holds an answer against the model.
func (o *operator) moved(services []string, before map[string]switcher.Slot, r switcher.Record, from moment) {
	o.remember(r, from)
	went := map[string]bool{}
	for _, m := range r.Moves {
		if m.From != before[m.Service] || m.To != before[m.Service].Other() {
			o.notes.breach("S1", "%s %s moved %s from %s to %s, and it was on %s", r.Kind, r.ID, m.Service, m.From, m.To, before[m.Service])
		}
		if !r.Forced && o.notes.wasOut(place{m.Service, m.To}, from, now()) {
			o.notes.breach("S3", "%s %s moved %s to %s, which was out all the while", r.Kind, r.ID, m.Service, m.To)
		}
		went[m.Service] = true
		o.model.settle(m.Service, m.To, true)
	}
	for _, s := range services {
		if !went[s] {
			o.model.settle(s, before[s], false)
		}
	}
}

func unknown(err error) bool {
	return errors.Is(err, control.ErrOutcomeUnknown) || errors.Is(err, control.ErrUnreachable) || errors.Is(err, control.ErrInterrupted)
}

// mayFail asks whether there was a reason.
func (o *operator) mayFail(what string, services []string, before map[string]switcher.Slot, force bool, from moment, err error) {
	till := now()
	switch {
	case errors.Is(err, switcher.ErrNothingToRollBack):
	case errors.Is(err, switcher.ErrUnhealthy) && !force:
		for _, s := range services {
			target := place{s, before[s].Other()}
			if o.notes.touched(target, from, till, unhealthy...) {
				return
			}
		}
		o.notes.breach("S5", "%s of %v was refused, and nothing was wrong with the target: %v", what, services, err)
	case o.notes.overlaps("", from, till, spoilt...):
	default:
		o.notes.breach("S5", "%s of %v failed for no reason: %v", what, services, err)
	}
}

// inspect compares what the daemon says with the model, and settles what was
// open (S1, S5).
func (o *operator) inspect(ctx context.Context) {
	st, err := o.daemon.api.Status(context.WithoutCancel(ctx))
	if err != nil {
		o.notes.breach("", "the daemon does not tell its status: %v", err)
		return
	}
	for _, s := range st.Services {
		if s.Name == extra {
			continue
		}
		if !o.model.mayBe(s.Name, s.Active) {
			o.notes.breach("S1", "%s is on %s, and nothing moved it there", s.Name, s.Active)
		}
		o.model.settle(s.Name, s.Active, true)
		if held := s.Held != nil; held != o.model.isHeld(s.Name) {
			o.notes.breach("S2", "%s is held: %t, and should be: %t", s.Name, held, !held)
			o.model.hold(s.Name, held)
		}
	}
}

// inspectDisk compares what a dead daemon left with the model (S1, S2): it
// returns false where the state is lost.
func (o *operator) inspectDisk() bool {
	st, err := switcher.ReadState(o.daemon.stateDir())
	if err != nil {
		o.notes.breach("S1", "the state cannot be read: %v", err)
		return false
	}
	sound := true
	// With a whole disk no crash leaves anything that has to be repaired.
	if st.Note != "" && !o.notes.overlaps("", o.daemon.begun, now(), spoilt...) {
		o.notes.breach("S2", "what the daemon left is not simply its last state: %s", st.Note)
		sound = false
	}
	for _, service := range o.services {
		got := st.Services[service]
		if !o.model.mayBe(service, got.Active) {
			o.notes.breach("S2", "the state file has %s on %q, where it cannot be", service, got.Active)
			sound = false
		}
		if held := got.Held != nil; held != o.model.isHeld(service) {
			o.notes.breach("S2", "the state file has %s held: %t", service, held)
			sound = false
		}
	}
	return sound
}

// switchTo moves services to their other slots.
func (o *operator) switchTo(ctx context.Context, services []string, force, drain bool) {
	f := o.notes.breaks(switched, place{})
	defer o.notes.mended(f)
	o.move(ctx, forced("switch", force), services, force, func(ctx context.Context) (switcher.Record, error) {
		return o.daemon.api.Switch(ctx, control.SwitchRequest{Services: services, Force: force, Wait: healthTime, Drain: drainFor(drain), Reason: "chaos"})
	})
}

func (o *operator) rollBack(ctx context.Context, services []string, force, drain bool) {
	f := o.notes.breaks(rolledBack, place{})
	defer o.notes.mended(f)
	o.move(ctx, forced("rollback", force), services, force, func(ctx context.Context) (switcher.Record, error) {
		return o.daemon.api.Rollback(ctx, control.SwitchRequest{Services: services, Force: force, Wait: healthTime, Drain: drainFor(drain), Reason: "chaos"})
	})
}

func forced(what string, force bool) string {
	if force {
		return "forced " + what
	}
	return what
}

// drainFor waits for the old slot's requests, or does not: what begins after the
// swap must go to the new slot either way.
func drainFor(drain bool) time.Duration {
	if drain {
		return time.Second
	}
	return -1
}

// hold makes requests wait, does something meanwhile, and lets them go.
func (o *operator) hold(ctx context.Context, services []string, meanwhile func()) {
	var faults []*fault
	for _, s := range services {
		faults = append(faults, o.notes.breaks(held, place{Service: s}))
	}
	o.setHold(ctx, services, true)
	meanwhile()
	// A hold that cannot be ended because the disk is broken ends with it.
	err := eventually(context.WithoutCancel(ctx), func() error { return o.setHold(ctx, services, false) })
	if err != nil {
		o.notes.breach("S5", "the hold of %v does not end: %v", services, err)
	}
	for _, f := range faults {
		o.notes.mended(f)
	}
}

func (o *operator) setHold(ctx context.Context, services []string, wanted bool) error {
	ask, what := o.daemon.api.ReleaseHold, "release-hold"
	if wanted {
		ask, what = o.daemon.api.Hold, "hold"
	}
	from := now()
	r, err := ask(context.WithoutCancel(ctx), control.HoldRequest{Services: services, Reason: "chaos"})
	o.notes.did("%s of %v: %s, %v", what, services, r.Outcome, short(err))
	if err == nil {
		for _, s := range services {
			o.model.hold(s, wanted)
		}
		o.remember(r, from)
	} else if !o.notes.overlaps("", from, now(), spoilt...) {
		o.notes.breach("S5", "%s of %v failed for no reason: %v", what, services, err)
	}
	o.inspect(ctx)
	return err
}

// short is an error in one line.
func short(err error) string {
	if err == nil {
		return "no error"
	}
	return fmt.Sprintf("%.300s", err)
}
