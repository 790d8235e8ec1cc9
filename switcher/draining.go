package switcher

import (
	"context"
	"fmt"
	"time"
)

// Draining is the end of a switch that already counts: requests that still run
// on the slot it left.
type Draining struct {
	drain  Drain
	ended  chan struct{}
	counts []DrainCount
	err    error
}

// drained is the drain of an operation that moved nothing.
func drained() *Draining {
	d := &Draining{ended: make(chan struct{})}
	close(d.ended)
	return d
}

// Wait returns what became of the requests, once none is left, the service's
// drain timeout is over or ctx has ended; the counts are valid each time. The
// error is that of whichever of the two ended it early.
func (d *Draining) Wait(ctx context.Context) ([]DrainCount, error) {
	select {
	case <-d.ended:
		return d.counts, d.err
	default:
	}
	select {
	case <-d.ended:
		return d.counts, d.err
	case <-ctx.Done():
		return d.drain(ctx)
	}
}

// drain watches the drain to its end without the lock, and records the counts.
// The goroutine ends with the drain, its timeout or [Switcher.Close].
func (s *Switcher) drain(r Record, drain Drain) *Draining {
	if drain == nil {
		return drained()
	}
	d := &Draining{drain: drain, ended: make(chan struct{})}
	timeout := s.drainTimeout(r.Moves)
	s.draining.Go(func() {
		ctx, cancel := s.closing, context.CancelFunc(func() {})
		if timeout > 0 {
			ctx, cancel = context.WithTimeout(ctx, timeout)
		}
		defer cancel()
		d.counts, d.err = drain(ctx)
		s.recordDrain(r.clone(), d)
		close(d.ended)
	})
	return d
}

// drainTimeout is the longest of those that moved.
func (s *Switcher) drainTimeout(moves []Move) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	var longest time.Duration
	for _, m := range moves {
		timeout := s.services[m.Service].DrainTimeout
		if timeout == 0 {
			return 0
		}
		longest = max(longest, timeout)
	}
	return longest
}

func (s *Switcher) recordDrain(r Record, d *Draining) {
	if len(d.counts) == 0 {
		return
	}
	r.Drain = d.counts
	s.ledger.amend(r)
	s.mu.Lock()
	if s.last != nil && s.last.ID == r.ID {
		s.last.Drain = r.clone().Drain
	}
	s.mu.Unlock()
	for _, c := range d.counts {
		e := Event{Kind: "drain", Op: r.ID, Service: c.Service, Slot: c.Slot, Level: LevelInfo, Text: c.String()}
		if c.OpenRequests > 0 {
			e.Level = LevelWarn
		}
		s.publish(e)
	}
}

// String is "backend blue: 3 in flight at the swap, 0 requests and 1 stream still
// open after 12ms".
func (c DrainCount) String() string {
	text := fmt.Sprintf("%s %s: %d in flight at the swap, %s and %s still open after %s",
		c.Service, c.Slot, c.Moved, counted(c.OpenRequests, "request"), counted(c.OpenStreams, "stream"), c.Took.Round(time.Millisecond))
	if !c.StreamsUntil.IsZero() {
		text += ", the streams until " + c.StreamsUntil.Local().Format(time.TimeOnly)
	}
	return text
}

// counted is "1 request" or "2 requests".
func counted(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
