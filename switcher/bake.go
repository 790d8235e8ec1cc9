package switcher

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// Verdict is how a bake stands.
type Verdict string

// The verdicts. All but the first are final.
const (
	Baking       Verdict = "baking"
	Passed       Verdict = "pass"
	BakeFailed   Verdict = "fail"
	Inconclusive Verdict = "inconclusive"
	BakeEnded    Verdict = "ended" // by another operation, before a verdict
)

// BakeResult is a bake as others see it.
type BakeResult struct {
	Verdict Verdict `json:"verdict"`
	// Text says in a sentence what was compared, and what was found.
	Text  string    `json:"text"`
	Since time.Time `json:"since"`
	Until time.Time `json:"until"` // when it ends at the latest
	// Returned is the ID of the rollback that the bake caused; empty if the traffic
	// stayed.
	Returned string `json:"returned,omitempty"`
}

// BadRelease is a release that traffic was returned from. It is not offered
// again.
type BadRelease struct {
	Release string    `json:"release"`
	Since   time.Time `json:"since"`
	Reason  string    `json:"reason,omitempty"`
}

// Bake is what is remembered of the bake of one service, so that it goes on
// after a restart.
type Bake struct {
	ID       string   `json:"id"` // of the switch that began it
	Plan     BakePlan `json:"plan"`
	Baseline Baseline `json:"baseline"`
	Seen     BakeSeen `json:"seen,omitzero"`
	BakeResult
}

// BakeSeen is what a bake has seen so far, each kind of evidence for itself.
type BakeSeen struct {
	Requests BakeTally `json:"requests,omitzero"` // that failed
	Probes   BakeTally `json:"probes,omitzero"`   // that failed
	Latency  BakeTally `json:"latency,omitzero"`  // requests that were slow
	// Watched is for how long somebody looked.
	Watched time.Duration `json:"watched_ns,omitzero"`
}

// BakeTally counts samples, and stretches of time that are over.
type BakeTally struct {
	Samples int64 `json:"samples"`
	Bad     int64 `json:"bad"` // of them

	Stretches    int `json:"stretches"`
	BadStretches int `json:"bad_stretches"` // in which too many were bad
	// Sums over the stretches: their samples, the bad of them, and the squares of
	// these by the samples.
	All     float64 `json:"all"`
	Failed  float64 `json:"failed"`
	Squares float64 `json:"squares"`
}

// BakePlan is how a newly active slot is compared with the one before.
type BakePlan struct {
	Time        time.Duration `json:"time_ns"`
	MinRequests int           `json:"min_requests"` // that a verdict needs
	Errors      int           `json:"errors"`       // percentage points that the share of failures may grow by
	Slowdown    int           `json:"slowdown"`     // percent that the 95th percentile of latency may grow by
	Slack       time.Duration `json:"slack_ns"`     // and how much growth of it is never too much
	// Return says that the traffic is returned when the time is over without a
	// verdict too.
	Return bool `json:"return,omitempty"`
}

// Baseline is what the old slot did before the swap; without requests there is
// nothing to compare with.
type Baseline struct {
	Slot     Slot          `json:"slot"`
	Over     time.Duration `json:"over_ns"`
	Requests int64         `json:"requests"` // those that a client spoiled are left out
	Failed   int64         `json:"failed"`
	Timed    int64         `json:"timed"` // requests that have a latency: streams do not
	P95      time.Duration `json:"p95_ns"`
	// P95Most is the highest that the 95th percentile may be, given how few
	// requests it was measured on.
	P95Most time.Duration `json:"p95_most_ns"`
	// Open are the requests that had been open for long, as those of clients that
	// wait for news: the new slot will have as many.
	Open int64 `json:"open,omitempty"`
}

// final reports whether nothing more is to come.
func (b *BakeResult) final() bool { return b != nil && b.Verdict != Baking }

// combined is the bake of a switch, made of those of its services.
func combined(results map[string]BakeResult) *BakeResult {
	if len(results) == 0 {
		return nil
	}
	var sum BakeResult
	var texts []string
	for _, name := range slices.Sorted(maps.Keys(results)) {
		r := results[name]
		texts = append(texts, name+": "+r.Text)
		if weight(r.Verdict) > weight(sum.Verdict) {
			sum.Verdict = r.Verdict
		}
		if sum.Since.IsZero() || r.Since.Before(sum.Since) {
			sum.Since = r.Since
		}
		if r.Until.After(sum.Until) {
			sum.Until = r.Until
		}
		sum.Returned = cmp.Or(sum.Returned, r.Returned)
	}
	sum.Text = sentence(texts...)
	return &sum
}

// weight orders the verdicts: the weightiest of the services' is the switch's.
func weight(v Verdict) int {
	return slices.Index([]Verdict{"", BakeEnded, Passed, Inconclusive, BakeFailed, Baking}, v)
}
