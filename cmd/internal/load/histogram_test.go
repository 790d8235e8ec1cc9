package load

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestADurationLiesInItsBucket(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.Int64Range(0, int64(24*time.Hour)).Draw(t, "d"))
		b := bucketOf(d)
		if d >= upperBound(b) {
			t.Fatalf("%s is in bucket %d, which ends at %s", d, b, upperBound(b))
		}
		if b > 0 && d < upperBound(b-1) {
			t.Fatalf("%s is in bucket %d, but bucket %d ends at %s", d, b, b-1, upperBound(b-1))
		}
	})
}

func TestQuantiles(t *testing.T) {
	var h histogram
	for n := range 1000 {
		h.add(time.Duration(n+1) * time.Millisecond)
	}
	tests := []struct {
		q    float64
		want time.Duration
	}{{0.50, 500 * time.Millisecond}, {0.99, 990 * time.Millisecond}, {1, time.Second}}
	for _, test := range tests {
		if got := h.quantile(test.q); got < test.want || got > test.want*9/8 {
			t.Errorf("quantile %v = %s, want %s or at most an eighth more", test.q, got, test.want)
		}
	}
}
