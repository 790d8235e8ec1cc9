package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"charactier-proxy/proxy/http1"

	"golang.org/x/sys/unix"
)

// receive reads the answer and passes it on.
func (l *laneConn) receive() error {
	x := &l.work.laneExchange
	x.chunks.Padded = true
	got := laneHeadRoom // up to where buf is filled
	for {
		n, err := 0, error(nil)
		if x.buf != nil {
			n, err = x.res.Parse(x.buf[laneHeadRoom:got], x.req.Method())
		}
		switch {
		case err != nil:
			return badAnswer(err)
		case n > 0 && x.res.Informational():
			if err := l.passInfo(); err != nil {
				return err
			}
			got = laneHeadRoom + copy(x.buf[laneHeadRoom:], x.buf[laneHeadRoom+n:got])
			continue
		case n > 0:
			return l.deliver(laneHeadRoom+n, got)
		case x.buf != nil && got == len(x.buf):
			x.buf = slices.Grow(x.buf, len(x.buf))[:2*len(x.buf)]
		}
		n, err = l.readHead(got)
		if err != nil {
			return err
		}
		got += n
	}
}

// passInfo passes an informational answer on.
func (l *laneConn) passInfo() error {
	x := &l.work.laneExchange
	if x.infos++; x.infos > maxInfos {
		return badAnswer(fmt.Errorf("more than %d informational answers", maxInfos))
	}
	dst := x.appendStatusLine(l.work.room[:0])
	dst = x.res.AppendFields(dst, http1.HopByHop)
	x.res.Reset()
	return l.writeClient(append(dst, "\r\n"...), time.Now())
}

// deliver passes the final answer on: its head, which ends at body in x.buf, and
// the body, of which the buffer has a part up to got.
func (l *laneConn) deliver(body, got int) error {
	x := &l.work.laneExchange
	if x.res.Status() == 101 {
		return badAnswer(errors.New("101 to a request that did not ask for it"))
	}
	x.slot.named = idleLimitOf(x.res.KeepAliveTimeout()) // before the new head lies where the old one did
	if served, err := l.serveAsset(x.buf[body:got]); served || err != nil {
		return err
	}
	if isEventStream(x.res.Get(http1.ContentType)) {
		l.beginEvents()
	}
	part, err := x.takeBody(x.buf[body:got])
	if err != nil {
		return badAnswer(err)
	}
	x.closing = x.closing || x.unread() || l.server.isEnding()
	x.status, x.firstByte = x.res.Status(), x.readAt
	if err := l.writeFirst(body, part, x.readAt); err != nil {
		return err
	}
	relay := l.relayBody
	if x.events != nil {
		relay = l.relayEvents
	}
	if err := relay(); err != nil {
		return err
	}
	l.leaveStream()
	l.letSlotGo()
	return nil
}

// letSlotGo gives back the slot's connection after its answer was read.
func (l *laneConn) letSlotGo() {
	x := &l.work.laneExchange
	l.endUpload()
	if x.extra || x.unread() || x.up.started && !x.up.sent || x.res.Close() {
		l.closeSlot()
		return
	}
	if x.up.started {
		x.slot.foreign = true // its deadlines have been anybody's
	}
	x.slots.pool.put(x.slot, x.slot.heardAt)
	x.slot = nil
}

// takeBody returns what of b belongs to the body, which ends where nothing is
// left of it.
func (x *laneExchange) takeBody(b []byte) ([]byte, error) {
	n := len(b)
	switch x.res.Framing() {
	case http1.NoBody:
		n, x.bodyDone = 0, true
	case http1.Sized:
		n = int(min(int64(n), x.res.Length()-x.passed))
		x.passed += int64(n)
		x.bodyDone = x.passed == x.res.Length()
	case http1.Chunked:
		var err error
		if n, err = x.takeChunks(b); err != nil {
			return nil, err
		}
		x.bodyDone = x.chunks.Done()
	case http1.UntilClose:
		x.passed += int64(n)
		x.follow(b)
	}
	x.extra = x.extra || n < len(b)
	return b[:n], nil
}

// takeChunks returns how much of b belongs to a body in chunks. They pass as they
// are.
func (x *laneExchange) takeChunks(b []byte) (used int, err error) {
	for used < len(b) && !x.chunks.Done() {
		data, n, err := x.chunks.Next(b[used:])
		if err != nil {
			return 0, err
		}
		used += n
		x.passed += int64(len(data))
		x.follow(data)
	}
	return used, nil
}

// writeFirst writes the head and what there is of the body, in one write where
// the new head has room before it.
func (l *laneConn) writeFirst(body int, part []byte, now time.Time) error {
	x := &l.work.laneExchange
	head := l.appendAnswerHead(l.work.room[:0])
	if x.res.Framing() == http1.UntilClose {
		if err := l.writeClient(head, now); err != nil || len(part) == 0 {
			return err
		}
		return l.writeChunk(x.buf[body-chunkHeadRoom:], len(part))
	}
	if start := body - len(head); start >= 0 {
		copy(x.buf[start:], head)
		return l.writeClient(x.buf[start:body+len(part)], now)
	}
	if err := l.writeClient(head, now); err != nil || len(part) == 0 {
		return err
	}
	return l.writeClient(part, time.Now())
}

// relayBody passes on what is left of the body as it comes.
func (l *laneConn) relayBody() error {
	x := &l.work.laneExchange
	x.lookedAt = x.readAt
	for !x.bodyDone {
		// The slot's time begins now: until here, the client may have kept us waiting.
		x.leaveRoom()
		n, err := l.readSlot(chunkHeadRoom, chunkRoom-chunkHeadRoom, "reading the answer's body", causeStalled, time.Now(), x.slots.stall)
		if err != nil {
			return l.endUntilClose(err)
		}
		if err := l.lookNowAndThen(); err != nil {
			return err
		}
		if err := l.pass(x.buf[chunkHeadRoom : chunkHeadRoom+n]); err != nil {
			return err
		}
	}
	return nil
}

// pass passes on what was read of a body, behind the room for a chunk's frame.
func (l *laneConn) pass(b []byte) error {
	x := &l.work.laneExchange
	part, err := x.takeBody(b)
	if err != nil {
		return badAnswer(err)
	}
	if x.res.Framing() == http1.UntilClose {
		return l.writeChunk(x.buf, len(b))
	}
	return l.writeClient(part, x.readAt)
}

// endUntilClose ends a body that ends with the slot's connection.
func (l *laneConn) endUntilClose(err error) error {
	x := &l.work.laneExchange
	var fault *slotError
	if x.res.Framing() != http1.UntilClose || !errors.As(err, &fault) || fault.cause != causeClosed || !errors.Is(fault.err, io.ErrUnexpectedEOF) {
		return err
	}
	return l.writeClient([]byte("0\r\n\r\n"), time.Now())
}

// writeChunk frames a part of a body that the slot did not frame: n bytes of b
// behind the room for that.
func (l *laneConn) writeChunk(b []byte, n int) error {
	return l.writeClient(frameChunk(b, n), time.Now())
}

// writeClient writes to the client, which must take something within the
// service's time, for as long as it does.
func (l *laneConn) writeClient(b []byte, now time.Time) error {
	span := l.work.claim.service.ProgressTimeout
	for {
		l.boundWrite(now, span)
		err := l.write(b)
		n := len(b) - len(l.out)
		switch b = l.out; {
		case err == nil:
			return nil
		case isTimeout(err) && n > 0:
			now = time.Now()
		case isTimeout(err):
			return &laneEnd{causeClientTooSlow, err}
		default:
			return &laneEnd{causeClientGone, err}
		}
	}
}

// write writes to the client until its deadline. What is left is in l.out.
func (l *laneConn) write(b []byte) error {
	l.out, l.writeErr = b, nil
	if err := l.conn.raw.Write(l.push); err != nil {
		return err
	}
	return l.writeErr
}

// tryWrite is called when the client may take something.
func (l *laneConn) tryWrite(fd uintptr) bool {
	for len(l.out) > 0 {
		n, err := writeSocket(fd, l.out)
		l.out = l.out[n:]
		if err == unix.EAGAIN {
			return false
		}
		if err != nil {
			l.writeErr = err
			return true
		}
	}
	return true
}

// boundWrite grants the client a span, hardly more, from now; zero means no bound.
func (l *laneConn) boundWrite(now time.Time, span time.Duration) {
	switch {
	case span <= 0 && l.writeBound.IsZero(), span > 0 && !l.writeBound.Before(now.Add(span)):
		return
	case span <= 0:
		l.writeBound = time.Time{}
	default:
		l.writeBound = now.Add(span + span/8)
	}
	l.conn.Conn.SetWriteDeadline(l.writeBound) //nolint:errcheck // the write tells
}

// isEventStream reports whether a media type is that of an event stream.
func isEventStream(mediaType []byte) bool {
	const want = eventStreamMediaType
	if len(mediaType) < len(want) || !strings.EqualFold(string(mediaType[:len(want)]), want) {
		return false
	}
	rest := bytes.TrimLeft(mediaType[len(want):], " \t")
	return len(rest) == 0 || rest[0] == ';'
}
