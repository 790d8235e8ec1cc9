package proxy

import (
	"errors"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// errStale is a pooled connection on which something has happened. Nothing was
// written to it.
var errStale = errors.New("the connection is not quiet any more")

// asking is a request on its way to the slot and the first of its answer: the
// look at an idle connection, the write and the wait in one stay with the
// runtime's poller. That spares the read before the wait, which would find
// nothing.
//
// The order makes it safe. The poller remembers what happens on a socket from
// the moment at which the stay begins. Only then is the socket seen to be empty,
// so whatever comes is remembered, even before the wait begins.
type asking struct {
	step func(fd uintptr) bool // askStep, bound once

	out     []byte // what is left of the request
	written bool   // the request, or as much of it as the socket took
	stale   bool

	answerRead
	err error // of writing, or of reading and not yet taken
}

// ask sends the whole request. If it could be sent at once, the first of the
// answer is there when it returns, or the time has come to look after the client.
func (x *laneExchange) ask() error {
	c := x.slot
	a := &c.asking
	*a = asking{step: a.step, out: x.request, answerRead: answerRead{from: laneHeadRoom}}
	span := firstLook
	if limit := x.slots.headerTimeout; limit > 0 {
		span = min(span, limit)
	}
	c.boundRead(x.sentAt, span)
	err := c.stay()
	c.wrote = int64(len(x.request) - len(a.out))
	switch {
	case a.stale:
		return errStale
	case a.err != nil && !a.written:
		return ioError("sending the request", causeStalled, c.fault("write", a.err))
	case !a.written: // the time was over before it began
		return x.lookAndWrite()
	case len(a.out) > 0:
		return x.writeSlot(a.out, x.sentAt)
	case err != nil && !isTimeout(err):
		return ioError("waiting for the answer", causeHeaderTimeout, err)
	}
	return nil
}

// stay has the poller call askStep until that ends it.
func (c *slotConn) stay() error {
	err := c.raw.Read(c.asking.step)
	if e, ok := err.(*net.OpError); ok {
		e.Op = "read" // it calls it raw
	}
	return err
}

// askStep is called when the stay begins and whenever the socket has become
// readable. It returns true to end the stay.
func (c *slotConn) askStep(fd uintptr) bool {
	a := &c.asking
	if a.written {
		return c.hear(fd)
	}
	if a.stale = c.reused && !silentSocket(fd); a.stale {
		return true
	}
	n, err := writeSocket(fd, a.out)
	a.out = a.out[n:]
	if err != nil && err != unix.EAGAIN {
		a.err = err
		return true
	}
	a.written = true
	return len(a.out) > 0
}

// fault is what net would make of a failed system call.
func (c *slotConn) fault(op string, errno error) error {
	return &net.OpError{Op: op, Net: c.LocalAddr().Network(), Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: os.NewSyscallError(op, errno)}
}
