package proxy

import (
	"context"
	"errors"
	"time"
)

// connect returns a connection to the slot. While that takes none, the request
// waits, on this connection and goroutine: it stays in the fast lane.
func (l *laneConn) connect() (*slotConn, error) {
	x := &l.work.laneExchange
	for {
		var err error
		if x.claim.mayPass(x.claim.target) {
			var c *slotConn
			if c, err = x.slots.conn(l.server.base, x.repeated, (*pool).next, x.start); err == nil || !unreachable(err) {
				return c, err
			}
		}
		if err := l.claimAgain(err); err != nil {
			return nil, err
		}
	}
}

// claimAgain gives up the claim on a target that takes no connections, waits and
// claims anew; see [relay.claimAgain]. why is nil where that was known before.
func (l *laneConn) claimAgain(why error) error {
	x, now := &l.work.laneExchange, time.Now()
	was := x.claim
	if why != nil {
		was.room.close(x.start, why)
	}
	was.stats.open.end(x.start)
	x.claim.target = nil // service and settings go on holding
	was.release()
	c, err := x.lane.proxy.claimAnew(l.server.base, x.lane.service, l, was.again(now.Sub(x.start)))
	x.start, x.claim.waited = time.Now(), c.waited
	if err != nil {
		return l.waitFault(err)
	}
	slots, ok := c.transport.(*transport)
	if !ok {
		c.release()
		return &laneEnd{causeInternal, errOtherProtocol}
	}
	x.claim, x.slots, x.repeated = c, slots, false
	c.stats.open.begin(x.start)
	return nil
}

// errOtherProtocol is a service whose slots began to speak another protocol while
// a request for it waited here, where that is not spoken.
var errOtherProtocol = errors.New("the service was given another protocol while the request waited")

// beginWait implements [waiter].
func (l *laneConn) beginWait(ctx context.Context, _ *Service) (context.Context, func()) {
	l.conn.setHalfCloseTime(heldHalfClose)
	ctx, stop := l.conn.watch(ctx)
	return ctx, func() {
		stop()
		l.conn.setHalfCloseTime(0)
		l.readBound = time.Time{}
	}
}

// waitFault says why a request waited in vain, where that is not the service's doing.
func (l *laneConn) waitFault(err error) error {
	switch {
	case errors.Is(err, errClientLeft) && l.conn.leftHalfClosed():
		return &laneEnd{causeHalfCloseOver, err}
	case errors.Is(err, errClientLeft):
		return &laneEnd{causeClientGone, err}
	case errors.Is(err, errShutdown):
		return &laneEnd{causeShuttingDown, err}
	}
	return err
}
