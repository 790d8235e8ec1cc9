package switcher

import "time"

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
