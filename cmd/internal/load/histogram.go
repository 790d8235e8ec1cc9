package load

import (
	"math/bits"
	"time"
)

// steps divides each power of two, so a quantile is at most an eighth too high.
const (
	stepBits = 3
	steps    = 1 << stepBits
)

// histogram counts durations of up to about a day in buckets of microseconds
// whose width grows with their value.
type histogram struct {
	buckets [40 * steps]int64
	total   int64
	max     time.Duration
}

func (h *histogram) add(d time.Duration) {
	h.buckets[bucketOf(d)]++
	h.total++
	h.max = max(h.max, d)
}

func (h *histogram) merge(o *histogram) {
	for i, n := range o.buckets {
		h.buckets[i] += n
	}
	h.total += o.total
	h.max = max(h.max, o.max)
}

// quantile returns the upper bound of the bucket that holds the q-th part.
func (h *histogram) quantile(q float64) time.Duration {
	rank := int64(q * float64(h.total))
	for i, n := range h.buckets {
		if rank -= n; rank < 0 {
			return min(upperBound(i), h.max)
		}
	}
	return h.max
}

// bucketOf counts the first 2*steps microseconds singly; from there on each
// power of two has steps buckets.
func bucketOf(d time.Duration) int {
	us := uint64(max(d.Microseconds(), 0))
	if us < 2*steps {
		return int(us)
	}
	exp := bits.Len64(us) - 1 - stepBits
	return min(exp<<stepBits+int(us>>exp), len(histogram{}.buckets)-1)
}

func upperBound(bucket int) time.Duration {
	if bucket < 2*steps {
		return time.Duration(bucket+1) * time.Microsecond
	}
	exp := bucket>>stepBits - 1
	return time.Duration((bucket&(steps-1)|steps)+1) << exp * time.Microsecond
}
