package proxy

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// The histogram's buckets are log-linear over microseconds: each power of two
// is cut into 32, so a bucket is at most 1/32 of its value wide and its middle
// is off by 1.6 % at most. The last bucket takes everything from 71 minutes on.
const (
	subBits    = 5
	subBuckets = 1 << subBits
	topBits    = 32
	buckets    = (topBits - subBits + 1) * subBuckets
)

// histogram counts latencies without locks and without allocating.
type histogram [buckets]atomic.Uint64

func (h *histogram) observe(d time.Duration) { h[bucketOf(d)].Add(1) }

func (h *histogram) snapshot() Histogram {
	s := Histogram{counts: make([]uint64, buckets)}
	for i := range h {
		s.counts[i] = h[i].Load()
	}
	return s
}

func bucketOf(d time.Duration) int {
	us := uint64(max(0, d.Microseconds()))
	if us < subBuckets {
		return int(us)
	}
	if us >= 1<<topBits {
		return buckets - 1
	}
	shift := bits.Len64(us) - subBits - 1
	return (shift+1)<<subBits + int(us>>shift) - subBuckets
}

// bucketMiddle is the latency that stands for a bucket.
func bucketMiddle(i int) time.Duration {
	if i < subBuckets {
		return time.Duration(i) * time.Microsecond
	}
	shift := i>>subBits - 1
	low := uint64(i&(subBuckets-1)+subBuckets) << shift
	return time.Duration(low+(1<<shift)/2) * time.Microsecond
}

// Histogram is a snapshot of the latencies of finished requests. The zero value
// is empty.
type Histogram struct{ counts []uint64 }

// Count is the number of latencies.
func (h Histogram) Count() uint64 {
	var sum uint64
	for _, n := range h.counts {
		sum += n
	}
	return sum
}

// Sub returns what was counted since an earlier snapshot of the same slot.
func (h Histogram) Sub(earlier Histogram) Histogram {
	diff := Histogram{counts: make([]uint64, buckets)}
	copy(diff.counts, h.counts)
	for i, n := range earlier.counts {
		diff.counts[i] -= min(n, diff.counts[i])
	}
	return diff
}

// With returns it together with those of another that exceed d.
func (h Histogram) With(other Histogram, d time.Duration) Histogram {
	both := Histogram{counts: make([]uint64, buckets)}
	copy(both.counts, h.counts)
	for i, n := range other.counts {
		if n > 0 && bucketMiddle(i) > d {
			both.counts[i] += n
		}
	}
	return both
}

// Above is the number of latencies that exceed d, within 2 % of it.
func (h Histogram) Above(d time.Duration) uint64 {
	var sum uint64
	for i, n := range h.counts {
		if n > 0 && bucketMiddle(i) > d {
			sum += n
		}
	}
	return sum
}

// Quantile returns the latency that a share q of the requests, from 0 to 1,
// did not exceed, within 2 %; zero when there were none.
func (h Histogram) Quantile(q float64) time.Duration {
	count := h.Count()
	if count == 0 {
		return 0
	}
	rank := uint64(min(max(q, 0), 1) * float64(count))
	rank = max(rank, 1)
	for i, n := range h.counts {
		if n >= rank {
			return bucketMiddle(i)
		}
		rank -= n
	}
	return bucketMiddle(buckets - 1)
}
