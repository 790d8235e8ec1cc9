package systemd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Start starts the unit and waits for the job's result. What it failed of
// before is forgotten first, the limit on its starts included; one that waits
// for its next restart is started at once. A unit that runs already is left as
// it is.
//
// A unit that cannot be started, whose job failed or that ended right away
// gives a [UnitError]. Only a unit of Type=notify is known to work now; of
// others, see [Units.AwaitExit]. Whatever the error, the unit is left to its own
// devices, Restart= included. If ctx ends, the job goes on.
func (u *Units) Start(ctx context.Context, unit string) error {
	return while(Starting, unit, u.start(ctx, unit))
}

func (u *Units) start(ctx context.Context, unit string) error {
	defer u.hold(ctx, unit)()
	s, err := u.state(ctx, unit)
	if err != nil {
		return err
	}
	if s.LoadState != "loaded" {
		return &UnitError{Unit: unit, Doing: Starting, State: s}
	}
	if err := u.forget(ctx, s); err != nil {
		return err
	}
	result, err := u.job(ctx, u.conn.StartUnitContext, unit)
	if err != nil {
		return err
	}
	restarts := uint32(0)
	if s.Runs() {
		restarts = s.NRestarts
	}
	return u.judgeStart(ctx, unit, result, restarts)
}

// forget makes a unit that does not run as new.
func (u *Units) forget(ctx context.Context, s UnitState) error {
	if s.restarts() {
		// A start would wait until the restart is due, and count as one.
		if _, err := u.job(ctx, u.conn.StopUnitContext, s.Name); err != nil {
			return err
		}
	}
	if s.Runs() {
		return nil
	}
	err := u.conn.ResetFailedUnitContext(ctx, s.Name)
	if isNotLoaded(err) {
		return nil
	}
	return u.explain(ctx, err)
}

// judgeStart looks at what a start job left of a unit that had been restarted so
// often before.
func (u *Units) judgeStart(ctx context.Context, unit, result string, restarts uint32) error {
	var s UnitState
	// A start that timed out is over for its job while the program still ends.
	err := u.follow(ctx, unit, func(now UnitState) bool {
		s = now
		return s.ActiveState == "deactivating"
	})
	if err != nil {
		return err
	}
	e := &UnitError{Unit: unit, Doing: Starting, State: s}
	if result != "done" {
		e.Job = result
		return u.blame(ctx, e, s)
	}
	if s.Runs() && s.NRestarts == restarts {
		return nil
	}
	if e.Unmet, err = u.unmet(ctx, unit); err != nil {
		return err
	}
	if s.Type == "oneshot" && s.ActiveState == "inactive" && s.Result == "success" && e.Unmet == "" {
		return nil
	}
	return u.blame(ctx, e, s)
}

// unmet is the condition that kept a unit from starting: for systemd such a
// start is done and well.
func (u *Units) unmet(ctx context.Context, unit string) (string, error) {
	properties, err := u.conn.GetUnitPropertiesContext(ctx, unit)
	if err != nil {
		return "", u.explain(ctx, err)
	}
	if met, known := properties["ConditionResult"].(bool); met || !known || property[uint64](properties, "ConditionTimestamp") == 0 {
		return "", nil
	}
	conditions, _ := properties["Conditions"].([][]any)
	for _, c := range conditions { // type, trigger, negate, parameter, state
		if state, _ := c[4].(int32); state < 0 {
			not := ""
			if c[2] == true {
				not = "!"
			}
			return fmt.Sprintf("%v=%s%v", c[0], not, c[3]), nil
		}
	}
	return "see systemctl status " + unit, nil
}

// Stop stops the unit and waits until it does not run. One that does not run,
// or does not exist, is no error, and neither is one that had to be killed:
// its state says that. If ctx ends, the job goes on.
func (u *Units) Stop(ctx context.Context, unit string) error {
	return while(Stopping, unit, u.stop(ctx, unit))
}

func (u *Units) stop(ctx context.Context, unit string) error {
	result, err := u.job(ctx, u.conn.StopUnitContext, unit)
	if isNotLoaded(err) {
		return nil
	}
	if err != nil || result == "done" {
		return err
	}
	s, err := u.state(ctx, unit)
	if err != nil || s.ActiveState == "inactive" || s.ActiveState == "failed" {
		return err
	}
	return u.blame(ctx, &UnitError{Unit: unit, Doing: Stopping, Job: result, State: s}, s)
}

// job asks for one and waits for its result.
func (u *Units) job(ctx context.Context, ask func(context.Context, string, string, chan<- string) (int, error), unit string) (result string, err error) {
	// With room for the result: who sends it waits for nobody.
	results := make(chan string, 1)
	if _, err := ask(ctx, unit, "replace", results); err != nil {
		return "", u.explain(ctx, err)
	}
	return u.await(ctx, results)
}

func (u *Units) await(ctx context.Context, results <-chan string) (string, error) {
	select {
	case result := <-results:
		return result, nil
	case <-ctx.Done():
		return "", context.Cause(ctx)
	case <-u.signals.Context().Done():
		return "", ErrDisconnected
	}
}

// Enable makes the units start at boot, and has systemd read its files anew if
// that changed anything. Units that are enabled already are no error.
func (u *Units) Enable(ctx context.Context, units ...string) error {
	installable, changes, err := u.conn.EnableUnitFilesContext(ctx, units, false, false)
	if err != nil {
		return u.explainFiles(ctx, Enabling, units, err)
	}
	if !installable {
		return while(Enabling, strings.Join(units, " "), errors.New("a unit file without an [Install] section cannot be enabled"))
	}
	return u.reloadAfter(ctx, len(changes), units, "disabled")
}

// Disable is the opposite of Enable. It stops nothing.
func (u *Units) Disable(ctx context.Context, units ...string) error {
	changes, err := u.conn.DisableUnitFilesContext(ctx, units, false)
	if err != nil {
		return u.explainFiles(ctx, Disabling, units, err)
	}
	return u.reloadAfter(ctx, len(changes), units, "enabled")
}

// explainFiles names the unit at fault where its state says so.
func (u *Units) explainFiles(ctx context.Context, doing Doing, units []string, err error) error {
	for _, unit := range units {
		if s, stateErr := u.state(ctx, unit); stateErr == nil && s.LoadState != "loaded" {
			return &UnitError{Unit: unit, Doing: doing, State: s}
		}
	}
	return while(doing, strings.Join(units, " "), u.explain(ctx, err))
}

// reloadAfter has systemd read its files anew where something was changed, or
// where it still remembers what was before a change: whoever made that was killed
// before the reload.
func (u *Units) reloadAfter(ctx context.Context, changes int, units []string, before string) error {
	remembers := func(unit string) bool {
		s, err := u.state(ctx, unit)
		return err == nil && s.UnitFileState == before
	}
	if changes == 0 && !slices.ContainsFunc(units, remembers) {
		return nil
	}
	return u.Reload(ctx)
}

// Reload has systemd read all unit files anew, as systemctl daemon-reload does.
func (u *Units) Reload(ctx context.Context) error {
	if err := u.conn.ReloadContext(ctx); err != nil {
		return fmt.Errorf("reloading systemd's unit files: %w", u.explain(ctx, err))
	}
	return nil
}
