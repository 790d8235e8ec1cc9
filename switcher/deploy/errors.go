package deploy

import "errors"

// How a deploy may end other than well.
var (
	// ErrReturned: traffic had moved and was returned; it is where it was.
	ErrReturned = errors.New("the traffic was returned")
	// ErrUnhealthy: the new slot did not prove itself; traffic is where it was.
	ErrUnhealthy = errors.New("the new slot did not prove itself")
	// ErrDetached: the command stops here and the deploy does not: traffic has
	// moved, and the rest waits for [Pipeline.Resume].
	ErrDetached = errors.New("the deploy is not finished")
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
