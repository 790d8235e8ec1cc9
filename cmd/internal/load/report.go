package load

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// Kind says how a request failed.
type Kind string

// The kinds.
const (
	NotConnected Kind = "not connected" // refused, or no connection in time
	Reset        Kind = "reset"         // the connection ended before the answer did
	TimedOut     Kind = "timed out"     // no complete answer in time
	Malformed    Kind = "malformed"     // not HTTP/1.1 as it should be
	BadStatus    Kind = "bad status"    // anything but 2xx
	WrongAnswer  Kind = "wrong answer"  // somebody else's id, an unknown slot, or Check said so
)

// kindError is an error with its kind.
type kindError struct {
	kind Kind
	err  error
}

func (e kindError) Error() string { return e.err.Error() }
func (e kindError) Unwrap() error { return e.err }

func kinded(k Kind, err error) error {
	if err == nil {
		return nil
	}
	return kindError{k, err}
}

func kindOf(err error) Kind {
	var timeout interface{ Timeout() bool }
	if errors.As(err, &timeout) && timeout.Timeout() {
		return TimedOut
	}
	var k kindError
	if errors.As(err, &k) {
		return k.kind
	}
	return Malformed
}

// keepFailures bounds the failures that are kept with their detail.
const keepFailures = 20

// Failure is one failed request.
type Failure struct {
	ID      string    `json:"id"`
	Method  string    `json:"method"`
	Kind    Kind      `json:"kind"`
	Text    string    `json:"text"`
	Slot    string    `json:"slot,omitempty"` // that answered, if one did
	Nth     int       `json:"nth"`            // request on its connection, from 1
	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended"`
}

// String is the failure in one line.
func (f Failure) String() string {
	return fmt.Sprintf("%s %s %s (request %d on its connection, after %s): %s",
		f.Started.Format("15:04:05.000"), f.Method, f.ID, f.Nth, f.Ended.Sub(f.Started).Round(time.Millisecond), f.Text)
}

// Report is what came of a load.
type Report struct {
	Run    string           `json:"run"`  // every id begins with it and a dash
	Sent   int64            `json:"sent"` // good and failed
	Good   int64            `json:"good"`
	Failed int64            `json:"failed"`
	Posts  int64            `json:"posts"` // good ones
	BySlot map[string]int64 `json:"by_slot"`
	ByKind map[Kind]int64   `json:"by_kind,omitempty"`

	Connections int64 `json:"connections"` // opened
	Reopened    int64 `json:"reopened"`    // closed by the peer between requests
	Reused      int64 `json:"reused"`      // requests on a connection that had served before

	Failures []Failure     `json:"failures,omitempty"` // the first ones
	P50      time.Duration `json:"p50_ns"`
	P99      time.Duration `json:"p99_ns"`
	Max      time.Duration `json:"max_ns"`
	Took     time.Duration `json:"took_ns,omitempty"` // set by Run
}

// String is the report with the failures that were kept.
func (r Report) String() string {
	lines := []string{r.Summary()}
	for _, f := range r.Failures {
		lines = append(lines, "       "+f.String())
	}
	return strings.Join(lines, "\n")
}

// Summary is the report in a line, and one for each kind of failure.
func (r Report) Summary() string {
	var b strings.Builder
	fmt.Fprintf(&b, "sent %d, failed %d, p50 %s, p99 %s, max %s; ", r.Sent, r.Failed, r.P50, r.P99, r.Max)
	for _, slot := range slices.Sorted(maps.Keys(r.BySlot)) {
		fmt.Fprintf(&b, "%s %d, ", slot, r.BySlot[slot])
	}
	fmt.Fprintf(&b, "%d connections, %d reopened, %d requests on a reused one", r.Connections, r.Reopened, r.Reused)
	for _, kind := range slices.Sorted(maps.Keys(r.ByKind)) {
		fmt.Fprintf(&b, "\n%6d %s", r.ByKind[kind], kind)
	}
	return b.String()
}

// tally counts for one client, or for all of them together.
type tally struct {
	mu      sync.Mutex
	counts  Report
	latency histogram
}

func newTally() *tally {
	return &tally{counts: Report{BySlot: map[string]int64{}, ByKind: map[Kind]int64{}}}
}

func (t *tally) opened()   { t.count(&t.counts.Connections) }
func (t *tally) reopened() { t.count(&t.counts.Reopened) }

func (t *tally) count(n *int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	*n++
}

func (t *tally) good(a Answer, reused bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts.Sent++
	t.counts.Good++
	t.counts.BySlot[a.Slot]++
	if a.Method == "POST" {
		t.counts.Posts++
	}
	if reused {
		t.counts.Reused++
	}
	t.latency.add(a.Ended.Sub(a.Started))
}

func (t *tally) failed(a Answer, served int, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	kind := kindOf(err)
	t.counts.Sent++
	t.counts.Failed++
	t.counts.ByKind[kind]++
	if len(t.counts.Failures) < keepFailures {
		t.counts.Failures = append(t.counts.Failures, Failure{
			ID: a.ID, Method: a.Method, Kind: kind, Text: err.Error(), Slot: a.Slot,
			Nth: served + 1, Started: a.Started, Ended: time.Now(),
		})
	}
}

// addTo adds what t counted to sum, which nobody else uses.
func (t *tally) addTo(sum *tally) {
	t.mu.Lock()
	defer t.mu.Unlock()
	to, from := &sum.counts, &t.counts
	to.Sent += from.Sent
	to.Good += from.Good
	to.Failed += from.Failed
	to.Posts += from.Posts
	to.Connections += from.Connections
	to.Reopened += from.Reopened
	to.Reused += from.Reused
	for slot, n := range from.BySlot {
		to.BySlot[slot] += n
	}
	for kind, n := range from.ByKind {
		to.ByKind[kind] += n
	}
	to.Failures = append(to.Failures, from.Failures...)
	sum.latency.merge(&t.latency)
}

// report finishes a sum.
func (t *tally) report() Report {
	r := t.counts
	slices.SortFunc(r.Failures, func(a, b Failure) int { return a.Ended.Compare(b.Ended) })
	r.Failures = r.Failures[:min(len(r.Failures), keepFailures)]
	r.P50, r.P99, r.Max = t.latency.quantile(0.50), t.latency.quantile(0.99), t.latency.max
	return r
}
