package main

import (
	"cmp"
	"context"
	"errors"
	"time"

	"charactier-proxy/cmd/internal/reconcile"
)

const (
	// lockTime is how long a deploy waits for a reconcile that disables a unit. One
	// that hangs keeps no deploy.
	lockTime = 10 * time.Second
	// lockQuiet is how long it says nothing of that: a reconcile is that quick.
	lockQuiet = time.Second
)

// lockUnits locks dir against reconciles, or goes on without that when it has
// waited long enough.
func lockUnits(ctx context.Context, dir string, say func(string, ...any)) (unlock func()) {
	whole, cancel := context.WithTimeout(ctx, lockTime)
	defer cancel()
	quiet, end := context.WithTimeout(whole, lockQuiet)
	defer end()
	unlock, err := reconcile.Lock(quiet, dir)
	if errors.Is(err, context.DeadlineExceeded) && whole.Err() == nil {
		say("waiting at most %s for %s, which is locked by %s, before units are enabled", lockTime, dir, cmp.Or(reconcile.Holder(dir), "somebody unknown"))
		unlock, err = reconcile.Lock(whole, dir)
	}
	switch {
	case err == nil:
		return unlock
	case ctx.Err() == nil:
		say("enabling units beside whoever has %s locked: %v", dir, err)
	}
	return func() {}
}
