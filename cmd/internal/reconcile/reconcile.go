package reconcile

import (
	"context"
	"errors"
	"fmt"
	"time"

	"charactier-proxy/switcher"
	"charactier-proxy/systemd"
)

// Units is what is needed of systemd.
type Units interface {
	State(ctx context.Context, unit string) (systemd.UnitState, error)
	Start(ctx context.Context, unit string) error
	Stop(ctx context.Context, unit string) error
	Enable(ctx context.Context, units ...string) error
	Disable(ctx context.Context, units ...string) error
}

// Service is one service as the daemon has it.
type Service struct {
	Name            string
	Active, Standby Slot
	Since           time.Time     // when Active became active
	Warm            time.Duration // how long the standby goes on; negative: for ever
	Held            bool          // somebody is at work on it
	Baking          bool          // the traffic may be returned at any moment
	// Unsettled says that an operation or a deploy is not at its end, whether
	// somebody is at work on it or not: the standby may be the next to be active.
	Unsettled bool
}

// Slot is one slot of a service; without a unit it is left alone.
type Slot struct {
	Name switcher.Slot
	Unit string
	Busy bool // requests or streams are on it
}

// Reconciler holds what a run needs.
type Reconciler struct {
	Units Units
	Now   func() time.Time
	Say   func(sentence string) // once for each thing that was done or left
	// Look asks the daemon for the service as it is now.
	Look func(ctx context.Context, service string) (Service, error)
	// Lock keeps deploys from enabling units until unlock is called.
	Lock func(ctx context.Context) (unlock func(), err error)
	// EnableOnly leaves alone what runs: what the daemon knows is not known.
	EnableOnly bool
}

// Run goes through all services. What fails for one does not keep the others
// from being done.
func (r *Reconciler) Run(ctx context.Context, services []Service) error {
	var problems []error
	for _, s := range services {
		if err := r.service(ctx, s); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", s.Name, err))
		}
	}
	return errors.Join(problems...)
}

func (r *Reconciler) service(ctx context.Context, s Service) error {
	active, err := r.state(ctx, s.Active)
	if err != nil {
		return err
	}
	standby, err := r.state(ctx, s.Standby)
	if err != nil {
		return err
	}
	// In this order there is always one that is enabled, and one that runs.
	if err = r.enable(ctx, s, active); err == nil {
		err = r.disable(ctx, s, standby)
	}
	if r.EnableOnly || s.Held {
		return err
	}
	return errors.Join(err, r.start(ctx, s, active), r.stop(ctx, s, standby))
}

// state is that of the slot's unit; a unit that is not there is all empty.
func (r *Reconciler) state(ctx context.Context, s Slot) (systemd.UnitState, error) {
	if s.Unit == "" {
		return systemd.UnitState{}, nil
	}
	state, err := r.Units.State(ctx, s.Unit)
	if state.LoadState == "not-found" {
		return systemd.UnitState{}, err
	}
	return state, err
}

func (r *Reconciler) sayf(format string, args ...any) { r.Say(fmt.Sprintf(format, args...)) }

// enable makes a reboot start the active slot. A unit without [Install], or one
// that somebody masked, was meant so.
func (r *Reconciler) enable(ctx context.Context, s Service, state systemd.UnitState) error {
	switch {
	case state.UnitFileState == "masked", state.UnitFileState == "masked-runtime":
		r.sayf("left %s masked, although %s is the active slot of %s: systemctl unmask %s", s.Active.Unit, s.Active.Name, s.Name, s.Active.Unit)
	case isOff(state):
		if err := r.Units.Enable(ctx, s.Active.Unit); err != nil {
			return err
		}
		r.sayf("enabled %s: %s is the active slot of %s", s.Active.Unit, s.Active.Name, s.Name)
	}
	return nil
}

// disable keeps a reboot from starting the standby too. A deploy enables a
// standby before it switches to it, so that it stays enabled whatever is cut off
// in between, and what was known a moment ago must not undo that. Under the lock
// a deploy either has begun, and is seen, or enables when this is over.
func (r *Reconciler) disable(ctx context.Context, s Service, state systemd.UnitState) error {
	if !isOn(state) || s.Unsettled || s.Baking {
		return nil
	}
	unlock, err := r.Lock(ctx)
	if err != nil {
		return fmt.Errorf("disabling %s: %w", s.Standby.Unit, err)
	}
	defer unlock()
	now, err := r.Look(ctx, s.Name)
	if err != nil || now.Standby.Name != s.Standby.Name || now.Unsettled || now.Baking {
		return err
	}
	active, err := r.state(ctx, s.Active)
	if err != nil || isOff(active) {
		return err // somebody disabled it meanwhile: then nothing would start
	}
	if isOn(active) {
		// Perhaps systemd just has not read its files since: who disables a unit may be
		// killed before the reload.
		if err := r.Units.Enable(ctx, s.Active.Unit); err != nil {
			return err
		}
	}
	if err := r.Units.Disable(ctx, s.Standby.Unit); err != nil {
		return errors.Join(err, r.enableAgain(ctx, s)) // it may be disabled all the same
	}
	r.sayf("disabled %s: %s is the standby of %s", s.Standby.Unit, s.Standby.Name, s.Name)
	return r.enableAgain(ctx, s)
}

// enableAgain takes back the disabling of a unit that became the active slot's
// meanwhile: a switch waits for nobody.
func (r *Reconciler) enableAgain(ctx context.Context, s Service) error {
	return r.regret(ctx, s, func(ctx context.Context, now Slot) error {
		if err := r.Units.Enable(ctx, now.Unit); err != nil {
			return err
		}
		r.sayf("enabled %s again: a switch to %s came while it was being disabled", now.Unit, now.Name)
		return nil
	})
}

func isOn(s systemd.UnitState) bool {
	return s.UnitFileState == "enabled" || s.UnitFileState == "enabled-runtime"
}

// isOff is for units that could be enabled and are not, beyond the next boot.
func isOff(s systemd.UnitState) bool {
	return s.UnitFileState == "disabled" || s.UnitFileState == "enabled-runtime" || s.UnitFileState == "linked"
}

// start starts the active slot's unit if somebody stopped it, or nobody started
// it. One that fails is systemd's to start again, and an operator's to mend.
func (r *Reconciler) start(ctx context.Context, s Service, state systemd.UnitState) error {
	unit := s.Active.Unit
	switch {
	case state.LoadState != "loaded":
	case state.ActiveState == "failed":
		r.sayf("left %s alone, although %s is the active slot of %s: it has failed (%s), see journalctl -u %s", unit, s.Active.Name, s.Name, state.Result, unit)
	case state.SubState == "auto-restart", state.SubState == "auto-restart-queued":
		r.sayf("left %s alone, although %s is the active slot of %s: it exits and is started again (%d restarts), see journalctl -u %s", unit, s.Active.Name, s.Name, state.NRestarts, unit)
	case state.ActiveState == "inactive":
		if err := r.Units.Start(ctx, unit); err != nil {
			return err
		}
		r.sayf("started %s: %s is the active slot of %s, and it did not run", unit, s.Active.Name, s.Name)
	}
	return nil
}

// leastWarm is how long a standby runs that was started after the switch: by
// somebody who is about to use it.
const leastWarm = 10 * time.Minute

// Overdue is for how long a standby has run longer than its warm time; negative
// if it has not. It became standby at since, and its unit runs since started.
func Overdue(now, since, started time.Time, warm time.Duration) time.Duration {
	if started.After(since) {
		since, warm = started, max(warm, leastWarm)
	}
	return now.Sub(since) - warm
}

// stop ends a standby that nobody needs any more.
func (r *Reconciler) stop(ctx context.Context, s Service, state systemd.UnitState) error {
	if state.ActiveState != "active" || s.Warm < 0 || s.Busy() || Overdue(r.Now(), s.Since, state.ActiveSince, s.Warm) < 0 {
		return nil
	}
	now, err := r.Look(ctx, s.Name)
	if err != nil {
		return err
	}
	if now.Standby.Name != s.Standby.Name || now.Busy() || now.Held {
		return nil // it is about to be used, or was just switched to
	}
	if err := r.Units.Stop(ctx, s.Standby.Unit); err != nil {
		return errors.Join(err, r.startAgain(ctx, s)) // it may be stopping all the same
	}
	r.sayf("stopped %s: %s is the standby of %s, and its warm time of %v is over", s.Standby.Unit, s.Standby.Name, s.Name, s.Warm)
	return r.startAgain(ctx, s)
}

// startAgain starts a unit that became the active slot's while it was being
// stopped.
func (r *Reconciler) startAgain(ctx context.Context, s Service) error {
	return r.regret(ctx, s, func(ctx context.Context, now Slot) error {
		if err := r.Units.Start(ctx, now.Unit); err != nil {
			return err
		}
		r.sayf("started %s again: a switch to %s came while it was being stopped", now.Unit, now.Name)
		return nil
	})
}

// Busy says that the standby may be needed the next moment.
func (s Service) Busy() bool { return s.Standby.Busy || s.Baking }

// regretTime is how long that may take beyond the time for all else, which a
// unit that does not want to stop may have used up.
const regretTime = 15 * time.Second

// regret calls mend if what was the standby has become active.
func (r *Reconciler) regret(ctx context.Context, s Service, mend func(context.Context, Slot) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), regretTime)
	defer cancel()
	now, err := r.Look(ctx, s.Name)
	if err != nil || now.Active.Name != s.Standby.Name {
		return err
	}
	return mend(ctx, now.Active)
}
