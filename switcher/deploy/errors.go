package deploy

import (
	"errors"
	"strings"
)

// How a deploy may end other than well.
var (
	// ErrReturned: traffic had moved and was returned; it is where it was.
	ErrReturned = errors.New("the traffic was returned")
	// ErrUnhealthy: the new slot did not prove itself; traffic is where it was.
	ErrUnhealthy = errors.New("the new slot did not prove itself")
	// ErrDetached: the command stops here and the deploy does not: traffic has
	// moved, and the rest waits for [Pipeline.Resume].
	ErrDetached = errors.New("the deploy is not finished")
	// ErrDown: the deploy is done, and the slot that has the traffic by that does not
	// run any more.
	ErrDown = errors.New("traffic is on a slot that does not answer")
	// ErrBadRelease: the release was returned from before.
	ErrBadRelease = errors.New("the release was returned from before")
	// ErrStuck: what was done could not be undone entirely.
	ErrStuck = errors.New("not everything could be undone")
	// ErrDraining: the standby slot still serves requests.
	ErrDraining = errors.New("the standby slot is still in use")
)

// errUnwritten is the fault of the disk, and of no release.
var errUnwritten = errors.New("writing the journal")

// errUnchanged ends a deploy of what is active already.
var errUnchanged = errors.New("nothing to do")

// hinted is an error that knows what helps.
type hinted struct {
	error
	hint string
}

func (h hinted) Unwrap() error { return h.error }

// Hint is what to do next.
func (h hinted) Hint() string { return h.hint }

func hint(err error, text string) error { return hinted{err, text} }

// hintOf is what an error knows that helps; empty if it knows nothing.
func hintOf(err error) string {
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		return h.Hint()
	}
	return ""
}

// hints are commands below each other, one in a line, so that each can be pasted.
func hints(commands ...string) string { return strings.Join(commands, "\n") }

// outputError is the failure of a command or a unit with what it said last.
type outputError struct {
	error
	output []string
}

func (e outputError) Unwrap() error    { return e.error }
func (e outputError) Output() []string { return e.output }
