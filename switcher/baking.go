package switcher

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// kindBake is the kind of the operation that saves a verdict: how a bake ended,
// or that a release is good after all. It moves
// nothing, takes no longer than the disk does, and is not in the history.
const kindBake Kind = "bake"

// EndBake saves how the bake of services ended that the switch id began. A
// service whose bake another operation has ended meanwhile is left alone. It
// waits for whichever operation runs.
func (s *Switcher) EndBake(ctx context.Context, id string, results map[string]BakeResult) error {
	op, err := s.beginPatiently(ctx, kindBake, Request{Actor: s.opts.Actor, always: true})
	if err != nil {
		return fmt.Errorf("ending the bake of %s: %w", id, err)
	}
	old := s.State()
	next, changed := s.ended(old, id, results)
	if changed {
		err = s.opts.Store.Save(next)
		s.take(next)
	}
	if err != nil {
		s.warn(warnState, fmt.Sprintf("how the bake of %s ended could not be saved (%v): a restart may begin it again; mend the disk, then run any operation that changes something", id, err))
	}
	s.tellBakes(old, "")
	s.leave(op)
	return nil
}

// NoteBakes saves what bakes have seen so far, by service, so that a restart
// does not forget it. A bake that has ended, or that the switch id did not
// begin, is left alone. It waits for nothing: while an operation runs, the error
// wraps [ErrBusy].
func (s *Switcher) NoteBakes(ctx context.Context, id string, seen map[string]BakeSeen) error {
	op, _, err := s.begin(ctx, kindBake, Request{Actor: s.opts.Actor, always: true})
	if err != nil {
		return fmt.Errorf("noting the bake of %s: %w", id, err)
	}
	defer s.leave(op)
	return s.noteBakes(id, seen)
}

// noteBakes does it under the lock.
func (s *Switcher) noteBakes(id string, seen map[string]BakeSeen) error {
	next := s.next(s.State())
	noted := false
	for name, saw := range seen {
		if bake := next.Services[name].Bake; bake != nil && bake.ID == id && !bake.final() {
			bake.Seen, noted = saw, true
		}
	}
	if !noted {
		return nil
	}
	if err := s.opts.Store.Save(next); err != nil {
		return fmt.Errorf("noting the bake of %s: %w", id, err)
	}
	s.take(next)
	return nil
}

// ended is the state with the results of a bake.
func (s *Switcher) ended(old State, id string, results map[string]BakeResult) (next State, changed bool) {
	next = old
	for name, r := range results {
		svc := old.Services[name]
		if svc.Bake == nil || svc.Bake.ID != id || svc.Bake.final() {
			continue
		}
		if !changed {
			next, changed = s.next(old), true
		}
		svc = next.Services[name]
		svc.Bake.BakeResult = r
	}
	return next, changed
}

// Return is the rollback that a bake causes: the services that the switch id
// moved and that are still where it moved them go back in one instant, if their
// slots prove healthy (S3). results are how their bakes ended. It waits for
// whichever operation runs, and a reservation does not keep it out.
func (s *Switcher) Return(ctx context.Context, id string, r Request, results map[string]BakeResult) (Record, *Draining, error) {
	r.always = true
	for {
		rec, draining, err := s.run(ctx, KindRollback, r, returnOf(id, results))
		if !errors.Is(err, ErrBusy) {
			return rec, draining, err
		}
		if err := s.AwaitIdle(ctx); err != nil {
			return rec, draining, err
		}
	}
}

func returnOf(id string, results map[string]BakeResult) planner {
	return func(st State, op *operation) ([]Move, error) {
		var moves []Move
		for _, name := range op.services {
			svc := st.Services[name]
			if svc.Bake == nil || svc.Bake.ID != id || svc.Bake.Returned != "" {
				continue
			}
			bake := *svc.Bake
			if r, ok := results[name]; ok {
				bake.BakeResult = r
			}
			bake.Returned = op.ID
			op.bakes[name] = &bake
			moves = append(moves, Move{Service: name, From: svc.Active, To: svc.Previous})
		}
		if len(moves) == 0 {
			return nil, fmt.Errorf("%w: the bake of %s was ended by another operation", ErrNothingToRollBack, id)
		}
		return moves, nil
	}
}

// beginPatiently is begin for what must happen whoever else is at work.
func (s *Switcher) beginPatiently(ctx context.Context, kind Kind, r Request) (*operation, error) {
	for {
		op, _, err := s.begin(ctx, kind, r)
		if !errors.Is(err, ErrBusy) {
			return op, err
		}
		if err := s.AwaitIdle(ctx); err != nil {
			return nil, err
		}
	}
}

// beginBakes asks, right before a swap, which of the moves are to bake.
func (op *operation) beginBakes(plan func(Move) *Bake) {
	if plan == nil {
		return
	}
	now := wall(time.Now())
	for _, m := range op.record.Moves {
		if bake := plan(m); bake != nil {
			bake.ID, bake.Verdict, bake.Since, bake.Until = op.ID, Baking, now, now.Add(bake.Plan.Time)
			op.bakes[m.Service] = bake
		}
	}
}

// baking is what a record says of the bakes that its operation began.
func (op *operation) baking() *BakeResult {
	begun := map[string]BakeResult{}
	for name, b := range op.bakes {
		if b.ID == op.ID {
			begun[name] = b.BakeResult
		}
	}
	return combined(begun)
}

// tellBakes has the history and those who watch know of the bakes that ended
// since the state was old. by is the operation that ended those without a
// verdict.
func (s *Switcher) tellBakes(old State, by string) {
	now := s.State()
	ended := map[string]map[string]BakeResult{}
	for name, svc := range old.Services {
		was, is := svc.Bake, now.Services[name].Bake
		if was == nil || was.final() || is != nil && is.ID == was.ID && !is.final() {
			continue
		}
		if ended[was.ID] == nil {
			ended[was.ID] = now.bakes(was.ID)
		}
		if is == nil || is.ID != was.ID {
			r := was.BakeResult
			r.Verdict, r.Text = BakeEnded, "ended by the "+by
			ended[was.ID][name] = r
		}
	}
	for id, results := range ended {
		if r := combined(results); r.final() {
			s.recordBake(id, r)
		}
	}
}

// bakes returns what is known of the bakes that a switch began, by service.
func (s State) bakes(id string) map[string]BakeResult {
	results := map[string]BakeResult{}
	for name, svc := range s.Services {
		if svc.Bake != nil && svc.Bake.ID == id {
			results[name] = svc.Bake.BakeResult
		}
	}
	return results
}

// recordBake adds how a bake ended to the record of the switch that began it.
func (s *Switcher) recordBake(id string, r *BakeResult) {
	e := Event{Kind: string(kindBake), Op: id, Level: LevelInfo, Text: "bake: " + string(r.Verdict) + ": " + r.Text}
	switch r.Verdict {
	case BakeFailed:
		e.Level = LevelError
	case Inconclusive:
		e.Level = LevelWarn
	}
	s.publish(e)
	if rec := s.recordOf(id); rec != nil {
		rec.Bake = r
		s.ledger.amend(*rec)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last != nil && s.last.ID == id {
		s.last.Bake = r
	}
}

// recordOf finds an operation's record; nil if it is too long ago or cannot be
// read, which is warned about as soon as anything is written.
func (s *Switcher) recordOf(id string) *Record {
	if last := s.Last(); last != nil && last.ID == id {
		return last
	}
	tail, _ := s.opts.History.Tail(mendDepth)
	for _, r := range tail {
		if r.ID == id {
			return &r
		}
	}
	return nil
}
