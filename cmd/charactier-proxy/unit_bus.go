package main

import (
	"context"
	"os"

	"charactier-proxy/systemd"
)

// systemdBus is systemd as the daemon sees it.
type systemdBus struct{ *systemd.Units }

// connectSystemd reaches systemd.
func connectSystemd(ctx context.Context) (unitBus, error) {
	u, err := systemd.ConnectUnits(ctx)
	if err != nil {
		return nil, err
	}
	return systemdBus{u}, nil
}

// systemdOf returns how to reach the systemd of this machine, and nil where
// another program is process 1 (sd_booted(3)).
func systemdOf() func(context.Context) (unitBus, error) {
	if _, err := os.Lstat("/run/systemd/system"); err != nil {
		return nil
	}
	return connectSystemd
}

// Follow tells of a unit's states.
func (b systemdBus) Follow(ctx context.Context, unit string, changed func(unitState) bool) error {
	return b.Units.Follow(ctx, unit, func(s systemd.UnitState) bool {
		return changed(unitState{
			Load: s.LoadState, Active: s.ActiveState, Sub: s.SubState, Result: s.Result, Enabled: s.UnitFileState,
			Restarts: s.NRestarts, Invocation: s.InvocationID, Since: s.ActiveSince,
		})
	})
}
