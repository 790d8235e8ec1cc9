package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

var (
	errNoBytes  = errors.New("no byte came for too long")
	errNotTaken = errors.New("the slot did not take it")
)

// h2cTransport is the way to a slot that speaks HTTP/2 with prior knowledge.
// net/http's client does the talking; this type gives its errors our causes,
// keeps it to P3 and bounds the gaps of bodies.
type h2cTransport struct {
	*http.Transport
	dial    func(ctx context.Context, network, address string) (net.Conn, error)
	stall   time.Duration
	retired atomic.Bool
}

func newH2CTransport(s *Service, slot string, onConnectError func(service, slot string, err error)) *h2cTransport {
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	address, service, timeout := s.Slots[slot], s.Name, s.ConnectTimeout
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		c, err := dialSlot(ctx, address, timeout)
		if err == nil || ctx.Err() != nil {
			return c, err
		}
		fault := connectError(address, err)
		if fault.cause.ofSlot() {
			onConnectError(service, slot, fault)
		}
		return nil, fault
	}
	return &h2cTransport{stall: s.StreamIdleTimeout, dial: dial, Transport: &http.Transport{
		Protocols:              &protocols,
		DialContext:            dial,
		DisableCompression:     true,
		ExpectContinueTimeout:  continueWait,
		IdleConnTimeout:        s.SlotIdleTimeout,
		MaxResponseHeaderBytes: maxHead,
		ResponseHeaderTimeout:  s.ResponseHeaderTimeout,
	}}
}

// Retire closes the idle connections; a busy one follows when its last stream
// has ended.
func (t *h2cTransport) Retire() {
	t.retired.Store(true)
	t.CloseIdleConnections()
}

// Connect makes a connection and closes it: which of its own net/http keeps, it
// does not say.
func (t *h2cTransport) Connect(ctx context.Context) error {
	c, err := t.dial(ctx, "", "")
	switch {
	case err == nil:
		return c.Close()
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return err
}

// Pause closes the idle connections. A busy one goes on being used.
func (t *h2cTransport) Pause(paused bool) {
	if paused {
		t.CloseIdleConnections()
	}
}

// RoundTrip is [transport.RoundTrip] for HTTP/2.
func (t *h2cTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	x := &h2cExchange{t: t}
	x.ctx, x.cancel = context.WithCancelCause(req.Context())
	res, err := t.Transport.RoundTrip(x.outgoing(req))
	if err != nil {
		err = x.fault("waiting for the answer", causeHeaderTimeout, err)
		if unreachable(err) && x.keepBody() {
			return nil, &unsentError{err: err}
		}
		x.end()
		return nil, err
	}
	if endedWithHead(res) {
		x.end()
		res.Body = http.NoBody
		return res, nil
	}
	res.Body = &h2cBody{ReadCloser: res.Body, x: x}
	return res, nil
}

// endedWithHead reports whether the stream ended with the answer's head, as do
// the answers of gRPC that consist of trailers only. Whoever passes such an
// answer on must end his stream with the head too, or gRPC's clients take the
// trailers for a header.
func endedWithHead(res *http.Response) bool {
	_, said := res.Header["Content-Length"]
	return res.ContentLength == 0 && !said
}

// h2cExchange is one request and its answer.
type h2cExchange struct {
	t      *h2cTransport
	ctx    context.Context
	cancel context.CancelCauseFunc
	body   *watchedBody // nil where the request has none

	mu        sync.Mutex
	clientErr error
}

// outgoing returns the request as net/http's client shall have it. That client
// sends a request again after some errors that do not say whether the slot saw
// it (golang/go#47635), unless it has a body; so one that is not safe always has
// a body, and GetBody, which is asked for it anew, is where P3 is kept.
func (x *h2cExchange) outgoing(req *http.Request) *http.Request {
	var wroteHead atomic.Bool
	trace := &httptrace.ClientTrace{WroteHeaders: func() { wroteHead.Store(true) }}
	out := req.WithContext(httptrace.WithClientTrace(x.ctx, trace))
	switch {
	case bodyFraming(req) != noBody:
		x.body = &watchedBody{src: req.Body, x: x, length: req.ContentLength}
		out.Body = x.body
	case safeMethod(req.Method):
		out.Body = nil
		return out
	default:
		out.Body = io.NopCloser(strings.NewReader(""))
	}
	out.GetBody = func() (io.ReadCloser, error) {
		if wroteHead.Load() {
			return nil, &slotError{cause: causeReset, op: "sending the request", err: errNotTaken}
		}
		return out.Body, nil
	}
	return out
}

func (x *h2cExchange) clientFailed(err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.clientErr == nil {
		x.clientErr = &clientBodyError{err}
	}
}

// end gives up whatever is still under way. When it has returned, nobody uses
// the request's body.
func (x *h2cExchange) end() {
	x.cancel(nil)
	if x.body != nil {
		x.body.detach()
	}
	if x.t.retired.Load() {
		x.t.CloseIdleConnections()
	}
}

// h2StreamReset has the shape of the error with which net/http reports
// RST_STREAM, which is how it can be told without golang.org/x/net/http2: see
// its method As.
type h2StreamReset struct {
	StreamID uint32
	Code     uint32
	Cause    error
}

func (e h2StreamReset) Error() string {
	return fmt.Sprintf("stream %d reset: code %d", e.StreamID, e.Code)
}

// fault is [exchange.fault] and [ioError] for what net/http reports.
func (x *h2cExchange) fault(op string, late cause, err error) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	var known *slotError
	var reset h2StreamReset
	switch {
	case x.clientErr != nil:
		return x.clientErr
	case x.ctx.Err() != nil:
		return context.Cause(x.ctx)
	case errors.As(err, &known):
		return err
	case errors.As(err, &reset), errors.Is(err, syscall.ECONNRESET):
		return &slotError{cause: causeReset, op: op, err: err}
	case isTimeout(err):
		return &slotError{cause: late, op: op, err: err}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.EPIPE):
		return ioError(op, late, io.EOF)
	}
	return &slotError{cause: causeProtocol, op: op, err: err}
}

// watchedBody is a request's body that tells its exchange of what the client
// did wrong. net/http would end a body that is too short as if it were whole.
//
// net/http reads and closes a body on goroutines of its own, also after the
// answer's end, when a server's body must not be touched any more. So the body
// behind it is only reached until [watchedBody.detach] has returned.
type watchedBody struct {
	src    io.ReadCloser
	x      *h2cExchange
	length int64 // 0 means unknown
	n      int64

	mu      sync.Mutex
	begun   bool // something may have been read
	closed  bool
	reading sync.WaitGroup
}

func (b *watchedBody) Read(p []byte) (int, error) {
	if !b.beginRead() {
		return 0, http.ErrBodyReadAfterClose
	}
	defer b.reading.Done()
	n, err := b.src.Read(p)
	b.n += int64(n)
	if err == io.EOF && b.n < b.length {
		err = errBodyShort
	}
	if err != nil && err != io.EOF {
		b.failed(err)
	}
	return n, err
}

func (b *watchedBody) beginRead() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed {
		b.begun = true
		b.reading.Add(1)
	}
	return !b.closed
}

// failed blames the client, unless the Read failed because we closed the body.
func (b *watchedBody) failed(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed {
		b.x.clientFailed(err)
	}
}

// Close closes the body behind only where it may have been read: a request that
// found no connection keeps it.
func (b *watchedBody) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil
	}
	b.closed = true
	if !b.begun {
		return nil
	}
	return b.src.Close()
}

// detach closes the body and waits for the Read that this ends.
func (b *watchedBody) detach() {
	b.Close()     //nolint:errcheck // nothing is lost with it
	b.src.Close() //nolint:errcheck // nor with this
	b.reading.Wait()
}

// keepBody ends an exchange that found no connection, and reports whether its
// request is whole.
func (x *h2cExchange) keepBody() bool {
	x.cancel(nil)
	if x.body == nil {
		return true
	}
	x.body.mu.Lock()
	defer x.body.mu.Unlock()
	x.body.closed = true
	return !x.body.begun
}

// h2cBody is an answer's body whose reads are bounded in time.
type h2cBody struct {
	io.ReadCloser
	x        *h2cExchange
	waitHook func() // see waitingBody
}

// onWait implements [waitingBody]. Whether a Read will wait cannot be known.
func (b *h2cBody) onWait(f func()) { b.waitHook = f }

func (b *h2cBody) Read(p []byte) (int, error) {
	const op = "reading the answer's body"
	if b.waitHook != nil {
		b.waitHook()
	}
	if b.x.t.stall > 0 {
		watch := time.AfterFunc(b.x.t.stall, func() {
			b.x.cancel(&slotError{cause: causeStalled, op: op, err: errNoBytes})
		})
		defer watch.Stop()
	}
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		err = b.x.fault(op, causeStalled, err)
	}
	return n, err
}

func (b *h2cBody) Close() error {
	err := b.ReadCloser.Close()
	b.x.end()
	return err
}
