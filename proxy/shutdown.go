package proxy

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"time"

	"go.uber.org/zap"
)

// stopAccepting ends the listener. What waits in the kernel's queue belongs to
// whoever else holds the socket; where nobody does, it is accepted first. A
// connection that arrives between the last accept and the close is lost, which
// only a shared socket avoids.
func (s *serving) stopAccepting() {
	s.mu.Lock()
	close(s.stopping)
	s.mu.Unlock()
	dl, ok := s.listener.(interface{ SetDeadline(time.Time) error })
	if s.opts.KeepBacklog || s.heir.Load() != nil || !ok || dl.SetDeadline(time.Now().Add(backlogTime)) != nil {
		s.listener.Close() //nolint:errcheck // accepting ends with it
	}
}

// finish lets what is open end and cuts it at the deadline.
func (s *serving) finish(hs *http.Server, cut context.CancelCauseFunc) error {
	ctx, cancel := context.WithTimeout(context.Background(), s.opts.ShutdownTimeout)
	defer cancel()
	dismiss(s.http2)
	if s.successor() != nil {
		s.passIdle(ctx)
		defer dismiss(hs) // not before: it would close behind an answer that did not say so
	} else {
		s.lingerIdle(ctx)
		s.closeIdle(ctx)
		dismiss(hs)
	}
	dismiss(s.http2) // for those that came since
	quiet := func() bool { return s.empty() || s.onlyStreams() }
	idle := quiet
	if s.successor() != nil {
		idle = s.empty // new connections do not wait for this process, so streams may go on
	}
	s.waitFor(ctx, s.opts.ShutdownTimeout-min(s.endingTime(), s.opts.ShutdownTimeout/2), idle)
	s.endStreams(ctx)
	for s.wait(ctx, quiet) {
		// A connection that could not be told to end may still bring a request, and
		// that is not cut for the streams' time being over.
		if !s.waitFor(ctx, s.opts.StreamGrace, func() bool { return s.empty() || !s.onlyStreams() }) {
			break
		}
		if s.empty() {
			return nil
		}
	}
	return s.cut(hs, cut)
}

// endingTime is how long it takes to end the streams, those included that come by
// connections that were idle.
func (s *serving) endingTime() time.Duration {
	return s.opts.StreamGrace + s.opts.StreamBound + s.opts.IdleGrace
}

// endStreams has the streams end where that costs nothing.
func (s *serving) endStreams(ctx context.Context) {
	if s.opts.StreamBound <= 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, s.endingTime())
	defer cancel()
	ending := streamEnding{spread: s.opts.StreamGrace, bound: s.opts.StreamBound, open: s.opened.list, over: s.empty}
	if ended, cut := ending.run(ctx); ended+cut > 0 {
		s.opts.Logger.Info("the streams were ended", zap.Stringer("address", s.listener.Addr()), zap.Int("ended", ended), zap.Int("cut", cut))
	}
}

// dismiss has a server tell its connections to go and not wait for it.
func dismiss(hs *http.Server) {
	ended, end := context.WithCancel(context.Background())
	end()
	hs.Shutdown(ended) //nolint:errcheck // it can only say that its context has ended
}

// lingerIdle gives idle connections time to bring the request that may be under
// way.
func (s *serving) lingerIdle(ctx context.Context) {
	if s.opts.IdleGrace > 0 {
		s.waitFor(ctx, s.opts.IdleGrace, s.empty)
	}
}

// closeIdle closes the HTTP/1.1 connections that wait for a request, and returns
// when none is left whose request is still arriving: [http.Server.Shutdown]
// would drop those without an answer.
func (s *serving) closeIdle(ctx context.Context) {
	const lookAgain = 5 * time.Millisecond
	for {
		arriving := 0
		for _, c := range s.list() {
			if c.http2.Load() {
				continue
			}
			switch connPhase(c.phase.Load()) {
			case phaseHead:
				arriving++
			case phaseNew, phaseIdle:
				if c.unread() {
					arriving++
					continue
				}
				c.Close() //nolint:errcheck // it was idle
			}
		}
		if arriving == 0 {
			return
		}
		pause, cancel := context.WithTimeout(ctx, lookAgain)
		<-pause.Done()
		cancel()
		if ctx.Err() != nil {
			return
		}
	}
}

// cut ends what is left and says how much that was.
func (s *serving) cut(hs *http.Server, cut context.CancelCauseFunc) error {
	streams := s.streams.Load()
	requests := s.handling.Load() - streams
	if streams > 0 {
		s.opts.Logger.Info("ending the streams that are left", zap.Stringer("address", s.listener.Addr()), zap.Int64("streams", streams))
	}
	s.cutting.Store(true)
	cut(errShutdown)
	s.waitFor(context.Background(), cutTime, func() bool { return s.handling.Load() == 0 })
	s.waitFor(context.Background(), lastWordTime, func() bool { return !s.any(answering) })
	hs.Close() //nolint:errcheck // the listener is closed already
	for _, c := range s.list() {
		c.Close() //nolint:errcheck // nobody is left to tell
	}
	if requests <= 0 {
		return nil
	}
	return fmt.Errorf("stopping %s: cut %s after %v", addrName(s.listener.Addr()), counted(requests, "request"), s.opts.ShutdownTimeout)
}

// answering reports whether a request's answer may still be on its way out of
// net/http, which ends the connection behind it.
func answering(c *clientConn) bool {
	return c.http2.Load() || connPhase(c.phase.Load()) == phaseActive
}

func addrName(a net.Addr) string { return a.Network() + " " + a.String() }

func (s *serving) empty() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns) == 0
}

func (s *serving) any(is func(*clientConn) bool) bool { return slices.ContainsFunc(s.list(), is) }

func (s *serving) list() []*clientConn {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]*clientConn, 0, len(s.conns))
	for c := range s.conns {
		list = append(list, c)
	}
	return list
}

// waitFor is wait with a time.
func (s *serving) waitFor(ctx context.Context, d time.Duration, done func() bool) bool {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return s.wait(ctx, done)
}

// wait blocks until done or ctx ends, and reports which. It looks again at every
// announcement.
func (s *serving) wait(ctx context.Context, done func() bool) bool {
	for {
		s.mu.Lock()
		changed := s.changed
		s.mu.Unlock()
		if done() {
			return true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return done()
		}
	}
}

// counted is "1 request" or "2 requests".
func counted(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
