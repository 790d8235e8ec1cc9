package control

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"charactier-proxy/switcher"
)

// streamed is the value of an answer that was sent already.
var streamed any = struct{ streamed bool }{true}

// answers joins the routes with the daemon's operations.
func (s *Server) answers() map[Route]answer {
	return map[Route]answer{
		RouteVersion:     func(*call) (any, error) { return s.version, nil },
		RouteStatus:      func(c *call) (any, error) { return s.ops.Status(c.r.Context()), nil },
		RouteHistory:     s.history,
		RouteEvents:      s.events,
		RouteSwitch:      s.move(s.ops.Switch),
		RouteRollback:    s.move(s.rollback),
		RouteHold:        s.hold(s.ops.Hold),
		RouteReleaseHold: s.hold(s.ops.ReleaseHold),
		RouteAbort:       s.abort,
		RouteStopping:    s.stopping,
		RouteEndStreams:  s.endStreams,
		RouteReload:      func(c *call) (any, error) { return s.ops.Reload(c.r.Context(), c.by) },
		RouteUpgrade:     s.upgrade,
		RouteReserve:     s.reserve,
		RouteReserveStep: s.reserveStep,
		RouteReserveEnd:  s.reserveEnd,
	}
}

// body decodes the request's body within its time. The deadline is lifted
// again at once: it would end the context of a long operation, because net/http
// reads on for a client that leaves, and takes any read error for that.
func body[T any](c *call, limit time.Duration) (T, error) {
	var v T
	rc := http.NewResponseController(c.w)
	if err := rc.SetReadDeadline(time.Now().Add(limit)); err != nil {
		return v, fmt.Errorf("setting a read deadline: %w", err)
	}
	if err := decode(http.MaxBytesReader(c.w, c.r.Body, maxBody), &v); err != nil {
		return v, err
	}
	if err := rc.SetReadDeadline(time.Time{}); err != nil {
		return v, fmt.Errorf("lifting the read deadline: %w", err)
	}
	return v, nil
}

func (s *Server) history(c *call) (any, error) {
	limit, err := historyLimit(c.r.URL.Query())
	if err != nil {
		return nil, err
	}
	records, err := s.ops.History(limit)
	if records == nil {
		records = []switcher.Record{}
	}
	return records, err
}

// move answers the requests that move traffic.
func (s *Server) move(do func(context.Context, SwitchRequest, switcher.Actor) (switcher.Record, error)) answer {
	return func(c *call) (any, error) {
		r, err := body[SwitchRequest](c, s.patience.body)
		if err == nil {
			err = r.validate()
		}
		if err != nil {
			return nil, err
		}
		return do(c.r.Context(), r, c.by)
	}
}

func (s *Server) rollback(ctx context.Context, r SwitchRequest, by switcher.Actor) (switcher.Record, error) {
	if r.To != "" {
		return switcher.Record{}, fmt.Errorf("%w: a rollback goes to the previous slot; to choose one, switch", ErrBadRequest)
	}
	if r.Bake != 0 {
		return switcher.Record{}, fmt.Errorf("%w: a rollback does not bake: it goes to what has proven itself", ErrBadRequest)
	}
	return s.ops.Rollback(ctx, r, by)
}

func (s *Server) hold(do func(context.Context, HoldRequest, switcher.Actor) (switcher.Record, error)) answer {
	return func(c *call) (any, error) {
		r, err := body[HoldRequest](c, s.patience.body)
		if err == nil {
			err = r.validate()
		}
		if err != nil {
			return nil, err
		}
		rec, err := do(c.r.Context(), r, c.by)
		slices.Sort(rec.Services) // the caller's own copy
		return rec, err
	}
}

func (s *Server) upgrade(c *call) (any, error) {
	r, err := body[UpgradeRequest](c, s.patience.body)
	if err == nil {
		err = r.validate()
	}
	if err != nil {
		return nil, err
	}
	return s.ops.Upgrade(c.r.Context(), r, c.by)
}

func (s *Server) abort(c *call) (any, error) {
	r, err := body[AbortRequest](c, s.patience.body)
	if err != nil {
		return nil, err
	}
	return s.ops.Abort(c.r.Context(), r, c.by)
}

func (s *Server) stopping(c *call) (any, error) {
	r, err := body[StoppingRequest](c, s.patience.body)
	if err != nil {
		return nil, err
	}
	return s.ops.Stopping(c.r.Context(), r, c.by)
}

func (s *Server) endStreams(c *call) (any, error) {
	r, err := body[EndStreamsRequest](c, s.patience.body)
	if err == nil {
		_, err = switcher.ParseSlot(string(r.Slot))
	}
	if err != nil {
		return nil, err
	}
	return s.ops.EndStreams(c.r.Context(), r, c.by)
}

// events sends each event as one line, at once.
func (s *Server) events(c *call) (any, error) {
	after, err := number(c.r.URL.Query(), "after", 0)
	if err != nil {
		return nil, err
	}
	return s.stream(c, func(ctx context.Context, lines *lineWriter) error {
		if err := lines.write(nil); err != nil {
			return err
		}
		return s.ops.Events(ctx, after, func(e switcher.Event) error { return lines.encode(e) })
	})
}

// reserve lasts as long as the reservation does.
func (s *Server) reserve(c *call) (any, error) {
	r, err := body[ReserveRequest](c, s.patience.body)
	if err == nil {
		err = r.validate()
	}
	if err != nil {
		return nil, err
	}
	return s.stream(c, func(ctx context.Context, lines *lineWriter) error {
		return s.ops.Reserve(ctx, r, c.by, lines.encode)
	})
}

func (s *Server) reserveStep(c *call) (any, error) {
	r, err := body[ReserveStep](c, s.patience.body)
	if err == nil {
		err = r.validate()
	}
	if err == nil {
		err = s.ops.StepReservation(c.r.Context(), r, c.by)
	}
	return struct{}{}, err
}

func (s *Server) reserveEnd(c *call) (any, error) {
	r, err := body[ReserveEnd](c, s.patience.body)
	if err == nil {
		err = r.validate()
	}
	if err != nil {
		return nil, err
	}
	return s.ops.EndReservation(c.r.Context(), r, c.by)
}

// stream lets do write lines until it returns, which it does when the reader is
// gone. An empty line now and then finds out readers that are gone or do not
// read. An error before the first line is answered like any other.
func (s *Server) stream(c *call, do func(context.Context, *lineWriter) error) (any, error) {
	ctx, cancel := context.WithCancel(c.r.Context())
	lines := &lineWriter{w: c.w, deadline: s.setWriteDeadline}
	var beats sync.WaitGroup
	beats.Go(func() {
		defer cancel()
		lines.beat(ctx, s.patience.beat)
	})
	err := do(ctx, lines)
	left := ctx.Err() != nil
	cancel()
	beats.Wait()
	switch {
	case err != nil && !lines.isBegun():
		return nil, err
	case err != nil && !left:
		return streamed, err
	}
	return streamed, nil
}

// lineWriter writes whole lines from several goroutines.
type lineWriter struct {
	mu       sync.Mutex
	w        http.ResponseWriter
	deadline func(http.ResponseWriter)
	begun    bool
}

// encode writes v as one line.
func (l *lineWriter) encode(v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encoding a line: %w", err)
	}
	return l.write(line)
}

func (l *lineWriter) write(line []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.begun {
		l.begun = true
		l.w.Header().Set("Content-Type", "application/jsonl")
	}
	l.deadline(l.w)
	if _, err := l.w.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("writing to the reader of a stream: %w", err)
	}
	return http.NewResponseController(l.w).Flush()
}

func (l *lineWriter) isBegun() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.begun
}

// beat writes empty lines, once there was another, until ctx ends or the reader
// is gone.
func (l *lineWriter) beat(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if l.isBegun() && l.write(nil) != nil {
				return
			}
		}
	}
}
