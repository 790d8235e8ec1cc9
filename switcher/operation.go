package switcher

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// operation is the one that holds the lock. Its record belongs to the
// goroutine that runs it; the embedded Operation is what others see, under the
// switcher's mutex.
type operation struct {
	Operation
	committed bool // past the last point where it can be aborted
	cancel    context.CancelCauseFunc
	ended     chan struct{}

	services []string // chosen, sorted
	to       Slot
	force    bool
	within   string           // the reservation it is a part of
	bakes    map[string]*Bake // what the state is to remember of the services that moved
	record   Record
	begun    time.Time // with the monotonic clock
}

// begin takes the lock or is refused at once (S4). A request that names what
// does not exist is refused before it becomes an operation. The context that is
// returned ends when the operation is aborted too.
func (s *Switcher) begin(ctx context.Context, kind Kind, r Request) (*operation, context.Context, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.awaitBriefLocked(ctx); err != nil {
		return nil, nil, err
	}
	if err := s.refusalLocked(kind, r); err != nil {
		return nil, nil, err
	}
	services, err := s.chosenLocked(r)
	if err != nil {
		return nil, nil, err
	}
	now := time.Now()
	op := &operation{
		services: services, to: r.To, force: r.Force, within: r.Within, bakes: map[string]*Bake{},
		begun: now, ended: make(chan struct{}),
	}
	op.record = Record{
		ID: s.ids.next(now), Kind: kind, Actor: r.Actor, Reason: r.Reason, Started: wall(now),
	}
	op.Operation = Operation{
		ID: op.record.ID, Kind: kind, Step: StepPlanning, Actor: r.Actor, Started: op.record.Started,
	}
	ctx, op.cancel = context.WithCancelCause(ctx)
	s.op = op
	return op, ctx, nil
}

// refusalLocked says why an operation may not begin now.
func (s *Switcher) refusalLocked(kind Kind, r Request) error {
	if s.closed {
		return errStopping
	}
	if r.Within != "" {
		if _, err := s.reservationLocked(r.Within); err != nil {
			return err
		}
	} else if s.reserved != nil && !r.always && kind != KindReconfigure {
		return s.reserved.busy()
	}
	if s.op != nil {
		return s.op.busy()
	}
	return nil
}

// awaitBriefLocked lets an operation end that nobody asked for and that takes no
// longer than the disk does: it is no reason to refuse anybody.
func (s *Switcher) awaitBriefLocked(ctx context.Context) error {
	for s.op != nil && s.op.Kind == kindBake {
		ended := s.op.ended
		s.mu.Unlock()
		select {
		case <-ended:
		case <-ctx.Done():
		}
		s.mu.Lock()
		if ctx.Err() != nil {
			return aborted(ctx)
		}
	}
	return nil
}

// wall is what a time looks like once it was saved and read again.
func wall(t time.Time) time.Time { return t.UTC().Round(0) }

// chosenLocked resolves a request's services.
func (s *Switcher) chosenLocked(r Request) ([]string, error) {
	if r.To != "" {
		if _, err := ParseSlot(string(r.To)); err != nil {
			return nil, err
		}
	}
	known := slices.Sorted(maps.Keys(s.services))
	if len(r.Services) == 0 {
		return known, nil
	}
	chosen := slices.Clone(r.Services)
	slices.Sort(chosen)
	chosen = slices.Compact(chosen)
	for _, name := range chosen {
		if _, ok := s.services[name]; !ok {
			return nil, fmt.Errorf("%w %q: there is %s", ErrUnknownService, name, strings.Join(known, ", "))
		}
	}
	return chosen, nil
}

// busy says who holds the lock, in which step and since when.
func (o *operation) busy() error {
	what := string(o.Kind)
	if len(o.Moves) > 0 {
		what += " of " + describe(o.Moves)
	}
	return fmt.Errorf("%w: %s %s by %s is %s, since %s (%s ago)", ErrBusy, what, o.ID, o.Actor,
		o.Step, o.Started.Format(time.RFC3339), time.Since(o.begun).Round(time.Millisecond))
}

// step says where the operation is.
func (s *Switcher) step(op *operation, step string) {
	s.mu.Lock()
	op.Step = step
	s.mu.Unlock()
}

// plan says what the operation is going to do.
func (s *Switcher) plan(op *operation, moves []Move) {
	op.record.Moves = moves
	s.mu.Lock()
	op.Moves = moves
	s.mu.Unlock()
	s.tell(op.record, LevelInfo, fmt.Sprintf("%s begun by %s", op.record.summary(), op.Actor))
}

// commit is the last point where an operation can be aborted: from here on it
// goes to its end whoever leaves.
func (s *Switcher) commit(ctx context.Context, op *operation) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Err() != nil {
		return aborted(ctx)
	}
	op.committed, op.Step = true, StepSaving
	return nil
}

// aborted says why ctx ended.
func aborted(ctx context.Context) error {
	cause := context.Cause(ctx)
	if outcomeOf(cause) == Aborted {
		return cause
	}
	return fmt.Errorf("%w: %w", ErrAborted, cause)
}

// Abort stops the running operation and returns which one that was, if it has
// not begun to save; otherwise the error wraps [ErrNothingToAbort] and says
// where it is. While there is a reservation, it is that which is asked to end. An
// id narrows it to that operation or reservation, so that one who stops what
// they began never stops another's. It does not wait until anything has ended.
func (s *Switcher) Abort(id string, by Actor) (Operation, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if res := s.reserved; res != nil && !res.ending && (id == "" || id == res.ID) {
		res.ask(by)
		return res.op, nil
	}
	switch op := s.op; {
	case op == nil || op.Kind == kindBake:
		return Operation{}, fmt.Errorf("%w: no operation is running", ErrNothingToAbort)
	case id != "" && id != op.ID:
		return Operation{}, fmt.Errorf("%w: %s is not running, but %s %s is", ErrNothingToAbort, id, op.Kind, op.ID)
	case op.committed:
		return Operation{}, fmt.Errorf("%w: %s %s is %s already and is about to end", ErrNothingToAbort, op.Kind, op.ID, op.Step)
	default:
		op.cancel(fmt.Errorf("%w by %s", ErrAborted, by))
		return op.Operation, nil
	}
}

// AwaitIdle waits until no operation runs, or ctx ends. Another one may have
// begun by the time it returns.
func (s *Switcher) AwaitIdle(ctx context.Context) error {
	s.mu.Lock()
	op := s.op
	s.mu.Unlock()
	if op == nil {
		return nil
	}
	select {
	case <-op.ended:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// finish fills in how the operation ended, and returns err with what was being
// done.
func (o *operation) finish(err error) error {
	o.record.Took = time.Since(o.begun)
	if err != nil {
		err = fmt.Errorf("%s: %w", o.doing(), err)
		o.record.Error = err.Error()
		o.record.Outcome = outcomeOf(err)
	} else if o.record.Outcome == "" {
		o.record.Outcome = Done
	}
	return err
}

var gerunds = map[Kind]string{
	KindSwitch: "switching", KindRollback: "rolling back", KindHold: "holding",
	KindFailover: "failing over", KindReleaseHold: "releasing the hold of", KindReconfigure: "reconfiguring", KindUpgrade: "upgrading",
}

// doing is "switching backend to green".
func (o *operation) doing() string {
	what := strings.Join(o.services, " and ")
	if len(o.record.Moves) > 0 {
		what = describe(o.record.Moves)
	}
	return strings.TrimSpace(gerunds[o.Kind] + " " + what)
}

// enter appends the operation to the history. It does so while the lock is
// still held: the state remembers only the last operation, so that after a
// crash no more than one line can be missing.
func (s *Switcher) enter(op *operation) {
	s.step(op, StepRecording)
	s.ledger.append(op.record)
	s.mu.Lock()
	s.last = cloneRecord(&op.record)
	s.mu.Unlock()
	s.tellEnd(op.record)
}

// leave gives up the lock.
func (s *Switcher) leave(op *operation) {
	s.mu.Lock()
	s.op = nil
	s.mu.Unlock()
	op.cancel(nil)
	close(op.ended)
}

// tellEnd publishes how an operation ended. It comes while the lock is held, so
// that nobody reads of the drain, or of the next operation, before it.
func (s *Switcher) tellEnd(r Record) {
	level, text := LevelInfo, fmt.Sprintf("%s %s in %s", r.summary(), r.Outcome, r.Took.Round(time.Microsecond))
	switch r.Outcome {
	case Failed, Interrupted:
		level, text = LevelError, r.Error
	case Refused, Aborted:
		level, text = LevelWarn, r.Error
	}
	s.tell(r, level, text)
}

// tell publishes an event about an operation.
func (s *Switcher) tell(r Record, level, text string) {
	e := Event{Kind: string(r.Kind), Op: r.ID, Level: level, Text: text}
	if len(r.Moves) == 1 {
		e.Service, e.Slot = r.Moves[0].Service, r.Moves[0].To
	}
	s.publish(e)
}
