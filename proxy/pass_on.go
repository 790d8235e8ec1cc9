package proxy

import (
	"context"
	"errors"
	"net"
	"slices"
	"time"
)

// passTime is how long, when the server stops, is tried to pass on what is idle
// before it is closed instead.
const passTime = time.Second

var errNotServing = errors.New("the server does not accept connections")

// PassOn has the server, when it stops, leave its connections to another process
// that accepts on the same socket: each as soon as it waits for a request, which
// it may have begun to bring. take gets the descriptor and what of the request was
// read; it is called by several goroutines at once and keeps neither. A connection
// that was taken is closed here without a word to its client. What take refuses is
// closed.
//
// No answer says "Connection: close" then, so no request can cross its
// connection's end on the way. Connections of HTTP/2 are told to go, as without
// PassOn: their clients know which of their requests were not begun.
//
// PassOn must be called before the context of Serve ends.
func (s *Server) PassOn(take func(fd int, read []byte) error) { s.heir.Store(&take) }

// Adopt goes on with a connection that another process passed on, as if it had
// been accepted by the newest Serve. On error it is still the caller's.
func (s *Server) Adopt(nc net.Conn, read []byte) error {
	run := s.runs.Load()
	if run == nil {
		return errNotServing
	}
	return run.adopt(nc, read)
}

func (s *serving) adopt(nc net.Conn, read []byte) error {
	c := newClientConn(nc, s)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isStopping() || len(read) > laneIn {
		return errNotServing
	}
	if s.room != nil {
		select {
		case s.room <- struct{}{}:
		default: // one more than there should be, but it was here first
			c.extra = true
		}
	}
	s.share.force()
	s.enterAnyway(c)
	c.giveBack(read)
	s.lanes.Go(func() {
		if s.opts.Lane == nil || c.raw == nil {
			s.handOver(c)
			return
		}
		l := &laneConn{server: s, conn: c, idle: time.Now()}
		l.takeUp()
		l.run()
	})
	return nil
}

// takeUp goes on with what another process has read of a request.
func (l *laneConn) takeUp() {
	read := l.conn.unreadByUs()
	if len(read) == 0 {
		l.conn.phase.Store(int32(phaseIdle))
		return
	}
	l.work = laneWorks.Get().(*laneWork)
	l.have = copy(l.work.in[:], read)
	l.conn.dropGiven()
	l.conn.phase.Store(int32(phaseHead))
}

// successor is who takes the connections, now that the server stops; nil where
// nobody does.
func (s *serving) successor() func(fd int, read []byte) error {
	take := s.heir.Load()
	if take == nil || !s.isStopping() {
		return nil
	}
	return *take
}

// isEnding reports whether the connections end with their next answer.
func (s *serving) isEnding() bool { return s.isStopping() && s.heir.Load() == nil }

// passIdle has every HTTP/1.1 connection passed on that waits for a request. What
// is left after a while cannot be: it is closed if nothing comes.
func (s *serving) passIdle(ctx context.Context) {
	const lookAgain = 2 * time.Millisecond
	patience, cancel := context.WithTimeout(ctx, passTime)
	defer cancel()
	for s.nudge() {
		pause, cancel := context.WithTimeout(patience, lookAgain)
		<-pause.Done()
		cancel()
		if patience.Err() != nil {
			s.closeIdle(ctx)
			return
		}
	}
}

// nudge wakes the connections that wait for a request, and reports whether there
// were any.
func (s *serving) nudge() bool {
	if s.parking != nil {
		for _, c := range s.parking.takeAll() {
			if !c.passOn(nil) {
				c.Close() //nolint:errcheck // it was idle
			}
		}
	}
	waiting := slices.DeleteFunc(s.list(), func(c *clientConn) bool {
		return c.http2.Load() || connPhase(c.phase.Load()) == phaseActive
	})
	for _, c := range waiting {
		c.nudge()
	}
	return len(waiting) > 0
}

// takeAll empties the parking.
func (p *parking) takeAll() []*clientConn {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]*clientConn, 0, len(p.places))
	for _, at := range p.places {
		all = append(all, at.conn)
	}
	clear(p.places)
	return all
}

// passOn leaves the connection to the successor, if the server has one, and
// reports whether it did. Only who reads from the connection may call it.
func (c *clientConn) passOn(read []byte) bool {
	take := c.server.successor()
	if take == nil || c.raw == nil {
		return false
	}
	var refused error
	if err := c.raw.Control(func(fd uintptr) { refused = take(int(fd), read) }); err != nil || refused != nil {
		return false
	}
	c.passed.Store(true)
	c.Conn.Close() //nolint:errcheck // it lives on elsewhere
	c.closeOnce.Do(func() { c.server.forget(c) })
	return true
}

// passOn leaves the connection with what was read to the successor.
func (l *laneConn) passOn() {
	var read []byte
	if l.have > 0 {
		read = l.work.in[:l.have]
	}
	if !l.conn.passOn(read) {
		l.conn.Close() //nolint:errcheck // nobody wants it
	}
	l.have = 0
	l.release()
}

// netHTTPBuffer is what net/http asks for while it has nothing of a request. It
// may have a byte or more: what came behind the last request, or before the last
// answer was out.
const netHTTPBuffer = 4 << 10

// hasAll reports that net/http, which asks for p, has read nothing of the request
// that is next.
func (c *clientConn) hasAll(p []byte) bool {
	return len(p) == netHTTPBuffer || connPhase(c.phase.Load()) == phaseNew
}

// nudge ends the read that waits for a request.
func (c *clientConn) nudge() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nudged = true
	c.Conn.SetReadDeadline(farPast) //nolint:errcheck // it can only fail on a closed connection
}

// wasNudged reports whether a read ended because of nudge, and makes the next one
// possible.
func (c *clientConn) wasNudged(err error) bool {
	if !isTimeout(err) || c.ownersDeadlinePassed() || c.graceOver() {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.nudged {
		return false
	}
	c.nudged = false
	return c.applyReadDeadline(c.graceEnd()) == nil
}

// unreadByUs is what was given back and not read since.
func (c *clientConn) unreadByUs() []byte {
	if !c.hasGiven.Load() {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.given
}

func (c *clientConn) dropGiven() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.given = nil
	c.hasGiven.Store(false)
}
