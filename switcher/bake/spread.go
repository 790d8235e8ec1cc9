package bake

import "time"

// spread counts samples over stretches of time, and in how many of these too
// many were bad.
type spread struct {
	length  time.Duration
	least   int64   // samples that a stretch needs
	enough  int     // stretches that must be bad
	allowed float64 // share that may be bad

	n, bad    int64
	stretches int

	since    time.Duration // when this stretch began
	n0, bad0 int64         // what was counted before it

	// Sums over the stretches so far: how many these are, their samples, the bad
	// of them, and the squares of these by the samples.
	ended, all, failed, squares float64
}

func (s *spread) look(passed time.Duration, n, bad int64) {
	s.n, s.bad = n, bad
	dn, db := n-s.n0, bad-s.bad0
	if passed-s.since < s.length || dn < s.least {
		return
	}
	if share(dn, db) > s.allowed {
		s.stretches++
	}
	s.ended++
	s.all += float64(dn)
	s.failed += float64(db)
	s.squares += float64(db) * float64(db) / float64(dn)
	s.since, s.n0, s.bad0 = passed, n, bad
}

// tooMany reports whether the share of the bad is certainly above what is
// allowed.
func (s *spread) tooMany() bool {
	return s.stretches >= s.enough && sure(evidence(s.n, s.bad, s.allowed)/s.unevenness())
}

// steady is how many stretches without any unevenness are taken to have been
// there before the first, so that chance is not taken for it.
const steady = 10

// unevenness is how much more the numbers of the bad differ from stretch to
// stretch than if each were for itself: one if they do not, four if they come in
// fours. Four failures with one cause say no more than one. It is Pearson's
// measure of dispersion.
func (s *spread) unevenness() float64 {
	p := s.failed / max(s.all, 1)
	if s.ended < 2 || p <= 0 || p >= 1 {
		return 1
	}
	// The sum of (bad - p n)^2 / n over the stretches, multiplied out.
	sum := (s.squares - 2*p*s.failed + p*p*s.all) / (p * (1 - p))
	return max(1, (sum+steady)/(s.ended-1+steady))
}
