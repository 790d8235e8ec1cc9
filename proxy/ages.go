package proxy

import (
	"sync/atomic"
	"time"
)

// agesSpan is for how many seconds ages tell a request's age. One that is open
// for longer is taken for a younger one.
const agesSpan = 1024

// ages counts the requests that are open by the second in which they began,
// without locks and without allocating: a slot that never answers ends none, and
// shows in nothing that is counted at an end.
type ages struct {
	since time.Time
	begun [agesSpan]atomic.Int64
}

func (a *ages) begin(at time.Time)  { a.begun[a.index(at)].Add(1) }
func (a *ages) end(began time.Time) { a.begun[a.index(began)].Add(-1) }

// index needs times with a monotonic clock: one that is set must not change it.
func (a *ages) index(at time.Time) int64 { return a.second(at) % agesSpan }

func (a *ages) second(at time.Time) int64 { return int64(max(0, at.Sub(a.since)) / time.Second) }

// snapshot returns how long the open requests have been so at least, in whole
// seconds. Those of the last second are left out.
func (a *ages) snapshot(now time.Time) (h Histogram) {
	second := a.second(now)
	for age := int64(2); age < min(agesSpan, second+1); age++ {
		n := a.begun[(second-age)%agesSpan].Load()
		if n <= 0 {
			continue
		}
		if h.counts == nil {
			h.counts = make([]uint64, buckets)
		}
		h.counts[bucketOf(time.Duration(age-1)*time.Second)] += uint64(n)
	}
	return h
}
