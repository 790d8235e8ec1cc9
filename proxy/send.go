package proxy

import (
	"errors"
	"io"
	"net/http/httptrace"
	"time"
)

const (
	// smallBody is the length up to which a body of known length is sent by the
	// request's own goroutine, with its head in one write where it can. The slot
	// sees nothing of such a request before its body begins to arrive.
	smallBody = 16 << 10
	// copySize is how much of a body is read at once.
	copySize = 32 << 10
	// lastWriteWait is how long a connection whose answer is complete waits for
	// the last write of its request to return, which it has all but done.
	lastWriteWait = 50 * time.Millisecond
)

// errBodyShort is a request whose body ended before the length that its head
// promised.
var errBodyShort = errors.New("the body is shorter than its length")

// send writes what is left of the request, or starts the goroutine that does.
func (x *exchange) send() error {
	switch {
	case x.framing == noBody:
		err := x.writeHead()
		x.sentAll(err)
		return err
	case x.framing == sized && x.left <= smallBody:
		err := x.sendSmall()
		x.sentAll(err)
		return err
	}
	if err := x.writeHead(); err != nil {
		x.sentAll(err)
		return err
	}
	x.sent = make(chan struct{})
	go func() {
		defer close(x.sent)
		x.sentAll(x.sendBody())
	}()
	return nil
}

// writeHead writes what is due first. A failed write leaves it in place: when
// not a byte was written it can go to another connection.
func (x *exchange) writeHead() error { return x.write(x.head.Bytes()) }

func (x *exchange) write(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	if err := x.c.write(b); err != nil {
		fault := ioError("sending the request", causeStalled, err)
		if fault.cause == causeStalled {
			x.giveUp(fault)
		}
		return fault
	}
	return nil
}

// sendSmall sends the head together with what there is of the body, then the
// rest as it comes (P4).
func (x *exchange) sendSmall() error {
	for {
		if x.left > 0 {
			x.head.Grow(int(x.left))
			n, err := x.readBody(x.head.AvailableBuffer()[:x.left])
			x.head.Write(x.head.AvailableBuffer()[:n])
			if err != nil {
				return err
			}
		}
		if err := x.writeHead(); err != nil {
			return err
		}
		x.head.Reset()
		if x.left == 0 {
			return nil
		}
	}
}

// sendBody copies the body as it comes, each read in one write.
func (x *exchange) sendBody() error {
	b := x.t.chunks.Get().(*[chunkRoom + copySize]byte)
	defer x.t.chunks.Put(b)
	if x.framing == sized {
		return x.sendSized(b[:copySize])
	}
	return x.sendChunked(b[:])
}

func (x *exchange) sendSized(b []byte) error {
	for x.left > 0 {
		n, err := x.readBody(b[:min(x.left, int64(len(b)))])
		if err != nil {
			return err
		}
		x.lastWrite.Store(x.left == 0)
		if err := x.write(b[:n]); err != nil {
			return err
		}
	}
	return nil
}

func (x *exchange) sendChunked(b []byte) error {
	for {
		n, err := x.readBody(b[chunkHeadRoom : chunkHeadRoom+copySize])
		if n > 0 {
			if err := x.write(frameChunk(b, n)); err != nil {
				return err
			}
		}
		switch {
		case err == io.EOF:
			return x.sendLastChunk()
		case err != nil:
			return err
		}
	}
}

func (x *exchange) sendLastChunk() error {
	last, err := lastChunk(x.req.Trailer)
	if err != nil {
		return x.giveUp(&clientBodyError{err})
	}
	x.lastWrite.Store(true)
	return x.write(last)
}

// readBody reads once from the request's body. Its error is io.EOF for the end
// of a body of unknown length; any other is the client's and has ended the
// exchange.
func (x *exchange) readBody(b []byte) (int, error) {
	n, err := x.req.Body.Read(b)
	if x.framing == sized {
		x.left -= int64(n)
		switch {
		case x.left == 0:
			return n, nil
		case err == io.EOF:
			err = errBodyShort
		}
	}
	if err != nil && err != io.EOF {
		return n, x.giveUp(&clientBodyError{err})
	}
	return n, err
}

// giveUp ends the exchange because of its sending half. The connection is
// closed, which wakes the half that waits for an answer.
func (x *exchange) giveUp(err error) error {
	if x.bodyGone.Load() {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.sendErr == nil {
		x.sendErr = err
	}
	x.c.Close()
	return err
}

// sentAll notes the end of the sending half. From here on the slot owes us an
// answer, also when it did not take everything.
func (x *exchange) sentAll(err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.complete = err == nil
	if !x.answered && x.t.headerTimeout > 0 {
		x.c.SetReadDeadline(time.Now().Add(x.t.headerTimeout)) //nolint:errcheck // the read tells
	}
}

// wasSent reports whether the whole request is out and nobody writes any more.
func (x *exchange) wasSent() bool {
	switch {
	case x.sent == nil:
	case x.lastWrite.Load():
		x.c.SetWriteDeadline(time.Now().Add(lastWriteWait)) //nolint:errcheck // the write tells
		<-x.sent
	default:
		select {
		case <-x.sent:
		default:
			return false
		}
	}
	return x.complete
}

// traceConn tells net/http/httptrace which connection it became.
func (x *exchange) traceConn() {
	if trace := httptrace.ContextClientTrace(x.ctx); trace != nil && trace.GotConn != nil {
		trace.GotConn(httptrace.GotConnInfo{Conn: x.c.Conn, Reused: x.c.reused, WasIdle: x.c.reused})
	}
}
