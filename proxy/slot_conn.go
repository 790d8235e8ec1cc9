package proxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// maxHead bounds the head of an answer together with the informational ones
// before it.
const maxHead = 1 << 20

// farOff stands for "never" where an expiry must be a time.
const farOff = 365 * 24 * time.Hour

// errHeadTooLarge is a slot whose answer's head does not end.
var errHeadTooLarge = fmt.Errorf("the head is longer than %d bytes", maxHead)

// slotConn is one connection to a slot, used by one exchange at a time. Its
// fields belong to the exchange that holds it and, while it is idle, to the
// pool.
type slotConn struct {
	net.Conn
	share   *roomShare // what it gives back when it is closed
	closed  atomic.Bool
	br      *bufio.Reader // reads through slotConn.Read; nil before the standard lane has used it
	raw     syscall.RawConn
	look    func(fd uintptr) // lookAt, bound once so that it costs no allocation
	isQuiet bool             // what it saw

	reused bool
	expiry time.Time // idle no longer than this

	// Of the exchange that is under way.
	wrote    int64         // bytes of the request given to the kernel
	heard    int64         // bytes of the answer taken from it
	heardAt  time.Time     // when the first of them came
	headLeft int64         // how many more a head may take; negative outside heads
	inBody   bool          // the answer's head is in, so the stall limit bounds reads
	waitHook func()        // called before the slot is waited for in a body; may be nil
	stall    time.Duration // the longest wait for the next bytes of a body; 0 means no bound
	readErr  error         // what ended reading, as opposed to what could not be parsed
	named    time.Duration // the idle limit that the slot named; negative means it named none

	// The deadlines that the fast lane has set; zero means none. foreign says that
	// there may be others, of the standard lane.
	readUntil, writeUntil time.Time
	foreign               bool

	asking asking
}

// dialSlot connects to "host:port" or "unix:/path".
func dialSlot(ctx context.Context, address string, timeout time.Duration) (net.Conn, error) {
	d := net.Dialer{Timeout: timeout}
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		return d.DialContext(ctx, "unix", path)
	}
	return d.DialContext(ctx, "tcp", address)
}

// newSlotConn takes the connection over, with its place, also when it fails.
func newSlotConn(nc net.Conn, share *roomShare) (*slotConn, error) {
	c := &slotConn{Conn: nc, share: share}
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return nil, errors.Join(errors.New("the connection is not a socket"), c.Close())
	}
	var err error
	if c.raw, err = sc.SyscallConn(); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	c.look, c.asking.step = c.lookAt, c.askStep
	return c, nil
}

// Close gives back its place too.
func (c *slotConn) Close() error {
	if c.closed.CompareAndSwap(false, true) {
		c.share.give()
	}
	return c.Conn.Close()
}

// begin makes c ready for one exchange.
func (c *slotConn) begin(stall time.Duration) {
	c.wrote, c.heard, c.heardAt, c.readErr = 0, 0, time.Time{}, nil
	c.headLeft, c.inBody, c.stall, c.named = maxHead, false, stall, -1
	c.waitHook = nil
	if c.br == nil {
		c.br = bufio.NewReader(c)
	}
	c.Conn.SetDeadline(time.Time{}) //nolint:errcheck // a closed connection shows when it is used
	c.foreign = true
}

// beginFast is begin for the fast lane, which reads and writes past the buffer
// and keeps the deadlines that it has set for the next exchange.
func (c *slotConn) beginFast() {
	c.wrote, c.heard, c.heardAt, c.named = 0, 0, time.Time{}, -1
	if c.foreign {
		c.Conn.SetDeadline(time.Time{}) //nolint:errcheck // a closed connection shows when it is used
		c.readUntil, c.writeUntil, c.foreign = time.Time{}, time.Time{}, false
	}
}

// boundRead bounds the next read by about that span. To be cheap it leaves a
// deadline as it is that is due between half of the span and the whole.
func (c *slotConn) boundRead(now time.Time, span time.Duration) {
	if until := c.readUntil.Sub(now); until >= span/2 && until <= span {
		return
	}
	c.readUntil = now.Add(span)
	c.Conn.SetReadDeadline(c.readUntil) //nolint:errcheck // the read tells
}

// quiet reports whether nothing has happened on an idle connection: the slot
// did not close it and sent nothing. Bytes that nobody asked for would be taken
// for the answer to the next request.
func (c *slotConn) quiet() bool {
	if c.br != nil && c.br.Buffered() > 0 {
		return false
	}
	c.isQuiet = false
	return c.raw.Control(c.look) == nil && c.isQuiet
}

// lookAt looks at the socket for quiet.
func (c *slotConn) lookAt(fd uintptr) { c.isQuiet = silentSocket(fd) }

// Read is what the buffered reader reads through. It bounds heads in size and
// the gaps of bodies in time, and remembers why reading ended.
func (c *slotConn) Read(b []byte) (int, error) {
	switch {
	case c.headLeft == 0:
		c.readErr = errHeadTooLarge
		return 0, errHeadTooLarge
	case c.headLeft > 0:
		b = b[:min(int64(len(b)), c.headLeft)]
	}
	if c.inBody && c.waitHook != nil {
		c.waitHook()
	}
	if c.inBody && c.stall > 0 {
		c.Conn.SetReadDeadline(time.Now().Add(c.stall)) //nolint:errcheck // the read tells
	}
	n, err := c.Conn.Read(b)
	if c.headLeft > 0 {
		c.headLeft -= int64(n)
	}
	if n > 0 && c.heard == 0 {
		c.heardAt = time.Now()
	}
	c.heard += int64(n)
	if err != nil {
		c.readErr = err
	}
	return n, err
}

// write sends bytes of a request. The slot must take them within the stall
// limit.
func (c *slotConn) write(b []byte) error {
	if c.stall > 0 {
		c.Conn.SetWriteDeadline(time.Now().Add(c.stall)) //nolint:errcheck // the write tells
	}
	n, err := c.Conn.Write(b)
	c.wrote += int64(n)
	return err
}

// idleFor sets how long c may be idle and returns what is left of it. The time
// counts from the first byte of the last answer and not from now: the slot's own
// clock started when it had written its answer, which may have lain in the
// kernel's buffers ever since while a slow client took it.
func (c *slotConn) idleFor(limit time.Duration, now time.Time) time.Duration {
	switch {
	case c.named >= 0:
		limit = c.named
	case limit <= 0:
		limit = farOff
	}
	c.expiry = c.heardAt.Add(limit)
	return c.expiry.Sub(now)
}

// namedIdleLimit reads "Keep-Alive: timeout=N" (RFC 2068, section 19.7.1.1; Node
// sends it) and returns how long the connection may be idle, or -1 when the
// slot named nothing. The slot closes after N seconds, so we stop one second
// earlier, and after half a second where N is one.
func namedIdleLimit(h http.Header) time.Duration {
	for _, line := range h["Keep-Alive"] {
		for field := range strings.SplitSeq(line, ",") {
			name, value, _ := strings.Cut(strings.TrimSpace(field), "=")
			if !strings.EqualFold(strings.TrimSpace(name), "timeout") {
				continue
			}
			n, err := strconv.ParseUint(strings.Trim(strings.TrimSpace(value), `"`), 10, 20)
			if err != nil {
				continue
			}
			return idleLimitOf(int(n))
		}
	}
	return -1
}

// idleLimitOf is how long a connection may be idle that the slot closes after so
// many seconds; negative, as they are, where it named none.
func idleLimitOf(seconds int) time.Duration {
	switch {
	case seconds <= 0:
		return time.Duration(seconds)
	case seconds == 1:
		return time.Second / 2
	}
	return time.Duration(seconds-1) * time.Second
}
