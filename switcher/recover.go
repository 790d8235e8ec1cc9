package switcher

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// mendDepth is how far back the history is searched for the operation that the
// state ended with. Refused and unchanged ones come after it; where there are
// that many, it is taken to be there.
const mendDepth = 256

// decide finds out at start what is active: what the store says, and where it
// says nothing the configuration or, after a loss, the operator.
func (s *Switcher) decide() error {
	st, err := s.opts.Store.Load()
	tail := s.tail()
	s.generation = max(st.Generation, newestGeneration(tail))
	lost := errors.Is(err, ErrStateUnknown)
	switch {
	case lost && len(s.opts.AssumeActive) == 0:
		return fmt.Errorf("reading the state: %w: look at both slots of every service, run `charactier-proxy --assume-active %s` (each blue or green) as root, then start the daemon", err, s.everyService())
	case err != nil && !lost:
		return fmt.Errorf("reading the state: %w", err)
	case lost, st.Generation == 0 && len(s.opts.AssumeActive) > 0:
		return s.assume(err)
	case st.Generation == 0:
		return s.firstStart()
	}
	return s.resume(st, tail)
}

// tail reads the end of the history; that it cannot be read is only a warning.
func (s *Switcher) tail() []Record {
	tail, err := s.opts.History.Tail(mendDepth)
	if err != nil {
		s.warn(warnHistory, fmt.Sprintf("the history cannot be read: %v", err))
		return nil
	}
	if len(tail) > 0 {
		s.last = cloneRecord(&tail[0])
	}
	return tail
}

func newestGeneration(tail []Record) uint64 {
	var newest uint64
	for _, r := range tail {
		newest = max(newest, r.Generation)
	}
	return newest
}

// firstStart saves the initial slots. It must succeed: a state directory that
// cannot be written is better found now than at the first switch.
func (s *Switcher) firstStart() error {
	st := s.next(State{})
	planServices(st, s.configs(), wall(time.Now()))
	if err := s.opts.Store.Save(st); err != nil {
		return fmt.Errorf("saving the first state: %w", err)
	}
	s.take(st)
	s.note = "first start: " + placesOf(st, s.services)
	s.publish(Event{Kind: "state", Level: LevelInfo, Text: s.note})
	return nil
}

// assume saves what the operator says is active, and has the history say that
// it was an assumption.
func (s *Switcher) assume(lost error) error {
	st := s.next(State{})
	now := time.Now()
	rec := Record{
		ID: s.ids.next(now), Kind: KindAssumeActive, Outcome: Done, Forced: true,
		Actor: s.opts.Actor, Started: wall(now), Generation: st.Generation,
	}
	if lost != nil {
		rec.Reason = ErrStateUnknown.Error()
	}
	for _, name := range slices.Sorted(maps.Keys(s.services)) {
		slot, ok := s.opts.AssumeActive[name]
		if !ok {
			return fmt.Errorf("assuming the active slots: %s is missing: name every service, as in --assume-active %s (each blue or green)", name, s.everyService())
		}
		rec.Moves = append(rec.Moves, Move{Service: name, To: slot})
		st.Services[name] = ServiceState{Active: slot, Since: rec.Started, Generation: st.Generation}
	}
	if err := s.checkAssumed(); err != nil {
		return err
	}
	rec.Took = time.Since(now)
	st.Last = cloneRecord(&rec)
	if err := s.opts.Store.Save(st); err != nil {
		return fmt.Errorf("saving the assumed state: %w", err)
	}
	rec.Took = time.Since(now)
	s.take(st)
	s.note = "assumed by the operator: " + placesOf(st, s.services)
	s.ledger.append(rec)
	s.last = cloneRecord(&rec)
	s.warn(warnStart, s.note)
	return nil
}

// everyService is "backend=blue,frontend=blue": an assumption to be edited.
func (s *Switcher) everyService() string {
	return strings.Join(slices.Sorted(maps.Keys(s.services)), "=blue,") + "=blue"
}

func (s *Switcher) checkAssumed() error {
	for name, slot := range s.opts.AssumeActive {
		if _, ok := s.services[name]; !ok {
			return fmt.Errorf("assuming the active slots: %w %q", ErrUnknownService, name)
		}
		if _, err := ParseSlot(string(slot)); err != nil {
			return fmt.Errorf("assuming the active slots: %s: %w", name, err)
		}
	}
	return nil
}

// resume goes on from a state. What it mends it would find and mend again at
// the next start, so that a disk that cannot be written does not keep the
// proxy from starting.
func (s *Switcher) resume(old State, tail []Record) error {
	st := s.next(old)
	notes := []string{old.Note}
	if old.Intent != nil {
		notes = append(notes, s.interrupted(&st, *old.Intent, tail))
	}
	added := planServices(st, s.configs(), wall(time.Now()))
	if len(added) > 0 {
		notes = append(notes, "new: "+strings.Join(added, ", "))
	}
	s.note = sentence(notes...)
	if s.note == "" {
		st.Generation = old.Generation
	} else if err := s.opts.Store.Save(st); err != nil {
		s.warn(warnState, fmt.Sprintf("what was found at start (%s) could not be saved: %v", s.note, err))
	}
	s.take(st)
	s.mend(st.Last, tail)
	s.announceStart(old)
	return nil
}

// interrupted makes the intent a record of what did not happen, unless the
// history knows better how it ended.
func (s *Switcher) interrupted(st *State, intent Record, tail []Record) string {
	note := fmt.Sprintf("the daemon ended during %s %s: traffic is where it was, %s", intent.summary(), intent.ID, placesOf(*st, s.services))
	if contains(tail, intent) {
		return note
	}
	intent.Outcome, intent.Generation = Interrupted, st.Generation
	intent.Error = "the daemon ended before the result was saved"
	st.Last = &intent
	return note
}

// mend appends the last operation if the history misses it.
func (s *Switcher) mend(last *Record, tail []Record) {
	if last == nil || s.warnings[warnHistory] != "" || len(tail) == mendDepth || contains(tail, *last) {
		return
	}
	s.ledger.append(*last)
	s.last = cloneRecord(last)
}

func (s *Switcher) announceStart(old State) {
	if old.Note != "" || old.Intent != nil {
		s.warn(warnStart, s.note)
	} else if s.note != "" {
		s.publish(Event{Kind: "state", Level: LevelInfo, Text: s.note})
	}
	if len(s.opts.AssumeActive) > 0 {
		s.warn(warnAssume, "--assume-active was not used, because the state is sound")
	}
}

// placesOf is "backend is on blue, frontend is on green".
func placesOf(st State, services map[string]ServiceConfig) string {
	var places []string
	for _, name := range slices.Sorted(maps.Keys(services)) {
		if svc, ok := st.Services[name]; ok {
			places = append(places, fmt.Sprintf("%s is on %s", name, svc.Active))
		}
	}
	return strings.Join(places, ", ")
}

func (s *Switcher) configs() []ServiceConfig { return slices.Collect(maps.Values(s.services)) }
