package switcher

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// Options are what a [Switcher] is made of. Traffic, Prober, Store and History
// must be given.
type Options struct {
	Traffic Traffic
	Prober  Prober
	Store   Store
	History History
	// Events gets what happens; nil means nobody is told.
	Events *Broker
	// Services are those of the configuration.
	Services []ServiceConfig
	// AssumeActive names the active slot of every service, for the one start
	// after the state was lost ([ErrStateUnknown]). Where there is a state, it
	// changes nothing and is warned about.
	AssumeActive map[string]Slot
	// ReleaseOf names the release that a slot runs; empty where that is not known.
	// It is asked while an operation is planned. Nil means that none is known.
	ReleaseOf func(service string, slot Slot) string
	// Actor is the daemon itself, for records that nobody else asked for.
	Actor Actor
}

// ServiceConfig is what the switcher knows of a service's configuration.
type ServiceConfig struct {
	Name string
	// Initial is the active slot of a service that the state does not know yet;
	// empty means blue.
	Initial Slot
	// DrainTimeout is how long a drain is watched before its counts are recorded
	// as they are; zero means until it ends.
	DrainTimeout time.Duration
}

// Switcher runs one operation at a time and remembers what became of it. Its
// methods may be called by several goroutines at once.
type Switcher struct {
	opts     Options
	draining sync.WaitGroup
	closing  context.Context // ends the drains
	close    context.CancelFunc

	// These two belong to whoever runs the operation.
	ids        ids
	generation uint64 // the highest that was ever given to the store

	note   string // what was found at start
	ledger ledger

	mu       sync.Mutex
	services map[string]ServiceConfig
	state    State // what is committed and what traffic does
	op       *operation
	reserved *Reservation
	last     *Record
	warnings map[warning]string
	closed   bool
}

// New finds out which slots are active (see the package's table of crashes)
// and saves what it found if that is not what is on disk. It does not touch
// Traffic, which may not know the services yet: configure it with
// [Switcher.Routing].
func New(o Options) (*Switcher, error) {
	services, err := byName(o.Services)
	if err != nil {
		return nil, err
	}
	s := &Switcher{opts: o, services: services, warnings: map[warning]string{}}
	s.ledger = ledger{history: o.History, warn: func(text string) { s.warn(warnHistory, text) }}
	s.closing, s.close = context.WithCancel(context.Background())
	if err := s.decide(); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func byName(services []ServiceConfig) (map[string]ServiceConfig, error) {
	m := make(map[string]ServiceConfig, len(services))
	for _, c := range services {
		if _, twice := m[c.Name]; twice || c.Name == "" {
			return nil, fmt.Errorf("service %q: a name is needed, and once only", c.Name)
		}
		if c.Initial == "" {
			c.Initial = Blue
		}
		if _, err := ParseSlot(string(c.Initial)); err != nil {
			return nil, fmt.Errorf("service %s: initial slot: %w", c.Name, err)
		}
		m[c.Name] = c
	}
	return m, nil
}

// Close aborts an operation that has not begun to save, waits for any other,
// has the drains recorded as they are, and refuses whatever comes later. It
// returns when nothing runs any more.
func (s *Switcher) Close() {
	s.mu.Lock()
	s.closed = true
	op := s.op
	if op != nil && !op.committed {
		op.cancel(errStopping)
	}
	s.mu.Unlock()
	if op != nil {
		<-op.ended
	}
	s.close()
	s.draining.Wait()
}

var errStopping = fmt.Errorf("%w: the daemon is stopping", ErrAborted)

// State returns what is committed, services that left the configuration
// included.
func (s *Switcher) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state.clone()
}

// Routing returns the active slot of every configured service, and which of
// them are held: what the data path has to do.
func (s *Switcher) Routing() (active map[string]Slot, held map[string]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return routing(s.state, s.services)
}

func routing(st State, services map[string]ServiceConfig) (map[string]Slot, map[string]bool) {
	active, held := make(map[string]Slot, len(services)), map[string]bool{}
	for name := range services {
		svc := st.Services[name]
		active[name] = svc.Active
		if svc.Held != nil {
			held[name] = true
		}
	}
	return active, held
}

// Note says what was found at start, and is empty where that was simply the
// last state.
func (s *Switcher) Note() string { return s.note }

// Operation returns the one that runs now, or nil.
func (s *Switcher) Operation() *Operation {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.op == nil || s.op.Kind == kindBake {
		return nil
	}
	o := s.op.Operation
	o.Moves = slices.Clone(o.Moves)
	return &o
}

// Last returns the newest operation that ended, or nil.
func (s *Switcher) Last() *Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	return cloneRecord(s.last)
}

// warning is the key of something that an operator should mend. A later
// success takes it back.
type warning int

const (
	warnStart   warning = iota // what was found at start
	warnAssume                 // an assumption that is not needed any more
	warnState                  // disk and traffic may differ
	warnHistory                // the history has a gap
)

// Warnings returns what an operator should mend, in plain sentences.
func (s *Switcher) Warnings() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	texts := make([]string, 0, len(s.warnings))
	for _, w := range slices.Sorted(maps.Keys(s.warnings)) {
		texts = append(texts, s.warnings[w])
	}
	return texts
}

// warn sets a warning and tells those who watch; an empty text takes it back.
func (s *Switcher) warn(w warning, text string) {
	s.mu.Lock()
	before := s.warnings[w]
	if text == "" {
		delete(s.warnings, w)
	} else {
		s.warnings[w] = text
	}
	s.mu.Unlock()
	if text != "" && text != before {
		s.publish(Event{Kind: "state", Level: LevelWarn, Text: text})
	}
}

func (s *Switcher) publish(e Event) {
	if s.opts.Events != nil {
		s.opts.Events.Publish(e)
	}
}

// outcomeOf tells how an operation ended from what it ended with.
func outcomeOf(err error) Outcome {
	switch {
	case err == nil:
		return Done
	case errors.Is(err, ErrAborted):
		return Aborted
	case errors.Is(err, ErrUnhealthy), errors.Is(err, ErrNothingToRollBack):
		return Refused
	}
	return Failed
}
