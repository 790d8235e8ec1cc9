package drive

import (
	"errors"
	"slices"
	"sync"
	"time"
)

// Result is what came of a load.
type Result struct {
	// Sent counts requests or messages that were answered well, Failed the others.
	Sent, Failed int64
	// Fault is the first failure's cause.
	Fault   string
	Elapsed time.Duration

	P50, P99, P999, Max time.Duration
	// Late is the 99th percentile of how late the generator itself was. Latencies
	// that are not well above it tell of the generator.
	Late time.Duration
}

// Err is nil if nothing failed.
func (r Result) Err() error {
	if r.Failed == 0 {
		return nil
	}
	return errors.New(r.Fault)
}

// tally collects what all connections see.
type tally struct {
	mu        sync.Mutex
	latencies []time.Duration
	failed    int64
	fault     error
}

// good takes over what one connection has seen.
func (t *tally) good(latencies []time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.latencies = append(t.latencies, latencies...)
}

func (t *tally) bad(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failed++
	if t.fault == nil {
		t.fault = err
	}
}

func (t *tally) result(elapsed time.Duration) Result {
	t.mu.Lock()
	defer t.mu.Unlock()
	slices.Sort(t.latencies)
	r := Result{Sent: int64(len(t.latencies)), Failed: t.failed, Elapsed: elapsed}
	if t.fault != nil {
		r.Fault = t.fault.Error()
	}
	r.P50, r.P99, r.P999 = quantile(t.latencies, 0.5), quantile(t.latencies, 0.99), quantile(t.latencies, 0.999)
	r.Max = quantile(t.latencies, 1)
	return r
}

// quantile is the smallest of the sorted values that at least the q-th part of
// them does not exceed.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	rank := int(q * float64(len(sorted)))
	if float64(rank) < q*float64(len(sorted)) {
		rank++
	}
	return sorted[min(max(rank-1, 0), len(sorted)-1)]
}
