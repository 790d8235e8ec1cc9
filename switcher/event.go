package switcher

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Event is one thing that happened, for those who watch.
type Event struct {
	Seq     uint64    `json:"seq"` // grows by one; a gap means that some were dropped
	Time    time.Time `json:"time"`
	Kind    string    `json:"kind"` // "switch", "health", "config", "drain", ...
	Service string    `json:"service,omitempty"`
	Slot    Slot      `json:"slot,omitempty"`
	Op      string    `json:"op,omitempty"` // the operation's ID
	Level   string    `json:"level"`        // one of the levels below
	Text    string    `json:"text"`
}

// The levels of an event.
const (
	LevelInfo  = "info"
	LevelWarn  = "warn"
	LevelError = "error"
)

// KindGap is the kind of the event that a slow reader gets instead of those
// that were forgotten before it could read them.
const KindGap = "gap"

const (
	keepEvents   = 1024
	keepFailures = 128
)

// Broker remembers the newest events and hands them to those who watch. Of the
// failures it remembers more than of the rest: they are what is looked for
// later. Its methods may be called by several goroutines at once.
type Broker struct {
	mu       sync.Mutex
	seq      uint64
	events   []Event
	failures []Event // those no longer in events
	more     chan struct{}
}

// NewBroker returns a broker without events.
func NewBroker() *Broker { return &Broker{more: make(chan struct{})} }

// Publish numbers the event and, where it has no time, dates it. It never waits
// for a reader.
func (b *Broker) Publish(e Event) {
	if e.Time.IsZero() {
		e.Time = wall(time.Now())
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seq++
	e.Seq = b.seq
	if len(b.events) == keepEvents {
		b.forgetLocked(b.events[0])
		b.events = append(b.events[:0], b.events[1:]...)
	}
	b.events = append(b.events, e)
	close(b.more)
	b.more = make(chan struct{})
}

func (b *Broker) forgetLocked(e Event) {
	if e.Level != LevelError {
		return
	}
	if len(b.failures) == keepFailures {
		b.failures = append(b.failures[:0], b.failures[1:]...)
	}
	b.failures = append(b.failures, e)
}

// Subscribe calls emit with every event after seq: first those that are
// remembered, then those to come, until ctx ends (whose cause it returns) or
// emit fails. A seq that was not reached yet is of an earlier run of the daemon
// and means from the start. A reader too slow for what is remembered gets an
// event of [KindGap] in place of what it missed.
func (b *Broker) Subscribe(ctx context.Context, after uint64, emit func(Event) error) error {
	fresh := after == 0
	for {
		events, more := b.since(&after, fresh)
		fresh = false
		for _, e := range events {
			if err := emit(e); err != nil {
				return err
			}
			after = e.Seq
		}
		if len(events) > 0 {
			continue
		}
		select {
		case <-more:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// since returns the events after seq, with a gap event in front where some are
// missing and the reader is not a fresh one.
func (b *Broker) since(seq *uint64, fresh bool) ([]Event, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if *seq > b.seq {
		*seq, fresh = 0, true
	}
	var events []Event
	for _, e := range b.failures {
		if e.Seq > *seq {
			events = append(events, e)
		}
	}
	missed := b.seq - uint64(len(b.events)) - min(*seq, b.seq-uint64(len(b.events))) - uint64(len(events))
	if missed > 0 && !fresh {
		events = append(events, gap(b.events[0], missed))
	}
	for _, e := range b.events {
		if e.Seq > *seq {
			events = append(events, e)
		}
	}
	return events, b.more
}

// gap stands where missed events were, right before the first that is left.
func gap(first Event, missed uint64) Event {
	return Event{
		Seq: first.Seq - 1, Time: first.Time, Kind: KindGap, Level: LevelWarn,
		Text: fmt.Sprintf("%d events were forgotten before they could be read", missed),
	}
}
