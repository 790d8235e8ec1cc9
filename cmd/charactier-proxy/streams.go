package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"charactier-proxy/proxy"
	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
)

// streams ends the event streams and WebSockets of slots that were left, once
// their grace is over, and at once those of a slot whose unit is stopped.
type streams struct {
	end   func(context.Context, place) proxy.StreamCount
	left  func(p place) bool // whether a slot that was left may have streams yet
	grace func(service string) time.Duration
	tell  func(p place, c proxy.StreamCount)
	tasks *tasks

	mu      sync.Mutex
	leaving map[place]*leaving
}

// leaving is a slot's grace.
type leaving struct {
	until  time.Time
	cancel context.CancelFunc
}

// lookAgainAtStreams is how often a slot is looked at whose grace is over and which
// still has requests, each of which may become a stream.
const lookAgainAtStreams = time.Second

// moved is told that the services are on these slots now: there, streams may stay,
// and on the other ones their grace begins, unless it has already.
func (s *streams) moved(to map[string]switcher.Slot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for service, slot := range to {
		if l := s.leaving[place{service, slot}]; l != nil {
			l.cancel()
			delete(s.leaving, place{service, slot})
		}
		if p := (place{service, slot.Other()}); s.leaving[p] == nil {
			s.begin(p, s.grace(service))
		}
	}
}

// begin has the grace of a slot end by itself. s.mu is held.
func (s *streams) begin(p place, grace time.Duration) {
	l := &leaving{until: time.Now().Add(grace)}
	s.leaving[p] = l
	var canceled context.Context
	canceled, l.cancel = context.WithCancel(context.Background())
	s.tasks.start("streams of "+p.String(), func(ctx context.Context) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(canceled, cancel)()
		s.awaitEnd(ctx, p, l.until)
		s.forget(p, l)
		return nil
	})
}

// awaitEnd ends the streams of a slot when its grace is over, and returns once it
// can have none any more, or ctx has ended.
func (s *streams) awaitEnd(ctx context.Context, p place, until time.Time) {
	for pause := time.Until(until); ; pause = lookAgainAtStreams {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
		s.tell(p, s.end(ctx, p))
		if !s.left(p) {
			return
		}
	}
}

func (s *streams) forget(p place, l *leaving) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l.cancel()
	if s.leaving[p] == l {
		delete(s.leaving, p)
	}
}

// until is when the streams of a slot that was left are ended; zero where that is
// over, or the slot was not left since the daemon started.
func (s *streams) until(p place) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.leaving[p]; l != nil {
		return l.until
	}
	return time.Time{}
}

// stopping is told that a slot's unit is being stopped, by whomever: an application
// that waits for its streams then waits for nothing.
func (s *streams) stopping(p place) {
	s.tasks.start("streams of stopping "+p.String(), func(ctx context.Context) error {
		s.tell(p, s.end(ctx, p))
		return nil
	})
}

// newStreams is what ends streams for the daemon.
func (d *daemon) newStreams() *streams {
	return &streams{
		end: d.endStreams,
		left: func(p place) bool {
			return d.proxy.Stats()[p.service][string(p.slot)].Draining > 0
		},
		grace: func(service string) time.Duration {
			if cfg := d.config.current().Services[service]; cfg != nil {
				return cfg.Streams.Grace
			}
			return 0
		},
		tell: d.tellStreams, leaving: map[place]*leaving{},
	}
}

// endStreams ends the streams of a slot, also those of the process before this one.
func (d *daemon) endStreams(ctx context.Context, p place) proxy.StreamCount {
	theirs := make(chan proxy.StreamCount, 1)
	go func() { theirs <- d.predecessor.endStreams(ctx, p) }()
	ours := d.endOwnStreams(ctx, p)
	t := <-theirs
	return proxy.StreamCount{Ended: ours.Ended + t.Ended, Cut: ours.Cut + t.Cut, Left: ours.Left + t.Left}
}

func (d *daemon) endOwnStreams(ctx context.Context, p place) proxy.StreamCount {
	return d.proxy.EndStreams(ctx, p.service, string(p.slot))
}

// tellStreams publishes what became of a slot's streams.
func (d *daemon) tellStreams(p place, c proxy.StreamCount) {
	if c == (proxy.StreamCount{}) {
		return
	}
	level, text := switcher.LevelInfo, streamsText(p, c)
	if c.Cut > 0 {
		level = switcher.LevelWarn
	}
	d.events.Publish(switcher.Event{Kind: "streams", Service: p.service, Slot: p.slot, Level: level, Text: text})
	d.log.Info("streams were ended", zap.String("service", p.service), zap.String("slot", string(p.slot)),
		zap.Int64("ended", c.Ended), zap.Int64("cut", c.Cut), zap.Int64("left", c.Left))
}

// streamsText is "backend blue: 3 streams ended between two events or messages, 1 cut".
func streamsText(p place, c proxy.StreamCount) string {
	text := fmt.Sprintf("%s %s: %d streams ended between two events or messages, %d cut", p.service, p.slot, c.Ended, c.Cut)
	if c.Left > 0 {
		text += fmt.Sprintf(", %d left", c.Left)
	}
	return text
}

// EndStreams ends the streams of a standby slot, whatever is left of their grace.
func (d *daemon) EndStreams(ctx context.Context, r control.EndStreamsRequest, _ switcher.Actor) (control.EndStreamsResult, error) {
	state, ok := d.switcher.State().Services[r.Service]
	switch {
	case !ok:
		return control.EndStreamsResult{}, fmt.Errorf("%w %q", switcher.ErrUnknownService, r.Service)
	case state.Active == r.Slot:
		return control.EndStreamsResult{}, fmt.Errorf("%w: %s of %s is active, so that its streams would come back to it", control.ErrBadRequest, r.Slot, r.Service)
	}
	p := place{r.Service, r.Slot}
	c := d.endStreams(ctx, p)
	d.tellStreams(p, c)
	return control.EndStreamsResult{Ended: c.Ended, Cut: c.Cut, Left: c.Left}, nil
}
