package switcher

import "errors"

// What an operation may be refused or fail with. They survive the control
// socket: errors.Is holds in the client too.
var (
	// ErrBusy: another operation runs; the text names it (S4).
	ErrBusy = errors.New("another operation is running")
	// ErrUnhealthy: the target slot was not healthy in this transaction (S3).
	ErrUnhealthy = errors.New("the target slot is not healthy")
	// ErrUnknownService: the configuration has no such service.
	ErrUnknownService = errors.New("unknown service")
	// ErrUnknownSlot: not blue or green.
	ErrUnknownSlot = errors.New("unknown slot")
	// ErrNothingToRollBack: there is no previous slot, or it is the one that the
	// last rollback left.
	ErrNothingToRollBack = errors.New("nothing to roll back to")
	// ErrNotSaved: the state could not be written; traffic is where it was.
	ErrNotSaved = errors.New("the state could not be saved")
	// ErrAborted: the operation was aborted before its swap.
	ErrAborted = errors.New("aborted")
	// ErrNothingToAbort: no operation runs, or it is past its swap.
	ErrNothingToAbort = errors.New("nothing to abort")
	// ErrNoReservation: the reservation that an operation names has ended, or
	// never was.
	ErrNoReservation = errors.New("there is no such reservation")
	// ErrStateUnknown: something was saved once, but which slot is active cannot
	// be told from it any more. Only an operator can know; see
	// [Options.AssumeActive]. It ends a start, never an operation.
	ErrStateUnknown = errors.New("which slot is active cannot be told from the state directory")
)
