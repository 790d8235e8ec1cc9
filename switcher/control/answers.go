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
		RouteReload:      func(c *call) (any, error) { return s.ops.Reload(c.r.Context(), c.by) },
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

func (s *Server) abort(c *call) (any, error) {
	r, err := body[AbortRequest](c, s.patience.body)
	if err != nil {
		return nil, err
	}
	return s.ops.Abort(c.r.Context(), r, c.by)
}

// events sends each event as one line, at once. An empty line now and then
// finds out readers that are gone or do not read.
func (s *Server) events(c *call) (any, error) {
	after, err := number(c.r.URL.Query(), "after", 0)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(c.r.Context())
	c.w.Header().Set("Content-Type", "application/jsonl")
	lines := &lineWriter{w: c.w, deadline: s.setWriteDeadline}
	if err := lines.write(nil); err != nil {
		cancel()
		return streamed, nil
	}
	var beats sync.WaitGroup
	beats.Go(func() {
		defer cancel()
		lines.beat(ctx, s.patience.beat)
	})
	err = s.ops.Events(ctx, after, func(e switcher.Event) error {
		line, err := json.Marshal(e)
		if err != nil {
			return fmt.Errorf("encoding an event: %w", err)
		}
		return lines.write(line)
	})
	cancel()
	beats.Wait()
	if err != nil && ctx.Err() == nil {
		return streamed, err
	}
	return streamed, nil
}

// lineWriter writes whole lines from several goroutines.
type lineWriter struct {
	mu       sync.Mutex
	w        http.ResponseWriter
	deadline func(http.ResponseWriter)
}

func (l *lineWriter) write(line []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deadline(l.w)
	if _, err := l.w.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("writing to the reader of events: %w", err)
	}
	return http.NewResponseController(l.w).Flush()
}

// beat writes empty lines until ctx ends or the reader is gone.
func (l *lineWriter) beat(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if l.write(nil) != nil {
				return
			}
		}
	}
}
