package proxy

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http/httpguts"
)

// exchange is one request and its answer, over one connection at a time.
type exchange struct {
	t        *transport
	req      *http.Request
	ctx      context.Context
	framing  framing
	upgrade  bool
	repeated bool // this is the second try

	head    *bytes.Buffer // bytes that are due first; kept until some of them were written
	headLen int           // of them those of the head
	left    int64         // bytes of a sized body that were not read yet
	infos   int           // informational answers so far

	c        *slotConn
	unhook   func() bool    // takes back the hook on ctx
	hook     sync.WaitGroup // that hook, while it may run
	reusable bool           // by what the answer said
	finished atomic.Bool

	// What the body's own goroutine and the request's share. sent is nil when
	// there is no such goroutine and closed when it has ended.
	sent     chan struct{}
	mu       sync.Mutex
	answered bool  // the final head has come
	complete bool  // the whole request was written
	sendErr  error // why sending ended the exchange: the client's fault, or the slot standing still

	lastWrite atomic.Bool // nothing is left to read of the body, only to write
	bodyGone  atomic.Bool // we closed the request's body, so its errors are ours
	closeOnce sync.Once
}

// prepare serialises the head. Nothing was read or sent yet.
func (x *exchange) prepare() error {
	x.framing = bodyFraming(x.req)
	if x.framing == sized {
		x.left = x.req.ContentLength
	}
	x.upgrade = len(x.req.Header["Upgrade"]) > 0 &&
		httpguts.HeaderValuesContainsToken(x.req.Header["Connection"], "upgrade")
	x.head = x.t.buffers.Get().(*bytes.Buffer)
	x.head.Reset()
	err := writeHead(x.head, x.req, x.framing)
	x.headLen = x.head.Len()
	return err
}

func (x *exchange) freeHead() {
	x.t.buffers.Put(x.head)
	x.head = nil
}

// run sends the request on c and reads the head of its answer. On error c was
// closed.
func (x *exchange) run(c *slotConn) (*http.Response, error) {
	x.c = c
	c.begin(x.t.stall)
	x.hook.Add(1)
	x.unhook = context.AfterFunc(x.ctx, func() {
		defer x.hook.Done()
		c.Close()
		x.closeBody()
	})
	res, err := x.converse()
	if err != nil {
		err = x.fault(err)
		x.release(false)
		return nil, err
	}
	return res, nil
}

// converse sends and receives. A slot that answers without taking the whole
// request may close its side, so a failed write still looks for an answer.
func (x *exchange) converse() (*http.Response, error) {
	x.traceConn()
	if x.framing != noBody && httpguts.HeaderValuesContainsToken(x.req.Header["Expect"], "100-continue") {
		res, err := x.askFirst()
		if res != nil || err != nil {
			return res, err
		}
	}
	if err := x.send(); err != nil && (x.c.wrote == 0 || x.sendErr != nil) {
		return nil, err
	}
	return x.receive()
}

// mayRepeat is P3: the request goes out again only if no byte of it was
// written, or if it is safe, has no body, and its connection ended without a
// byte of an answer. Either needs a connection that had been idle: a fresh one
// that fails is a fault.
func (x *exchange) mayRepeat(err error) bool {
	if x.repeated || !x.c.reused || x.ctx.Err() != nil || x.sendErr != nil {
		return false
	}
	if x.c.wrote == 0 {
		return true
	}
	var fault *slotError
	ended := errors.As(err, &fault) && (fault.cause == causeClosed || fault.cause == causeReset)
	return ended && x.c.heard == 0 && x.framing == noBody && safeMethod(x.req.Method)
}

func safeMethod(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	}
	return false
}

// fault gives err its final form: what ended the sending goes before the
// context's end, and that before what the slot seemed to do in consequence.
func (x *exchange) fault(err error) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.sendErr != nil:
		return x.sendErr
	case x.ctx.Err() != nil:
		return context.Cause(x.ctx)
	}
	return err
}

// finish ends an exchange that gave an answer.
func (x *exchange) finish(clean bool) {
	if x.finished.Swap(true) {
		return
	}
	x.release(clean)
	x.closeBody()
}

// release pools the connection if the exchange was clean and closes it
// otherwise. The goroutine of the body and the hook have ended when it returns.
func (x *exchange) release(clean bool) {
	hooked := !x.unhook()
	if !hooked {
		x.hook.Done()
	}
	x.c.waitHook = nil
	if clean && !hooked && x.reusable && x.wasSent() && x.c.br.Buffered() == 0 {
		x.t.pool.put(x.c, time.Now())
	} else {
		x.c.Close()
	}
	if x.sent != nil {
		x.closeBody()
		<-x.sent
	}
	x.hook.Wait()
}

func (x *exchange) closeBody() {
	x.bodyGone.Store(true)
	if x.req.Body != nil {
		x.closeOnce.Do(func() { x.req.Body.Close() }) //nolint:errcheck // nothing is lost with it
	}
}
