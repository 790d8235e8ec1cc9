package switcher

import (
	"context"
	"time"
)

// Hold makes the requests of the chosen services wait. It is remembered, so
// that a restart does not let them go. If all are held already, the outcome is
// [Unchanged].
func (s *Switcher) Hold(ctx context.Context, r Request) (Record, error) {
	return s.setHold(ctx, KindHold, r)
}

// ReleaseHold ends what [Switcher.Hold] began.
func (s *Switcher) ReleaseHold(ctx context.Context, r Request) (Record, error) {
	return s.setHold(ctx, KindReleaseHold, r)
}

func (s *Switcher) setHold(ctx context.Context, kind Kind, r Request) (Record, error) {
	op, ctx, err := s.begin(ctx, kind, r)
	if err != nil {
		return Record{}, err
	}
	err = op.finish(s.hold(ctx, op))
	s.enter(op)
	s.leave(op)
	return op.record.clone(), err
}

// hold saves before traffic is told: what a crash in between leaves is what was
// asked for.
func (s *Switcher) hold(ctx context.Context, op *operation) error {
	old, wanted := s.State(), op.Kind == KindHold
	op.record.Services = planHold(old, op.services, wanted)
	if len(op.record.Services) == 0 {
		op.record.Outcome = Unchanged
		return nil
	}
	if err := s.commit(ctx, op); err != nil {
		return err
	}
	if err := s.settle(op, s.heldState(old, op, wanted)); err != nil {
		return s.withdraw(old, op, err)
	}
	s.step(op, StepApplying)
	if wanted {
		s.opts.Traffic.Hold(op.record.Services...)
	} else {
		s.opts.Traffic.Release(op.record.Services...)
	}
	return nil
}

func (s *Switcher) heldState(old State, op *operation, wanted bool) State {
	next := s.next(old)
	for _, name := range op.record.Services {
		svc := next.Services[name]
		svc.Held = nil
		if wanted {
			svc.Held = &Held{Since: wall(time.Now()), Reason: op.record.Reason, Actor: op.Actor}
		}
		next.Services[name] = svc
	}
	return next
}
