package proxy

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"time"
)

// relay is one request on its way through the proxy, from the client's head to
// the last byte of the answer.
type relay struct {
	f       *forwarder
	service string
	r       *http.Request // as it came; from prepare on with a body and a context of ours
	w       clientWriter
	control *http.ResponseController
	conn    *clientConn // nil without a Server
	body    *clientBody // nil before prepare and where the request has none

	id     string
	path   string // as spelled
	from   peer
	client netip.Addr
	start  time.Time

	settings            *Settings
	claim               claim // its target is nil before the claim
	claimed             time.Time
	timing              timing
	upgrade             string // the protocol that a tunnel carries
	ending              stream // nil unless it is one
	events              *eventStream
	cancel              context.CancelCauseFunc
	assets              bool // answered with a file of an earlier release
	tunnelIn, tunnelOut int64

	cause   cause // why it did not end well
	err     error
	closing bool // the connection ends with the answer
}

func newRelay(f *forwarder, service string, w http.ResponseWriter, r *http.Request) *relay {
	set := &f.proxy.table.Load().settings
	x := &relay{f: f, service: service, r: r, settings: set, start: time.Now(), conn: connOf(r.Context())}
	x.from = peerOf(x.conn, r, set)
	x.client = clientAddr(r.Header[forwardedForField], x.from, set)
	x.id = requestID(r.Header, x.from.trusted)
	x.control = http.NewResponseController(w)
	x.w = clientWriter{
		ResponseWriter: w, http10: !r.ProtoAtLeast(1, 1),
		flush:    x.control.Flush,
		progress: progress{set: x.control.SetWriteDeadline, http2: r.ProtoMajor == 2},
		ends:     x.lastOnConn,
	}
	if r.ProtoMajor == 1 {
		// Without it, net/http reads the rest of the body before it lets an answer
		// go: a client would learn of a 413 only after the whole upload, and a
		// stream in both directions would stand still (golang/go#15527, #40747).
		// Ending the connection, as lastOnConn has it, has the same effect today;
		// this is the way that is documented.
		x.control.EnableFullDuplex() //nolint:errcheck // then answers are late
	}
	return x
}

// take claims the target.
func (x *relay) take() error {
	c, err := x.f.proxy.claim(x.r.Context(), x.service, x)
	if err != nil {
		x.claim = c
		return err
	}
	x.claim, x.settings, x.claimed = c, c.settings, time.Now()
	c.stats.open.begin(x.claimed)
	return nil
}

// heldHalfClose is the grace of a client that stops sending while its request is
// held: none. Nothing was sent to a slot yet, and what somebody wants who goes
// then, such as a proxy in front of us whose own client went, must not be done
// all the same.
const heldHalfClose = time.Nanosecond

// beginWait implements [waiter]. net/http notices that a client has left only
// when it has read the whole request, so while one with a body waits somebody
// else must look.
func (x *relay) beginWait(ctx context.Context, s *Service) (context.Context, func()) {
	if x.conn == nil {
		return ctx, func() {}
	}
	x.conn.setHalfCloseTime(heldHalfClose)
	if x.r.ProtoMajor != 1 || x.bodyDone() {
		return ctx, func() {}
	}
	return x.conn.watch(ctx)
}

// prepare gives the request its bounds, its body and its context.
func (x *relay) prepare() {
	s := x.claim.service
	if x.conn != nil {
		x.conn.setHalfCloseTime(s.HalfCloseGrace)
	}
	x.w.progress.span = s.ProgressTimeout
	if x.r.ContentLength != 0 {
		x.prepareBody(s)
	}
	x.timing.wanted = x.settings.AccessLog != nil
	ctx, cancel := context.WithCancelCause(x.timing.trace(x.r.Context()))
	ctx, x.cancel = context.WithValue(ctx, relayKey{}, x), cancel
	src := x.r
	x.r = src.WithContext(ctx)
	if x.body != nil {
		// Set on the copy only: net/http looks at the original's.
		x.r.Body = x.body
	}
}

func (x *relay) prepareBody(s *Service) {
	if x.r.Trailer == nil && x.r.ContentLength < 0 {
		x.r.Trailer = http.Header{} // so that trailers that were not announced are seen too
	}
	x.body = &clientBody{
		src: x.r.Body, limit: s.MaxBodyBytes, length: x.r.ContentLength, trailer: x.r.Trailer,
		progress: progress{
			span: s.ProgressTimeout, http2: x.r.ProtoMajor == 2,
			set: x.control.SetReadDeadline,
		},
	}
}

// lastOnConn reports whether the connection ends with this answer: because the
// client did wrong, because we stop, or because the answer overtook the request's
// body. In the latter case net/http would read on for the next request, and panic
// if the body happens to end just then (golang/go#68560).
func (x *relay) lastOnConn() bool {
	return x.closing || x.conn != nil && x.conn.server.isEnding() || x.r.ProtoMajor == 1 && !x.bodyDone()
}

func (x *relay) bodyDone() bool {
	if x.body == nil {
		return x.r.ContentLength == 0
	}
	_, done, _ := x.body.state()
	return done
}

// beginStream says that the answer is a stream, and how it is ended.
func (x *relay) beginStream(s stream) {
	if x.conn != nil {
		x.conn.server.beginStream(s)
	}
	x.ending = s
	x.claim.stats.open.end(x.claimed)
	x.claim.beginStream()
	x.claim.opened.add(s)
}

func (x *relay) endStream() {
	x.events.leave()
	x.claim.opened.remove(x.ending)
	x.claim.endStream()
	if x.conn != nil {
		x.conn.server.endStream(x.ending)
	}
}

// classify names the cause of an error. A fault of the client's body goes first:
// net/http ends the request's context with it, and the transport closes the
// slot's connection for it.
func (x *relay) classify(err error) cause {
	var body *clientBodyError
	var slot *slotError
	if _, _, bodyErr := x.body.state(); bodyErr != nil {
		return bodyCause(bodyErr, x.r.ProtoMajor == 2)
	}
	if c := waitCause(err); c != "" {
		return c
	}
	switch {
	case errors.Is(err, errStreamCut):
		return causeStreamCut
	case context.Cause(x.r.Context()) == errShutdown:
		return causeShuttingDown
	case errors.As(err, &slot):
		// Before the context: interrupting the read of a body that the slot will
		// not take makes net/http end it.
		return slot.cause
	case x.r.Context().Err() != nil, errors.Is(err, errClientLeft):
		return x.clientLeft()
	case errors.As(err, &body):
		return bodyCause(body.err, x.r.ProtoMajor == 2)
	}
	return causeInternal
}

func (x *relay) clientLeft() cause {
	if x.conn != nil && x.conn.leftHalfClosed() {
		return causeHalfCloseOver
	}
	return causeClientGone
}

// blame notes the first reason for which the request did not end well.
func (x *relay) blame(err error) {
	if x.cause == "" {
		x.cause, x.err = x.classify(err), err
	}
}

// fail answers with an error of ours, or drops the connection where an answer
// would do harm: there is nobody to read it, or it is an EventSource, which would
// never come back.
func (x *relay) fail(c cause, err error) {
	x.cause, x.err = c, err
	v := c.verdict()
	if v.status == statusClientGone || v.status >= 500 && v.by != partyClient && isEventSource(x.r) {
		panic(http.ErrAbortHandler)
	}
	x.closing = v.by == partyClient && x.r.ProtoMajor == 1
	x.w.progress.span = x.progressTimeout()
	writeError(&x.w, x.r, c, x.id)
}

// failureTimeout bounds the wait for a client to take an error of ours when no
// service says how long it may.
const failureTimeout = 30 * time.Second

func (x *relay) progressTimeout() time.Duration {
	if x.claim.target == nil {
		return failureTimeout
	}
	return x.claim.service.ProgressTimeout
}

// end accounts for the request and lets its target go. A panic of
// [http.ErrAbortHandler] goes on: it is how net/http is told to break the
// connection, the only way to show a client that its answer is not whole.
func (x *relay) end() {
	v := recover()
	if v != nil {
		x.aborted(v)
	}
	x.settle()
	if x.cancel != nil {
		x.cancel(nil)
	}
	x.endConn(v != nil)
	if x.settings.AccessLog != nil {
		x.settings.AccessLog.write(x.accessEntry(v != nil))
	}
	if v != nil {
		panic(http.ErrAbortHandler)
	}
}

// aborted finds the cause of a request that did not end by itself.
func (x *relay) aborted(v any) {
	switch {
	case v != http.ErrAbortHandler:
		x.f.logPanic(v, x.service, x.id)
		x.cause = causeInternal
	case x.cause != "":
	case x.events.now() == streamCut:
		x.cause, x.err = causeStreamCut, errStreamCut
	case x.w.late:
		x.cause, x.err = causeClientTooSlow, x.w.err
	case x.w.err != nil:
		x.cause, x.err = causeClientGone, x.w.err
	default:
		x.cause = causeInternal
	}
}

// settle counts the request and releases its claim.
func (x *relay) settle() {
	if x.claim.target == nil {
		x.f.settleUnclaimed(x.w.status, x.err, x.id)
		return
	}
	in, out := x.bytes()
	if x.ending != nil {
		x.endStream()
	} else {
		x.claim.stats.open.end(x.claimed)
	}
	x.claim.stats.observe(outcome{
		status: x.w.status, cause: x.cause, latency: time.Since(x.claimed), stream: x.ending != nil, in: in, out: out,
	})
	if x.cause.ofSlot() {
		x.f.faults.note(x.f.proxy.opts.Logger, x.claim.target, x.cause, x.err, x.id)
	}
	x.claim.release()
}

// bytes returns what passed of bodies, and of a tunnel, in either direction.
func (x *relay) bytes() (in, out int64) {
	n, _, _ := x.body.state()
	return n + x.tunnelIn, x.w.n + x.tunnelOut
}

// endConn hangs up on an abuser of HTTP/2, and prepares the end of an HTTP/1
// connection that cannot be used again. A
// client of HTTP/1.0 takes the end of the connection for the end of the answer,
// so an answer that broke off is reset.
func (x *relay) endConn(aborted bool) {
	if x.conn != nil && x.r.ProtoMajor == 2 && x.conn.haste.ended(x.cause == causeClientGone && x.w.status == 0) {
		x.conn.Close() //nolint:errcheck // we hang up
	}
	if x.conn == nil || x.r.ProtoMajor != 1 || x.upgrade != "" {
		return
	}
	if aborted && x.w.status != 0 && x.w.http10 {
		x.conn.reset()
		return
	}
	if !x.bodyDone() {
		x.conn.lingerOnClose()
	}
}
