package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
)

// cause names, in one stable word, why a request did not end well. It is what
// the client reads in the error answer, the operator in the log and the
// statistics count by.
type cause string

// What a slot can do wrong. Every cause that counts against a slot begins with
// "slot-"; see [cause.ofSlot].
const (
	causeConnectRefused cause = "slot-connect-refused" // nobody listens
	causeConnectTimeout cause = "slot-connect-timeout" // no answer to the connect in time
	causeConnectFailed  cause = "slot-connect-failed"  // any other failed connect
	causeDown           cause = "slot-down-too-long"   // nobody listened for as long as the request waited
	causeDownFull       cause = "slot-down-hold-full"  // nobody listens, and too many wait already
	causeHeaderTimeout  cause = "slot-answer-timeout"  // no head of an answer in time
	causeClosed         cause = "slot-closed-early"    // closed before or within the answer
	causeReset          cause = "slot-reset"           // reset before or within the answer
	causeStalled        cause = "slot-stalled"         // a body stood still for too long
	causeProtocol       cause = "slot-bad-answer"      // what came is not HTTP as it should be
)

// ofSlot reports whether the cause counts against the slot. What a client did
// wrong never does.
func (c cause) ofSlot() bool { return strings.HasPrefix(string(c), "slot-") }

// slotError is a fault of the slot, or of the way to it, met while doing op.
// Whether it counts against the slot is the cause's to say.
type slotError struct {
	cause cause
	op    string
	err   error
}

func (e *slotError) Error() string { return e.op + ": " + e.err.Error() }
func (e *slotError) Unwrap() error { return e.err }

// clientBodyError is a failed read of the request's body: the client's fault,
// whatever became of the slot meanwhile.
type clientBodyError struct{ err error }

func (e *clientBodyError) Error() string { return "reading the request's body: " + e.err.Error() }
func (e *clientBodyError) Unwrap() error { return e.err }

// errNoRoom is a connect that was not tried; see [Options.SlotRoom].
var errNoRoom = errors.New("as many connections to slots are open as may be")

// connectError gives a failed connect its cause. A unix socket that is not
// there means the same as a port on which nobody listens, and so does one whose
// queue is full, for which the kernel has no wait; and a listener that ends just
// then resets what it has not accepted. What we lack ourselves says
// nothing about the slot.
func connectError(address string, err error) *slotError {
	c := causeConnectFailed
	switch {
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOENT),
		errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.ECONNRESET):
		c = causeConnectRefused
	case weLack(err):
		c = causeNoRoom
	case isTimeout(err):
		c = causeConnectTimeout
	}
	return &slotError{cause: c, op: "connecting to " + address, err: err}
}

// weLack reports whether a connect failed for want of something of ours:
// descriptors, memory for a socket, or a port to connect from.
func weLack(err error) bool {
	for _, lack := range []error{errNoRoom, syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL} {
		if errors.Is(err, lack) {
			return true
		}
	}
	return false
}

// ioError gives a failed read or write its cause; late is the cause that a
// timeout stands for at this point.
func ioError(op string, late cause, err error) *slotError {
	c := causeClosed
	switch {
	case isTimeout(err):
		c = late
	case errors.Is(err, syscall.ECONNRESET):
		c = causeReset
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return &slotError{cause: c, op: op, err: err}
}

func isTimeout(err error) bool {
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}
