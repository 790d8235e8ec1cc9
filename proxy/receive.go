package proxy

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"time"
)

const (
	// maxInfos bounds the informational answers before a final one.
	maxInfos = 16
	// continueWait is how long a slot may take to say 100 or something final
	// before the body is sent all the same: who expects 100 must not wait for
	// ever (RFC 9110, section 10.1.1).
	continueWait = time.Second
)

// askFirst sends the head of a request that expects 100 and waits for leave to
// send its body. It returns nil and no error when the body is due, else the
// slot's final answer, and then the body was never read. Leave once given, the
// clock of the answer stands still until the body is out.
func (x *exchange) askFirst() (*http.Response, error) {
	if err := x.writeHead(); err != nil {
		return nil, err
	}
	x.head.Reset()
	for {
		x.c.SetReadDeadline(time.Now().Add(x.t.continueWait)) //nolint:errcheck // the read tells
		if _, err := x.c.br.Peek(1); isTimeout(err) {
			x.c.readErr = nil
			x.c.SetReadDeadline(time.Time{}) //nolint:errcheck // the read tells
			return nil, nil
		}
		x.awaitHead()
		res, err := x.readHead()
		switch {
		case err != nil:
			return nil, err
		case !informational(res):
			return x.deliver(res)
		}
		if err := x.forward(res); err != nil {
			return nil, err
		}
		if res.StatusCode == http.StatusContinue {
			x.c.SetReadDeadline(time.Time{}) //nolint:errcheck // the read tells
			return nil, nil
		}
	}
}

// awaitHead starts the clock of the slot's answer.
func (x *exchange) awaitHead() {
	var deadline time.Time
	if x.t.headerTimeout > 0 {
		deadline = time.Now().Add(x.t.headerTimeout)
	}
	x.c.SetReadDeadline(deadline) //nolint:errcheck // the read tells
}

// receive reads up to the head of the final answer.
func (x *exchange) receive() (*http.Response, error) {
	for {
		res, err := x.readHead()
		switch {
		case err != nil:
			return nil, err
		case !informational(res):
			return x.deliver(res)
		}
		if err := x.forward(res); err != nil {
			return nil, err
		}
	}
}

func informational(res *http.Response) bool {
	return res.StatusCode < 200 && res.StatusCode != http.StatusSwitchingProtocols
}

func (x *exchange) readHead() (*http.Response, error) {
	res, err := readAnswer(x.c, x.req)
	if err != nil {
		return nil, x.readFault("waiting for the answer", causeHeaderTimeout, err)
	}
	return res, nil
}

// forward hands on an informational answer, cleared of what concerns our own
// connection to the slot only.
func (x *exchange) forward(res *http.Response) error {
	if x.infos++; x.infos > maxInfos {
		return badAnswer(fmt.Errorf("more than %d informational answers", maxInfos))
	}
	trace := httptrace.ContextClientTrace(x.ctx)
	if trace == nil || trace.Got1xxResponse == nil {
		return nil
	}
	dropHopByHop(res.Header)
	return trace.Got1xxResponse(res.StatusCode, textproto.MIMEHeader(res.Header))
}

// dropHopByHop deletes the fields that concern one connection only (RFC 9110,
// section 7.6.1) and those that an informational answer must not have.
func dropHopByHop(h http.Header) {
	for _, line := range h["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			h.Del(textproto.TrimString(name))
		}
	}
	for _, name := range [...]string{
		"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Connection", "Te", "Trailer",
		"Transfer-Encoding", "Upgrade", "Content-Length",
	} {
		delete(h, name)
	}
}

// deliver makes the final answer the caller's.
func (x *exchange) deliver(res *http.Response) (*http.Response, error) {
	x.mu.Lock()
	x.answered = true
	x.c.SetReadDeadline(time.Time{}) //nolint:errcheck // the read tells
	x.mu.Unlock()
	x.c.headLeft, x.c.inBody = -1, true
	if res.StatusCode == http.StatusSwitchingProtocols {
		return x.switchProtocols(res)
	}
	x.reusable, x.c.named = !res.Close, namedIdleLimit(res.Header)
	if res.Body == http.NoBody {
		x.finish(true)
		return res, nil
	}
	res.Body = &answerBody{x: x, src: res.Body}
	return res, nil
}

func (x *exchange) switchProtocols(res *http.Response) (*http.Response, error) {
	switch {
	case !x.upgrade:
		return nil, badAnswer(errors.New("101 to a request that did not ask for it"))
	case !x.wasSent():
		return nil, badAnswer(errors.New("101 before the request was complete"))
	}
	x.c.inBody = false
	x.c.SetDeadline(time.Time{}) //nolint:errcheck // the read tells
	res.Body = &tunnel{x}
	return res, nil
}

func badAnswer(err error) error {
	return &slotError{cause: causeProtocol, op: "reading the answer", err: err}
}

// readFault tells what the connection did from what could not be parsed.
func (x *exchange) readFault(op string, late cause, err error) error {
	switch {
	case x.c.readErr == errHeadTooLarge:
		return badAnswer(errHeadTooLarge)
	case x.c.readErr != nil:
		return ioError(op, late, x.c.readErr)
	}
	return badAnswer(err)
}

// answerBody is an answer's body. Its end gives the connection back.
type answerBody struct {
	x   *exchange
	src io.Reader
	err error // how it ended
}

// onWait implements [waitingBody].
func (b *answerBody) onWait(f func()) { b.x.c.waitHook = f }

func (b *answerBody) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if b.x.finished.Load() {
		return 0, http.ErrBodyReadAfterClose
	}
	n, err := b.src.Read(p)
	switch {
	case err == io.EOF:
		b.err = err
		b.x.finish(true)
	case err != nil:
		b.err = b.x.fault(b.x.readFault("reading the answer's body", causeStalled, err))
		b.x.finish(false)
	}
	return n, b.err
}

// drain reads what is left, at most that much and hardly longer than that, so
// that the connection can be used again. One that the request is still being
// written to cannot.
func (b *answerBody) drain(most int64, within time.Duration) {
	if !b.x.wasSent() {
		return
	}
	b.x.c.stall = within
	until := time.Now().Add(within)
	var room [4 << 10]byte
	for most > 0 && time.Now().Before(until) {
		n, err := b.Read(room[:])
		if err != nil {
			return
		}
		most -= int64(n)
	}
}

// Close gives up what was not read, and the connection with it.
func (b *answerBody) Close() error {
	b.x.finish(false)
	return nil
}

// tunnel is the connection after a 101. What the slot sent together with its
// 101 is read first.
type tunnel struct{ x *exchange }

func (t *tunnel) Read(b []byte) (int, error)  { return t.x.c.br.Read(b) }
func (t *tunnel) Write(b []byte) (int, error) { return t.x.c.Conn.Write(b) }

// CloseWrite tells the slot that nothing more will come.
func (t *tunnel) CloseWrite() error {
	c, ok := t.x.c.Conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return c.CloseWrite()
}

func (t *tunnel) Close() error {
	t.x.finish(false)
	return nil
}

func (t *tunnel) SetDeadline(d time.Time) error      { return t.x.c.SetDeadline(d) }
func (t *tunnel) SetReadDeadline(d time.Time) error  { return t.x.c.SetReadDeadline(d) }
func (t *tunnel) SetWriteDeadline(d time.Time) error { return t.x.c.SetWriteDeadline(d) }
