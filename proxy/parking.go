package proxy

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// parkAfter is how long a connection may be idle with a goroutine of its own.
const parkAfter = 2 * time.Second

// parking keeps connections that wait for their next request. They need no
// goroutine there, whose stack is most of what an idle connection costs. One
// goroutine waits for all of them, by an epoll of its own, which the runtime's
// poller watches as it does a socket.
type parking struct {
	wake func(*clientConn) // called when something came, on the goroutine of run

	epoll int
	file  *os.File // the same descriptor
	raw   syscall.RawConn

	mu     sync.Mutex
	ended  bool
	serial int32
	places map[int32]place // by descriptor
	queue  []expiry        // the first to expire first
	grown  int             // connections that were parked since the last tidying
	tidier *time.Timer     // runs tidy; nil while there is not much to gain
}

const (
	// tidyFrom is the number of connections whose goroutines are worth a collection
	// of garbage when they have ended: the runtime gives memory back to the system
	// only after one, and where all is idle there is none for minutes.
	tidyFrom = 1000
	// tidyPause is the least time from the first of them to that, and between two.
	tidyPause = time.Second
)

// place is where a connection waits. The serial tells it from those that had the
// same descriptor before.
type place struct {
	conn   *clientConn
	serial int32
}

// expiry is when a place is cleared whose connection brought nothing.
type expiry struct {
	at         time.Time
	fd, serial int32
}

func newParking(wake func(*clientConn)) (*parking, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("making a place for idle connections: %w", err)
	}
	unix.SetNonblock(fd, true) //nolint:errcheck // without it the runtime would not watch it, which shows below
	p := &parking{wake: wake, epoll: fd, file: os.NewFile(uintptr(fd), "parking"), places: map[int32]place{}}
	if p.raw, err = p.file.SyscallConn(); err == nil {
		err = p.file.SetReadDeadline(time.Time{})
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("making a place for idle connections: %w", err), p.file.Close())
	}
	return p, nil
}

// park takes a connection that nobody reads from. It is given back by wake when
// there is something to read, or closed at that time; zero means never. On error
// it was not taken.
func (p *parking) park(c *clientConn, until time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return os.ErrClosed
	}
	p.serial++
	serial := p.serial
	var failed error
	err := c.raw.Control(func(fd uintptr) {
		e := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLONESHOT, Fd: int32(fd), Pad: serial}
		failed = unix.EpollCtl(p.epoll, unix.EPOLL_CTL_ADD, int(fd), &e)
		if failed == unix.EEXIST { // it was here before
			failed = unix.EpollCtl(p.epoll, unix.EPOLL_CTL_MOD, int(fd), &e)
		}
		if failed == nil {
			c.parked = e.Fd
			p.places[e.Fd] = place{c, serial}
			p.expect(expiry{until, e.Fd, serial})
			p.growTidier()
		}
	})
	return errors.Join(err, failed)
}

// growTidier counts a goroutine that ends. p.mu is held.
func (p *parking) growTidier() {
	if p.grown++; p.grown >= tidyFrom && p.tidier == nil {
		p.tidier = time.AfterFunc(tidyPause, p.tidy)
	}
}

// tidy gives the memory of goroutines that ended back to the system.
func (p *parking) tidy() {
	p.mu.Lock()
	p.grown, p.tidier = 0, nil
	p.mu.Unlock()
	debug.FreeOSMemory()
}

// queueSlack is how many more than twice the places there may be in the queue,
// where connections come and go within their time.
const queueSlack = 1000

// expect notes when a place expires. p.mu is held.
func (p *parking) expect(e expiry) {
	if e.at.IsZero() {
		return
	}
	if len(p.queue) > 2*len(p.places)+queueSlack {
		p.queue = slices.DeleteFunc(p.queue, func(e expiry) bool { return p.places[e.fd].serial != e.serial })
	}
	p.queue = append(p.queue, e)
	if len(p.queue) == 1 {
		p.file.SetReadDeadline(e.at) //nolint:errcheck // it has deadlines, as newParking found
	}
}

// forget clears the place of a connection that was closed.
func (p *parking) forget(c *clientConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.places[c.parked].conn == c {
		delete(p.places, c.parked)
	}
}

// run gives back connections until the parking ends.
func (p *parking) run() {
	var events [64]unix.EpollEvent
	for {
		n, failed := 0, error(nil)
		err := p.raw.Read(func(uintptr) bool {
			n, failed = unix.EpollWait(p.epoll, events[:], 0)
			return n != 0 && failed != unix.EINTR
		})
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			p.expire(time.Now())
			continue
		case err != nil || failed != nil:
			return
		}
		for _, e := range events[:n] {
			if c := p.take(e.Fd, e.Pad); c != nil {
				p.wake(c)
			}
		}
	}
}

// take clears a place and returns the connection that was there, nil if it has
// gone.
func (p *parking) take(fd, serial int32) *clientConn {
	p.mu.Lock()
	defer p.mu.Unlock()
	at, ok := p.places[fd]
	if !ok || at.serial != serial {
		return nil
	}
	delete(p.places, fd)
	return at.conn
}

// expirySlack is how much later than due a place may be cleared, so that many are
// cleared at once.
const expirySlack = 100 * time.Millisecond

// expire closes the connections whose time is over.
func (p *parking) expire(now time.Time) {
	for _, e := range p.expired(now) {
		if c := p.take(e.fd, e.serial); c != nil {
			c.Close() //nolint:errcheck // it was idle
		}
	}
}

// expired takes what is due out of the queue and sets when to look again.
func (p *parking) expired(now time.Time) []expiry {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for n < len(p.queue) && !p.queue[n].at.After(now) {
		n++
	}
	due := p.queue[:n:n]
	p.queue = p.queue[n:]
	next := time.Time{}
	if len(p.queue) > 0 {
		next = p.queue[0].at.Add(expirySlack)
	}
	p.file.SetReadDeadline(next) //nolint:errcheck // it has deadlines, as newParking found
	return due
}

// end has run return. Connections that are parked are left as they are.
func (p *parking) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	if p.tidier != nil {
		p.tidier.Stop()
	}
	p.file.Close() //nolint:errcheck // nothing was written to it
}
