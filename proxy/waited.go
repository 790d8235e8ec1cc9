package proxy

import (
	"context"
	"errors"
	"time"
)

// waited is what a request has waited before it got its claim.
type waited struct {
	held   time.Duration
	passed *target // that let it go: it need not wait for it again
	stops  int64   // of that, which had been announced until then
	missed *target // that it waited for last
}

// mayPass reports whether the request need not wait for the target: that takes
// connections, or has let it go and no stop was announced since.
func (w *waited) mayPass(t *target) bool {
	return !t.room.shut.Load() || w.passed == t && w.stops == t.room.stops.Load()
}

// again is what a request has waited that could not connect to the target it
// claimed, which it tried for that long.
func (w waited) again(tried time.Duration) waited {
	w.held += tried
	w.passed = nil
	return w
}

// wait waits for the end of the service's hold or, where there is none, until its
// target takes connections.
func (r *route) wait(ctx context.Context, had *waited, w waiter) error {
	start, before := time.Now(), had.held
	if w != nil {
		waiting, over := w.beginWait(ctx, r.service)
		defer over()
		ctx = waiting
	}
	defer func() { had.held = before + time.Since(start) }()
	if r.hold != nil {
		return r.hold.wait(ctx, before)
	}
	return r.target.await(ctx, start.Add(-before), had)
}

// await waits until the target takes connections, or is not the one to use any
// more.
func (t *target) await(ctx context.Context, came time.Time, had *waited) error {
	anew := had.missed != t
	had.missed, had.passed, had.stops = t, t, t.room.stops.Load()
	err := t.room.wait(ctx, came, had.held, anew)
	if e, ok := err.(*downError); ok {
		e.target = t
	}
	return err
}

// waitCause is why a request waited in vain, if that is what err says.
func waitCause(err error) cause {
	var down *downError
	switch {
	case errors.Is(err, errNoService):
		return causeNoService
	case errors.Is(err, errHoldFull):
		return causeHoldFull
	case errors.Is(err, errHoldTimeout):
		return causeHeldTooLong
	case errors.Is(err, errQueueFull):
		return causeQueueFull
	case errors.Is(err, errQueueTimeout):
		return causeQueuedTooLong
	case errors.As(err, &down):
		return down.cause()
	}
	return ""
}

// settleUnclaimed counts a request that its slot did not take while it waited.
// Its latency is no news of the slot.
func (f *forwarder) settleUnclaimed(status int, err error, id string) {
	var e *downError
	if !errors.As(err, &e) {
		return
	}
	e.target.stats.observe(outcome{status: status, cause: e.cause(), stream: true})
	f.faults.note(f.proxy.opts.Logger, e.target, e.cause(), err, id)
}
