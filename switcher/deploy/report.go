package deploy

import "time"

// State is what a report says of a step.
type State string

// The states.
const (
	StateDoing   State = "doing"
	StateDone    State = "done"
	StateSkipped State = "skipped" // there was nothing to do
	StateLeft    State = "left"    // to be gone on with by another command
	StateWaiting State = "waiting" // still, and why
	StateFailed  State = "failed"
	StateUndoing State = "undoing"
	StateUndone  State = "undone"
	StateLine    State = "line"   // one line of a command's output
	StateOutput  State = "output" // one of the last lines of what failed
	StateNote    State = "note"   // something worth knowing
	StateWarning State = "warning"
)

// Report is one thing that happens in a deploy, as it happens.
type Report struct {
	Time    time.Time     `json:"time"`
	Deploy  string        `json:"deploy,omitempty"` // its ID
	Step    string        `json:"step,omitempty"`
	State   State         `json:"state"`
	Service string        `json:"service,omitempty"`
	Text    string        `json:"text,omitempty"`
	Took    time.Duration `json:"took_ns,omitempty"` // with done, failed and undone
	// Done of Total is how far the step is, where that is known; Total is zero
	// where it is not.
	Done  int64 `json:"done,omitempty"`
	Total int64 `json:"total,omitempty"`
}
