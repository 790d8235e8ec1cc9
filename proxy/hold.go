package proxy

import (
	"context"
	"sync/atomic"
	"time"
)

// hold keeps a service's requests waiting instead of failing them. It is
// bounded in number and time; a waiter leaves with its client.
type hold struct {
	released chan struct{}
	waiting  atomic.Int64
	limit    int64
	bound    time.Duration
}

func newHold(s *Service) *hold {
	return &hold{released: make(chan struct{}), limit: int64(s.HoldRequests), bound: s.HoldTime}
}

// wait blocks until the hold is released. A request that has waited before, in
// an earlier hold, has that much less time here. It fails with errHoldFull,
// errHoldTimeout or ctx's cause, and then nothing was sent anywhere.
func (h *hold) wait(ctx context.Context, waited time.Duration) error {
	if n := h.waiting.Add(1); h.limit > 0 && n > h.limit {
		h.waiting.Add(-1)
		return errHoldFull
	}
	defer h.waiting.Add(-1)
	var timeout <-chan time.Time
	if h.bound > 0 {
		timer := time.NewTimer(h.bound - waited)
		defer timer.Stop()
		timeout = timer.C
	}
	select {
	case <-h.released:
		return nil
	case <-timeout:
		return errHoldTimeout
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
