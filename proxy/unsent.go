package proxy

import (
	"errors"
	"io"
	"net/http"
	"time"
)

// unsentError is a request of which not a byte was sent, since its slot takes no
// connections. Its body was left open, so that it can go elsewhere (P3).
type unsentError struct {
	err  error  // a *slotError
	kept []byte // what was read of the body
}

func (e *unsentError) Error() string { return e.err.Error() }
func (e *unsentError) Unwrap() error { return e.err }

// unreachable reports whether a connect failed because nobody takes connections,
// which passes when the slot has come up again.
func unreachable(err error) bool {
	var fault *slotError
	return errors.As(err, &fault) && (fault.cause == causeConnectRefused || fault.cause == causeConnectTimeout)
}

// brokeUnsent reports whether a connection ended on which nothing was sent: its
// slot went away right after it had taken it.
func brokeUnsent(c *slotConn, err error) bool {
	var fault *slotError
	return c != nil && c.wrote == 0 && errors.As(err, &fault) && (fault.cause == causeClosed || fault.cause == causeReset)
}

// unsent makes an *unsentError of why x failed, if it is one.
func (x *exchange) unsent(err error) error {
	if x.ctx.Err() != nil || x.sendErr != nil || !unreachable(err) && !brokeUnsent(x.c, err) {
		return nil
	}
	kept := x.head.Bytes()[min(x.headLen, x.head.Len()):]
	return &unsentError{err: err, kept: append([]byte(nil), kept...)}
}

// claimedTransport sends a request by the transport of the target that it
// claimed (P1). While that takes no connections, the request waits and claims
// anew.
type claimedTransport struct{}

func (claimedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	x := relayOf(r.Context())
	for {
		began := time.Now()
		res, err := x.claim.transport.RoundTrip(r)
		if err == nil {
			return res, nil
		}
		var unsent *unsentError
		if !errors.As(err, &unsent) {
			return nil, err
		}
		if err := x.claimAgain(began, unsent.err); err != nil {
			if r.Body != nil {
				r.Body.Close() //nolint:errcheck // nothing is lost with it
			}
			return nil, err
		}
		r = x.again(r, unsent.kept)
	}
}

// claimAgain gives up the claim on a target that takes no connections, waits and
// claims anew.
func (x *relay) claimAgain(began time.Time, why error) error {
	was := x.claim
	was.room.close(began, why)
	was.stats.open.end(x.claimed)
	x.claim.target = nil
	was.release()
	c, err := x.f.proxy.claimAnew(x.r.Context(), x.service, x, was.again(time.Since(began)))
	x.claim = c
	if err != nil {
		return err
	}
	x.body.resume()
	x.claimed = time.Now()
	c.stats.open.begin(x.claimed)
	if x.conn != nil {
		x.conn.setHalfCloseTime(c.service.HalfCloseGrace)
	}
	return nil
}

// again is the request for the target that is claimed now.
func (x *relay) again(r *http.Request, kept []byte) *http.Request {
	next := r.WithContext(r.Context())
	next.URL = x.slotURL()
	if len(kept) > 0 {
		next.Body = &keptBody{kept, r.Body}
	}
	return next
}

// keptBody is a body of which a part was read before.
type keptBody struct {
	kept []byte
	io.ReadCloser
}

func (b *keptBody) Read(p []byte) (int, error) {
	if len(b.kept) == 0 {
		return b.ReadCloser.Read(p)
	}
	n := copy(p, b.kept)
	b.kept = b.kept[n:]
	return n, nil
}
