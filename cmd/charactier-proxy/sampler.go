package main

import (
	"context"
	"slices"
	"sync"
	"time"

	"charactier-proxy/proxy"
)

const (
	// window is how far back rate and latency in the status look.
	window = 10 * time.Second
	// past is how far back the baseline of a bake looks, and apart is how far
	// apart the samples are that are kept for it.
	past  = 5 * time.Minute
	apart = 15 * time.Second
)

// sampler remembers the data path's counters of the last seconds, so that the
// status can show rates: the data path itself only ever counts up.
type sampler struct {
	read func() map[string]map[string]proxy.SlotStats

	mu      sync.Mutex
	samples []sample // oldest first, one a second
	coarse  []sample // oldest first, one each apart
}

type sample struct {
	at    time.Time
	stats map[string]map[string]proxy.SlotStats
}

func newSampler(read func() map[string]map[string]proxy.SlotStats) *sampler {
	first := []sample{{time.Now(), read()}}
	return &sampler{read: read, samples: first, coarse: slices.Clone(first)}
}

// run samples until ctx ends.
func (s *sampler) run(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.take(time.Now())
		case <-ctx.Done():
			return
		}
	}
}

func (s *sampler) take(now time.Time) {
	stats := s.read()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.samples = append(s.samples, sample{now, stats})
	for len(s.samples) > 1 && now.Sub(s.samples[1].at) >= window {
		s.samples = s.samples[1:]
	}
	if now.Sub(s.coarse[len(s.coarse)-1].at) >= apart {
		s.coarse = append(s.coarse, s.samples[len(s.samples)-1])
	}
	for len(s.coarse) > 1 && now.Sub(s.coarse[0].at) > past {
		s.coarse = s.coarse[1:]
	}
}

// before returns a slot's counters at the earliest moment that is remembered
// and not before since; ok is false if there is none.
func (s *sampler) before(service, slot string, since time.Time) (stats proxy.SlotStats, at time.Time, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, all := range [][]sample{s.coarse, s.samples} {
		for _, each := range all {
			if !each.at.Before(since) && (!ok || each.at.Before(at)) {
				stats, at, ok = each.stats[service][slot], each.at, true
				break
			}
		}
	}
	return stats, at, ok
}

// recent is what a slot did within the window.
type recent struct {
	rate     float64 // requests a second
	p50, p99 time.Duration
}

// since compares the counters now with those at the window's start.
func (s *sampler) since(service, slot string, now proxy.SlotStats) recent {
	s.mu.Lock()
	oldest := s.samples[0]
	s.mu.Unlock()
	before := oldest.stats[service][slot]
	latency := now.Latency.Sub(before.Latency)
	r := recent{p50: latency.Quantile(0.50), p99: latency.Quantile(0.99)}
	if passed := time.Since(oldest.at).Seconds(); passed > 0 {
		r.rate = max(0, float64(now.Total()-before.Total())) / passed
	}
	return r
}
