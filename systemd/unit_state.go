package systemd

import (
	"context"
	"encoding/hex"
	"fmt"
	"time"
)

// UnitState is what systemd says of a unit at one moment. Times and processes
// are those of the unit's last run.
type UnitState struct {
	Name          string // the unit's own one, where it was asked for by an alias
	LoadState     string // "loaded", "not-found", "masked", "bad-setting", "error"
	ActiveState   string // "active", "reloading", "inactive", "failed", "activating", "deactivating"
	SubState      string // "running", "exited", "auto-restart", …
	Result        string // of a service: "success", "exit-code", "signal", "timeout", "oom-kill", …
	UnitFileState string // "enabled", "disabled", "static", "masked", …
	Type          string // of a service: "exec", "notify", "oneshot", …

	MainPID   uint32
	NRestarts uint32 // by Restart=, since it was started by somebody

	ExecMainCode   int32 // how the main process ended: CLD_EXITED, CLD_KILLED or CLD_DUMPED; 0 if it has not
	ExecMainStatus int32 // its exit code, or the number of the signal

	InvocationID string    // of this run, in hex
	ActiveSince  time.Time // since when the unit is in its ActiveState

	ControlGroup, FragmentPath, User string
}

// How a process ended, as waitid(2) counts.
const (
	cldExited = 1
	cldKilled = 2
	cldDumped = 3
)

// safetyNet is how often Follow looks without having been told to.
const safetyNet = 5 * time.Second

// State asks for the unit's state. A unit that is not there has the LoadState
// "not-found", which is no error.
func (u *Units) State(ctx context.Context, unit string) (UnitState, error) {
	s, err := u.state(ctx, unit)
	if err != nil {
		return s, fmt.Errorf("asking for the state of %s: %w", unit, err)
	}
	return s, nil
}

func (u *Units) state(ctx context.Context, unit string) (UnitState, error) {
	properties, err := u.conn.GetAllPropertiesContext(ctx, unit)
	if err != nil {
		return UnitState{}, u.explain(ctx, err)
	}
	return newUnitState(properties), nil
}

// newUnitState takes what is there: units other than services lack the most.
func newUnitState(p map[string]any) UnitState {
	return UnitState{
		Name:           property[string](p, "Id"),
		LoadState:      property[string](p, "LoadState"),
		ActiveState:    property[string](p, "ActiveState"),
		SubState:       property[string](p, "SubState"),
		Result:         property[string](p, "Result"),
		UnitFileState:  property[string](p, "UnitFileState"),
		Type:           property[string](p, "Type"),
		MainPID:        property[uint32](p, "MainPID"),
		NRestarts:      property[uint32](p, "NRestarts"),
		ExecMainCode:   property[int32](p, "ExecMainCode"),
		ExecMainStatus: property[int32](p, "ExecMainStatus"),
		InvocationID:   hex.EncodeToString(property[[]byte](p, "InvocationID")),
		ActiveSince:    timestamp(property[uint64](p, "StateChangeTimestamp")),
		ControlGroup:   property[string](p, "ControlGroup"),
		FragmentPath:   property[string](p, "FragmentPath"),
		User:           property[string](p, "User"),
	}
}

func property[T any](properties map[string]any, name string) T {
	value, _ := properties[name].(T)
	return value
}

func timestamp(usec uint64) time.Time {
	if usec == 0 || usec == notSet {
		return time.Time{}
	}
	return time.UnixMicro(int64(usec))
}

// notSet is how D-Bus says what systemctl shows as "[not set]" or "infinity".
const notSet = ^uint64(0)

// Runs reports whether the unit is on its way up, up, or on its way down. One
// that waits for its next restart does not run.
func (s UnitState) Runs() bool {
	switch s.ActiveState {
	case "active", "reloading", "deactivating":
		return true
	case "activating":
		return !s.restarts()
	}
	return false
}

// restarts reports whether the last run has ended and Restart= brings another.
func (s UnitState) restarts() bool {
	return s.SubState == "auto-restart" || s.SubState == "auto-restart-queued"
}

// Follow calls changed with the unit's state now and after each change, until
// changed returns false, which is no error, or ctx ends, which is its error.
// States that follow each other faster than they are asked for are told as one:
// InvocationID and NRestarts give a restart away.
func (u *Units) Follow(ctx context.Context, unit string, changed func(UnitState) bool) error {
	if err := u.follow(ctx, unit, changed); err != nil {
		return fmt.Errorf("following %s: %w", unit, err)
	}
	return nil
}

func (u *Units) follow(ctx context.Context, unit string, changed func(UnitState) bool) error {
	s, err := u.state(ctx, unit)
	if err != nil {
		return err
	}
	// Signals come from the unit's own name, not from its aliases.
	rung, leave, err := u.watch(ctx, s.Name)
	if err != nil {
		return err
	}
	defer leave()
	defer u.hold(ctx, s.Name)()
	tick := time.NewTicker(safetyNet)
	defer tick.Stop()
	for told := (UnitState{}); ; {
		s, err := u.state(ctx, unit)
		if err != nil {
			return err
		}
		if s != told && !changed(s) {
			return nil
		}
		told = s
		select {
		case <-rung:
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-u.signals.Context().Done():
			return ErrDisconnected
		}
	}
}

// AwaitExit blocks while the unit runs as it does now. Once it has ended or was
// restarted, by whomever, it returns a [UnitError] that says how; if ctx ends
// before, its error. It is what goes on beside the waiting for a started
// service: Start returns before most programs have proven themselves.
func (u *Units) AwaitExit(ctx context.Context, unit string) error {
	var first, last UnitState
	err := u.follow(ctx, unit, func(s UnitState) bool {
		if first.Name == "" {
			first = s
		}
		last = s
		return s.Runs() && s.InvocationID == first.InvocationID && s.NRestarts == first.NRestarts
	})
	if err != nil {
		return fmt.Errorf("following %s: %w", unit, err)
	}
	return u.blame(ctx, &UnitError{Unit: unit, Doing: Running, State: last}, first)
}
