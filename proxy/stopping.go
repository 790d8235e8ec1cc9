package proxy

import (
	"context"
	"errors"
	"time"
)

// errStopping is why requests wait for a slot that is about to stop.
var errStopping = errors.New("the slot is about to stop")

// Stopping says that a slot is about to stop. Once it has returned, nothing is sent
// to it before it has gone and come again: if it is the active one, what comes
// waits as in an [Outage]. It waits, until ctx ends, for the answers to what the slot
// has got already, because a process that ends may lose what it has not read yet,
// and returns how many there are still; streams do not count. A slot that does not
// go gets its requests after half of the longest time that one waits.
func (p *Proxy) Stopping(ctx context.Context, service, slot string) (left int64, active bool) {
	r := p.table.Load().routes[service]
	if r == nil || r.target.Slot != slot {
		return 0, false
	}
	r.target.room.announce(errStopping, r.service.HoldTime/2)
	return r.target.awaitAnswers(ctx), true
}

// awaitAnswers waits until no request is open, streams apart.
func (t *target) awaitAnswers(ctx context.Context) (left int64) {
	const lookAgain = 2 * time.Millisecond
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	for {
		if left, _ = t.open(); left == 0 {
			return 0
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return left
		}
	}
}
