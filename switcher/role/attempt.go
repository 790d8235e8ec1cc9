package role

import (
	"context"
	"errors"
	"fmt"
	"time"

	"charactier-proxy/switcher"
)

// The pauses between two attempts of which the first failed.
const (
	minPause = 100 * time.Millisecond
	maxPause = 5 * time.Second
)

// attempt is one order on its way to a slot.
type attempt struct {
	Order
	ctx    context.Context // ends when the order is out of date
	giveUp context.CancelFunc
	lives  int
	dead   bool
}

// outdated reports that something else is wanted by now, or that the one who was
// told is not there any more.
func (a attempt) outdated(p *post) bool {
	return a.lives != p.lives || a.Role != p.order.Role || a.Generation != p.order.Generation
}

// outcome is how an attempt ended, at the process and beside it.
type outcome struct{ process, beside error }

func (o outcome) err() error { return joined(o.process, o.beside) }

// nobody reports that all is done but for a process that is not there.
func (o outcome) nobody() bool { return o.beside == nil && errors.Is(o.process, ErrNobody) }

// next returns what to tell the slot now, or how long to wait before looking
// again.
func (k *Keeper) next(ctx context.Context, slot switcher.Slot) (attempt, time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lookLocked()
	p, other := k.posts[slot], k.posts[slot.Other()]
	wait := time.Until(p.due)
	if p.order.Role == Active && other.yielded != p.order.Generation {
		wait = max(wait, time.Until(p.since.Add(k.opts.Timeout)))
	}
	if wait > 0 {
		return attempt{}, wait
	}
	a := attempt{Order: p.order, lives: p.lives, dead: p.dead}
	a.ctx, a.giveUp = context.WithCancel(ctx)
	p.giveUp = a.giveUp
	return a, 0
}

// try tells the slot once.
func (k *Keeper) try(a attempt) (o outcome) {
	defer a.giveUp()
	a.Release = k.opts.Release(a.Slot)
	if !a.dead {
		o.process = k.tell(a, k.opts.Process[a.Slot])
	}
	o.beside = k.tell(a, k.opts.Beside[a.Slot])
	return o
}

// tell goes all the ways, whatever becomes of one of them.
func (k *Keeper) tell(a attempt, ways []Way) error {
	errs := make([]error, len(ways))
	for i, w := range ways {
		ctx, cancel := context.WithTimeoutCause(a.ctx, k.opts.Timeout, fmt.Errorf("no answer within %s", k.opts.Timeout))
		errs[i] = w.Tell(ctx, a.Order)
		cancel()
	}
	return joined(errs...)
}

// joined puts errors into one line.
func joined(errs ...error) (all error) {
	for _, err := range errs {
		switch {
		case all == nil:
			all = err
		case err != nil:
			all = fmt.Errorf("%w; %w", all, err)
		}
	}
	return all
}

// conclude remembers how an attempt ended, and tells of it where it is news.
func (k *Keeper) conclude(ctx context.Context, a attempt, o outcome) {
	if status, news := k.learn(ctx, a, o); news {
		k.opts.OnChange(a.Slot, status)
	}
}

func (k *Keeper) learn(ctx context.Context, a attempt, o outcome) (_ Status, news bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	p, err := k.posts[a.Slot], o.err()
	heard := !a.dead || len(k.opts.Process[a.Slot]) == 0
	if err == nil && heard && a.lives == p.lives {
		// Also where it is not wanted any more: this is what the slot does now.
		news = p.said != a.Role || p.failures > 0
		p.take(a.Order)
	}
	if a.outdated(p) || ctx.Err() != nil {
		return p.status(), news // the next attempt is due already
	}
	if p.err = err; err == nil {
		p.failures = 0
	} else {
		p.failures++
		news = p.failures == 1 && !(a.Role == Standby && o.nobody())
	}
	if a.Role == Standby && (err == nil || o.nobody()) {
		p.yielded = a.Generation
		signal(k.posts[a.Slot.Other()].wake)
	}
	p.due = time.Now().Add(k.pause(p.failures))
	return p.status(), news
}

// take remembers what the slot took.
func (p *post) take(o Order) {
	if p.took.Role != o.Role || p.took.Generation != o.Generation {
		p.tookAt = time.Now()
	}
	p.took, p.said = o, o.Role
}

// pause is how long to wait before the next attempt.
func (k *Keeper) pause(failures int) time.Duration {
	if failures == 0 {
		return k.opts.Refresh
	}
	return min(minPause<<min(failures-1, 16), maxPause, k.opts.Refresh)
}
