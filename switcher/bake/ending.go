package bake

import "charactier-proxy/switcher"

// ending is the verdict when the time is over and nothing was certain before.
// That bad samples came all at once keeps the traffic from going back at once;
// here it makes nothing good. What looks worse is so, unless the newest samples
// say that it ended, and it passes only if there are plenty of these.
func (j *Judge) ending() switcher.Verdict {
	verdict := switcher.Passed
	if j.gone() || j.absent() {
		verdict = switcher.Inconclusive
	}
	for _, s := range j.spreads() {
		switch {
		case !s.suspect() || s.madeUp():
		case s.lasts():
			return switcher.BakeFailed
		default:
			verdict = switcher.Inconclusive
		}
	}
	return verdict
}

// spreads are those that count.
func (j *Judge) spreads() []*spread {
	all := []*spread{&j.requests}
	if j.fills() {
		all = append(all, &j.probes)
	}
	if j.slowAbove > 0 {
		all = append(all, &j.latency)
	}
	return all
}

// gonePart is how many times fewer requests than were to be expected mean that
// the users are gone.
const gonePart = 10

// gone reports whether the users left: probes fill up where they send little
// anyway, but a slot whose users are gone was not tried.
func (j *Judge) gone() bool { return j.fills() && j.now.Requests*gonePart < j.expected() }

// absent reports whether the daemon was away for most of the time: what is known
// is of a bake that was too short.
func (j *Judge) absent() bool { return 2*j.watched() < j.plan.Time }

// expected is how many requests were to come during the bake if users sent as
// many as before; zero where those would be too few for a verdict.
func (j *Judge) expected() int64 {
	least := int64(j.plan.MinRequests)
	if j.base.Over <= 0 || j.base.Requests < least {
		return 0
	}
	n := int64(float64(j.base.Requests) * j.plan.Time.Seconds() / j.base.Over.Seconds())
	if n < least {
		return 0
	}
	return n
}

// suspect reports whether it looks worse, however that came about.
func (s *spread) suspect() bool { return s.exceeds() && doubtful(s.evidence()) }

// lasts reports whether it is certain, even if those that came together count
// for less, and nothing says that it ended.
func (s *spread) lasts() bool {
	_, ended := s.after()
	return s.Bad >= int64(s.enough) && sure(s.evidence()/s.unevenness()) && !ended
}

// madeUp reports whether it ended and so much good has come since that it was no
// more than a burst.
func (s *spread) madeUp() bool {
	since, ended := s.after()
	return ended && share(since.n, since.bad) <= s.limit && since.n >= s.proof && since.n >= s.plenty*(s.Bad-since.bad)
}

// after returns the end that is good: the samples since the earliest stretch
// after which certainly fewer are bad than until then, and no more than may be.
// Where there is none that good, those will do that are not certainly too bad.
func (s *spread) after() (since mark, ended bool) {
	for _, m := range s.marks {
		end := mark{s.Samples - m.n, s.Bad - m.bad}
		if !sure(better(end, share(m.n, m.bad), s.allowed)) || sure(evidence(end.n, end.bad, s.allowed)) {
			continue
		}
		if share(end.n, end.bad) <= s.limit {
			return end, true
		}
		if !ended {
			since, ended = end, true
		}
	}
	return since, ended
}
