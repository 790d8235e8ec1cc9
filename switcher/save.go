package switcher

import (
	"fmt"
	"time"
)

// next is a copy of old to be changed and saved, under a generation that no
// other state has.
func (s *Switcher) next(old State) State {
	s.generation++
	next := old.clone()
	next.Generation, next.Intent, next.Note = s.generation, nil, ""
	return next
}

// saveIntent writes what is about to happen beside the state as it is.
func (s *Switcher) saveIntent(old State, op *operation) error {
	next := s.next(old)
	next.Intent = cloneRecord(&op.record)
	return s.opts.Store.Save(next)
}

// result is the state after op's moves.
func (s *Switcher) result(old State, op *operation) State {
	next := s.next(old)
	next.move(op.record.Moves, op.record, next.Generation, wall(time.Now()))
	for name, bake := range op.bakes {
		svc := next.Services[name]
		svc.Bake = bake
		next.Services[name] = svc.clone()
	}
	return next
}

// settle saves the state that an operation leaves. If saving fails, the file
// is read again and decides. It says the new state: the operation counts, and
// since it may not be durable it is saved once more, or warned about. It says
// anything else, or nothing: the operation does not count, and the error wraps
// [ErrNotSaved].
func (s *Switcher) settle(op *operation, next State) error {
	err := s.commitState(op, next)
	if err == nil {
		return nil
	}
	there, loadErr := s.opts.Store.Load()
	if loadErr != nil {
		return fmt.Errorf("%w: %w; reading it again: %w", ErrNotSaved, err, loadErr)
	}
	if there.Generation != next.Generation || there.Intent != nil {
		return fmt.Errorf("%w: %w", ErrNotSaved, err)
	}
	if again := s.commitState(op, s.next(next)); again != nil {
		s.adopt(op, next, err)
	}
	return nil
}

// commitState saves the state with op as its last operation, and takes it on.
func (s *Switcher) commitState(op *operation, next State) error {
	last := op.record.clone()
	last.Generation = next.Generation
	if last.Outcome == "" {
		last.Outcome, last.Took = Done, time.Since(op.begun)
	}
	next.Last = &last
	if err := s.opts.Store.Save(next); err != nil {
		return err
	}
	s.take(next)
	op.record.Generation = next.Generation
	s.warn(warnState, "")
	if last.Outcome == Done && len(last.Moves) > 0 {
		s.warn(warnStart, "")
	}
	return nil
}

// take makes st the state that everybody sees.
func (s *Switcher) take(st State) {
	s.mu.Lock()
	s.state = st
	s.mu.Unlock()
}

// adopt takes on a state that traffic follows and that may not survive a
// restart, and says so until a later operation is saved.
func (s *Switcher) adopt(op *operation, next State, cause error) {
	s.take(next)
	op.record.Generation = next.Generation
	doubt := fmt.Sprintf("%s is done, but saving it went wrong (%v): a restart may not know of it; mend the disk, then run any operation that changes something", op.record.summary(), cause)
	op.record.Warning = sentence(op.record.Warning, doubt)
	s.warn(warnState, doubt)
}

// withdraw saves the state as it was, with the operation as failed, and returns
// cause. If that fails too, the disk may still say the intent or, where it could
// not be read, the result.
func (s *Switcher) withdraw(old State, op *operation, cause error) error {
	op.record.Outcome, op.record.Error = Failed, op.doing()+": "+cause.Error()
	op.record.Bake, op.record.Warning = nil, ""
	if err := s.commitState(op, s.next(old)); err != nil && !s.isOnDisk(old) {
		s.warn(warnState, fmt.Sprintf("%s failed and was undone, but that could not be saved (%v): the state on disk may be another; mend the disk, then run any operation that changes something, before a restart", op.record.summary(), err))
	}
	return cause
}

// isOnDisk reports that the store still says old: nothing of what failed to be
// saved since has reached it.
func (s *Switcher) isOnDisk(old State) bool {
	there, err := s.opts.Store.Load()
	return err == nil && there.Generation == old.Generation && there.Intent == nil
}
