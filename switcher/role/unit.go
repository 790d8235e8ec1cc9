package role

import (
	"context"
	"fmt"
)

// Units is what a [Unit] needs of systemd. Both return once the unit has
// started or stopped, and nil where it had already.
type Units interface {
	Start(ctx context.Context, unit string) error
	Stop(ctx context.Context, unit string) error
}

// Unit starts a unit for the active slot and stops it for the standby.
type Unit struct {
	Units Units
	Name  string
}

// Tell is a [Way].
func (u Unit) Tell(ctx context.Context, o Order) error {
	do, doing := u.Units.Stop, "stopping"
	if o.Role == Active {
		do, doing = u.Units.Start, "starting"
	}
	if err := do(ctx, u.Name); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return fmt.Errorf("%s %s: %w", doing, u.Name, err)
	}
	return nil
}
