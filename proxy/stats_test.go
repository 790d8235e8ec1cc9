package proxy

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

func TestStatsCountWhatEnded(t *testing.T) {
	p := newTestProxy(t, "backend")
	c := mustClaim(t, p, "backend")
	stream := mustClaim(t, p, "backend")
	stream.beginStream()
	for _, o := range []outcome{
		{status: 200, latency: time.Millisecond, in: 3, out: 5},
		{status: 204, latency: 2 * time.Millisecond},
		{status: 101, latency: time.Hour, stream: true, in: 10, out: 20},
		{status: 502, cause: causeConnectRefused},
		{status: 500},
		{status: 400, cause: "client-bad-body"},
		{status: 0, cause: "client-gone"},
		{status: 999},
	} {
		c.stats.observe(o)
	}
	mustSwap(t, p, map[string]string{"backend": "green"})
	want := SlotStats{
		InFlight: 2, Streams: 1, Draining: 2,
		Requests: [6]int64{2, 1, 2, 0, 1, 2},
		Causes:   map[string]int64{"slot-connect-refused": 1, "client-bad-body": 1, "client-gone": 1},
		Faults:   1, Errors: 2, BytesIn: 13, BytesOut: 25, StreamsOpened: 1,
	}
	got := p.Stats()["backend"]["blue"]
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(SlotStats{}, "Latency", "Open")); diff != "" {
		t.Errorf("blue (-want +got):\n%s", diff)
	}
	if got.Total() != 8 || got.Latency.Count() != 7 {
		t.Errorf("%d requests with %d latencies, want 8 with 7: streams have none", got.Total(), got.Latency.Count())
	}
	if got.Judged() != 6 {
		t.Errorf("%d requests say something of the slot, want all 8 but those that a client spoiled", got.Judged())
	}
	green := mustClaim(t, p, "backend")
	stats := p.Stats()["backend"]
	if stats["green"].InFlight != 1 || stats["green"].Draining != 0 || stats["blue"].InFlight != 2 {
		t.Errorf("in flight: %+v", stats)
	}
	// Swapping back makes a new target, whose claims add to those that drain.
	mustSwap(t, p, map[string]string{"backend": "blue"})
	mustClaim(t, p, "backend")
	if blue := p.Stats()["backend"]["blue"]; blue.InFlight != 3 || blue.Draining != 2 || blue.Total() != 8 {
		t.Errorf("blue after swapping back: %+v", blue)
	}
	green.release()
	if s := p.Stats()["backend"]["green"]; s.InFlight != 0 || s.Draining != 0 {
		t.Errorf("green after draining: %+v", s)
	}
}

func TestObservingDoesNotAllocate(t *testing.T) {
	var s slotStats
	if n := testing.AllocsPerRun(1000, func() {
		s.observe(outcome{status: 200, latency: 1234 * time.Microsecond, in: 1, out: 2})
	}); n != 0 {
		t.Errorf("%v allocations for an outcome, want none", n)
	}
}

func TestQuantilesAreWithinTwoPercent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var h histogram
		latencies := rapid.SliceOfN(rapid.Int64Range(0, int64(30*time.Minute)), 1, 200).Draw(t, "latencies")
		for _, l := range latencies {
			h.observe(time.Duration(l))
		}
		slices.Sort(latencies)
		q := rapid.Float64Range(0, 1).Draw(t, "q")
		rank := max(1, int(q*float64(len(latencies))))
		want, got := time.Duration(latencies[rank-1]), h.snapshot().Quantile(q)
		if diff := (got - want).Abs(); diff > want/50+time.Microsecond {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	})
}

func TestAboveCountsTheLongerOnes(t *testing.T) {
	var h histogram
	for ms := range 100 {
		h.observe(time.Duration(ms+1) * time.Millisecond)
	}
	for _, c := range []struct {
		above       time.Duration
		least, most uint64
	}{{0, 100, 100}, {50 * time.Millisecond, 48, 52}, {95 * time.Millisecond, 2, 8}, {time.Second, 0, 0}} {
		if got := h.snapshot().Above(c.above); got < c.least || got > c.most {
			t.Errorf("%d are above %s, want %d to %d", got, c.above, c.least, c.most)
		}
	}
	if got := (Histogram{}).Above(0); got != 0 {
		t.Errorf("%d of none are above", got)
	}
}

func TestBucketsFollowEachOther(t *testing.T) {
	last := -1
	for us := int64(0); us < 1<<20; us++ {
		b := bucketOf(time.Duration(us) * time.Microsecond)
		if b != last && b != last+1 {
			t.Fatalf("%d µs fall into bucket %d, after bucket %d", us, b, last)
		}
		last = b
	}
	for d, want := range map[time.Duration]int{-time.Second: 0, 72 * time.Minute: buckets - 1, 1000 * time.Hour: buckets - 1} {
		if got := bucketOf(d); got != want {
			t.Errorf("%v falls into bucket %d, want %d", d, got, want)
		}
	}
}

func TestHistogramsOfAWindow(t *testing.T) {
	var s slotStats
	for range 100 {
		s.observe(outcome{status: 200, latency: time.Second})
	}
	before := s.snapshot().Latency
	for range 100 {
		s.observe(outcome{status: 200, latency: 10 * time.Millisecond})
	}
	window := s.snapshot().Latency.Sub(before)
	if window.Count() != 100 {
		t.Errorf("%d in the window, want 100", window.Count())
	}
	if p99 := window.Quantile(0.99); p99 < 9800*time.Microsecond || p99 > 10200*time.Microsecond {
		t.Errorf("p99 of the window is %v, want 10ms: what came before must not show", p99)
	}
	if got := (Histogram{}).Quantile(0.5); got != 0 {
		t.Errorf("the median of nothing is %v", got)
	}
	if got := window.Sub(Histogram{}).Count(); got != 100 {
		t.Errorf("%d after taking away nothing", got)
	}
	if got := (Histogram{}).Sub(window).Count(); got != 0 {
		t.Errorf("%d in a window that ends before it begins", got)
	}
}

func TestStatsMayBeReadWhileTheyGrow(t *testing.T) {
	p := newTestProxy(t, "backend")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 500 {
				c := mustClaim(t, p, "backend")
				c.stats.observe(outcome{status: 200, cause: causeReset, latency: time.Duration(rand.IntN(1e9))})
				c.release()
			}
		})
	}
	slot := "blue"
	for range 100 {
		slot = other(slot)
		mustSwap(t, p, map[string]string{"backend": slot})
		p.Stats()
	}
	wg.Wait()
	stats := p.Stats()["backend"]
	if n := stats["blue"].Total() + stats["green"].Total(); n != 2000 {
		t.Errorf("%d requests counted, want 2000", n)
	}
}
