package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"charactier-proxy/switcher"
)

// What only the way to the daemon can fail with.
var (
	// ErrUnreachable: no daemon answers on the socket.
	ErrUnreachable = errors.New("the daemon is not reachable")
	// ErrOutcomeUnknown: an operation was asked for, and the connection ended
	// before it was answered. It may have been done.
	ErrOutcomeUnknown = errors.New("the outcome is not known")
	// ErrInterrupted: the daemon ended during the operation; the traffic is where
	// it was.
	ErrInterrupted = errors.New("the daemon ended during the operation")
	// ErrForbidden: the peer may not do this.
	ErrForbidden = errors.New("not allowed")
	// ErrBadRequest: the request could not be understood.
	ErrBadRequest = errors.New("bad request")
	// ErrTooLarge: the request's body is over the limit.
	ErrTooLarge = errors.New("the request is too large")
	// ErrNoRoute: the daemon does not know the path, or not with this method.
	ErrNoRoute = errors.New("no such call")
	// ErrBadConfig: the configuration was not taken; the old one runs on.
	ErrBadConfig = errors.New("the configuration is not valid")
	// ErrOverloaded: too many connections are open.
	ErrOverloaded = errors.New("too many connections to the control socket")
	// ErrInternal: a fault in the daemon; its log says more.
	ErrInternal = errors.New("internal error")
)

// The exit codes of the command line.
const (
	ExitDone        = 0
	ExitFailed      = 1
	ExitUsage       = 2
	ExitRefused     = 3
	ExitBusy        = 4
	ExitUnreachable = 5
	ExitUndone      = 6
)

// ExitMeaning is one exit code in words.
type ExitMeaning struct {
	Code    int
	Meaning string
}

// ExitMeanings lists the exit codes.
func ExitMeanings() []ExitMeaning {
	return []ExitMeaning{
		{ExitDone, "done, or there was nothing to do"},
		{ExitFailed, "failed; the traffic is where it was"},
		{ExitUsage, "wrong usage or configuration"},
		{ExitRefused, "refused: the target slot is not healthy"},
		{ExitBusy, "busy: another operation is running"},
		{ExitUnreachable, "the daemon is not reachable, or the outcome is not known"},
		{ExitUndone, "done and then undone: the traffic was returned"},
	}
}

// failure ties together the four names of one kind of failure.
type failure struct {
	sentinel error
	code     string // on the wire
	status   int    // HTTP
	exit     int
}

// failures is the table; the first match counts, so what is more telling comes
// first.
func failures() []failure {
	return []failure{
		{switcher.ErrBusy, "busy", http.StatusConflict, ExitBusy},
		{switcher.ErrNoReservation, "no-reservation", http.StatusConflict, ExitFailed},
		{switcher.ErrUnhealthy, "unhealthy", http.StatusPreconditionFailed, ExitRefused},
		{switcher.ErrUnknownService, "unknown-service", http.StatusNotFound, ExitUsage},
		{switcher.ErrUnknownSlot, "unknown-slot", http.StatusBadRequest, ExitUsage},
		{switcher.ErrNothingToRollBack, "nothing-to-roll-back", http.StatusConflict, ExitFailed},
		{switcher.ErrNotSaved, "not-saved", http.StatusInternalServerError, ExitFailed},
		{switcher.ErrAborted, "aborted", http.StatusConflict, ExitFailed},
		{switcher.ErrNothingToAbort, "nothing-to-abort", http.StatusConflict, ExitFailed},
		{ErrForbidden, "forbidden", http.StatusForbidden, ExitFailed},
		{ErrTooLarge, "too-large", http.StatusRequestEntityTooLarge, ExitUsage},
		{ErrBadRequest, "bad-request", http.StatusBadRequest, ExitUsage},
		{ErrNoRoute, "no-route", http.StatusNotFound, ExitFailed},
		{ErrBadConfig, "bad-config", http.StatusUnprocessableEntity, ExitUsage},
		{ErrOverloaded, "overloaded", http.StatusServiceUnavailable, ExitUnreachable},
		{ErrUnreachable, "unreachable", http.StatusBadGateway, ExitUnreachable},
		{ErrOutcomeUnknown, "outcome-unknown", http.StatusBadGateway, ExitUnreachable},
		{ErrInterrupted, "interrupted", http.StatusInternalServerError, ExitFailed},
		{ErrInternal, "internal", http.StatusInternalServerError, ExitFailed},
	}
}

// ExitCode is the exit code for err.
func ExitCode(err error) int {
	if err == nil {
		return ExitDone
	}
	return failureOf(err).exit
}

// failureOf finds err's row; an error of no kind is an internal one.
func failureOf(err error) failure {
	table := failures()
	for _, f := range table {
		if errors.Is(err, f.sentinel) {
			return f
		}
	}
	return table[len(table)-1]
}

// Error is a failure as it crosses the socket. It wraps the sentinel of its
// code, so that errors.Is holds on both sides.
type Error struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	// Next is what to do about it: a command, or half a sentence.
	Next string `json:"hint,omitempty"`
	// Record is what the failed operation left; it tells where the traffic is.
	Record *switcher.Record `json:"record,omitempty"`
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }

// Hint returns what to do next; empty if nothing is known to help.
func (e *Error) Hint() string { return e.Next }

// Unwrap returns the sentinel of e's code.
func (e *Error) Unwrap() error {
	for _, f := range failures() {
		if f.code == e.Code {
			return f.sentinel
		}
	}
	return ErrInternal
}

// AsError is err as it crosses the socket: its code, its
// text and its hint. A record without an ID is of an operation that never began and is left out.
func AsError(err error, rec switcher.Record) *Error {
	e := Error{Code: failureOf(err).code, Message: err.Error(), Next: HintOf(err)}
	if rec.ID != "" {
		e.Record = &rec
	}
	return &e
}

// HintOf returns what an error, or one that it wraps, says to do next; empty if
// it says nothing.
func HintOf(err error) string {
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		return h.Hint()
	}
	return ""
}

// decodeError reads what the server sent instead of an answer. Anything else came from a program
// that is not our daemon.
func decodeError(status int, body []byte) error {
	e := new(Error)
	if err := json.Unmarshal(body, e); err != nil || e.Code == "" || e.Message == "" {
		return &Error{
			Code:    "internal",
			Message: fmt.Sprintf("the answer on the control socket is not from charactier-proxy: HTTP %d", status),
		}
	}
	return e
}

// hinted adds what to do next to an error.
type hinted struct {
	error
	hint string
}

func (h hinted) Hint() string  { return h.hint }
func (h hinted) Unwrap() error { return h.error }
