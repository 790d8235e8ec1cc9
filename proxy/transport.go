package proxy

import (
	"bytes"
	"context"
	"net/http"
	"sync"
	"time"
)

// transport is the HTTP/1.1 way to one slot. Unlike [http.Transport] it uses
// the request's own goroutine for everything it can, looks at a connection
// before using it again, and sends a request a second time only by P3.
//
// A request's body must end a Read in progress when it is closed: that is how a
// request is given up whose client stopped sending.
type transport struct {
	service, slot, address string

	connectTimeout time.Duration
	headerTimeout  time.Duration
	stall          time.Duration
	continueWait   time.Duration
	onConnectError func(service, slot string, err error)
	share          *roomShare // of the connections that all services have together; nil means no bound

	pool    pool
	buffers sync.Pool // of *bytes.Buffer, for heads and small bodies
	chunks  sync.Pool // of *[chunkRoom + copySize]byte, for large ones
}

// newTransport returns the way to one of the service's slots, in the protocol
// that the service speaks. onConnectError may be nil.
func newTransport(s *Service, slot string, onConnectError func(service, slot string, err error)) roundTripper {
	if onConnectError == nil {
		onConnectError = func(string, string, error) {}
	}
	if s.Protocol == H2C {
		return newH2CTransport(s, slot, onConnectError)
	}
	return &transport{
		service: s.Name, slot: slot, address: s.Slots[slot],
		connectTimeout: s.ConnectTimeout,
		headerTimeout:  s.ResponseHeaderTimeout,
		stall:          s.StreamIdleTimeout,
		continueWait:   continueWait,
		onConnectError: onConnectError,
		pool:           pool{maxIdle: s.MaxIdleSlotConns, idleLimit: s.SlotIdleTimeout},
		buffers:        sync.Pool{New: func() any { return new(bytes.Buffer) }},
		chunks:         sync.Pool{New: func() any { return new([chunkRoom + copySize]byte) }},
	}
}

// Retire closes the idle connections; those in use close when they are
// released.
func (t *transport) Retire() { t.pool.retire() }

// RoundTrip sends the request and returns the slot's final answer; the
// informational ones go to the Got1xxResponse hook of net/http/httptrace. The
// body of a 101 is an [io.ReadWriteCloser] that has CloseWrite.
//
// Errors are a *slotError, an *unsentError, which leaves the request's body open, a
// *clientBodyError, the cause of the request's context or what a hook returned.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	x := &exchange{t: t, req: req, ctx: req.Context()}
	defer x.freeHead()
	if err := x.prepare(); err != nil {
		x.closeBody()
		return nil, err
	}
	for {
		c, err := t.conn(x.ctx, x.repeated, (*pool).get, time.Now())
		if err != nil {
			return nil, x.failed(err)
		}
		res, err := x.run(c)
		if err == nil {
			return res, nil
		}
		if !x.mayRepeat(err) {
			return nil, x.failed(err)
		}
		x.repeated = true
	}
}

// failed ends an exchange that got no answer. A request that was not sent keeps
// its body.
func (x *exchange) failed(err error) error {
	if unsent := x.unsent(err); unsent != nil {
		return unsent
	}
	x.closeBody()
	return err
}

// Connect makes a connection and closes it.
func (t *transport) Connect(ctx context.Context) error {
	c, err := t.conn(ctx, true, nil, time.Time{})
	if err != nil {
		return err
	}
	return c.Close()
}

// Pause closes the idle connections and keeps no further one for as long as it
// lasts.
func (t *transport) Pause(paused bool) { t.pool.pause(paused) }

// conn returns a connection to the slot: an idle one, by pick, unless fresh is
// asked for.
func (t *transport) conn(ctx context.Context, fresh bool, pick func(*pool, time.Time) *slotConn, now time.Time) (*slotConn, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if !fresh {
		if c := pick(&t.pool, now); c != nil {
			return c, nil
		}
	}
	return t.dial(ctx)
}

func (t *transport) dial(ctx context.Context) (*slotConn, error) {
	if !t.share.take() {
		return nil, connectError(t.address, errNoRoom)
	}
	nc, err := dialSlot(ctx, t.address, t.connectTimeout)
	if err == nil {
		return newSlotConn(nc, t.share)
	}
	t.share.give()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	fault := connectError(t.address, err)
	if fault.cause.ofSlot() {
		t.onConnectError(t.service, t.slot, fault)
	}
	return nil, fault
}
