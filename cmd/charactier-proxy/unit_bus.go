package main

import (
	"context"

	"charactier-proxy/systemd"
)

// systemdUnits is systemd as the daemon sees it.
type systemdUnits struct{ *systemd.Units }

func connectSystemd(ctx context.Context) (unitBus, error) {
	u, err := systemd.ConnectUnits(ctx)
	if err != nil {
		return nil, err
	}
	return systemdUnits{u}, nil
}

// Follow tells of a unit what the daemon wants to know.
func (u systemdUnits) Follow(ctx context.Context, unit string, changed func(unitState) bool) error {
	return u.Units.Follow(ctx, unit, func(s systemd.UnitState) bool {
		return changed(unitState{
			Load: s.LoadState, Active: s.ActiveState, Sub: s.SubState, Result: s.Result, Enabled: s.UnitFileState,
			Restarts: s.NRestarts, Invocation: s.InvocationID, Since: s.ActiveSince,
		})
	})
}
