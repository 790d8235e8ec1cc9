package proxy

import (
	"errors"
	"net"
	"sync"
	"time"
)

// How long we wait before we accept again when that failed for a reason that
// passes, such as a lack of file descriptors; twice as long each time.
const (
	firstAcceptPause = 5 * time.Millisecond
	maxAcceptPause   = time.Second
)

// acceptAll accepts until the listener ends. Every connection begins in the fast
// lane, where there is one. It closes the listener.
func (s *serving) acceptAll() error {
	defer s.listener.Close() //nolint:errcheck // nothing more comes by it
	pause := time.Duration(0)
	for {
		c, err := s.accept()
		var passing interface{ Temporary() bool }
		switch {
		case err == nil && s.opts.Lane == nil:
			s.handOver(c)
		case err == nil:
			s.lanes.Go(func() { serveLane(s, c) })
		case !errors.As(err, &passing) || !passing.Temporary():
			return err
		default:
			pause = min(max(2*pause, firstAcceptPause), maxAcceptPause)
			s.rest(pause)
			continue
		}
		pause = 0
	}
}

// rest waits, unless the server stops.
func (s *serving) rest(pause time.Duration) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.stopping:
	}
}

// openParking makes the place for idle connections of the fast lane.
func (s *serving) openParking() (err error) {
	if s.opts.Lane == nil {
		return nil
	}
	s.parking, err = newParking(func(c *clientConn) {
		s.lanes.Go(func() { resumeLane(s, c) })
	})
	if err == nil {
		s.lanes.Go(s.parking.run)
	}
	return err
}

func (s *serving) closeParking() {
	if s.parking != nil {
		s.parking.end()
	}
}

// handOver gives a connection to the standard lane, for good.
func (s *serving) handOver(c *clientConn) {
	select {
	case s.standard.conns <- c:
	case <-s.standard.closed:
		c.Close() //nolint:errcheck // we stop, and it brought no request in time
	}
}

// handedOver is the listener of the standard lane: it accepts what the fast lane
// leaves to it.
type handedOver struct {
	addr   net.Addr
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newHandedOver(ln net.Listener) *handedOver {
	h := &handedOver{conns: make(chan net.Conn), closed: make(chan struct{})}
	if ln != nil {
		h.addr = ln.Addr()
	}
	return h
}

// Accept implements [net.Listener].
func (h *handedOver) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.closed:
		return nil, net.ErrClosed
	}
}

// Addr implements [net.Listener].
func (h *handedOver) Addr() net.Addr { return h.addr }

// Close implements [net.Listener].
func (h *handedOver) Close() error {
	h.once.Do(func() { close(h.closed) })
	return nil
}
