package bake

import (
	"fmt"
	"strings"
	"time"

	"charactier-proxy/switcher"
)

// Text says in a sentence what was found by the last look.
func (j *Judge) Text(v switcher.Verdict) string {
	facts := []string{j.failureText(), j.latencyText()}
	switch v {
	case switcher.Inconclusive:
		facts = append(facts, fmt.Sprintf("the time is over, and %d samples are fewer than the %d that a verdict needs", j.samples(), j.plan.MinRequests))
	case switcher.BakeFailed:
		facts = append(facts, j.blame())
	}
	return join(facts)
}

// Plan says in a sentence what a bake is going to compare with.
func Plan(plan switcher.BakePlan, base switcher.Baseline) string {
	text := fmt.Sprintf("watched for %s, compared with", plan.Time)
	if base.Requests == 0 {
		return text + " nothing: no requests came before"
	}
	facts := []string{fmt.Sprintf("%s %s in %s before: %s failed of %s", text, base.Slot, roundly(base.Over), number(base.Failed), counted(base.Requests, "request"))}
	if base.Timed >= minTimed {
		facts = append(facts, "95 % within "+latency(base.P95))
	}
	return join(facts)
}

func (j *Judge) failureText() string {
	text := "no requests came"
	if j.now.Requests > 0 {
		text = fmt.Sprintf("%s of %s failed (%s)", number(j.now.Failed), counted(j.now.Requests, "request"), percent(j.now.Requests, j.now.Failed))
	}
	if j.base.Requests > 0 {
		text += fmt.Sprintf(", before %s of %s (%s)", number(j.base.Failed), number(j.base.Requests), percent(j.base.Requests, j.base.Failed))
	} else {
		text += ", and none came before to compare with"
	}
	if j.fills() && j.now.Probes > 0 {
		text += fmt.Sprintf("; filled up with %s of which %s failed", counted(j.now.Probes, "probe"), number(j.now.ProbesFailed))
	}
	return text
}

func (j *Judge) latencyText() string {
	switch {
	case j.now.Timed == 0:
		return ""
	case j.slowAbove == 0:
		return fmt.Sprintf("95 %% within %s, with nothing to compare", latency(j.now.P95))
	case j.now.Timed < minTimed:
		return fmt.Sprintf("latency not compared: %s are too few", counted(j.now.Timed, "request"))
	}
	return fmt.Sprintf("95 %% within %s, before %s, allowed %s", latency(j.now.P95), latency(j.base.P95), latency(j.slowAbove))
}

// blame names what was too much.
func (j *Judge) blame() string {
	var much []string
	if j.failsMore(&j.requests) {
		much = append(much, "requests fail more often than before")
	}
	if j.fills() && j.failsMore(&j.probes) {
		much = append(much, "probes fail")
	}
	if j.slower() {
		much = append(much, "requests take longer than before")
	}
	return strings.Join(much, " and ")
}

func join(facts []string) string {
	var kept []string
	for _, f := range facts {
		if f != "" {
			kept = append(kept, f)
		}
	}
	return strings.Join(kept, "; ")
}

func roundly(d time.Duration) time.Duration {
	if d < 10*time.Second {
		return d.Round(100 * time.Millisecond)
	}
	return d.Round(time.Second)
}

func percent(n, failed int64) string { return fmt.Sprintf("%.1f %%", 100*share(n, failed)) }

func number(n int64) string { return fmt.Sprint(n) }

// counted is "1 request" or "2 requests".
func counted(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func latency(d time.Duration) string {
	switch {
	case d < 10*time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	}
	return d.Round(10 * time.Millisecond).String()
}
