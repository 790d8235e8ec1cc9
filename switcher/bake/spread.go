package bake

import (
	"time"

	"charactier-proxy/switcher"
)

// spread counts samples over stretches of time, and in how many of these too
// many were bad.
type spread struct {
	length  time.Duration
	least   int64   // samples that a stretch needs
	enough  int     // stretches that must be bad
	allowed float64 // share that may be bad
	limit   float64 // share above which it is worse, if that is certain
	fewest  int64   // samples that say anything
	proof   int64   // good ones that make up for a burst, at least
	plenty  int64   // and for each that was bad

	switcher.BakeTally
	since    time.Duration // when this stretch began
	n0, bad0 int64         // what was counted before it

	marks []mark // ends of stretches, oldest first
	apart int    // how many stretches these are apart
}

// mark is what was counted when a stretch ended.
type mark struct{ n, bad int64 }

// mostMarks bounds the marks: of a long bake they are further apart.
const mostMarks = 128

func (s *spread) look(passed time.Duration, n, bad int64) {
	s.Samples, s.Bad = n, bad
	dn, db := n-s.n0, bad-s.bad0
	if passed-s.since < s.length || dn < s.least {
		return
	}
	if share(dn, db) > s.allowed {
		s.BadStretches++
	}
	s.Stretches++
	s.All += float64(dn)
	s.Failed += float64(db)
	s.Squares += float64(db) * float64(db) / float64(dn)
	s.since, s.n0, s.bad0 = passed, n, bad
	s.mark()
}

func (s *spread) mark() {
	s.apart = max(1, s.apart)
	if s.Stretches%s.apart != 0 {
		return
	}
	s.marks = append(s.marks, mark{s.Samples, s.Bad})
	if len(s.marks) == mostMarks {
		for i := range mostMarks / 2 {
			s.marks[i] = s.marks[2*i+1]
		}
		s.marks, s.apart = s.marks[:mostMarks/2], 2*s.apart
	}
}

// resume goes on with what was seen before a restart. Whether it ended since has
// to show anew.
func (s *spread) resume(passed time.Duration, seen switcher.BakeTally) {
	s.BakeTally, s.since, s.n0, s.bad0 = seen, passed, seen.Samples, seen.Bad
	s.marks = []mark{{seen.Samples, seen.Bad}}
}

// worse reports whether the share of the bad is above the limit and certainly
// above what is allowed, and not all at once.
func (s *spread) worse() bool {
	return s.exceeds() && s.BadStretches >= s.enough && sure(s.evidence()/s.unevenness())
}

func (s *spread) exceeds() bool { return s.Samples >= s.fewest && share(s.Samples, s.Bad) > s.limit }

// evidence is that of all samples, as if each was for itself.
func (s *spread) evidence() float64 { return evidence(s.Samples, s.Bad, s.allowed) }

// steady is how many stretches without any unevenness are taken to have been
// there before the first, so that chance is not taken for it.
const steady = 10

// unevenness is how much more the numbers of the bad differ from stretch to
// stretch than if each were for itself: one if they do not, four if they come in
// fours. Four failures with one cause say no more than one. It is Pearson's
// measure of dispersion.
func (s *spread) unevenness() float64 {
	p := s.Failed / max(s.All, 1)
	if s.Stretches < 2 || p <= 0 || p >= 1 {
		return 1
	}
	// The sum of (bad - p n)^2 / n over the stretches, multiplied out.
	sum := (s.Squares - 2*p*s.Failed + p*p*s.All) / (p * (1 - p))
	return max(1, (sum+steady)/(float64(s.Stretches)-1+steady))
}
