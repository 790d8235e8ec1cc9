package switcher

import (
	"context"
	"fmt"
	"time"
)

// Upgrade is the operation in which another process takes over what this one
// does: the state directory and all that is asked for. It keeps every other
// operation out, here until it has ended, and in the other process until that is
// in charge.
//
// It ends with [Upgrade.Fail] or [Upgrade.Leave].
type Upgrade struct {
	s  *Switcher
	op *operation
}

// BeginUpgrade begins one, or is refused as busy: also while there is a
// reservation, whose command is connected to this process. The context that is
// returned ends when the operation is aborted too.
func (s *Switcher) BeginUpgrade(ctx context.Context, r Request) (*Upgrade, context.Context, error) {
	op, ctx, err := s.begin(ctx, KindUpgrade, r)
	if err != nil {
		return nil, nil, err
	}
	op.services = nil
	s.tell(op.record, LevelInfo, fmt.Sprintf("%s begun by %s", op.record.summary(), op.Actor))
	return &Upgrade{s, op}, ctx, nil
}

// Step says where the upgrade is.
func (u *Upgrade) Step(step string) {
	u.s.step(u.op, step)
	u.s.tell(u.op.record, LevelInfo, "upgrade: "+step)
}

// Versions notes what is replaced by what.
func (u *Upgrade) Versions(from, to string) {
	u.op.record.FromVersion, u.op.record.ToVersion = from, to
}

// NoteBakes is [Switcher.NoteBakes], which the upgrade keeps out, for what bakes
// have seen up to now.
func (u *Upgrade) NoteBakes(_ context.Context, id string, seen map[string]BakeSeen) error {
	return u.s.noteBakes(id, seen)
}

// Freeze is the last point where the upgrade can be aborted. Drains are recorded
// as they are, as at the end of the process; from here on nothing of this process
// is written to the store or the history, until [Upgrade.Fail].
func (u *Upgrade) Freeze(ctx context.Context) error {
	if err := u.s.commit(ctx, u.op); err != nil {
		return err
	}
	u.s.close()
	u.s.draining.Wait()
	return nil
}

// Record is the operation as it stands.
func (u *Upgrade) Record() Record {
	r := u.op.record.clone()
	r.Took = time.Since(u.op.begun)
	return r
}

// Fail ends the upgrade: this process stays in charge, or is again. The other one
// must have ended. What it may have saved is read again.
func (u *Upgrade) Fail(cause error) (Record, error) {
	s := u.s
	if s.closing.Err() != nil {
		s.mu.Lock()
		s.closing, s.close = context.WithCancel(context.Background())
		s.mu.Unlock()
		s.retake()
	}
	err := u.op.finish(cause)
	s.enter(u.op)
	s.leave(u.op)
	return u.op.record.clone(), err
}

// retake goes on from what is on disk, where that is newer. Nothing can have moved
// the traffic: nobody but us was asked.
func (s *Switcher) retake() {
	st, err := s.opts.Store.Load()
	switch {
	case err != nil:
		s.warn(warnState, fmt.Sprintf("after an upgrade that failed the state cannot be read again: %v", err))
	case st.Generation > s.generation && st.Intent == nil:
		s.generation = st.Generation
		s.take(st)
	}
}

// Leave ends the upgrade here: the other process is in charge. Whatever is asked
// for later is refused.
func (u *Upgrade) Leave() {
	u.s.mu.Lock()
	u.s.closed = true
	u.s.mu.Unlock()
	u.s.leave(u.op)
}

// Upgraded records an upgrade in the process that is in charge since.
func (s *Switcher) Upgraded(r Record) Record {
	r.Outcome = Done
	s.ledger.append(r)
	s.mu.Lock()
	s.last = cloneRecord(&r)
	s.mu.Unlock()
	s.tellEnd(r)
	return r
}
