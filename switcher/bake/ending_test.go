package bake_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"charactier-proxy/switcher"
	"charactier-proxy/switcher/bake"
)

// phase is some seconds of the same.
type phase struct {
	seconds int64
	each    bake.Counts
}

// phases add up to what a slot did until a second; after the last nothing comes.
func phases(all ...phase) func(int64) bake.Counts {
	return func(second int64) bake.Counts {
		sum := bake.Counts{P95: time.Millisecond}
		for _, p := range all {
			n := min(second, p.seconds)
			second -= n
			sum.Requests += n * p.each.Requests
			sum.Failed += n * p.each.Failed
			sum.Timed += n * p.each.Timed
			sum.Slow += n * p.each.Slow
			sum.Probes += n * p.each.Probes
			sum.ProbesFailed += n * p.each.ProbesFailed
		}
		return sum
	}
}

func of(requests, failed int64) bake.Counts { return bake.Counts{Requests: requests, Failed: failed} }

func probed(c bake.Counts) bake.Counts {
	c.Probes = 3
	return c
}

func timed(requests, slow int64) bake.Counts {
	return bake.Counts{Requests: requests, Timed: requests, Slow: slow}
}

// slowBase is one of five requests a second, none of which failed.
var slowBase = switcher.Baseline{Slot: switcher.Blue, Over: 5 * time.Minute, Requests: 1500}

var good, bad, quiet, filled = of(20, 0), of(20, 20), of(0, 0), probed(of(0, 0))

// What looked bad when the time was over never passes, unless it was a burst
// that plenty of good requests came after.
func TestTheEndOfTheTimeMakesNothingGood(t *testing.T) {
	for _, c := range []struct {
		name string
		base switcher.Baseline
		at   []phase
		want switcher.Verdict
		text string
	}{
		{"the load stops after five seconds of 30 %",
			switcher.Baseline{Slot: switcher.Blue, Over: 13 * time.Second, Requests: 249},
			[]phase{{1, of(31, 10)}, {4, of(30, 9)}}, switcher.BakeFailed,
			"46 of 151 requests failed on green (30.5 %), 0 of 249 on blue before (0.0 %); requests fail more often than before"},
		{"the load stops after a second in which all failed", steadyBase,
			[]phase{{1, of(60, 60)}}, switcher.BakeFailed, "60 of 60 requests failed on green (100.0 %)"},
		{"the same, filled up with probes that are well", steadyBase,
			[]phase{{1, probed(bad)}, {59, filled}}, switcher.BakeFailed, "20 of 20 requests failed on green (100.0 %)"},
		{"one in five fails, filled up with probes that are well", quietBase,
			[]phase{{40, probed(of(1, 0))}, {5, probed(of(1, 1))}}, switcher.Inconclusive, "5 of 45 requests failed"},
		{"the load stops when half of the time is over", steadyBase,
			[]phase{{25, good}, {5, of(20, 10)}}, switcher.BakeFailed, "50 of 600 requests failed"},
		{"two requests fail of two", quietBase,
			[]phase{{2, probed(of(1, 1))}, {58, filled}}, switcher.Inconclusive, "2 of 2 requests failed"},
		{"five requests fail of five", quietBase,
			[]phase{{5, probed(of(1, 1))}, {55, filled}}, switcher.Inconclusive, "5 of 5 requests failed"},
		{"all fail but the very last", steadyBase,
			[]phase{{3, bad}, {1, of(1, 0)}}, switcher.BakeFailed, "60 of 61 requests failed"},
		{"all fail and then still many, and the load stops", steadyBase,
			[]phase{{2, bad}, {3, of(20, 4)}}, switcher.BakeFailed, "52 of 100 requests failed"},
		{"the load stops at the swap", steadyBase,
			[]phase{{60, filled}}, switcher.Inconclusive, "the users are gone: as many as before would have sent about 1200 requests"},
		{"the load stops right after the swap", steadyBase,
			[]phase{{1, probed(good)}, {59, filled}}, switcher.Inconclusive, "the users are gone"},
		{"the load stops and nothing failed", steadyBase,
			[]phase{{5, good}}, switcher.Passed, "0 of 100 requests failed"},
		{"nobody sent anything before either", switcher.Baseline{Slot: switcher.Blue, Over: time.Minute, Requests: 20},
			[]phase{{60, filled}}, switcher.Passed, "no requests came on green"},
		{"few sent anything before", switcher.Baseline{Slot: switcher.Blue, Over: 5 * time.Minute, Requests: 100},
			[]phase{{60, filled}}, switcher.Passed, "no requests came on green"},
		{"what came before is too little to say what was to be expected", switcher.Baseline{Slot: switcher.Blue, Over: time.Second, Requests: 20},
			[]phase{{60, filled}}, switcher.Passed, "no requests came on green"},
		{"a cold start", steadyBase,
			[]phase{{1, bad}, {59, of(170, 0)}}, switcher.Passed, "20 of 10050 requests failed"},
		{"a cold start of three seconds", steadyBase,
			[]phase{{3, bad}, {57, good}}, switcher.Passed,
			"60 of 1200 requests failed on green (5.0 %), 30 of 6000 on blue before (0.5 %); what was bad came in a burst: 0 of 1140 requests failed since"},
		{"a cold start with few users", steadyBase,
			[]phase{{5, of(1, 1)}, {55, of(1, 0)}}, switcher.Passed, "0 of 55 requests failed since"},
		{"a cold start, and ordinary failures ever since", steadyBase,
			[]phase{{3, bad}, {19, of(20, 0)}, {1, of(20, 1)}, {19, good}, {1, of(20, 1)}, {17, good}}, switcher.Passed, "what was bad came in a burst"},
		{"a cold start, and fewer good ones since than a verdict needs", slowBase,
			[]phase{{1, probed(of(3, 3))}, {40, probed(of(1, 0))}, {19, filled}}, switcher.Inconclusive, "0 of 40 requests failed since, which does not make up for it yet"},
		{"a cold start, and failures at the end", steadyBase,
			[]phase{{3, of(2, 2)}, {56, of(2, 0)}, {1, of(2, 2)}}, switcher.Inconclusive, "6 of 118 requests failed since, which does not"},
		{"a cold start, and the load stops", steadyBase,
			[]phase{{1, bad}, {2, good}}, switcher.Inconclusive, "0 of 40 requests failed since, which does not make up for it yet"},
		{"a cold start, the load stops, and probes are well", steadyBase,
			[]phase{{1, bad}, {1, good}, {58, filled}}, switcher.Inconclusive, "0 of 20 requests failed since, which does not make up for it yet"},
		{"a cold start of half a minute's requests", steadyBase,
			[]phase{{5, bad}, {30, good}}, switcher.Inconclusive, "0 of 600 requests failed since, which does not make up for it yet"},
		{"the last two seconds", steadyBase,
			[]phase{{58, good}, {2, bad}}, switcher.Inconclusive, "too few good requests came since to tell"},
		{"the last five seconds", steadyBase,
			[]phase{{55, good}, {5, bad}}, switcher.BakeFailed, "100 of 1200 requests failed"},
		{"bursts again and again", steadyBase,
			[]phase{{9, good}, {1, of(20, 8)}, {9, good}, {1, of(20, 8)}, {9, good}, {1, of(20, 8)}, {9, good}, {1, of(20, 8)}, {9, good}, {1, of(20, 8)}, {10, good}},
			switcher.Inconclusive, "40 of 1200 requests failed"},
		{"probes fail and the rest of the time is too short to tell", quietBase,
			[]phase{{35, probed(quiet)}, {3, bake.Counts{Probes: 3, ProbesFailed: 3}}, {1, probed(quiet)}}, switcher.Inconclusive, "probes fail, or did in bursts"},
		{"slow, and the load stops", steadyBase,
			[]phase{{6, timed(20, 10)}}, switcher.BakeFailed, "exceeded by 60 of 120 requests; requests take longer than before"},
		{"slow as it warms up", steadyBase,
			[]phase{{8, timed(20, 20)}, {52, timed(20, 0)}}, switcher.Passed, "what was bad came in a burst: 0 of 1000 requests took longer since"},
		{"slow as it warms up, and the load stops", steadyBase,
			[]phase{{10, timed(20, 20)}, {8, timed(20, 0)}}, switcher.Inconclusive, "requests take longer than before, or did in bursts: 0 of 160 requests took longer since, which"},
		{"slow at the end", steadyBase,
			[]phase{{50, timed(20, 0)}, {10, timed(20, 20)}}, switcher.Inconclusive, "requests take longer than before"},
	} {
		t.Run(c.name, func(t *testing.T) {
			j := bake.New(plan, c.base)
			v, after := looks(j, 60, phases(c.at...))
			if text := j.Text(v); v != c.want || after != plan.Time || !strings.Contains(text, c.text) {
				t.Errorf("%s after %s, %q; want %s at the end, %q", v, after, text, c.want, c.text)
			}
		})
	}
}

// A restart forgets nothing of what speaks against a slot.
func TestARestartMakesNothingGood(t *testing.T) {
	before := phases(phase{1, of(31, 10)}, phase{4, of(30, 9)})
	j := bake.New(plan, steadyBase)
	looks(j, 8, before)
	if !j.Suspects() {
		t.Error("46 of 151 requests failed, and that is not suspect")
	}
	next := bake.New(plan, steadyBase)
	next.Resume(10*time.Second, j.Seen())
	if v := next.Look(10*time.Second+time.Second/4, of(8, 8)); v != switcher.Baking {
		t.Errorf("%s after a look, %s: what came in it is no second", v, next.Text(v))
	}
	if v := next.Look(11*time.Second, bake.Counts{Requests: 30, Failed: 10}); v != switcher.BakeFailed {
		t.Errorf("the sixth bad second came after a restart: %s, %s", v, next.Text(v))
	}
	for _, c := range []struct {
		name  string
		since bake.Counts
		want  switcher.Verdict
		text  string
	}{
		{"nothing comes", quiet, switcher.BakeFailed, "46 of 151 requests failed on green (30.5 %)"},
		{"probes come", bake.Counts{Probes: 100}, switcher.BakeFailed, "46 of 151"},
		{"some good ones come", of(100, 0), switcher.Inconclusive, "0 of 100 requests failed since"},
		{"plenty of good ones come", of(1000, 0), switcher.Passed, "46 of 1151 requests failed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			next := bake.New(plan, steadyBase)
			next.Resume(10*time.Second, j.Seen())
			v := next.Look(plan.Time, c.since)
			if text := next.Text(v); v != c.want || !strings.Contains(text, c.text) {
				t.Errorf("%s, %q; want %s, %q", v, text, c.want, c.text)
			}
		})
	}
}

// Latencies of before a restart are known only as slow or not.
func TestARestartKeepsSlowRequests(t *testing.T) {
	j := bake.New(plan, steadyBase)
	looks(j, 8, phases(phase{6, timed(20, 10)}))
	next := bake.New(plan, steadyBase)
	next.Resume(10*time.Second, j.Seen())
	v := next.Look(plan.Time, quiet)
	if text := next.Text(v); v != switcher.BakeFailed || !strings.Contains(text, "; 60 of 120 requests took longer than 168ms; requests take longer than before") {
		t.Errorf("%s, %q", v, text)
	}
}

func TestARestartKeepsSlowStretches(t *testing.T) {
	j := bake.New(plan, steadyBase)
	looks(j, 11, phases(phase{11, timed(20, 10)}))
	next := bake.New(plan, steadyBase)
	next.Resume(12*time.Second, j.Seen())
	if v := next.Look(17*time.Second, timed(100, 50)); v != switcher.BakeFailed {
		t.Errorf("the third slow stretch came after a restart: %s, %s", v, next.Text(v))
	}
}

// The marks of a long bake are few, and it still finds where a burst ended.
func TestALongBakeFindsTheEndOfABurst(t *testing.T) {
	long := plan
	long.Time = 20 * time.Minute
	j := bake.New(long, steadyBase)
	v, _ := looks(j, 1200, phases(phase{5, of(20, 20)}, phase{1195, of(2, 0)}))
	if text := j.Text(v); v != switcher.Passed || !strings.Contains(text, "failed since") {
		t.Errorf("%s: %s", v, text)
	}
}

// until is what happens if the users leave after n seconds and the daemon fills
// up with probes, which are well.
func until(n int, all []second) []second {
	for i := n; i < len(all); i++ {
		all[i] = second{probes: 3}
	}
	return all
}

// TestABadReleaseNeverPassesBecauseUsersLeave bakes one that fails 30 %.
func TestABadReleaseNeverPassesBecauseUsersLeave(t *testing.T) {
	verdicts := map[string]int{}
	for seed := range uint64(1000) {
		r := rand.New(rand.NewPCG(seed, 4))
		worse := ordinary
		worse.failing = 0.3
		stays := []int{1, 2, 3, 5, 30}[r.IntN(5)]
		v, _, text := run(plan, ordinary.seconds(r, []int{12, 300}[r.IntN(2)]), until(stays, worse.seconds(r, 60)))
		if v == switcher.Passed || v != switcher.BakeFailed && stays >= 5 {
			t.Errorf("seed %d, the users left after %d s: %s: %s", seed, stays, v, text)
		}
		verdicts[fmt.Sprintf("%d s: %s", stays, v)]++
	}
	t.Log(verdicts)
}

// TestAGoodReleaseIsNotReturnedBecauseUsersLeave bakes ones that are as before,
// half of them with a cold start.
func TestAGoodReleaseIsNotReturnedBecauseUsersLeave(t *testing.T) {
	verdicts := map[string]int{}
	for seed := range uint64(1000) {
		r := rand.New(rand.NewPCG(seed, 5))
		s := ordinary
		s.rate = []float64{5, 20, 100}[r.IntN(3)]
		stays, cold := []int{3, 5, 10, 30, 60}[r.IntN(5)], r.IntN(2) == 0
		after := s.seconds(r, 60)
		if cold {
			after[0].failed = after[0].requests
		}
		v, _, text := run(plan, s.seconds(r, 300), until(stays, after))
		if v == switcher.BakeFailed || v != switcher.Passed && stays == 60 {
			t.Errorf("seed %d, rate %g, the users left after %d s, cold %v: %s: %s", seed, s.rate, stays, cold, v, text)
		}
		verdicts[fmt.Sprintf("cold %v, %2d s: %s", cold, stays, v)]++
	}
	t.Log(verdicts)
}

// What the daemon saw before it was away for most of the time says little.
func TestABakeThatNobodyWatchedDoesNotPass(t *testing.T) {
	for at, want := range map[int]switcher.Verdict{5: switcher.Inconclusive, 29: switcher.Inconclusive, 31: switcher.Passed} {
		j := bake.New(plan, steadyBase)
		looks(j, at, func(s int64) bake.Counts { return bake.Counts{Requests: 20 * s} })
		next := bake.New(plan, steadyBase)
		next.Resume(plan.Time+time.Hour, j.Seen())
		v := next.Look(plan.Time+time.Hour, bake.Counts{})
		if text := next.Text(v); v != want || want == switcher.Inconclusive && !strings.Contains(text, fmt.Sprintf("the daemon was away: it watched for %ds of 1m0s", at)) {
			t.Errorf("after %d seconds %s, %q; want %s", at, v, text, want)
		}
	}
}
