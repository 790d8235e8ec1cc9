package proxy

import (
	"time"

	"golang.org/x/sys/unix"
)

// lookAndWrite begins a request on a connection that may have been idle.
func (x *laneExchange) lookAndWrite() error {
	if x.slot.reused && !x.slot.quiet() {
		return errStale
	}
	return x.writeSlot(x.request, x.sentAt)
}

// writeSlot writes to the slot, which must take it within the stall limit.
func (x *laneExchange) writeSlot(b []byte, now time.Time) error {
	x.boundSlotWrite(now)
	n, err := x.slot.Conn.Write(b)
	x.slot.wrote += int64(n)
	if err != nil {
		return ioError("sending the request", causeStalled, err)
	}
	return nil
}

func (x *laneExchange) boundSlotWrite(now time.Time) {
	c := x.slot
	if stall := x.slots.stall; stall > 0 && c.writeUntil.Before(now.Add(stall)) {
		c.writeUntil = now.Add(stall + stall/8)
		c.Conn.SetWriteDeadline(c.writeUntil) //nolint:errcheck // the write tells
	}
}

// How long the fast lane waits for the slot before it looks after the client, at
// first and at most. Somebody has to: the client's connection is nobody's to read
// meanwhile, and a slot may work for minutes for one who has left.
const (
	firstLook = 250 * time.Millisecond
	maxLook   = time.Second
)

// readSlot reads once from the slot, which has the limit, counted from since, to
// send something; zero means no limit. For where it reads to see
// [laneExchange.read].
func (l *laneConn) readSlot(from, spare int, op string, late cause, since time.Time, limit time.Duration) (int, error) {
	x, c, now := &l.work.laneExchange, l.work.slot, since
	for look := firstLook; ; look = min(2*look, maxLook) {
		span := look
		if limit > 0 {
			span = min(span, max(0, limit-now.Sub(since)))
		}
		c.boundRead(now, span)
		n, err := x.read(from, spare)
		if n > 0 {
			if x.readAt = time.Now(); c.heard == 0 {
				c.heardAt = x.readAt
			}
			c.heard += int64(n)
			return n, nil
		}
		if !isTimeout(err) {
			return 0, ioError(op, late, err)
		}
		now = time.Now()
		if err := l.lookAfterClient(now, x.claim.service.HalfCloseGrace); err != nil {
			return 0, err
		}
		if limit > 0 && now.Sub(since) >= limit {
			return 0, ioError(op, late, err)
		}
	}
}

// lookNowAndThen looks after the client of a slot that is never silent for long.
func (l *laneConn) lookNowAndThen() error {
	x := &l.work.laneExchange
	if x.readAt.Sub(x.lookedAt) < maxLook {
		return nil
	}
	x.lookedAt = x.readAt
	return l.lookAfterClient(x.readAt, x.claim.service.HalfCloseGrace)
}

// lookAfterClient returns why the request should not go on, if it should not: its
// client has left, or stopped sending for longer than such a one is waited for,
// or we must stop.
func (l *laneConn) lookAfterClient(now time.Time, grace time.Duration) error {
	if l.server.cutting.Load() {
		return &laneEnd{causeShuttingDown, errShutdown}
	}
	if err := l.work.events.ended(); err != nil {
		return err
	}
	events, wanted := int16(0), int16(unix.POLLRDHUP)
	if up := &l.work.up; up.started && !up.whole.Load() && !up.ended.Load() {
		wanted = 0 // who reads the body hears when it ends
	}
	err := l.conn.raw.Control(func(fd uintptr) { events = socketEvents(fd, wanted) })
	switch {
	case err != nil, events&^unix.POLLRDHUP != 0:
		return &laneEnd{causeClientGone, errClientLeft}
	case events == 0:
		return nil
	}
	if since := l.conn.noteHalfClose(now); grace > 0 && now.Sub(since) >= grace {
		return &laneEnd{causeHalfCloseOver, errClientLeft}
	}
	return nil
}

// closeSlot gives up the connection to the slot, if there still is one.
func (l *laneConn) closeSlot() {
	if c := l.work.slot; c != nil {
		l.endUpload()
		c.Close() //nolint:errcheck // it is given up
		l.work.slot = nil
	}
}
