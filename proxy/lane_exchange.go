package proxy

import (
	"cmp"
	"errors"
	"time"

	"charactier-proxy/proxy/http1"
)

// laneExchange is one request in the fast lane and its answer. It is part of a
// [laneWork] and used again.
type laneExchange struct {
	req http1.Request // both keep their room for fields
	res http1.Answer
	up  laneUpload
	laneState
}

// laneState is what an exchange begins without.
type laneState struct {
	head  int    // the length of the request's head in work.in
	taken int    // the length of the request there
	begun []byte // what came with its head of the body, framed as for the slot

	lane     *Lane
	claim    claim
	slots    *transport
	trusted  bool
	id       [maxRequestIDLen]byte
	idLen    int
	request  []byte // as it goes to the slot: its head and what came with that of the body
	start    time.Time
	gotConn  time.Time
	sentAt   time.Time
	bodyLeft int64 // bytes of a sized body that the client has not sent yet

	slot     *slotConn
	repeated bool
	readAt   time.Time // when the slot was last heard
	lookedAt time.Time // when we last looked after the client in a body
	buf      []byte    // what comes from the slot
	chunks   http1.Chunks
	infos    int
	extra    bool         // the slot sent more than its answer
	bodyDone bool         // the answer's
	events   *eventStream // nil unless it is one
	reframed bool         // an event stream whose chunks are ours
	assets   bool         // answered with a file of an earlier release

	status     int // of the final answer, from when it goes to the client; 0 before
	firstByte  time.Time
	in, passed int64 // body bytes from the client and to it
	cause      cause
	err        error
	closing    bool // the connection ends with the answer
	aborted    bool // within the answer
}

// begin claims the target. It reports false, and has done nothing, where the
// request is the standard lane's.
func (l *laneConn) begin() bool {
	x := &l.work.laneExchange
	lane := l.server.opts.Lane()
	if lane == nil || lane.leave != nil && lane.leave(x.req.Path()) || !l.beginBody() {
		return false
	}
	c, ok := lane.proxy.claimNow(lane.service)
	if !ok {
		return false
	}
	slots, ok := c.transport.(*transport)
	if limit := c.service.MaxBodyBytes; !ok || limit > 0 && max(x.req.Length(), x.in) > limit {
		c.release()
		return false
	}
	x.lane, x.claim, x.slots = lane, c, slots
	x.start = time.Now()
	c.stats.open.begin(x.start)
	x.trusted = c.settings.trusts(l.conn.peer, l.conn.unix)
	x.closing = x.req.Close()
	return true
}

// request answers the request whose head is there.
func (l *laneConn) request() (next turn) {
	if !l.begin() {
		return turnHandOver
	}
	l.server.beginRequest()
	defer l.server.endRequest()
	l.conn.phase.Store(int32(phaseActive))
	defer l.end(&next)
	l.setID()
	l.buildHead()
	if err := l.converse(); err != nil {
		l.fail(err)
	}
	return turnNext
}

// end accounts for the request and makes the connection ready for the next. A
// panic is a mistake of ours, which costs this connection only.
func (l *laneConn) end(next *turn) {
	x := &l.work.laneExchange
	if v := recover(); v != nil {
		x.lane.proxy.fwd.logPanic(v, x.lane.service, x.requestID())
		x.cause, x.aborted = causeInternal, true
	}
	now := time.Now()
	l.closeSlot()
	l.settle(now)
	if log := x.claim.settings.AccessLog; log != nil {
		log.write(l.accessEntry(now))
	}
	*next = turnNext
	if x.closing || x.aborted {
		*next = turnEnd
	}
	l.finish(now)
}

// settle counts the request and releases its claim.
func (l *laneConn) settle(now time.Time) {
	x := &l.work.laneExchange
	if x.claim.target == nil {
		x.lane.proxy.fwd.settleUnclaimed(x.status, x.err, x.requestID())
		return
	}
	if x.events != nil {
		l.endStream()
	} else {
		x.claim.stats.open.end(x.start)
	}
	x.claim.stats.observe(outcome{
		status: x.status, cause: x.cause, latency: now.Sub(x.start), stream: x.events != nil, in: x.in, out: x.passed,
	})
	if x.cause.ofSlot() {
		p := x.lane.proxy
		p.fwd.faults.note(p.opts.Logger, x.claim.target, x.cause, x.err, x.requestID())
	}
	x.claim.release()
}

// finish keeps what the client has sent of its next request.
func (l *laneConn) finish(now time.Time) {
	w := l.work
	rest := w.in[w.taken:l.have]
	if w.up.started {
		rest = w.up.rest
	}
	l.have = copy(w.in[:], withoutEmptyLines(rest))
	linger := w.closing && w.unread()
	w.laneExchange.reset()
	l.idle, l.fresh, l.heading = now, false, false
	if linger {
		l.conn.lingerOnClose()
	}
	if l.have == 0 {
		l.release()
		l.conn.phase.Store(int32(phaseIdle))
	} else {
		l.conn.phase.Store(int32(phaseHead))
	}
}

func (x *laneExchange) reset() {
	x.req.Reset()
	x.res.Reset()
	if x.up.used {
		x.up.reset(x.slots)
	}
	x.leaveRoom()
	x.laneState = laneState{}
}

// converse sends the request and passes the answer on. It sends it a second time
// by the rules of [exchange.mayRepeat].
func (l *laneConn) converse() error {
	x := &l.work.laneExchange
	for {
		c, err := l.connect()
		if err != nil {
			return l.dialFault(err)
		}
		if x.claim.settings.AccessLog != nil {
			x.gotConn = time.Now()
		}
		x.slot = c
		c.beginFast()
		if err = l.exchange(); err == nil {
			return nil
		}
		again, unsent := err == errStale || x.mayRepeat(err), brokeUnsent(c, err)
		l.closeSlot()
		switch {
		case again:
			x.repeated = err != errStale
		case !unsent:
			return err
		default:
			if err := l.claimAgain(err); err != nil {
				return err
			}
		}
	}
}

func (l *laneConn) dialFault(err error) error {
	if l.server.cutting.Load() {
		return &laneEnd{causeShuttingDown, errShutdown}
	}
	return err
}

// mayRepeat is P3; see [exchange.mayRepeat].
func (x *laneExchange) mayRepeat(err error) bool {
	var fault *slotError
	if x.repeated || x.slot == nil || x.status != 0 || !x.slot.reused || !errors.As(err, &fault) {
		return false
	}
	if x.slot.wrote == 0 {
		return true
	}
	ended := fault.cause == causeClosed || fault.cause == causeReset
	return ended && x.slot.heard == 0 && x.req.Framing() == http1.NoBody && safeMethod(x.req.Method().String())
}

// laneEnd is what ended a request and is not the slot's fault.
type laneEnd struct {
	cause cause
	err   error
}

func (e *laneEnd) Error() string { return e.err.Error() }
func (e *laneEnd) Unwrap() error { return e.err }

func laneCause(err error) cause {
	var end *laneEnd
	var slot *slotError
	switch {
	case errors.As(err, &end):
		return end.cause
	case errors.As(err, &slot):
		return slot.cause
	}
	return cmp.Or(waitCause(err), causeInternal)
}

// exchange sends the request on x.slot and passes the answer on. A slot that
// answers without taking the whole request may close its side, so a failed write
// still looks for an answer.
func (l *laneConn) exchange() error {
	x := &l.work.laneExchange
	x.leaveRoom() // of a first try
	if err := l.send(); err != nil {
		if x.slot.wrote == 0 || !takesNoMore(err) {
			return err
		}
	}
	return l.outcomeOf(l.receive())
}

// send writes the head together with what there is of the body, then the rest as
// it comes (P4).
func (l *laneConn) send() error {
	x := &l.work.laneExchange
	if x.sentAt = x.start; !x.slot.reused {
		x.sentAt = time.Now() // connecting took its time, and so did the first try if this is the second
	}
	if !x.unread() {
		return x.ask()
	}
	if err := x.lookAndWrite(); err != nil {
		return err
	}
	if x.up.used {
		l.startUpload()
		return nil
	}
	for x.buf = takeRoom(); x.bodyLeft > 0; {
		n, err := l.readBody(x.buf[:min(int64(len(x.buf)), x.bodyLeft)])
		if err != nil {
			return err
		}
		x.bodyLeft -= int64(n)
		x.in += int64(n)
		x.sentAt = time.Now()
		if err := x.writeSlot(x.buf[:n], x.sentAt); err != nil {
			return err
		}
	}
	x.leaveRoom()
	return nil
}
