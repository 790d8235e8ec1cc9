package proxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// clientConn is a client's connection as net/http sees it. It adds what net/http
// lacks: a client may shut down its writing side and still get its answer, a
// write that makes progress is never late, and a connection that is closed
// before all was read lets its last answer arrive.
type clientConn struct {
	net.Conn
	raw    syscall.RawConn // nil where the connection is not a socket
	server *serving
	peer   netip.Addr // not valid for unix sockets
	unix   bool

	phase atomic.Int32 // a connPhase
	http2 atomic.Bool
	haste haste // of its streams

	// given is what the fast lane has read and left to net/http; guarded by mu.
	given    []byte
	hasGiven atomic.Bool
	parked   int32 // the descriptor under which it was parked last; guarded by the parking's mutex

	mu            sync.Mutex
	readDeadline  time.Time     // what the owner asked for
	readBound     time.Time     // no read goes on for longer, whatever the owner asks for
	linger        bool          // Close reads on for a while first
	writeSpan     time.Duration // what the owner grants a write
	halfClosed    time.Time     // when the client shut down its writing side
	halfCloseTime time.Duration // how long a request goes on after that; 0 means no bound
	nudged        bool          // its read was ended so that it can be passed on
	closeOnce     sync.Once

	extra  bool        // it has no place of those that MaxConns bounds
	passed atomic.Bool // another process has it
}

// connPhase is where a connection is between two requests.
type connPhase int32

const (
	phaseNew    connPhase = iota // nothing was read yet
	phaseIdle                    // between two requests
	phaseHead                    // a request has begun to arrive
	phaseActive                  // it is being handled
)

// lingerTime bounds how long a connection is read from, and thrown away what
// came, after its last answer (RFC 9112, section 9.6): closing at once would
// reset it, and the client might lose the answer.
const lingerTime = 2 * time.Second

// http2Start is how only the preface of HTTP/2 begins (RFC 9113, section 3.4).
const http2Start = "PRI"

var (
	errClientLeft        = errors.New("the client has left")
	errClientReset error = &net.OpError{Op: "read", Net: "client", Err: syscall.ECONNRESET}
)

func newClientConn(nc net.Conn, s *serving) *clientConn {
	c := &clientConn{Conn: nc, server: s}
	if sc, ok := nc.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			c.raw = raw
		}
	}
	c.peer, c.unix = peerAddr(nc.RemoteAddr())
	return c
}

// peerAddr returns the address that forwarded headers and trust go by. Peers on
// unix sockets have none.
func peerAddr(a net.Addr) (addr netip.Addr, unix bool) {
	switch a := a.(type) {
	case *net.TCPAddr:
		ip, _ := netip.AddrFromSlice(a.IP)
		return ip.Unmap(), false
	case *net.UnixAddr:
		return netip.Addr{}, true
	}
	return netip.Addr{}, false
}

// Read skips empty lines before a request (RFC 9112, section 2.2) and withholds
// the end of input from the one byte that net/http reads ahead while a request
// is handled: to net/http that end means that the client has left.
func (c *clientConn) Read(p []byte) (int, error) {
	if phase := connPhase(c.phase.Load()); phase <= phaseIdle && len(p) > 1 {
		return c.readStart(p)
	}
	n, err := c.read(p)
	for n == 0 && c.wasNudged(err) {
		n, err = c.read(p)
	}
	if n == 0 && err == io.EOF && len(p) == 1 && c.raw != nil {
		return 0, c.withhold()
	}
	return n, err
}

// readStart reads the first bytes of a request: enough of them to know HTTP/2 by
// its preface. An empty line that came in one piece with the end of the request
// before was read with that one and is answered 400 by net/http.
func (c *clientConn) readStart(p []byte) (int, error) {
	kept := 0
	for {
		if kept == 0 && c.hasAll(p) && c.passOn(c.unreadByUs()) {
			return 0, io.EOF
		}
		n, err := c.read(p[kept:])
		if n == 0 && c.wasNudged(err) {
			continue
		}
		got := p[:kept+n]
		for bytes.HasPrefix(got, []byte("\r\n")) {
			got = got[2:]
		}
		kept = copy(p, got)
		if err != nil || kept >= min(len(p), len(http2Start)) {
			c.startHead(p[:kept])
			return kept, err
		}
	}
}

// read reads first what was given back.
func (c *clientConn) read(p []byte) (int, error) {
	if !c.hasGiven.Load() {
		return c.Conn.Read(p)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	n := copy(p, c.given)
	if c.given = c.given[n:]; len(c.given) == 0 {
		c.given = nil
		c.hasGiven.Store(false)
	}
	return n, nil
}

// giveBack leaves what was read of a request to the next who reads. It may be
// nothing.
func (c *clientConn) giveBack(b []byte) {
	if len(b) > 0 {
		c.mu.Lock()
		c.given = bytes.Clone(b)
		c.mu.Unlock()
		c.hasGiven.Store(true)
	}
	c.phase.Store(int32(phaseNew))
}

func (c *clientConn) startHead(b []byte) {
	if len(b) == 0 {
		return
	}
	if string(b[:min(len(b), len(http2Start))]) == http2Start {
		c.http2.Store(true)
	}
	c.phase.Store(int32(phaseHead))
}

// withhold blocks after the client's half-close until the client has gone for
// good, the grace is over or the owner's deadline passes. It owns no goroutine
// and does not poll: the kernel reports the reset as an event on the socket.
func (c *clientConn) withhold() error {
	c.noteHalfClose(time.Now())
	for {
		c.mu.Lock()
		c.applyReadDeadline(c.graceEnd()) //nolint:errcheck // the read tells
		c.mu.Unlock()
		err := c.raw.Read(c.gone)
		switch {
		case err == nil:
			return errClientReset
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return err
		case c.ownersDeadlinePassed():
			return err
		case c.graceOver():
			return io.EOF
		}
	}
}

// noteHalfClose notes when the client was first found to have shut down its
// writing side, and returns that.
func (c *clientConn) noteHalfClose(now time.Time) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.halfClosed.IsZero() {
		c.halfClosed = now
	}
	return c.halfClosed
}

// watch returns a context that ends with errClientLeft when the client leaves
// while nobody reads from the connection. stop must be called before anybody
// does, and leaves no read deadline.
func (c *clientConn) watch(parent context.Context) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	if c.raw == nil {
		return ctx, func() { cancel(nil) }
	}
	c.SetReadDeadline(time.Time{}) //nolint:errcheck // it can only fail on a closed connection
	done := make(chan struct{})
	go func() {
		defer close(done)
		if c.awaitGone() {
			cancel(errClientLeft)
		}
	}()
	return ctx, func() {
		c.SetReadDeadline(time.Unix(1, 0)) //nolint:errcheck // it can only fail on a closed connection
		<-done
		c.SetReadDeadline(time.Time{}) //nolint:errcheck // it can only fail on a closed connection
		cancel(nil)
	}
}

// awaitGone blocks until the client has left or a deadline passes, and reports
// which. What the client has sent stays unread.
func (c *clientConn) awaitGone() bool {
	leaving := func(fd uintptr) bool { return socketEvents(fd, unix.POLLRDHUP) != 0 }
	err := c.raw.Read(leaving)
	for c.wasNudged(err) {
		err = c.raw.Read(leaving)
	}
	if err != nil {
		return false
	}
	err = c.withhold()
	return err == errClientReset || err == io.EOF
}

// gone reports whether both directions of the socket are dead.
func (c *clientConn) gone(fd uintptr) bool { return socketEvents(fd, 0) != 0 }

// socketEvents returns which of the wanted events, or of errors and hang-ups,
// are pending.
func socketEvents(fd uintptr, want int16) int16 {
	fds := [1]unix.PollFd{{Fd: int32(fd), Events: want}}
	if n, err := unix.Poll(fds[:], 0); n != 1 || err != nil {
		return 0
	}
	return fds[0].Revents & (want | unix.POLLERR | unix.POLLHUP | unix.POLLNVAL)
}

func (c *clientConn) graceEnd() time.Time {
	if c.halfClosed.IsZero() || c.halfCloseTime <= 0 {
		return time.Time{}
	}
	return c.halfClosed.Add(c.halfCloseTime)
}

func (c *clientConn) graceOver() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	end := c.graceEnd()
	return !end.IsZero() && !time.Now().Before(end)
}

func (c *clientConn) ownersDeadlinePassed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := earliest(c.readDeadline, c.readBound)
	return !t.IsZero() && !time.Now().Before(t)
}

// setHalfCloseTime says how long the request that is under way goes on after
// its client's half-close, also when that has happened already.
func (c *clientConn) setHalfCloseTime(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.halfCloseTime == d {
		return
	}
	c.halfCloseTime = d
	if !c.halfClosed.IsZero() {
		c.applyReadDeadline(c.graceEnd()) //nolint:errcheck // a closed connection needs no bound
	}
}

// leftHalfClosed reports whether the client had shut down its writing side: it
// tells a grace that ended from a connection that broke.
func (c *clientConn) leftHalfClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.halfClosed.IsZero()
}

// lingerOnClose says that a request was answered before it was read. What
// net/http still reads of it, without a deadline, is bounded, and closing goes on
// reading for a while. See [lingerTime].
func (c *clientConn) lingerOnClose() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.linger = true
	c.boundReadsLocked()
}

func (c *clientConn) boundReadsLocked() {
	c.readDeadline = time.Time{}
	if c.readBound.IsZero() {
		c.readBound = time.Now().Add(lingerTime)
	}
	c.applyReadDeadline(time.Time{}) //nolint:errcheck // a closed connection needs no bound
}

// applyReadDeadline sets the earliest of what bounds a read. c.mu is held.
func (c *clientConn) applyReadDeadline(grace time.Time) error {
	return c.Conn.SetReadDeadline(earliest(earliest(c.readDeadline, c.readBound), grace))
}

// earliest returns the earlier of two deadlines, of which zero means none.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// SetReadDeadline implements [net.Conn].
func (c *clientConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.readDeadline = t
	return c.applyReadDeadline(c.graceEnd())
}

// SetWriteDeadline implements [net.Conn]. The time left until t is what a write
// gets anew whenever some of its bytes were taken.
func (c *clientConn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writeSpan = 0
	if !t.IsZero() {
		c.writeSpan = time.Until(t)
	}
	return c.Conn.SetWriteDeadline(t)
}

// SetDeadline implements [net.Conn].
func (c *clientConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// Write goes on for as long as the client takes something within the time that
// the deadline granted.
func (c *clientConn) Write(p []byte) (int, error) {
	total := 0
	for {
		n, err := c.Conn.Write(p[total:])
		total += n
		if err == nil || n == 0 || !errors.Is(err, os.ErrDeadlineExceeded) || !c.renewWrite() {
			return total, err
		}
	}
}

func (c *clientConn) renewWrite() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.writeSpan <= 0 {
		return false
	}
	return c.Conn.SetWriteDeadline(time.Now().Add(c.writeSpan)) == nil
}
