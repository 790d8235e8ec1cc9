package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// ServerOptions say how connections are accepted and ended. A zero duration or
// number means no bound, except where the field says otherwise.
type ServerOptions struct {
	// Handler answers the requests: what [Proxy.Handler] returned.
	Handler http.Handler
	// Lane is asked, with each request that is plainly understood, for the way
	// past Handler and net/http; nil, or an answer of nil, means that Handler
	// answers all. See [Lane].
	Lane func() *Lane
	// Logger gets what net/http has to say; nil means none.
	Logger *zap.Logger

	// ReadHeaderTimeout bounds the wait for a request's head.
	ReadHeaderTimeout time.Duration
	// IdleTimeout bounds the wait for the next request. It must be longer than
	// what the client in front of us uses (nginx: 60 s), so that the client
	// closes first.
	IdleTimeout time.Duration
	// MaxHeaderBytes bounds a request's head; 0 means net/http's 1 MiB.
	MaxHeaderBytes int
	// MaxConns bounds the connections that are open at once. Over it nothing is
	// refused: the next ones wait in the kernel's queue until one has ended.
	MaxConns int
	// MaxConnsPerAddr bounds those of one client's address. The next one is closed.
	// Peers on unix sockets have no address.
	MaxConnsPerAddr int
	// Room bounds the connections that are open at once on all servers that have
	// it, in the manner of MaxConns; nil means no bound.
	Room *Room
	// MaxStreams bounds the requests that are open at once on one HTTP/2
	// connection; 0 means 250.
	MaxStreams int

	// KeepBacklog says that somebody else holds the listening socket too, as
	// systemd does: connections that wait in its queue are left to the next
	// process. Without it they are accepted and answered before we stop.
	KeepBacklog bool
	// IdleGrace is how long, when the server stops, an idle connection may still
	// bring a request. It is then answered with "Connection: close".
	IdleGrace time.Duration
	// StreamGrace is how long, when the server stops, event streams and upgraded
	// connections may go on once no other request is left. Streams may last for
	// ever, so nothing is gained by waiting for them.
	StreamGrace time.Duration
	// StreamBound is how long each of them may take from when it is asked to end,
	// which is some time within StreamGrace; see [Proxy.EndStreams]. With 0 they are
	// not asked: what is left of them after StreamGrace is cut.
	StreamBound time.Duration
	// ShutdownTimeout bounds the whole of stopping. What is still open then is
	// cut; 0 means at once.
	ShutdownTimeout time.Duration
}

// Server accepts connections for one service and ends them without losing a
// request.
type Server struct {
	opts   ServerOptions
	heir   atomic.Pointer[func(fd int, read []byte) error] // see PassOn
	runs   atomic.Pointer[serving]                         // the newest Serve
	paused atomic.Int64                                    // Serve calls that wait for a connection to end before they accept
	onConn func(*clientConn)                               // told of every connection; nil outside of tests
	park   time.Duration                                   // how long a connection may be idle with a goroutine of its own
}

// NewServer returns a server that listens to nothing yet.
func NewServer(o ServerOptions) *Server {
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	if o.MaxStreams == 0 {
		o.MaxStreams = 250
	}
	return &Server{opts: o, park: parkAfter}
}

// Saturated reports whether every place on a listener is taken, so that it
// accepts nothing on purpose until a connection has ended. A listener that does
// not answer and is not saturated hangs. See [ServerOptions.MaxConns].
func (s *Server) Saturated() bool { return s.paused.Load() > 0 }

const (
	// backlogTime is how long a listener goes on accepting, when it stops, to
	// empty the kernel's queue.
	backlogTime = 20 * time.Millisecond
	// cutTime is how long requests that were cut may take to notice.
	cutTime = 5 * time.Second
	// lastWordTime is how long the answers that they then get may take to leave.
	lastWordTime = 250 * time.Millisecond
)

// errShutdown is the cause with which requests are cut at the deadline.
var errShutdown = errors.New("the proxy is shutting down")

// Serve accepts connections on ln, HTTP/1.1 and HTTP/2 with prior knowledge,
// and answers their requests until ctx ends. Then it stops accepting, lets every
// request finish within the shutdown timeout and returns: nil, or an error that
// says how many requests were cut. It closes ln. Any number of Serve calls may
// run at once; each ends with its own context.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	base, cut := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cut(nil)
	run := newServing(s, ln)
	defer run.share.part()
	run.base = base
	hs := s.httpServer(base, run)
	var standard sync.WaitGroup
	standard.Go(func() { hs.Serve(run.standard) }) //nolint:errcheck // it ends when it is dismissed
	defer standard.Wait()
	defer run.lanes.Wait()
	if err := run.openParking(); err != nil {
		return errors.Join(err, ln.Close())
	}
	defer run.closeParking()
	s.runs.Store(run)
	accepted := make(chan error, 1)
	go func() { accepted <- run.acceptAll() }()
	select {
	case err := <-accepted:
		run.stopAccepting()
		return errors.Join(fmt.Errorf("accepting on %s: %w", addrName(ln.Addr()), err), run.finish(hs, cut))
	case <-ctx.Done():
		run.stopAccepting()
		<-accepted
		return run.finish(hs, cut)
	}
}

func (s *Server) httpServer(base context.Context, run *serving) *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{
		Handler:                      run,
		Protocols:                    protocols,
		TLSNextProto:                 run.http2.TLSNextProto,
		ReadHeaderTimeout:            s.opts.ReadHeaderTimeout,
		IdleTimeout:                  s.opts.IdleTimeout,
		MaxHeaderBytes:               s.opts.MaxHeaderBytes,
		DisableGeneralOptionsHandler: true, // "OPTIONS *" is the slot's to answer
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: s.opts.MaxStreams,
			SendPingTimeout:      30 * time.Second,
			PingTimeout:          15 * time.Second,
			WriteByteTimeout:     60 * time.Second,
		},
		ConnState: run.connState,
		ConnContext: func(ctx context.Context, nc net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, nc)
		},
		BaseContext: func(net.Listener) context.Context { return base },
		ErrorLog:    silentLog(s.opts.Logger, "http server"),
	}
}

// newHTTP2 returns the server to which another leaves its connections of HTTP/2
// by having its TLSNextProto. Only [http.Server.Shutdown] sends GOAWAY, and it
// drops requests of HTTP/1 whose heads are still arriving; so HTTP/2 needs one
// of its own, to hear at once that we stop.
func newHTTP2(idle time.Duration) *http.Server {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	hs := &http.Server{Protocols: protocols, IdleTimeout: idle}
	hs.Serve(closedListener{}) //nolint:errcheck // it fails, but sets up TLSNextProto first
	return hs
}

// closedListener is one that accepts no more.
type closedListener struct{ net.Listener }

func (closedListener) Accept() (net.Conn, error) { return nil, net.ErrClosed }
func (closedListener) Close() error              { return nil }

// silentLog gives net/http a logger whose lines an operator sees only when he
// asks for them: nearly all of them tell of clients that left or talk nonsense.
func silentLog(l *zap.Logger, component string) *log.Logger {
	std, err := zap.NewStdLogAt(l.With(zap.String("component", component)), zap.DebugLevel)
	if err != nil {
		return log.New(io.Discard, "", 0)
	}
	return std
}

// connKey finds the connection in a request's context.
type connKey struct{}

// connOf returns the connection that brought the request, or nil where the
// handler runs without a [Server].
func connOf(ctx context.Context) *clientConn {
	c, _ := ctx.Value(connKey{}).(*clientConn)
	return c
}

// serving is one [Server.Serve]: its listener and what that has accepted.
type serving struct {
	listener net.Listener
	base     context.Context // of requests; ends when they are cut
	opts     *ServerOptions
	paused   *atomic.Int64 // the Server's
	heir     *atomic.Pointer[func(fd int, read []byte) error]
	onConn   func(*clientConn)
	park     time.Duration
	http2    *http.Server   // see newHTTP2
	standard *handedOver    // what the standard lane serves
	lanes    sync.WaitGroup // the goroutines of the fast lane
	parking  *parking       // its idle connections; nil where there is none
	room     chan struct{}  // holds one for each open connection; nil means no bound
	share    *roomShare     // of what all servers have together; nil means no bound
	warned   bool           // of failing accepts; belongs to accept

	stopping chan struct{}
	cutting  atomic.Bool
	handling atomic.Int64 // requests, streams included
	streams  atomic.Int64
	opened   streamSet // the same, for who wants them to end

	mu      sync.Mutex
	conns   map[*clientConn]struct{}
	peers   map[netip.Addr]int // how many of them each address has; nil means no bound
	changed chan struct{}      // closed and replaced by announce
}

func newServing(server *Server, ln net.Listener) *serving {
	o := &server.opts
	s := &serving{
		listener: ln, opts: o, paused: &server.paused, heir: &server.heir, onConn: server.onConn, park: server.park, http2: newHTTP2(o.IdleTimeout),
		standard: newHandedOver(ln), stopping: make(chan struct{}),
		conns: map[*clientConn]struct{}{}, changed: make(chan struct{}),
	}
	if o.MaxConns > 0 {
		s.room = make(chan struct{}, o.MaxConns)
	}
	if o.MaxConnsPerAddr > 0 {
		s.peers = map[netip.Addr]int{}
	}
	s.share = o.Room.join()
	return s
}

// ServeHTTP counts the requests that are under way.
func (s *serving) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.beginRequest()
	defer s.endRequest()
	s.opts.Handler.ServeHTTP(w, r)
}

func (s *serving) beginRequest() { s.handling.Add(1) }

func (s *serving) endRequest() {
	if s.handling.Add(-1) <= s.streams.Load() && s.isStopping() {
		s.announce()
	}
}

// beginStream says that a request turned out to be a stream, and how it is ended.
func (s *serving) beginStream(x stream) {
	s.opened.add(x)
	s.streams.Add(1)
	if s.isStopping() {
		s.announce()
	}
}

func (s *serving) endStream(x stream) {
	s.opened.remove(x)
	s.streams.Add(-1)
}

// onlyStreams reports whether all that is left are streams.
func (s *serving) onlyStreams() bool {
	streams := s.streams.Load()
	return streams > 0 && s.handling.Load() <= streams
}

// warnOnce tells of the first of several failures in a row, such as a lack of
// file descriptors, after which we try again.
func (s *serving) warnOnce(err error) {
	if !s.warned {
		s.opts.Logger.Warn("accepting a connection", zap.Stringer("address", s.listener.Addr()), zap.Error(err))
	}
	s.warned = true
}

// forget is told by each connection that it was closed.
func (s *serving) forget(c *clientConn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.leavePeer(c)
	s.mu.Unlock()
	if s.parking != nil {
		s.parking.forget(c)
	}
	s.announce()
	if !c.extra {
		s.leaveRoom()
	}
}

// announce wakes who waits for connections or requests to end.
func (s *serving) announce() {
	s.mu.Lock()
	close(s.changed)
	s.changed = make(chan struct{})
	s.mu.Unlock()
}

func (s *serving) connState(nc net.Conn, state http.ConnState) {
	c, ok := nc.(*clientConn)
	if !ok || c.http2.Load() {
		return
	}
	switch state {
	case http.StateActive, http.StateHijacked:
		c.phase.Store(int32(phaseActive))
	case http.StateIdle:
		c.phase.Store(int32(phaseIdle))
	}
}

func (s *serving) isStopping() bool {
	select {
	case <-s.stopping:
		return true
	default:
		return false
	}
}
