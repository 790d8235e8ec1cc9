package proxy

import (
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"
)

var errBodyTooLarge = errors.New("the body is larger than the service takes")

// clientBody is a request's body on its way to the slot. It bounds its length
// and the wait for its next bytes, knows whose fault its end was, and ends a
// Read in progress when it is closed. The transport may read it on a goroutine
// of its own while the answer already flows.
type clientBody struct {
	src      io.ReadCloser
	limit    int64 // 0 means no bound
	length   int64 // as announced; negative if unknown
	progress progress
	trailer  http.Header // filled by src when it ends

	mu      sync.Mutex
	n       int64
	reading bool
	closed  bool
	done    bool // read to its end
	err     error
}

func (b *clientBody) Read(p []byte) (int, error) {
	if err := b.beginRead(); err != nil {
		return 0, err
	}
	n, err := b.src.Read(p)
	return b.endRead(n, err)
}

func (b *clientBody) beginRead() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed:
		return http.ErrBodyReadAfterClose
	case b.err != nil:
		return b.err
	}
	b.reading = true
	b.progress.renew()
	return nil
}

func (b *clientBody) endRead(n int, err error) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reading = false
	b.progress.waited()
	b.n += int64(n)
	switch {
	case b.limit > 0 && b.n > b.limit:
		b.err = errBodyTooLarge
		return 0, b.err
	case err == io.EOF:
		b.done = true
		dropForbiddenTrailers(b.trailer)
	case err != nil && !b.interrupted(err):
		b.err = err
	case b.n == b.length:
		b.done = true
	}
	return n, err
}

// interrupted reports whether a Read failed because we closed the body. A
// timeout of that kind comes before the client's time was over.
func (b *clientBody) interrupted(err error) bool {
	return b.closed && errors.Is(err, os.ErrDeadlineExceeded) && !b.progress.over()
}

// Close ends a Read in progress; what is left of the body is net/http's to
// throw away.
func (b *clientBody) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil
	}
	b.closed = true
	if b.reading {
		return b.progress.interrupt()
	}
	return nil
}

// resume has the next Read set its deadline anew, after others waited on the
// connection.
func (b *clientBody) resume() {
	if b != nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.progress.last = time.Time{}
	}
}

// state returns how many bytes came, whether they were all, and what was wrong
// with them.
func (b *clientBody) state() (n int64, done bool, err error) {
	if b == nil {
		return 0, true, nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.n, b.done, b.err
}

// bodyCause tells what a failed read of a request's body means.
func bodyCause(err error, http2 bool) cause {
	switch {
	case errors.Is(err, errBodyTooLarge):
		return causeBodyTooLarge
	case errors.Is(err, os.ErrDeadlineExceeded):
		return causeClientTooSlow
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), http2:
		return causeClientGone
	}
	return causeBodyMalformed
}

// dropForbiddenTrailers takes out of a trailer section what would frame or
// route a message, and what only a trusted peer may say (RFC 9110, section
// 6.5.1).
func dropForbiddenTrailers(h http.Header) {
	for name := range h {
		if !trailerAllowed(name) || claims(name) {
			delete(h, name)
		}
	}
}

// progress renews a deadline as bytes move, so that it bounds a wait and never a
// total. To be cheap it sets the deadline a little late and not every time.
//
// HTTP/2 is different: net/http breaks a stream when its deadline passes, also
// while nobody waits. There the deadline is set for each wait and taken back.
type progress struct {
	span  time.Duration // 0 means no bound
	http2 bool
	set   func(time.Time) error
	last  time.Time // when the deadline was set
}

// renew grants the full span from now.
func (p *progress) renew() {
	if p.span <= 0 {
		return
	}
	now := time.Now()
	if !p.http2 && !p.last.IsZero() && now.Sub(p.last) < p.slack() {
		return
	}
	p.last = now
	p.set(now.Add(p.span + p.slack())) //nolint:errcheck // where there are no deadlines there is no bound
}

func (p *progress) slack() time.Duration { return p.span / 8 }

// waited says that the wait is over for now.
func (p *progress) waited() {
	if p.http2 && p.span > 0 && !p.over() {
		p.set(time.Time{}) //nolint:errcheck // where there are no deadlines there is no bound
	}
}

// over reports whether the granted time has passed.
func (p *progress) over() bool {
	return p.span > 0 && !p.last.IsZero() && time.Since(p.last) >= p.span
}

// interrupt ends what waits.
func (p *progress) interrupt() error { return p.set(time.Unix(1, 0)) }
