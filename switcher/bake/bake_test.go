package bake_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"charactier-proxy/switcher"
	"charactier-proxy/switcher/bake"
)

// steadyBase is a past without surprises: 0.5 % failed, 95 % within 80ms.
var steadyBase = switcher.Baseline{
	Slot: switcher.Blue, Over: 5 * time.Minute, Requests: 6000, Failed: 30,
	Timed: 6000, P95: 80 * time.Millisecond, P95Most: 84 * time.Millisecond,
}

// quietBase is one of users who send a request in two seconds.
var quietBase = switcher.Baseline{Slot: switcher.Blue, Over: 5 * time.Minute, Requests: 150}

// looks feeds a judge one step a second, as long as the bake goes on.
func looks(j *bake.Judge, seconds int, at func(second int64) bake.Counts) (switcher.Verdict, time.Duration) {
	for i := range int64(seconds) {
		passed := time.Duration(i+1) * time.Second
		if v := j.Look(passed, at(i+1)); v != switcher.Baking {
			return v, passed
		}
	}
	return switcher.Baking, time.Duration(seconds) * time.Second
}

func TestVerdicts(t *testing.T) {
	const none = 0
	for _, c := range []struct {
		name   string
		base   switcher.Baseline
		at     func(int64) bake.Counts
		want   switcher.Verdict
		before time.Duration // it comes until then; none: at the end of the time
		text   string
	}{
		{"nothing fails", steadyBase,
			func(s int64) bake.Counts { return bake.Counts{Requests: 20 * s} },
			switcher.Passed, none, "0 of 1200 requests failed on green (0.0 %), 30 of 6000 on blue before (0.5 %)"},
		{"one failure in fifty", steadyBase,
			func(s int64) bake.Counts { return bake.Counts{Requests: min(s, 50), Failed: min(s/10, 1)} },
			switcher.Passed, none, "1 of 50 requests failed on green (2.0 %)"},
		{"everything fails", steadyBase,
			func(s int64) bake.Counts { return bake.Counts{Requests: 20 * s, Failed: 20 * s} },
			switcher.BakeFailed, 6 * time.Second, "requests fail more often than before"},
		{"everything fails, and nothing is known of before", switcher.Baseline{},
			func(s int64) bake.Counts { return bake.Counts{Requests: 20 * s, Failed: 20 * s} },
			switcher.BakeFailed, 6 * time.Second, "and none came before to compare with"},
		{"one in five fails", steadyBase,
			func(s int64) bake.Counts { return bake.Counts{Requests: 20 * s, Failed: 4 * s} },
			switcher.BakeFailed, 8 * time.Second, "requests fail more often than before"},
		{"a burst of a second", steadyBase,
			func(s int64) bake.Counts { return bake.Counts{Requests: 20 * s, Failed: 20 * min(s/10, 1)} },
			switcher.Passed, none, "20 of 1200 requests failed on green (1.7 %)"},
		{"as bad as before", switcher.Baseline{Slot: switcher.Blue, Requests: 6000, Failed: 300},
			func(s int64) bake.Counts { return bake.Counts{Requests: 20 * s, Failed: s} },
			switcher.Passed, none, ", 300 of 6000 on blue before (5.0 %)"},
		{"certainly worse, but by less than is allowed", switcher.Baseline{Slot: switcher.Blue, Requests: 600000},
			func(s int64) bake.Counts { return bake.Counts{Requests: 1000 * s, Failed: 8 * s} },
			switcher.Passed, none, "480 of 60000 requests failed on green (0.8 %)"},
		{"too few requests", steadyBase,
			func(s int64) bake.Counts { return bake.Counts{Requests: s / 2} },
			switcher.Inconclusive, none, "30 samples are fewer than the 50 that a verdict needs"},
		{"probes fill up", quietBase,
			func(s int64) bake.Counts { return bake.Counts{Requests: s / 2, Probes: s} },
			switcher.Passed, none, "filled up with 60 probes of which 0 failed"},
		{"probes do not hide failures", steadyBase,
			func(s int64) bake.Counts { return bake.Counts{Requests: s / 2, Failed: s / 2, Probes: 3 * s} },
			switcher.BakeFailed, 20 * time.Second, "requests fail more often than before"},
		{"only probes, which fail", steadyBase,
			func(s int64) bake.Counts { return bake.Counts{Probes: 3 * s, ProbesFailed: s} },
			switcher.BakeFailed, 20 * time.Second, "probes fail"},
		{"probes count for nothing where users send enough", steadyBase,
			func(s int64) bake.Counts { return bake.Counts{Requests: 60 * s, Probes: 3 * s, ProbesFailed: 3 * s} },
			switcher.Passed, none, "0 of 3600 requests failed"},
		{"three times as slow", steadyBase,
			func(s int64) bake.Counts {
				return bake.Counts{Requests: 20 * s, Timed: 20 * s, Slow: 3 * s, P95: 240 * time.Millisecond}
			},
			switcher.BakeFailed, 30 * time.Second, "95 % within 240ms, before 80ms, allowed 168ms and exceeded by 45 of 300 requests; requests take longer than before"},
		{"slow only as it warms up", steadyBase,
			func(s int64) bake.Counts {
				return bake.Counts{Requests: 20 * s, Timed: 20 * s, Slow: min(8*s, 64), P95: 240 * time.Millisecond}
			},
			switcher.Passed, none, "95 % within 240ms"},
		{"slower by less than the slack",
			switcher.Baseline{Slot: switcher.Blue, Requests: 6000, Timed: 6000, P95: time.Millisecond, P95Most: time.Millisecond},
			func(s int64) bake.Counts {
				return bake.Counts{Requests: 20 * s, Timed: 20 * s, P95: 40 * time.Millisecond}
			},
			switcher.Passed, none, "95 % within 40ms, before 1ms, allowed 51ms"},
		{"too few latencies", steadyBase,
			func(s int64) bake.Counts { return bake.Counts{Requests: s, Timed: s, Slow: s, P95: time.Second} },
			switcher.Passed, none, "latency not compared: 60 requests are too few"},
	} {
		t.Run(c.name, func(t *testing.T) {
			j := bake.New(plan, c.base)
			v, after := looks(j, 60, c.at)
			before := c.before
			if before == none {
				before = plan.Time
			}
			if v != c.want || after > before || c.before == none && after != plan.Time {
				t.Errorf("%s after %s, want %s within %s", v, after, c.want, before)
			}
			if text := j.Text(v); !strings.Contains(text, c.text) {
				t.Errorf("it says %q, want %q", text, c.text)
			}
		})
	}
}

func TestProbesAreWantedWhereUsersSendTooLittle(t *testing.T) {
	j := bake.New(plan, steadyBase)
	for _, c := range []struct {
		passed time.Duration
		counts bake.Counts
		want   bool
	}{
		{time.Second, bake.Counts{}, true},
		{10 * time.Second, bake.Counts{Requests: 20}, true},
		{10 * time.Second, bake.Counts{Requests: 20, Probes: 5}, false},
		{10 * time.Second, bake.Counts{Requests: 200}, false},
		{30 * time.Second, bake.Counts{Requests: 30, Probes: 19}, true},
		{30 * time.Second, bake.Counts{Requests: 30, Probes: 20}, false},
	} {
		j.Look(c.passed, c.counts)
		if got := j.Wanting(c.passed); got != c.want {
			t.Errorf("after %s with %+v: %v", c.passed, c.counts, got)
		}
	}
}

// A bake of seconds looks at stretches of less.
func TestAShortBakeCanFail(t *testing.T) {
	short := plan
	short.Time = 3 * time.Second
	j := bake.New(short, steadyBase)
	for passed := 200 * time.Millisecond; passed < short.Time; passed += 200 * time.Millisecond {
		n := int64(passed / (5 * time.Millisecond))
		if j.Look(passed, bake.Counts{Requests: n, Failed: n / 2}) == switcher.BakeFailed {
			return
		}
	}
	t.Error("half of the requests failed, and it passed")
}

func TestAPlanSaysWhatItComparesWith(t *testing.T) {
	if got, want := bake.Plan(plan, steadyBase), "watched for 1m0s, compared with blue in 5m0s before: 30 failed of 6000 requests; 95 % within 80ms"; got != want {
		t.Errorf("it says %q, want %q", got, want)
	}
	if got, want := bake.Plan(plan, switcher.Baseline{}), "watched for 1m0s, compared with nothing: no requests came before"; got != want {
		t.Errorf("it says %q, want %q", got, want)
	}
}

// Whatever it is fed, a judge keeps to its word: no verdict but failure before
// the time, one at its end, none without the samples, and a sentence for it.
func TestAJudgeKeepsItsWord(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := switcher.BakePlan{
			Time: time.Duration(rapid.IntRange(1, 100).Draw(t, "time")) * time.Second, MinRequests: rapid.IntRange(1, 1000).Draw(t, "min"),
			Errors: rapid.IntRange(0, 100).Draw(t, "errors"), Slowdown: rapid.IntRange(1, 1000).Draw(t, "slowdown"),
		}
		base := switcher.Baseline{Requests: rapid.Int64Range(0, 10000).Draw(t, "before"), P95: time.Millisecond, P95Most: time.Millisecond}
		base.Failed, base.Timed = rapid.Int64Range(0, base.Requests).Draw(t, "failed before"), base.Requests
		j := bake.New(p, base)
		var c bake.Counts
		for passed := time.Second; ; passed += time.Second {
			grow := func(n *int64) { *n += rapid.Int64Range(0, 100).Draw(t, "more") }
			for _, n := range []*int64{&c.Requests, &c.Failed, &c.Timed, &c.Slow, &c.Probes, &c.ProbesFailed} {
				grow(n)
			}
			c.P95 = time.Duration(rapid.Int64Range(0, 1e10).Draw(t, "p95"))
			v := j.Look(passed, c)
			samples := c.Requests
			if samples < int64(p.MinRequests) {
				samples += c.Probes
			}
			enough := samples >= int64(p.MinRequests)
			switch {
			case v == switcher.BakeFailed && !enough:
				t.Fatalf("failed on %d of %d samples", samples, p.MinRequests)
			case v != switcher.BakeFailed && (v == switcher.Baking) != (passed < p.Time):
				t.Fatalf("%s after %s of %s", v, passed, p.Time)
			case v == switcher.Passed && (!enough || certainlyBad(p, base, c)):
				t.Fatalf("%s with %d of %d samples", v, samples, p.MinRequests)
			case j.Text(v) == "" || strings.Contains(j.Text(v), "NaN"):
				t.Fatalf("it says %q", j.Text(v))
			}
			if v != switcher.Baking {
				return
			}
		}
	})
}

// certainlyBad reports whether half of many requests failed, and few before.
func certainlyBad(p switcher.BakePlan, base switcher.Baseline, c bake.Counts) bool {
	failed := min(c.Failed, c.Requests)
	return failed > 50 && 2*failed > c.Requests && 10*base.Failed < base.Requests && p.Errors < 30
}

// TestASlowReleaseIsFound bakes one whose latencies are four times what they were.
func TestASlowReleaseIsFound(t *testing.T) {
	longest := time.Duration(0)
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 3))
		slow := ordinary
		slow.middle *= 4
		v, after, text := run(plan, ordinary.seconds(r, 300), slow.seconds(r, 60))
		if v != switcher.BakeFailed {
			t.Errorf("seed %d: %s: %s", seed, v, text)
		}
		longest = max(longest, after)
	}
	t.Logf("found after %s at the latest", longest)
}

// ExamplePlan shows what begins the event of a bake.
func ExamplePlan() {
	fmt.Println(bake.Plan(plan, steadyBase))
	// Output: watched for 1m0s, compared with blue in 5m0s before: 30 failed of 6000 requests; 95 % within 80ms
}
