package proxy

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"charactier-proxy/proxy/http1"
)

// laneUpload is a request's body that comes in chunks, or that is too long to be
// sent before anybody looks for an answer. What of it did not come with the head
// is sent by a goroutine of its own, which lasts no longer than that takes, while
// the request's goroutine passes on the answer. A zero laneUpload is none.
type laneUpload struct {
	used    bool // there is such a body
	started bool // and the goroutine has begun
	running sync.WaitGroup
	whole   atomic.Bool // nothing of it is left to come from the client
	ended   atomic.Bool // the goroutine is about to end; what follows stays as it is
	stopped atomic.Bool // it was told to end, and its errors are our doing

	// Of the goroutine; the request's may read them when it has ended.
	sent    bool // all of the body is with the slot
	err     error
	endedAt time.Time
	rest    []byte // what came from the client behind the body

	chunks   http1.Chunks
	trailers []byte // as they came
	buf      *[chunkRoom + copySize]byte
}

var errUploadStopped = errors.New("the request's body is not wanted any more")

// beginBody looks at what came of the body together with the head. It reports
// false where that is not plainly understood.
func (l *laneConn) beginBody() bool {
	x, w := &l.work.laneExchange, l.work
	if x.req.Framing() == http1.Chunked {
		return l.beginChunks()
	}
	x.in = min(x.req.Length(), int64(l.have-x.head))
	x.bodyLeft = x.req.Length() - x.in
	x.taken = x.head + int(x.in)
	x.begun = w.in[x.head:x.taken]
	x.up.used = x.req.Length() > smallBody
	return true
}

// beginChunks leaves the bytes as they are, since another may have to read them,
// and frames anew a copy of them, where the answer will be.
func (l *laneConn) beginChunks() bool {
	x, w := &l.work.laneExchange, l.work
	x.up.used, x.up.chunks.AnyTrailer = true, true
	x.buf = takeRoom()
	n := copy(x.buf[chunkHeadRoom:], w.in[x.head:l.have])
	framed, size, err := x.up.reframe(x.buf, n)
	if err != nil {
		return false
	}
	x.in, x.begun, x.taken = int64(size), framed, l.have-len(x.up.rest)
	x.up.whole.Store(x.up.chunks.Done())
	return true
}

// unread reports whether the client's body has not come to its end.
func (x *laneExchange) unread() bool {
	if x.up.used {
		return !x.up.whole.Load()
	}
	return x.bodyLeft > 0
}

// startUpload sends what is left of the body while the caller goes on.
func (l *laneConn) startUpload() {
	x := &l.work.laneExchange
	x.up.started = true
	x.up.buf = x.slots.chunks.Get().(*[chunkRoom + copySize]byte)
	x.up.running.Add(1)
	go l.upload()
}

// upload is the goroutine. What ends the exchange closes the slot's connection,
// which wakes the one that waits for its answer.
func (l *laneConn) upload() {
	x := &l.work.laneExchange
	defer x.up.running.Done()
	err := l.uploadBody()
	x.up.sent = err == nil
	if err != nil && !x.up.stopped.Load() && !takesNoMore(err) {
		x.up.err = err
		x.slot.Close() //nolint:errcheck // it is given up
	}
	x.up.endedAt = time.Now()
	x.up.ended.Store(true)
}

// takesNoMore reports whether the slot does not take the rest of a request: it may
// have answered.
func takesNoMore(err error) bool {
	var fault *slotError
	return errors.As(err, &fault) && fault.cause != causeStalled
}

func (l *laneConn) uploadBody() (err error) {
	x := &l.work.laneExchange
	defer func() {
		if v := recover(); v != nil {
			x.lane.proxy.fwd.logPanic(v, x.lane.service, x.requestID())
			err = &laneEnd{causeInternal, fmt.Errorf("sending the body panicked: %v", v)}
		}
	}()
	if x.req.Framing() == http1.Chunked {
		return l.uploadChunks()
	}
	if pipe := l.pipe(); pipe != nil {
		defer pipe.close()
		if err := l.uploadSpliced(pipe); err != errNoSplice {
			return err
		}
	}
	return l.uploadSized()
}

// uploadSized copies a body of known length, each read in one write.
func (l *laneConn) uploadSized() error {
	x := &l.work.laneExchange
	for b := x.up.buf[:copySize]; x.bodyLeft > 0; {
		n, err := l.readUpload(b[:min(x.bodyLeft, copySize)])
		if err != nil {
			return err
		}
		l.cameFromClient(n)
		if err := x.writeSlot(b[:n], time.Now()); err != nil {
			return err
		}
	}
	return nil
}

// cameFromClient counts bytes of a body of known length.
func (l *laneConn) cameFromClient(n int) {
	x := &l.work.laneExchange
	x.in += int64(n)
	if x.bodyLeft -= int64(n); x.bodyLeft == 0 {
		x.up.whole.Store(true)
	}
}

// uploadChunks frames anew what comes in chunks. What is read beyond the body's
// end is never more than fits where the next request is read.
func (l *laneConn) uploadChunks() error {
	x := &l.work.laneExchange
	limit, b := x.claim.service.MaxBodyBytes, x.up.buf[:]
	for !x.up.whole.Load() {
		most := min(copySize, x.up.chunks.Due()+laneIn)
		n, err := l.readUpload(b[chunkHeadRoom : chunkHeadRoom+most])
		if err != nil {
			return err
		}
		framed, size, err := x.up.reframe(b, n)
		if x.in += int64(size); err == nil && limit > 0 && x.in > limit {
			err = errBodyTooLarge
		}
		if err != nil {
			return bodyFault(err)
		}
		x.up.whole.Store(x.up.chunks.Done())
		if len(framed) == 0 {
			continue
		}
		if err := x.writeSlot(framed, time.Now()); err != nil {
			return err
		}
	}
	return nil
}

// readUpload reads what the client sends of the body.
func (l *laneConn) readUpload(b []byte) (int, error) {
	for since := time.Now(); ; {
		if err := l.boundUpload(); err != nil {
			return 0, err
		}
		n, err := l.conn.Conn.Read(b)
		switch {
		case n > 0:
			return n, nil
		case !l.wokenUp(since, err):
			return 0, bodyFault(err)
		}
	}
}

// wokenUp reports whether a read that was begun at that time ended before its
// time. A server that stops ends the reads of the connections that wait for a
// request, and one of them may just have brought it: then the read goes on.
func (l *laneConn) wokenUp(since time.Time, err error) bool {
	span := l.work.claim.service.ProgressTimeout
	if !isTimeout(err) || span > 0 && time.Since(since) >= span {
		return false
	}
	l.readBound = farPast
	return true
}

// boundUpload grants the client the service's time, hardly more, for the next
// read. Who stops us sets a deadline that is over, either before we look or after
// we have set ours.
func (l *laneConn) boundUpload() error {
	span, now := l.work.claim.service.ProgressTimeout, time.Now()
	if left := l.readBound.Sub(now); left < span || left > span+span/8 {
		l.boundRead(now, span+span/8)
	}
	if l.work.up.stopped.Load() {
		return errUploadStopped
	}
	return nil
}

// readBody reads what the client sends of a body, for which it has the service's
// time. Now and then it looks whether we must stop.
func (l *laneConn) readBody(b []byte) (int, error) {
	limit, since := l.work.claim.service.ProgressTimeout, time.Now()
	for now := since; ; now = time.Now() {
		span := maxLook
		if limit > 0 {
			span = min(span, limit-now.Sub(since))
		}
		l.boundRead(now, max(span, 1))
		n, err := l.conn.Conn.Read(b)
		switch {
		case n > 0:
			return n, nil
		case l.server.cutting.Load():
			return 0, &laneEnd{causeShuttingDown, errShutdown}
		case isTimeout(err) && (limit <= 0 || time.Since(since) < limit):
			continue
		}
		return 0, bodyFault(err)
	}
}

// bodyFault is a body that did not come as it should.
func bodyFault(err error) error {
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return &laneEnd{bodyCause(err, false), &clientBodyError{err}}
}

// readHead reads what comes of the answer's head, for which the slot has its time
// from when the request was sent, or could be sent no further.
func (l *laneConn) readHead(from int) (int, error) {
	const op = "waiting for the answer"
	x := &l.work.laneExchange
	limit := x.slots.headerTimeout
	for x.up.started && !x.up.ended.Load() {
		look := maxLook
		if limit > 0 {
			look = min(look, limit)
		}
		n, err := l.readSlot(from, 0, op, causeHeaderTimeout, time.Now(), look)
		if err == nil || !isTimeout(err) {
			return n, err
		}
	}
	if x.up.started {
		x.sentAt = x.up.endedAt
	}
	return l.readSlot(from, 0, op, causeHeaderTimeout, x.sentAt, limit)
}

// endUpload ends the goroutine, if there is one, and waits for that. One that has
// all of the body is about to end by itself: the slot may well have answered what
// it wrote last before it came to say so.
func (l *laneConn) endUpload() {
	up, slot := &l.work.up, l.work.slot
	if !up.started {
		return
	}
	if !up.ended.Load() {
		up.stopped.Store(true)
		if up.whole.Load() {
			late := time.AfterFunc(lastWriteWait, func() { slot.Close() }) //nolint:errcheck // it is given up
			defer late.Stop()
		} else {
			slot.Close()                         //nolint:errcheck // it is given up
			l.conn.Conn.SetReadDeadline(farPast) //nolint:errcheck // a closed connection wakes as well
		}
	}
	up.running.Wait()
	l.readBound = farPast
}

// outcomeOf is how the exchange ended that err ended, nil if it went well. What
// was wrong with the body comes first: what the slot did is the consequence.
func (l *laneConn) outcomeOf(err error) error {
	l.endUpload()
	if fault := l.work.up.err; err != nil && fault != nil {
		return fault
	}
	return err
}

// reset makes it ready for the next request. The goroutine has ended.
func (u *laneUpload) reset(t *transport) {
	if u.buf != nil {
		t.chunks.Put(u.buf)
	}
	*u = laneUpload{trailers: u.trailers[:0]}
}
