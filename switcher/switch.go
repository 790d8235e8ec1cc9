package switcher

import (
	"context"
	"fmt"
	"time"
)

// Switch makes the wanted slot of the chosen services active, all in one
// atomic instant, once each of them has proven healthy. Services that are there
// already are left alone; if all are, the outcome is [Unchanged] and the error
// nil.
//
// It returns as soon as the result is on disk. The drain goes on without the
// lock, so that a rollback can come at once; wait for it with
// [Draining.Wait]. ctx counts until the intent is saved, and not after it.
//
// Errors wrap [ErrBusy], [ErrNoReservation], [ErrUnknownService], [ErrUnknownSlot], [ErrUnhealthy],
// [ErrAborted] or [ErrNotSaved]; after any error traffic is where it was.
func (s *Switcher) Switch(ctx context.Context, r Request) (Record, *Draining, error) {
	return s.run(ctx, s.switchKind(r), r, planSwitch)
}

// switchKind makes a switch within a reservation for a rollback a rollback: the
// slot that it goes to was made ready for that, whichever of the two it is.
func (s *Switcher) switchKind(r Request) Kind {
	if res := s.Reservation(); res != nil && res.ID == r.Within && res.Kind == KindRollback {
		return KindRollback
	}
	return KindSwitch
}

// Rollback returns the chosen services to their previous slots, as
// [Switcher.Switch] would, health check included (S3). Without a choice it returns those that
// moved in the newest switch, and only those. A service that was rolled back
// already is not sent back to what it was rolled back from, unless forced.
// Errors may wrap [ErrNothingToRollBack] too.
func (s *Switcher) Rollback(ctx context.Context, r Request) (Record, *Draining, error) {
	r.To = ""
	return s.run(ctx, KindRollback, r, rollbackOf(r.Services))
}

// run puts the transaction between lock and unlock.
func (s *Switcher) run(ctx context.Context, kind Kind, r Request, plan planner) (Record, *Draining, error) {
	op, ctx, err := s.begin(ctx, kind, r)
	if err != nil {
		return Record{}, drained(), err
	}
	op.record.Forced = r.Force
	old := s.State()
	drain, err := s.transact(ctx, old, op, r, plan)
	err = op.finish(err)
	s.enter(op)
	if bake := op.record.Bake; bake != nil {
		s.tell(Record{ID: op.ID, Kind: kindBake, Moves: op.record.Moves}, LevelInfo, bake.Text)
	}
	s.tellBakes(old, op.record.named())
	draining := s.drain(op.record, drain)
	s.leave(op)
	return op.record.clone(), draining, err
}

// transact is the transaction. What is on disk decides what it means to die
// here:
//
//	before "save intent"  nothing was recorded: the old slot
//	before "save result"  the intent is found: the old slot
//	later                 the new slot
//
// and what it means to fail here is that traffic is where it was:
//
//	the intent cannot be saved    nothing has moved; it is withdrawn, in case it
//	                              reached the disk nevertheless
//	the swap fails                nothing has moved; the intent is withdrawn
//	the result cannot be saved    the file is read again and decides: see settle
func (s *Switcher) transact(ctx context.Context, old State, op *operation, r Request, plan planner) (Drain, error) {
	moves, err := plan(old, op)
	if err != nil {
		return nil, err
	}
	if len(moves) == 0 {
		op.record.Outcome = Unchanged
		return nil, nil
	}
	s.plan(op, s.withReleases(moves))
	if err := s.awaitHealth(ctx, op, r.Wait); err != nil {
		return nil, err
	}
	if err := s.commit(ctx, op); err != nil {
		return nil, err
	}
	if err := s.saveIntent(old, op); err != nil {
		return nil, s.withdraw(old, op, fmt.Errorf("%w: saving the intent: %w", ErrNotSaved, err))
	}
	op.beginBakes(r.Bake)
	drain, err := s.swap(op)
	if err != nil {
		return nil, s.withdraw(old, op, fmt.Errorf("swapping: %w", err))
	}
	op.record.Bake, op.record.Warning = op.baking(), old.misgivings(op)
	if err := s.settle(op, s.result(old, op)); err != nil {
		return s.swapBack(old, op, drain, err)
	}
	return drain, nil
}

// swap is the atomic instant.
func (s *Switcher) swap(op *operation) (Drain, error) {
	s.step(op, StepSwapping)
	defer s.step(op, StepSaving)
	to := make(map[string]Slot, len(op.record.Moves))
	for _, m := range op.record.Moves {
		to[m.Service] = m.To
	}
	start := time.Now()
	drain, err := s.opts.Traffic.Swap(to)
	op.record.Swap = time.Since(start)
	return drain, err
}

// swapBack returns traffic to where it was, because the result is not on disk.
// If traffic refuses, what is told and remembered must be what traffic does:
// then the switch is done, and either saved after all or warned about.
func (s *Switcher) swapBack(old State, op *operation, drain Drain, cause error) (Drain, error) {
	back := make(map[string]Slot, len(op.record.Moves))
	for _, m := range op.record.Moves {
		back[m.Service] = m.From
	}
	_, err := s.opts.Traffic.Swap(back)
	if err == nil {
		return nil, s.withdraw(old, op, cause)
	}
	next := s.result(old, op)
	if again := s.commitState(op, next); again != nil {
		s.adopt(op, next, fmt.Errorf("%w; swapping back: %w", cause, err))
	}
	return drain, nil
}
