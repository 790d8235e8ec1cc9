package proxy

import (
	"context"
	"math"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// target is one slot's address with its connection pool and its count of
// claims. It is made when its slot becomes active and retired by the swap that
// replaces it; a slot that becomes active again gets a new one.
type target struct {
	// Service and Slot name the place; Address is "host:port" or "unix:/path".
	Service, Slot, Address string

	transport roundTripper
	stats     *slotStats
	inFlight  *inFlight // nil means no bound
	room      *waitingRoom

	// claims counts the requests that hold the target. Retiring adds
	// math.MinInt64, so a negative count means retired and a retired target with
	// no claims reads exactly math.MinInt64: one atomic word answers both
	// questions, which is what leaves P2 no gap.
	claims  atomic.Int64
	streams atomic.Int64 // those claims that are streams: upgrades, event streams
	opened  streamSet    // the same, for who wants them to end

	mu      sync.Mutex
	changed chan struct{} // closed and replaced whenever a retired target's counts fall
	moved   int64         // claims at the instant of retiring
	retired time.Time
}

// roundTripper is what a target needs of its way to the slot.
type roundTripper interface {
	// RoundTrip is that of [http.RoundTripper], but that an *unsentError leaves
	// the request's body open.
	RoundTrip(*http.Request) (*http.Response, error)
	wayToSlot
	// Retire closes the idle connections and keeps no further one.
	Retire()
}

func newTarget(s *Service, slot string, rt roundTripper, stats *slotStats, tell func(Outage)) *target {
	return &target{
		Service: s.Name, Slot: slot, Address: s.Slots[slot],
		transport: rt, stats: stats, room: newWaitingRoom(s, slot, rt, &stats.refused, tell), inFlight: newInFlight(s), changed: make(chan struct{}),
	}
}

// claim counts a request in, or refuses because the target is retired.
func (t *target) claim() bool {
	if t.claims.Add(1) > 0 {
		return true
	}
	t.release()
	return false
}

// release ends a claim.
func (t *target) release() {
	if t.claims.Add(-1) < 0 {
		t.announce()
	}
}

// beginStream says that a claim turned out to be a stream, which drains apart;
// endStream must follow, before release.
func (t *target) beginStream() {
	t.streams.Add(1)
	t.stats.streams.Add(1)
	if t.claims.Load() < 0 {
		t.announce()
	}
}

func (t *target) endStream() {
	t.streams.Add(-1)
}

// retire makes every later claim refuse. It must be called once, after the table
// that no longer names t was stored.
func (t *target) retire() {
	before := t.claims.Add(math.MinInt64) - math.MinInt64
	t.mu.Lock()
	t.moved, t.retired = before, time.Now()
	t.mu.Unlock()
	t.inFlight.retire()
}

// announce wakes those who drain t.
func (t *target) announce() {
	t.mu.Lock()
	close(t.changed)
	t.changed = make(chan struct{})
	t.mu.Unlock()
}

// open reports the claims that are left, split into requests and streams. The
// two counters are read one after the other, so the split may be off by what
// changes in between; their sum of zero is exact once t is retired.
func (t *target) open() (requests, streams int64) {
	claims := t.claims.Load()
	if claims < 0 {
		claims -= math.MinInt64
	}
	streams = min(t.streams.Load(), claims)
	return claims - streams, streams
}

// drained reports whether t is retired and no claim is left on it.
func (t *target) drained() bool { return t.claims.Load() == math.MinInt64 }

// drain waits until no request is left on t. Streams are not waited for: they
// end by their own rules and are reported as open. The error is ctx's.
func (t *target) drain(ctx context.Context) (DrainCount, error) {
	for {
		t.mu.Lock()
		changed, moved, since := t.changed, t.moved, t.retired
		t.mu.Unlock()
		requests, streams := t.open()
		count := DrainCount{
			Service: t.Service, Slot: t.Slot,
			Moved: moved, OpenRequests: requests, OpenStreams: streams, Took: time.Since(since),
		}
		if requests == 0 {
			return count, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return count, context.Cause(ctx)
		}
	}
}

// DrainCount says what became of the claims that a target had when it was
// retired.
type DrainCount struct {
	Service, Slot string
	// Moved is the number of claims at the instant of the swap.
	Moved int64
	// OpenRequests and OpenStreams are those that have not ended.
	OpenRequests, OpenStreams int64
	// Took is the time since the swap.
	Took time.Duration
}

// Retired is what a swap replaced.
type Retired struct{ targets []*target }

// Drain waits until no request is left on any of the retired targets or ctx
// ends, and returns the counts in either case; the error is ctx's cause.
// Streams are counted but not waited for.
func (r *Retired) Drain(ctx context.Context) ([]DrainCount, error) {
	counts := make([]DrainCount, 0, len(r.targets))
	var first error
	for _, t := range r.targets {
		count, err := t.drain(ctx)
		if first == nil {
			first = err
		}
		counts = append(counts, count)
	}
	return counts, first
}
