package proxy

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// Why a request did not get a place among those that may be under way. Nothing
// was sent anywhere.
var (
	errQueueFull    = errors.New("as many requests are under way as may be, and too many are waiting")
	errQueueTimeout = errors.New("as many requests were under way as may be, for too long")
)

// inFlight bounds the requests that are under way at one target. Those above
// the bound wait, bounded in number and time, in the order in which they came; a
// swap sends them to the new target. Streams do not count: they may last for
// ever, and what they cost is a connection.
type inFlight struct {
	places  chan struct{} // holds one for each request that is under way
	gone    chan struct{} // closed when the target is retired
	waiting atomic.Int64
	queue   int64
	wait    time.Duration
}

// newInFlight returns nil where the service has no such bound.
func newInFlight(s *Service) *inFlight {
	if s.MaxRequests <= 0 {
		return nil
	}
	return &inFlight{places: make(chan struct{}, s.MaxRequests), gone: make(chan struct{}), queue: int64(s.QueueRequests), wait: s.QueueTime}
}

// tryEnter takes a place if there is one. Whoever waits goes first: while
// somebody does there is none.
func (f *inFlight) tryEnter() bool {
	if f == nil {
		return true
	}
	select {
	case f.places <- struct{}{}:
		return true
	default:
		return false
	}
}

// enter waits for a place. It reports false when the target was retired
// meanwhile, and fails with errQueueFull, errQueueTimeout or ctx's cause.
func (f *inFlight) enter(ctx context.Context) (bool, error) {
	if n := f.waiting.Add(1); n > f.queue {
		f.waiting.Add(-1)
		return false, errQueueFull
	}
	defer f.waiting.Add(-1)
	var late <-chan time.Time
	if f.wait > 0 {
		timer := time.NewTimer(f.wait)
		defer timer.Stop()
		late = timer.C
	}
	select {
	case f.places <- struct{}{}:
		return true, nil
	case <-f.gone:
		return false, nil
	case <-late:
		return false, errQueueTimeout
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
}

// retire lets those who wait look for another target.
func (f *inFlight) retire() {
	if f != nil {
		close(f.gone)
	}
}

// leave gives a place back.
func (f *inFlight) leave() {
	if f != nil {
		<-f.places
	}
}

// release ends the claim.
func (c *claim) release() {
	c.leave()
	c.target.release()
}

// leave gives up the request's place, if it still has it.
func (c *claim) leave() {
	if c.placed {
		c.placed = false
		c.target.inFlight.leave()
	}
}

// beginStream is [target.beginStream]. A stream takes up no place.
func (c *claim) beginStream() {
	c.leave()
	c.target.beginStream()
}

// take makes the claim good that was prepared by table t, or reports that the
// table has changed.
func (p *Proxy) take(c *claim, t *table) bool {
	if !c.target.claim() {
		c.leave()
		return false
	}
	if p.heldSince(t, c.service.Name) {
		c.release()
		return false
	}
	return true
}

// queue waits for a place at the service's target; see [inFlight.enter].
func (r *route) queue(ctx context.Context, had *waited, w waiter) (placed bool, err error) {
	start := time.Now()
	if w != nil {
		waiting, over := w.beginWait(ctx, r.service)
		defer over()
		ctx = waiting
	}
	defer func() { had.held += time.Since(start) }()
	return r.target.inFlight.enter(ctx)
}
