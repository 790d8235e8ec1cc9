package bake

import "math"

// odds is how sure a verdict of failure must be: five hundred to one. That is for
// a slot which fails by just what is allowed; one that fails as before is far
// from it.
const odds = 500

// alternatives are how many ways of being worse than allowed are weighed.
const alternatives = 10

// evidence returns the odds that failed of n samples came from a share above the
// allowed one, against the allowed one itself, as a logarithm. The alternatives
// are spread evenly over the logarithm of the odds of a sample, from one and a
// half times the allowed ones to one half: it is not known how bad a bad slot is,
// and the worst need no exact match.
func evidence(n, failed int64, allowed float64) float64 {
	if n <= 0 || allowed >= 1 {
		return 0
	}
	k, rest := float64(failed), float64(n-failed)
	low := logit(allowed) + math.Log(1.5)
	high := max(low+math.Log(1.5), 0)
	best, ratios := math.Inf(-1), [alternatives]float64{}
	for i := range ratios {
		p := logistic(low + (high-low)*float64(i)/(alternatives-1))
		ratios[i] = k*math.Log(p/allowed) + rest*math.Log((1-p)/(1-allowed))
		best = max(best, ratios[i])
	}
	sum := 0.0
	for _, r := range ratios {
		sum += math.Exp(r - best)
	}
	return best + math.Log(sum/alternatives)
}

// better returns the odds that samples came from the allowed share, against one
// that was seen before them, as a logarithm.
func better(m mark, before, allowed float64) float64 {
	before = min(before, mostShare)
	if before <= allowed {
		return 0
	}
	return float64(m.bad)*math.Log(allowed/before) + float64(m.n-m.bad)*math.Log((1-allowed)/(1-before))
}

func logit(p float64) float64    { return math.Log(p / (1 - p)) }
func logistic(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

// doubt is how sure it must be for no verdict of success.
const doubt = 20

func doubtful(evidence float64) bool { return evidence >= math.Log(doubt) }

// sure reports whether the evidence is enough to act on.
func sure(evidence float64) bool { return evidence >= math.Log(odds) }

// mostShare is what a slot is taken to fail where everything failed: that one
// sample is good then proves little.
const mostShare = 0.8

// most is the highest share that is likely behind failed of n samples: one and a
// half standard deviations above.
func most(n, failed int64) float64 {
	return (float64(failed) + 1 + 1.5*math.Sqrt(float64(failed)+1)) / float64(max(n, 1))
}

func share(n, failed int64) float64 {
	if n <= 0 {
		return 0
	}
	return float64(failed) / float64(n)
}

// MostQuantile is the quantile to be read off n latencies for the highest that
// their 95th percentile may be: two standard deviations of its rank above.
func MostQuantile(n int64) float64 {
	return min(1, (1-slowShare)+2*math.Sqrt(slowShare*(1-slowShare)/float64(max(n, 1))))
}
