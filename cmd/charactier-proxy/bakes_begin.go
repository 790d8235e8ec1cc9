package main

import (
	"time"

	"charactier-proxy/proxy"
	"charactier-proxy/switcher"
	"charactier-proxy/switcher/bake"
)

// bakeWith says what a switch is to bake and how: for the wanted time, or for
// each service's own if that is negative.
func (d *daemon) bakeWith(wanted time.Duration) func(switcher.Move) *switcher.Bake {
	if wanted == 0 {
		return nil
	}
	return func(m switcher.Move) *switcher.Bake {
		service := d.config.current().Services[m.Service]
		if service == nil {
			return nil
		}
		plan := service.BakePlan()
		if wanted > 0 {
			plan.Time = wanted
		}
		if plan.Time == 0 {
			return nil
		}
		base := d.baseline(place{m.Service, m.From})
		d.bakes.mark(place{m.Service, m.To})
		return &switcher.Bake{Plan: plan, Baseline: base, BakeResult: switcher.BakeResult{Text: bake.Plan(plan, base)}}
	}
}

// baseline is what an active slot did in the last minutes.
func (d *daemon) baseline(p place) switcher.Baseline {
	since := d.switcher.State().Services[p.service].Since
	before, at, ok := d.sampler.before(p.service, string(p.slot), since)
	if !ok {
		return switcher.Baseline{Slot: p.slot}
	}
	now := d.proxy.Stats()[p.service][string(p.slot)]
	latency := now.Latency.Sub(before.Latency)
	b := switcher.Baseline{
		Slot: p.slot, Over: time.Since(at),
		Requests: max(0, attempts(now)-attempts(before)), Failed: max(0, failures(now)-failures(before)),
		Timed: int64(latency.Count()), P95: latency.Quantile(0.95), Open: int64(now.Open.Count()),
	}
	b.P95Most = latency.Quantile(bake.MostQuantile(b.Timed))
	return b
}

// attempts and failures are what says something about a slot. To a bake one that
// takes no connections is as bad as it ever was, although its requests wait now and
// fail no more.
func attempts(s proxy.SlotStats) int64 { return s.Judged() + s.Unreached }
func failures(s proxy.SlotStats) int64 { return s.Errors + s.Unreached }

// mark remembers what a slot did before its swap.
func (b *bakes) mark(p place) {
	stats := b.stats()[p.service][string(p.slot)]
	b.mu.Lock()
	defer b.mu.Unlock()
	b.begun[p] = stats
}
