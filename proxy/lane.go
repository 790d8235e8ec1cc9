package proxy

import (
	"bytes"
	"io"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// Lane is the fast way to a service: plain requests of HTTP/1.1 go from the
// client's connection to the slot's and back on one goroutine, past net/http and
// ReverseProxy; only a long body has another, see laneUpload. What is not plainly
// understood, or not yet to be sent anywhere, is left to [ServerOptions.Handler],
// with the bytes that were read, and the connection with it. Both ways share
// claims, connections to the slots, statistics, log and error answers, so slot and
// client cannot tell which of them a request took.
type Lane struct {
	proxy   *Proxy
	service string
	leave   func(path []byte) bool
}

// Lane returns the fast way to a service, which need not exist yet. leave, unless
// it is nil, says which paths are answered by the handler all the same; it is
// called by several goroutines at once.
func (p *Proxy) Lane(service string, leave func(path []byte) bool) *Lane {
	return &Lane{proxy: p, service: service, leave: leave}
}

// laneConn is a client's connection while it is in the fast lane. It belongs to
// one goroutine. What it needs for a request only is in its work, which an idle
// connection does not have.
type laneConn struct {
	server *serving
	conn   *clientConn
	poll   func(fd uintptr) bool // tryRead, bound once
	push   func(fd uintptr) bool // tryWrite, bound once
	work   *laneWork             // nil while nothing was read
	have   int                   // bytes in work.in

	readErr error // why tryRead read nothing

	out      []byte // what tryWrite has left to write
	writeErr error  // or why it could not

	fresh      bool      // no request was read yet
	heading    bool      // the read deadline is that of a head
	last       bool      // the server stops, and nobody else closes the connection when it stays idle
	idle       time.Time // since when no request is under way
	readBound  time.Time // the deadlines that are set; zero means none
	writeBound time.Time
}

const (
	// laneIn is the longest head that the fast lane takes, together with what of
	// the body came with it.
	laneIn = 8 << 10
	// laneOut has room for such a head and what we add to it.
	laneOut = laneIn + 4<<10
)

// laneWork is what one request needs, but for an [answerRoom]. It is used again by
// others.
type laneWork struct {
	in   [laneIn]byte  // the client's request, and what may have come after it
	room [laneOut]byte // where heads are made
	laneExchange
}

var laneWorks = sync.Pool{New: func() any { return new(laneWork) }}

// nextHead is how much of a further request must have come for net/http to take it
// for one.
const nextHead = 4

// turn is what becomes of a connection next.
type turn int

const (
	turnNext     turn = iota // the next request may be answered
	turnWait                 // its head is not there yet
	turnEnd                  // it is closed
	turnHandOver             // the standard lane has it from here on
	turnPark                 // it is idle
	turnPass                 // another process has it from here on
)

// serveLane answers a connection's requests until it ends or the standard lane
// takes it over.
func serveLane(s *serving, c *clientConn) {
	if c.raw == nil {
		s.handOver(c)
		return
	}
	l := &laneConn{server: s, conn: c, fresh: true, idle: time.Now()}
	l.run()
}

// resumeLane goes on with a connection that was parked.
func resumeLane(s *serving, c *clientConn) {
	l := &laneConn{server: s, conn: c, idle: time.Now(), readBound: farPast}
	l.run()
}

// farPast is a read deadline that is over.
var farPast = time.Unix(1, 0)

func (l *laneConn) run() {
	defer l.survive()
	l.poll, l.push = l.tryRead, l.tryWrite
	switch l.serve() {
	case turnHandOver:
		l.giveBack()
		l.server.handOver(l.conn)
	case turnPark:
		l.park()
	case turnPass:
		l.passOn()
	case turnEnd, turnNext:
		l.release()
		l.conn.Close() //nolint:errcheck // there is nobody left to tell
	}
}

// survive keeps a mistake of ours to this connection.
func (l *laneConn) survive() {
	if v := recover(); v != nil {
		l.server.opts.Logger.Error("serving a connection panicked", zap.Any("panic", v), zap.Stack("stack"))
		l.conn.Close() //nolint:errcheck // there is nobody left to tell
	}
}

// park leaves an idle connection to the parking, until its time is over.
func (l *laneConn) park() {
	var until time.Time
	if idle := l.server.opts.IdleTimeout; idle > 0 {
		until = l.idle.Add(idle)
	}
	if !until.IsZero() && !time.Now().Before(until) || l.server.parking.park(l.conn, until) != nil {
		l.conn.Close() //nolint:errcheck // it was idle
	}
}

func (l *laneConn) serve() turn {
	for {
		next := l.await()
		if next == turnNext {
			next = l.request()
		}
		if next != turnNext {
			return next
		}
	}
}

// await reads until there is the whole head of a request.
func (l *laneConn) await() turn {
	for {
		if next := l.parse(); next != turnWait {
			return next
		}
		err := l.read()
		switch {
		case err == nil:
		case isTimeout(err) && l.server.successor() != nil:
			return turnPass
		case l.have == 0 && !l.fresh && !l.last && isTimeout(err):
			return turnPark
		case err == io.EOF && l.begun():
			return turnHandOver // which tells whoever sent half a head
		default:
			return turnEnd
		}
	}
}

// parse looks for the head of a request in what was read.
func (l *laneConn) parse() turn {
	if l.server.successor() != nil {
		return turnPass
	}
	if !l.begun() {
		return turnWait
	}
	most := l.server.opts.MaxHeaderBytes
	n, err := l.work.req.Parse(l.work.in[:l.have])
	switch {
	case err != nil:
		return turnHandOver
	case n == 0 && l.have == laneIn, most > 0 && n > most:
		return turnHandOver
	case n == 0:
		return turnWait
	}
	l.work.head = n
	return turnNext
}

// begun reports whether a request has begun to arrive.
func (l *laneConn) begun() bool { return l.have >= nextHead || l.have > 0 && l.fresh }

// read reads once. While it waits for a request it needs no buffer.
func (l *laneConn) read() error {
	l.boundHead()
	if err := l.conn.raw.Read(l.poll); err != nil {
		return err
	}
	return l.readErr
}

// tryRead is called when there may be something to read. It returns false to be
// called again when there is.
func (l *laneConn) tryRead(fd uintptr) bool {
	if l.work == nil {
		l.work = laneWorks.Get().(*laneWork)
	}
	n, err := readSocket(fd, l.work.in[l.have:])
	switch {
	case err == unix.EAGAIN:
		if l.have == 0 {
			l.release()
		}
		return false
	case err == nil && n == 0:
		err = io.EOF
	case err == nil && l.conn.phase.Load() != int32(phaseHead):
		l.conn.phase.Store(int32(phaseHead))
	}
	l.have += n
	l.readErr = err
	return true
}

// release gives back what an idle connection does not need.
func (l *laneConn) release() {
	if l.work != nil {
		l.work.reset()
		laneWorks.Put(l.work)
		l.work = nil
	}
}

// giveBack leaves what was read to the standard lane.
func (l *laneConn) giveBack() {
	l.conn.Conn.SetDeadline(time.Time{}) //nolint:errcheck // the next read tells
	l.conn.giveBack(l.work.in[:l.have])
	l.have = 0
	l.release()
}

// boundHead sets how long the next read may take: to the first byte of a request
// until it is parked; from there on, and on a connection that brought no request
// yet, as long as a head may take. The former is not set each time, to be cheap.
func (l *laneConn) boundHead() {
	o := l.server.opts
	switch {
	case l.have > 0 && l.heading, l.fresh && l.heading:
	case l.have == 0 && !l.fresh && l.server.isStopping():
		// The answer had begun before, so it could not say that it was the last.
		l.last = true
		l.boundRead(l.idle, max(o.IdleGrace, 1))
	case l.have > 0, l.fresh:
		l.heading = true
		l.boundRead(time.Now(), o.ReadHeaderTimeout)
	default:
		span := l.server.park
		if o.IdleTimeout > 0 {
			span = min(span, o.IdleTimeout)
		}
		if until := l.readBound.Sub(l.idle); until < span/2 || until > span {
			l.boundRead(l.idle, span)
		}
	}
}

// boundRead sets the read deadline; a span of zero means none.
func (l *laneConn) boundRead(from time.Time, span time.Duration) {
	until := time.Time{}
	if span > 0 {
		until = from.Add(span)
	}
	if until.IsZero() && l.readBound.IsZero() {
		return
	}
	l.readBound = until
	l.conn.Conn.SetReadDeadline(until) //nolint:errcheck // the read tells
}

// withoutEmptyLines leaves out those that some clients send behind a body (RFC
// 9112, section 2.2).
func withoutEmptyLines(b []byte) []byte {
	for bytes.HasPrefix(b, []byte("\r\n")) {
		b = b[2:]
	}
	return b
}
