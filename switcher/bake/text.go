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
	case switcher.Passed:
		facts = append(facts, j.pastText())
	case switcher.Inconclusive:
		facts = append(facts, j.doubtText(), j.goneText(), j.absentText(), j.fewText())
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
	text := "no requests came" + j.onNew()
	if j.now.Requests > 0 {
		text = fmt.Sprintf("%s of %s failed%s (%s)", number(j.now.Failed), counted(j.now.Requests, "request"), j.onNew(), percent(j.now.Requests, j.now.Failed))
	}
	if j.base.Requests > 0 {
		text += fmt.Sprintf(", %s of %s on %s before (%s)", number(j.base.Failed), number(j.base.Requests), j.base.Slot, percent(j.base.Requests, j.base.Failed))
	} else {
		text += ", and none came before to compare with"
	}
	if j.fills() && j.now.Probes > 0 {
		text += fmt.Sprintf("; filled up with %s of which %s failed", counted(j.now.Probes, "probe"), number(j.now.ProbesFailed))
	}
	return text
}

// onNew names the slot that bakes, if it is known.
func (j *Judge) onNew() string {
	if j.base.Slot == "" {
		return ""
	}
	return " on " + string(j.base.Slot.Other())
}

func (j *Judge) latencyText() string {
	switch {
	case j.now.Timed == 0:
		return ""
	case j.slowAbove == 0 && j.earlier.Timed > 0:
		return "latency with nothing to compare"
	case j.slowAbove == 0:
		return fmt.Sprintf("95 %% within %s, with nothing to compare", latency(j.now.P95))
	case j.now.Timed < minTimed:
		return fmt.Sprintf("latency not compared: %s are too few", counted(j.now.Timed, "request"))
	case j.earlier.Timed > 0: // P95 is that since the restart
		return fmt.Sprintf("%s of %s took longer than %s", number(j.now.Slow), counted(j.now.Timed, "request"), latency(j.slowAbove))
	}
	text := fmt.Sprintf("95 %% within %s, before %s, allowed %s", latency(j.now.P95), latency(j.base.P95), latency(j.slowAbove))
	if j.latency.suspect() {
		text += fmt.Sprintf(" and exceeded by %s of %s", number(j.now.Slow), counted(j.now.Timed, "request"))
	}
	return text
}

// blame names what was too much.
func (j *Judge) blame() string {
	var much []string
	for _, s := range j.spreads() {
		if s.worse() || s.suspect() && s.lasts() {
			much = append(much, j.complaint(s))
		}
	}
	return strings.Join(much, " and ")
}

func (j *Judge) complaint(s *spread) string {
	switch s {
	case &j.requests:
		return "requests fail more often than before"
	case &j.probes:
		return "probes fail"
	}
	return "requests take longer than before"
}

// doubtText names what may be too much.
func (j *Judge) doubtText() string {
	var doubts []string
	for _, s := range j.spreads() {
		if s.suspect() && !s.madeUp() {
			doubts = append(doubts, j.complaint(s)+", or did in bursts: "+j.sinceText(s))
		}
	}
	return strings.Join(doubts, "; ")
}

// pastText names what was too much and is over.
func (j *Judge) pastText() string {
	var past []string
	for _, s := range j.spreads() {
		if s.suspect() {
			past = append(past, "what was bad came in a burst: "+j.sinceText(s))
		}
	}
	return strings.Join(past, "; ")
}

// sinceText says how it went since a burst.
func (j *Judge) sinceText(s *spread) string {
	since, ended := s.after()
	noun, bad := "request", "failed"
	switch s {
	case &j.probes:
		noun = "probe"
	case &j.latency:
		bad = "took longer"
	}
	if !ended {
		return "the time is over, and too few good " + noun + "s came since to tell"
	}
	text := fmt.Sprintf("%s of %s %s since", number(since.bad), counted(since.n, noun), bad)
	if !s.madeUp() {
		text += ", which does not make up for it yet"
	}
	return text
}

func (j *Judge) goneText() string {
	if !j.gone() {
		return ""
	}
	return fmt.Sprintf("the users are gone: as many as before would have sent about %s", counted(j.expected(), "request"))
}

func (j *Judge) absentText() string {
	if !j.absent() {
		return ""
	}
	return fmt.Sprintf("the daemon was away: it watched for %s of %s", roundly(j.watched()), j.plan.Time)
}

func (j *Judge) fewText() string {
	if j.samples() >= int64(j.plan.MinRequests) {
		return ""
	}
	return fmt.Sprintf("the time is over, and %d samples are fewer than the %d that a verdict needs", j.samples(), j.plan.MinRequests)
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
