package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
	"charactier-proxy/systemd"
)

// target is a slot that an operation would move traffic to, by what the daemon
// said a moment ago.
type target struct {
	service control.ServiceStatus
	slot    control.SlotStatus
}

// targets are the slots that a switch or rollback would go to; none where the
// daemon does not say.
func (e *env) targets(ctx context.Context, f *moveFlags, kind switcher.Kind, to switcher.Slot) []target {
	ctx, cancel := context.WithTimeout(ctx, hintTime)
	defer cancel()
	status, err := e.client().Status(ctx)
	if err != nil {
		return nil
	}
	services, err := chosen(status.Services, f.services)
	if err != nil {
		return nil // the daemon says it better
	}
	if kind == switcher.KindRollback && len(f.services) == 0 {
		services = newestMoved(services)
	}
	var all []target
	for _, s := range services {
		wanted := cmp.Or(to, s.Active.Other())
		if kind == switcher.KindRollback {
			wanted = s.Previous
		}
		for _, slot := range s.Slots {
			if slot.Name == wanted && !slot.Active {
				all = append(all, target{s, slot})
			}
		}
	}
	return all
}

// asSystemdHasIt looks once more how the slots' units do, where systemd can be
// asked: the daemon hears of a unit that was stopped a moment later, and what is
// forced is not probed.
func asSystemdHasIt(ctx context.Context, all []target) {
	ctx, cancel := context.WithTimeout(ctx, hintTime)
	defer cancel()
	units, err := systemd.ConnectUnits(ctx)
	if err != nil {
		return
	}
	defer units.Close()
	for i := range all {
		if all[i].slot.Unit == "" {
			continue
		}
		s, err := units.State(ctx, all[i].slot.Unit)
		if err == nil && s.LoadState == "loaded" {
			all[i].slot.Runs = &control.UnitStatus{Active: s.ActiveState, Sub: s.SubState, Result: s.Result}
		}
	}
}

// newestMoved keeps the services of the newest switch, which moved in one
// instant.
func newestMoved(services []control.ServiceStatus) []control.ServiceStatus {
	var newest time.Time
	for _, s := range services {
		if s.Previous != "" && s.Since.After(newest) {
			newest = s.Since
		}
	}
	return slices.DeleteFunc(slices.Clone(services), func(s control.ServiceStatus) bool { return s.Previous == "" || !s.Since.Equal(newest) })
}

func (t target) String() string { return string(t.slot.Name) + " of " + clean(t.service.Name) }

// stopped says that systemd runs the slot, and does not just now: whoever is
// sent there gets a 502.
func (t target) stopped() bool {
	if t.slot.Unit == "" || t.slot.Runs == nil {
		return false
	}
	switch t.slot.Runs.Active {
	case "inactive", "failed", "deactivating":
		return true
	}
	return strings.HasPrefix(t.slot.Runs.Sub, "auto-restart") // it has exited, and will be tried again
}

// mayBeSick says that something else may be wrong than that nobody started it.
func (t target) mayBeSick() bool { return !t.stopped() || t.slot.Runs.Active != "inactive" }

func (t target) isHealthy() bool { return t.slot.Health.State == healthy }

// down says why requests would fail on the slot; empty if it looks well.
func (t target) down() string {
	switch {
	case t.stopped():
		return fmt.Sprintf("%s does not answer, %s is %s: requests will fail with 502", t, clean(t.slot.Unit), clean(t.slot.Runs.Active))
	case t.isHealthy():
		return ""
	case t.slot.Health.Error != "":
		return fmt.Sprintf("%s is not healthy (%s): requests will fail, with 502 if it does not answer", t, clean(t.slot.Health.Error))
	}
	return fmt.Sprintf("whether %s answers is not known: requests will fail with 502 if it does not", t)
}

// bad says that the slot has what was returned from; empty if it has not.
func (t target) bad() string {
	for _, b := range t.service.BadReleases {
		if b.Release == t.slot.Release && b.Release != "" {
			return fmt.Sprintf("release %s of %s was returned from at %s: %s", clean(b.Release), t, clock(b.Since), cmp.Or(clean(b.Reason), "no reason was given"))
		}
	}
	if t.service.RolledBack && t.slot.Name == t.service.Previous {
		return fmt.Sprintf("%s was returned from at %s", t, clock(t.service.Since))
	}
	return ""
}

// dangers are what a forced move may do, in sentences.
func dangers(all []target, of ...func(target) string) string {
	var texts []string
	for _, t := range all {
		for _, danger := range of {
			if text := danger(t); text != "" {
				texts = append(texts, text)
			}
		}
	}
	return strings.Join(texts, "; ")
}

// confirmForce asks about the dangers that there are. Who has answered already
// reads of requests that will fail all the same.
func (e *env) confirmForce(f *moveFlags, all []target) error {
	what := "--force moves " + f.scope() + " without looking whether the target is healthy"
	if found := dangers(all, target.down, target.bad); found != "" {
		what = found
	}
	if down := dangers(all, target.down); f.yes && down != "" {
		e.warnf("%s", down)
	}
	return e.confirm(f.yes, what)
}

// stoppedError refuses a move to a slot that does not run.
type stoppedError struct {
	at   target
	hint string
}

func (s stoppedError) Error() string {
	return fmt.Sprintf("%v: %s: %s is %s", switcher.ErrUnhealthy, s.at, s.at.slot.Unit, s.at.slot.Runs.Active)
}

func (stoppedError) Unwrap() error  { return switcher.ErrUnhealthy }
func (s stoppedError) Hint() string { return s.hint }

// mayForce refuses to swap to a slot that does not run. Root may have it started
// first; only a switch of root's is done all the same, where both slots are down
// and nothing can get worse.
func (e *env) mayForce(ctx context.Context, f *moveFlags, kind switcher.Kind, all []target) error {
	i := slices.IndexFunc(all, target.stopped)
	if i < 0 || e.uid == 0 && kind == switcher.KindSwitch {
		return e.confirmForce(f, all)
	}
	refused := stoppedError{all[i], e.startHint(all, kind, f.services)}
	r := switcher.Record{Kind: kind, Outcome: switcher.Refused, Forced: true, Error: refused.Error()}
	for _, t := range all {
		r.Moves = append(r.Moves, switcher.Move{Service: t.service.Name, From: t.service.Active, To: t.slot.Name})
	}
	return e.failed(ctx, r, refused, f.json)
}

// startHint is how to get to slots that do not run: what was there before is
// started by a rollback, all else by hand.
func (e *env) startHint(all []target, kind switcher.Kind, services []string) string {
	if kind == switcher.KindRollback {
		return "sudo " + e.self() + " rollback" + serviceFlags(services)
	}
	var units []string
	for _, t := range all {
		if t.stopped() {
			units = append(units, clean(t.slot.Unit))
		}
	}
	return lines("sudo systemctl start "+strings.Join(units, " "), e.self()+" switch --wait 30s"+serviceFlags(services))
}

// startAndReturn is a forced rollback to slots that do not run. The force is
// about what was returned from, and never about a slot that is down: that is
// started and proven first, as without it.
func (e *env) startAndReturn(ctx context.Context, f *moveFlags, all []target) error {
	if found := dangers(all, target.bad); found != "" {
		if err := e.confirm(f.yes, found); err != nil {
			return err
		}
	}
	f.services = nil
	for _, t := range all {
		if t.stopped() {
			e.notef("%s does not run: starting it with its own release", t)
		}
		f.services = append(f.services, t.service.Name)
	}
	return e.rollbackCold(ctx, f, "")
}
