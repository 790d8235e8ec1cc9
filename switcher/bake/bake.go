package bake

import (
	"slices"
	"time"

	"charactier-proxy/switcher"
)

// Counts are what a slot did since the swap. They only grow.
type Counts struct {
	Requests int64 // that ended, without those that a client spoiled
	Failed   int64 // of them
	Timed    int64 // that have a latency
	Slow     int64 // of them, those that took longer than [Judge.SlowAbove]
	P95      time.Duration

	Probes       int64 // the daemon's own
	ProbesFailed int64 // of them
}

func (c Counts) after(earlier Counts) Counts {
	c.Requests += earlier.Requests
	c.Failed += earlier.Failed
	c.Timed += earlier.Timed
	c.Slow += earlier.Slow
	c.Probes += earlier.Probes
	c.ProbesFailed += earlier.ProbesFailed
	return c
}

const (
	// Stretches for failures are short: a slot that answers nothing is to be found
	// at once. Those for latency are longer, and need samples. Both are shorter in
	// a short bake.
	failureStretch   = time.Second
	failureStretches = 6
	latencyStretch   = 5 * time.Second
	latencyStretches = 3
	latencySamples   = 30
	// How many good ones make up for one that was bad, once that is over. Slow ones
	// are allowed for anyway.
	failurePlenty = 10
	latencyPlenty = 1
	// minTimed is how many latencies can be compared at all.
	minTimed = 100
	// unknownShare is what a slot may have failed by of which nothing is known.
	unknownShare = 0.05
	leastShare   = 1e-4
	// slowShare of the requests are above the 95th percentile.
	slowShare = 0.05
)

// Judge follows the bake of one slot.
type Judge struct {
	plan switcher.BakePlan
	base switcher.Baseline

	slowAbove time.Duration

	requests, probes, latency spread

	now, earlier Counts // the latter before a restart

	passed, away time.Duration // of which nobody looked
}

// New returns the judge of a bake that begins.
func New(plan switcher.BakePlan, base switcher.Baseline) *Judge {
	failures := spread{
		length: min(failureStretch, plan.Time/20), least: 1, enough: failureStretches,
		allowed: allowedShare(plan, base), limit: share(base.Requests, base.Failed) + float64(plan.Errors)/100,
		proof: int64(plan.MinRequests), plenty: failurePlenty,
	}
	j := &Judge{
		plan: plan, base: base, requests: failures, probes: failures,
		latency: spread{
			length: min(latencyStretch, plan.Time/12), least: latencySamples, enough: latencyStretches,
			allowed: slowShare, limit: slowShare, fewest: minTimed, proof: minTimed, plenty: latencyPlenty,
		},
	}
	if base.Timed >= minTimed {
		grown := base.P95Most + base.P95Most*time.Duration(plan.Slowdown)/100
		j.slowAbove = max(grown, base.P95Most+plan.Slack)
	}
	return j
}

// Resume goes on, after a restart, with what was seen before it. What is looked
// at from then on is counted from the restart.
func (j *Judge) Resume(passed time.Duration, seen switcher.BakeSeen) {
	j.requests.resume(passed, seen.Requests)
	j.probes.resume(passed, seen.Probes)
	j.latency.resume(passed, seen.Latency)
	j.passed, j.away = passed, max(0, passed-seen.Watched)
	j.earlier = Counts{
		Requests: seen.Requests.Samples, Failed: seen.Requests.Bad, Timed: seen.Latency.Samples, Slow: seen.Latency.Bad,
		Probes: seen.Probes.Samples, ProbesFailed: seen.Probes.Bad,
	}
}

// Seen is what a restart must not forget.
func (j *Judge) Seen() switcher.BakeSeen {
	return switcher.BakeSeen{Requests: j.requests.BakeTally, Probes: j.probes.BakeTally, Latency: j.latency.BakeTally, Watched: j.watched()}
}

// watched is for how long the daemon was there to look.
func (j *Judge) watched() time.Duration { return j.passed - j.away }

// Suspects reports whether something looks worse, be it certain yet or not.
func (j *Judge) Suspects() bool { return slices.ContainsFunc(j.spreads(), (*spread).suspect) }

// allowedShare is the share of failures that a slot must be proven to exceed: a
// quarter of what it may grow by above that of before, and more where too little
// is known of that.
func allowedShare(plan switcher.BakePlan, base switcher.Baseline) float64 {
	growth := float64(plan.Errors) / 100
	before := min(most(base.Requests, base.Failed), max(unknownShare, share(base.Requests, base.Failed)))
	allowed := max(share(base.Requests, base.Failed)+growth/4, before)
	return min(max(allowed, leastShare), 1)
}

// Time is how long the bake takes.
func (j *Judge) Time() time.Duration { return j.plan.Time }

// SlowAbove is what a request must take longer than to be slow; zero if there is
// no latency to compare with.
func (j *Judge) SlowAbove() time.Duration { return j.slowAbove }

// Look takes in what the slot did until now and says how the bake stands.
func (j *Judge) Look(passed time.Duration, c Counts) switcher.Verdict {
	c = c.after(j.earlier)
	// They are counted one after the other.
	c.Failed, c.Slow, c.ProbesFailed = min(c.Failed, c.Requests), min(c.Slow, c.Timed), min(c.ProbesFailed, c.Probes)
	j.now, j.passed = c, passed
	j.requests.look(passed, c.Requests, c.Failed)
	j.probes.look(passed, c.Probes, c.ProbesFailed)
	j.latency.look(passed, c.Timed, c.Slow)
	switch {
	case j.samples() >= int64(j.plan.MinRequests) && j.worse():
		return switcher.BakeFailed
	case passed < j.plan.Time:
		return switcher.Baking
	case j.samples() < int64(j.plan.MinRequests):
		return switcher.Inconclusive
	}
	return j.ending()
}

// Wanting reports whether users send so little that a probe is wanted now: the
// samples that a verdict needs are to be there after a third of the time.
func (j *Judge) Wanting(passed time.Duration) bool {
	due := float64(j.plan.MinRequests) * min(1, float64(passed)/(float64(j.plan.Time)/3))
	return j.fills() && float64(j.samples()) < due
}

// fills reports whether probes count because users send too little.
func (j *Judge) fills() bool { return j.now.Requests < int64(j.plan.MinRequests) }

func (j *Judge) samples() int64 {
	if j.fills() {
		return j.now.Requests + j.now.Probes
	}
	return j.now.Requests
}

func (j *Judge) worse() bool { return slices.ContainsFunc(j.spreads(), (*spread).worse) }
