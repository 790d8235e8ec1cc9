package proxy

import (
	"errors"
	"strings"
	"time"

	"charactier-proxy/proxy/http1"
)

// errStreamEnded ends the wait for the slot of an event stream that has ended.
var errStreamEnded = errors.New("the stream has ended between two events")

// beginEvents says that the answer is an event stream.
func (l *laneConn) beginEvents() {
	x := &l.work.laneExchange
	slot, client := x.slot.Conn, l.conn.Conn
	x.events = &eventStream{
		deaf: x.res.Framing() == http1.Sized || isEncoded(x.contentEncoding()),
		interrupt: func(all bool) {
			slot.SetReadDeadline(farPast) //nolint:errcheck // what is closed needs no interruption
			if all {
				client.SetWriteDeadline(farPast) //nolint:errcheck // likewise
			}
		},
	}
	l.server.beginStream(x.events)
	x.claim.stats.open.end(x.start)
	x.claim.beginStream()
	x.claim.opened.add(x.events)
}

func (l *laneConn) endStream() {
	x := &l.work.laneExchange
	l.leaveStream()
	x.claim.opened.remove(x.events)
	x.claim.endStream()
	l.server.endStream(x.events)
}

// leaveStream keeps others from interrupting the connections, which are for other
// requests now. Where they were interrupted, they are not used again.
func (l *laneConn) leaveStream() {
	x := &l.work.laneExchange
	if x.events.leave() == streamCut {
		x.closing, x.extra = true, true
	}
}

func (x *laneExchange) contentEncoding() string {
	for i := range x.res.Len() {
		if strings.EqualFold(string(x.res.Name(i)), "Content-Encoding") {
			return string(x.res.Value(i))
		}
	}
	return ""
}

// follow looks at a part of an event stream that is passed on.
func (x *laneExchange) follow(data []byte) {
	if x.events != nil {
		x.events.scan(data)
	}
}

// ended is why the reader should not wait for the slot any more, if that is so.
func (s *eventStream) ended() error {
	switch s.now() {
	case streamEnded:
		return errStreamEnded
	case streamCut:
		return &laneEnd{causeStreamCut, errStreamCut}
	}
	return nil
}

// relayEvents is relayBody for an event stream.
func (l *laneConn) relayEvents() error {
	x := &l.work.laneExchange
	x.lookedAt = x.readAt
	for !x.bodyDone {
		x.events.await(x.mayEnd())
		x.leaveRoom()
		n, err := l.readSlot(chunkHeadRoom, chunkRoom-chunkHeadRoom, "reading the answer's body", causeStalled, time.Now(), x.slots.stall)
		switch phase := x.events.came(); {
		case phase == streamEnded:
			return l.endEvents()
		case phase == streamCut:
			return x.events.ended()
		case err != nil:
			return l.endUntilClose(err)
		case phase == streamAsked && !x.events.deaf:
			err = l.passAsked(x.buf[chunkHeadRoom : chunkHeadRoom+n])
		default:
			err = l.pass(x.buf[chunkHeadRoom : chunkHeadRoom+n])
		}
		if err != nil {
			return err
		}
		if err := l.lookNowAndThen(); err != nil {
			return err
		}
	}
	return nil
}

// mayEnd reports whether the stream, as far as it was passed on, may end here.
func (x *laneExchange) mayEnd() bool {
	if !x.events.between() {
		return false
	}
	_, between := x.chunks.Between()
	return x.reframed || between || x.res.Framing() == http1.UntilClose
}

// passAsked passes on a part of a stream that was asked to end. What the slot puts
// into one chunk may be more than an event, or less, so from the end of the chunk
// on in which it is the chunks are ours.
func (l *laneConn) passAsked(b []byte) error {
	x := &l.work.laneExchange
	raw, due, err := x.toSeam(b)
	if err != nil {
		return badAnswer(err)
	}
	if raw > 0 || due > 0 {
		if err := l.writeClient(append(b[:raw:raw], lineEnd(due)...), x.readAt); err != nil {
			return err
		}
	}
	n, err := x.gather(b[raw:])
	if err != nil {
		return badAnswer(err)
	}
	last := x.events.scan(x.buf[chunkHeadRoom : chunkHeadRoom+n])
	ended := last >= 0 && x.events.settled(x.readAt)
	if ended {
		n = last
	}
	if n > 0 {
		if err := l.writeChunk(x.buf, n); err != nil {
			return err
		}
	}
	if ended || x.reframed && x.chunks.Done() {
		return l.endEvents()
	}
	return nil
}

// toSeam returns how much of b there is up to the end of a chunk's data, from
// where the chunks are ours, and what is due of that chunk's line end.
func (x *laneExchange) toSeam(b []byte) (used, due int, err error) {
	if x.reframed {
		return 0, 0, nil
	}
	if x.res.Framing() == http1.UntilClose {
		x.reframed = true // as they were all the time
		return 0, 0, nil
	}
	for {
		if due, x.reframed = x.chunks.Between(); x.reframed || used == len(b) || x.chunks.Done() {
			x.bodyDone = x.chunks.Done()
			return used, due, nil
		}
		data, n, err := x.chunks.Next(b[used:])
		if err != nil {
			return 0, 0, err
		}
		used += n
		x.passed += int64(len(data))
		x.follow(data)
	}
}

// gather brings the data of b, without its frames, to where a chunk is made.
func (x *laneExchange) gather(b []byte) (n int, err error) {
	if x.res.Framing() == http1.UntilClose {
		n = copy(x.buf[chunkHeadRoom:], b)
		b = nil
	}
	for len(b) > 0 && !x.chunks.Done() {
		data, used, err := x.chunks.Next(b)
		if err != nil {
			return 0, err
		}
		n += copy(x.buf[chunkHeadRoom+n:], data)
		b = b[used:]
	}
	x.passed += int64(n)
	return n, nil
}

// endEvents ends the stream where it is.
func (l *laneConn) endEvents() error {
	x := &l.work.laneExchange
	due := 0
	if !x.reframed && x.res.Framing() == http1.Chunked {
		due, _ = x.chunks.Between()
	}
	x.bodyDone, x.extra = true, true // the slot may have more to say, to nobody
	return l.writeClient([]byte(lineEnd(due)+"0\r\n\r\n"), time.Now())
}

// lineEnd is what is due of a line end.
func lineEnd(due int) string { return "\r\n"[len("\r\n")-due:] }
