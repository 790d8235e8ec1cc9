package bake_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"charactier-proxy/switcher"
	"charactier-proxy/switcher/bake"
)

// plan is the configuration's default.
var plan = switcher.BakePlan{Time: time.Minute, MinRequests: 50, Errors: 1, Slowdown: 100, Slack: 50 * time.Millisecond}

// slot is one that answers like a real one: how often it fails drifts, failures
// come in bursts now and then, and latencies have a long tail and drift too.
type slot struct {
	rate    float64 // requests a second
	failing float64 // share
	wander  float64 // how far that drifts, as a part of it
	bursts  float64 // a second
	middle  time.Duration
	tail    float64 // of the logarithm of latency
	drift   float64 // how far latency wanders, as a factor
}

// second is what happens in one.
type second struct {
	requests, failed int64
	latencies        []time.Duration
	probes           int64 // that succeed
}

func (s slot) seconds(r *rand.Rand, n int) []second {
	all := make([]second, n)
	phase := r.Float64() * 2 * math.Pi
	for i := range all {
		wave := math.Sin(phase + float64(i)/20)
		failing, slower := s.failing*(1+s.wander*wave), math.Pow(s.drift, wave)
		now := &all[i]
		now.requests = poisson(r, s.rate)
		for range now.requests {
			if r.Float64() < failing {
				now.failed++
			}
			now.latencies = append(now.latencies, time.Duration(float64(s.middle)*slower*math.Exp(s.tail*r.NormFloat64())))
		}
		if r.Float64() < s.bursts {
			now.failed = min(now.requests, now.failed+2+r.Int64N(5))
		}
	}
	return all
}

func poisson(r *rand.Rand, mean float64) int64 {
	if mean > 50 {
		return max(0, int64(math.Round(mean+math.Sqrt(mean)*r.NormFloat64())))
	}
	limit, n := math.Exp(-mean), int64(0)
	for p := r.Float64(); p > limit; p *= r.Float64() {
		n++
	}
	return n
}

func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

// histogram counts latencies in buckets of 2 %, as the data path does.
type histogram struct {
	buckets [1000]int64
	count   int64
}

func (h *histogram) add(d time.Duration) {
	h.buckets[min(max(0, int(math.Log(float64(d)/1e4)/0.02)), len(h.buckets)-1)]++
	h.count++
}

func (h *histogram) quantile(q float64) time.Duration {
	left := int64(q * float64(h.count))
	for i, n := range h.buckets {
		if left -= n; left < 0 {
			return time.Duration(1e4 * math.Exp(0.02*float64(i)))
		}
	}
	return 0
}

func baseline(before []second) switcher.Baseline {
	b := switcher.Baseline{Slot: switcher.Blue, Over: time.Duration(len(before)) * time.Second}
	var latencies histogram
	for _, s := range before {
		b.Requests += s.requests
		b.Failed += s.failed
		for _, d := range s.latencies {
			latencies.add(d)
		}
	}
	b.Timed = latencies.count
	b.P95, b.P95Most = latencies.quantile(0.95), latencies.quantile(bake.MostQuantile(b.Timed))
	return b
}

// run bakes and returns the verdict, after how long it came, and its text.
func run(plan switcher.BakePlan, before, after []second) (switcher.Verdict, time.Duration, string) {
	j := bake.New(plan, baseline(before))
	var c bake.Counts
	var latencies histogram
	for i, s := range after {
		c.Requests += s.requests
		c.Failed += s.failed
		c.Probes += s.probes
		c.Timed = c.Requests
		for _, d := range s.latencies {
			if j.SlowAbove() > 0 && d > j.SlowAbove() {
				c.Slow++
			}
			latencies.add(d)
		}
		c.P95 = latencies.quantile(0.95)
		passed := time.Duration(i+1) * time.Second
		if v := j.Look(passed, c); v != switcher.Baking {
			return v, passed, j.Text(v)
		}
	}
	return switcher.Baking, 0, ""
}

var ordinary = slot{rate: 20, failing: 0.005, middle: 30 * time.Millisecond, tail: 0.8, drift: 1.15}

// TestAGoodReleaseIsNeverReturned bakes releases that are no worse than what was
// before, at all rates, with all the noise, known well and hardly.
func TestAGoodReleaseIsNeverReturned(t *testing.T) {
	returned, doubted := 0, 0
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 1))
		s := ordinary
		s.rate = []float64{0.3, 1, 5, 20, 20, 100}[r.IntN(6)]
		s.failing = []float64{0, 0.001, 0.005, 0.005, 0.02}[r.IntN(5)]
		s.bursts = []float64{0, 0.01, 0.03}[r.IntN(3)]
		s.wander = min(0.5, 0.0025/max(s.failing, 0.001))
		s.tail = 0.5 + r.Float64()
		s.drift = 1 + 0.3*r.Float64()
		before := s.seconds(r, []int{0, 20, 60, 300, 300}[r.IntN(5)])
		v, after, text := run(plan, before, s.seconds(r, 60))
		switch {
		case v == switcher.BakeFailed:
			returned++
			t.Errorf("seed %d: %+v after %s: %s", seed, s, after, text)
		case v == switcher.Inconclusive && !strings.Contains(text, "samples are fewer"):
			doubted++
		}
	}
	if doubted > 20 {
		t.Errorf("%d of 2000 good releases were in doubt", doubted)
	}
	t.Logf("%d of 2000 good releases were returned, and %d were in doubt", returned, doubted)
}

// TestABadReleaseIsFoundInTime bakes one with 5 % errors at 20 requests a second.
func TestABadReleaseIsFoundInTime(t *testing.T) {
	var times []time.Duration
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 2))
		bad := ordinary
		bad.failing = 0.05
		v, after, text := run(plan, ordinary.seconds(r, 300), bad.seconds(r, 60))
		if v != switcher.BakeFailed || after > 30*time.Second {
			t.Errorf("seed %d: %s after %s: %s", seed, v, after, text)
		}
		times = append(times, after)
	}
	slices.Sort(times)
	t.Logf("found after %s (median), %s (95 %%), %s (longest)", quantile(times, 0.5), quantile(times, 0.95), times[len(times)-1])
}
