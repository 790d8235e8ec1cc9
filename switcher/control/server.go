package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime/debug"
	"time"

	"go.uber.org/zap"

	"charactier-proxy/switcher"
)

// patience is how long the server waits for its clients. None of it bounds an
// operation, which takes as long as its request allows.
type patience struct {
	head  time.Duration // for a request's head
	body  time.Duration // for a request's body
	write time.Duration // for a client to take an answer or an event
	idle  time.Duration // between two requests
	stop  time.Duration // for answers under way when the server stops
	beat  time.Duration // between two heartbeats in a stream of events
}

func defaultPatience() patience {
	return patience{
		head: 5 * time.Second, body: 10 * time.Second, write: 10 * time.Second,
		idle: time.Minute, stop: 5 * time.Second, beat: 10 * time.Second,
	}
}

const (
	maxHeadBytes  = 16 << 10
	maxPeerConns  = 64 // of all users but root and the daemon's own
	maxUserConns  = 16 // of each of these
	maxAdminConns = 64
)

// Options are what a server is made of.
type Options struct {
	Operations Operations
	Version    Version
	Logger     *zap.Logger
	// Group's members may do everything, ReadGroup's may look. Names or numbers;
	// empty means no such group. Root and the daemon's own user may always.
	Group, ReadGroup string
}

// Server answers the control API.
type Server struct {
	ops      Operations
	version  Version
	log      *zap.Logger
	audit    *zap.Logger
	access   access
	patience patience

	leave chan struct{}
}

// NewServer checks that the groups exist.
func NewServer(o Options) (*Server, error) {
	access, err := newAccess(o.Group, o.ReadGroup)
	if err != nil {
		return nil, err
	}
	log := o.Logger.Named("control")
	return &Server{
		ops: o.Operations, version: o.Version, log: log, audit: o.Logger.Named("audit"),
		access: access, patience: defaultPatience(), leave: make(chan struct{}),
	}, nil
}

// Serve answers on ln until ctx ends, then lets answers under way finish for a
// few seconds. Operations see the end of ctx at once. It closes ln and returns
// nil unless accepting failed.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	ctx, end := context.WithCancel(ctx)
	defer end()
	srv := &http.Server{
		Handler:           s.handler(),
		ReadHeaderTimeout: s.patience.head,
		IdleTimeout:       s.patience.idle,
		MaxHeaderBytes:    maxHeadBytes,
		ErrorLog:          zap.NewStdLog(s.log),
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnContext:       connContext,
	}
	failed := make(chan error, 1)
	go func() {
		g := newGate(ln, s.access)
		err := srv.Serve(g)
		g.farewells.Wait()
		failed <- err
	}()
	select {
	case <-s.leave:
		end() // of what others follow; they come back to who answers then
		s.stop(srv)
		<-failed
		return nil
	case err := <-failed:
		if s.hasLeft() {
			end()
			s.stop(srv)
			return nil
		}
		return fmt.Errorf("serving the control socket: %w", err)
	case <-ctx.Done():
	}
	s.stop(srv)
	<-failed
	return nil
}

// Leave has Serve end while answers are under way, which it awaits: it must be
// called once at most, and only from one of them or beside them. Who closes the
// listener afterwards knows that nobody else comes by it.
func (s *Server) Leave() { close(s.leave) }

func (s *Server) hasLeft() bool {
	select {
	case <-s.leave:
		return true
	default:
		return false
	}
}

func (s *Server) stop(srv *http.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), s.patience.stop)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil && !errors.Is(err, net.ErrClosed) {
		s.log.Warn("closing control connections that did not end", zap.Error(err))
		if err := srv.Close(); err != nil {
			s.log.Warn("closing the control socket", zap.Error(err))
		}
	}
}

// call is one request on its way through the server.
type call struct {
	w  http.ResponseWriter
	r  *http.Request
	by switcher.Actor // set where the route changes something
}

// answer does the work of a route: a value to send as JSON, or an error and
// the record of what failed.
type answer func(*call) (value any, err error)

// handler builds the routes. Whether a peer may use one is decided here and
// nowhere else.
func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	for route, do := range s.answers() {
		mux.HandleFunc(route.Method+" "+route.Path, func(w http.ResponseWriter, r *http.Request) {
			s.serve(route, do, w, r)
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(VersionHeader, s.version.Version)
		s.send(w, nil, switcher.Record{}, fmt.Errorf("%w: %s %s", ErrNoRoute, r.Method, printable(r.URL.Path, 100)))
	})
	return mux
}

func (s *Server) serve(route Route, do answer, w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	w.Header().Set(VersionHeader, s.version.Version)
	p, _ := r.Context().Value(peerKey{}).(peer)
	c := &call{w: w, r: r}
	if route.Role == Admin {
		c.by = p.actor()
	}
	err := s.allow(p, route, r)
	var value any
	if err == nil {
		value, err = s.guarded(do, c)
	}
	rec, _ := value.(switcher.Record)
	// The steps of a deploy are in its own log, and in the events.
	if route.Role == Admin && (route != RouteReserveStep || err != nil) {
		s.record(route, c.by, rec, err, time.Since(start))
	}
	if value != streamed {
		s.send(w, value, rec, err)
	}
}

func (s *Server) allow(p peer, route Route, r *http.Request) error {
	if err := refuseBrowser(r); err != nil {
		return err
	}
	if have := s.access.role(p); have < route.Role {
		return s.access.refuse(p, have, route.Role)
	}
	return nil
}

// guarded keeps a panic in one request from ending the daemon, and with it the
// traffic.
func (s *Server) guarded(do answer, c *call) (value any, err error) {
	defer func() {
		if p := recover(); p != nil {
			s.log.Error("a control request panicked", zap.String("path", c.r.URL.Path),
				zap.Any("panic", p), zap.ByteString("stack", debug.Stack()))
			value, err = nil, fmt.Errorf("%w: see the daemon's log", ErrInternal)
		}
	}()
	return do(c)
}

// record writes the audit line of a request that would change something: the
// one line that the log has of an operation.
func (s *Server) record(route Route, by switcher.Actor, rec switcher.Record, err error, took time.Duration) {
	fields := []zap.Field{
		zap.Uint32("uid", by.UID), zap.String("user", by.User), zap.Int32("pid", by.PID),
		zap.String("command", by.Command), zap.String("route", route.Path),
		zap.String("op", rec.ID), zap.String("outcome", outcome(rec, err)), zap.Duration("took", took),
	}
	if len(rec.Moves) > 0 {
		fields = append(fields, zap.Any("moves", rec.Moves), zap.Bool("forced", rec.Forced),
			zap.Duration("probing", rec.Probing), zap.Duration("swap", rec.Swap), zap.Any("drain", rec.Drain))
	}
	if rec.Reason != "" {
		fields = append(fields, zap.String("reason", rec.Reason))
	}
	if err != nil {
		s.audit.Warn("refused or failed", append(fields, zap.Error(err))...)
		return
	}
	s.audit.Info("done", fields...)
}

func outcome(rec switcher.Record, err error) string {
	switch {
	case rec.Outcome != "":
		return string(rec.Outcome)
	case err != nil:
		return failureOf(err).code
	}
	return string(switcher.Done)
}

// send writes a value or an error. A client that does not take it in time
// loses its connection.
func (s *Server) send(w http.ResponseWriter, value any, rec switcher.Record, err error) {
	status := http.StatusOK
	if err != nil {
		status, value = failureOf(err).status, AsError(err, rec)
	}
	body, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		s.log.Error("encoding an answer", zap.Error(err))
		status, body = http.StatusInternalServerError, []byte(`{"code":"internal","message":"encoding the answer"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	s.setWriteDeadline(w)
	w.WriteHeader(status)
	if _, err := w.Write(append(body, '\n')); err != nil {
		s.log.Debug("sending an answer", zap.Error(err))
	}
}

func (s *Server) setWriteDeadline(w http.ResponseWriter) {
	if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(s.patience.write)); err != nil {
		s.log.Debug("setting a write deadline", zap.Error(err))
	}
}
