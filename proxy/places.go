package proxy

import "net"

// accept takes the next connection of a client that has not too many.
func (s *serving) accept() (*clientConn, error) {
	for {
		c, err := s.acceptAny()
		if err != nil || s.enter(c) {
			return c, err
		}
		c.Conn.Close() //nolint:errcheck // nothing was sent on it
		s.leaveRoom()
	}
}

// acceptAny takes the next connection. While the server stops it accepts without
// bound what the kernel's queue still holds.
func (s *serving) acceptAny() (*clientConn, error) {
	s.takeRoom()
	if s.isStopping() && (s.opts.KeepBacklog || s.heir.Load() != nil) {
		s.leaveRoom()
		return nil, net.ErrClosed // what waits is the next process's
	}
	nc, err := s.listener.Accept()
	if err != nil {
		s.leaveRoom()
		if s.isStopping() {
			return nil, net.ErrClosed // a timeout would be taken for a reason to try again
		}
		s.warnOnce(err)
		return nil, err
	}
	s.warned = false
	c := newClientConn(nc, s)
	if s.onConn != nil {
		s.onConn(c)
	}
	return c, nil
}

// enter notes a connection, unless its client has as many as one may have.
func (s *serving) enter(c *clientConn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.peers != nil && s.peers[c.peer] >= s.opts.MaxConnsPerAddr && c.peer.IsValid() {
		return false
	}
	s.enterAnyway(c)
	return true
}

// enterAnyway notes a connection. s.mu is held.
func (s *serving) enterAnyway(c *clientConn) {
	if s.peers != nil && c.peer.IsValid() {
		s.peers[c.peer]++
	}
	s.conns[c] = struct{}{}
}

// leavePeer is the end of what enter began. s.mu is held.
func (s *serving) leavePeer(c *clientConn) {
	if s.peers == nil || !c.peer.IsValid() {
		return
	}
	if s.peers[c.peer]--; s.peers[c.peer] <= 0 {
		delete(s.peers, c.peer)
	}
}

// takeRoom waits for a place, or for the server to stop.
func (s *serving) takeRoom() {
	if !s.tryRoom() {
		s.paused.Add(1)
		defer s.paused.Add(-1)
		s.waitRoom()
	}
	for {
		ok, again := s.share.takeOrWait()
		if ok {
			return
		}
		if !s.waitShare(again) {
			s.share.force()
			return
		}
	}
}

func (s *serving) tryRoom() bool {
	if s.room == nil {
		return true
	}
	select {
	case s.room <- struct{}{}:
		return true
	default:
		return false
	}
}

func (s *serving) waitRoom() {
	select {
	case s.room <- struct{}{}:
	case <-s.stopping:
	}
}

// waitShare waits until there may be room, and reports false when the server
// stops.
func (s *serving) waitShare(again <-chan struct{}) bool {
	s.paused.Add(1)
	defer s.paused.Add(-1)
	select {
	case <-again:
		return true
	case <-s.stopping:
		return false
	}
}

func (s *serving) leaveRoom() {
	s.share.give()
	if s.room == nil {
		return
	}
	select {
	case <-s.room:
	default: // accepted without one, while stopping
	}
}
