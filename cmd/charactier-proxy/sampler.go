package main

import (
	"context"
	"sync"
	"time"

	"charactier-proxy/proxy"
)

// window is how far back rate and latency in the status look.
const window = 10 * time.Second

// sampler remembers the data path's counters of the last seconds, so that the
// status can show rates: the data path itself only ever counts up.
type sampler struct {
	read func() map[string]map[string]proxy.SlotStats

	mu      sync.Mutex
	samples []sample // oldest first, one a second
}

type sample struct {
	at    time.Time
	stats map[string]map[string]proxy.SlotStats
}

func newSampler(read func() map[string]map[string]proxy.SlotStats) *sampler {
	return &sampler{read: read, samples: []sample{{time.Now(), read()}}}
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
