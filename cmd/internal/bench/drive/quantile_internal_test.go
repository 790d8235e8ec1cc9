package drive

import (
	"testing"
	"time"
)

func TestQuantiles(t *testing.T) {
	var sorted []time.Duration
	for n := range 1000 {
		sorted = append(sorted, time.Duration(n+1))
	}
	tests := []struct {
		values []time.Duration
		q      float64
		want   time.Duration
	}{
		{sorted, 0.5, 500}, {sorted, 0.99, 990}, {sorted, 0.999, 999}, {sorted, 1, 1000}, {sorted, 0, 1},
		{sorted[:3], 0.5, 2}, {sorted[:2], 0.5, 1}, {sorted[:2], 0.99, 2}, {sorted[:1], 0.999, 1}, {nil, 0.5, 0},
	}
	for _, test := range tests {
		if got := quantile(test.values, test.q); got != test.want {
			t.Errorf("quantile %v of %d values = %d, want %d", test.q, len(test.values), got, test.want)
		}
	}
}
