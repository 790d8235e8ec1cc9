package switcher

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// Reservation keeps others out while somebody runs several operations that
// belong together, such as a deploy (S4). Operations that name it are let in
// ([Request.Within]), and so are a change of the configuration and the return
// that a bake causes.
//
// It ends with [Switcher.EndReservation] or [Reservation.Lose], whichever comes
// first.
type Reservation struct {
	ID string
	// Generation is that of the state when the reservation began.
	Generation uint64

	s      *Switcher
	begun  time.Time // with the monotonic clock
	reason string
	asked  chan string
	ended  chan struct{}

	// These two are under the switcher's mutex.
	op     Operation
	ending bool
}

// Reserve begins a reservation, or is refused as busy. moves are what is meant
// to happen, for those who are kept out.
func (s *Switcher) Reserve(ctx context.Context, kind Kind, r Request, moves []Move) (*Reservation, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.awaitBriefLocked(ctx); err != nil {
		return nil, err
	}
	if err := s.refusalLocked(kind, r); err != nil {
		return nil, err
	}
	if _, err := s.chosenLocked(r); err != nil {
		return nil, err
	}
	now := time.Now()
	res := &Reservation{
		ID: s.ids.next(now), Generation: s.state.Generation, s: s, begun: now, reason: r.Reason,
		asked: make(chan string, 1), ended: make(chan struct{}),
	}
	res.op = Operation{
		ID: res.ID, Kind: kind, Moves: slices.Clone(moves), Step: StepPlanning, Actor: r.Actor, Started: wall(now),
	}
	s.reserved = res
	s.publish(res.event(LevelInfo, fmt.Sprintf("%s begun by %s", res.summary(), r.Actor)))
	return res, nil
}

// Asked tells who asks the reservation to end.
func (r *Reservation) Asked() <-chan string { return r.asked }

// Ended is closed once the reservation has ended.
func (r *Reservation) Ended() <-chan struct{} { return r.ended }

func (r *Reservation) summary() string {
	return Record{Kind: r.op.Kind, Moves: r.op.Moves}.summary()
}

func (r *Reservation) event(level, text string) Event {
	return Event{Kind: string(r.op.Kind), Op: r.ID, Level: level, Text: text}
}

// busy names the reservation, its step, who has it and since when.
func (r *Reservation) busy() error {
	return fmt.Errorf("%w: %s %s by %s is at step %s, since %s (%s ago)", ErrBusy, r.summary(), r.ID, r.op.Actor,
		r.op.Step, r.op.Started.Format(time.RFC3339), time.Since(r.begun).Round(time.Millisecond))
}

// ask leaves word that somebody wants the reservation to end.
func (r *Reservation) ask(by Actor) {
	select {
	case r.asked <- by.String():
	default: // it was asked already and has not listened yet
	}
	r.s.publish(r.event(LevelWarn, fmt.Sprintf("%s was asked to stop by %s", r.summary(), by)))
}

// Reservation returns the one that there is, or nil.
func (s *Switcher) Reservation() *Operation {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reserved == nil {
		return nil
	}
	o := s.reserved.op
	o.Moves = slices.Clone(o.Moves)
	return &o
}

// reservationLocked finds a reservation that has not ended.
func (s *Switcher) reservationLocked(id string) (*Reservation, error) {
	if res := s.reserved; res != nil && res.ID == id && !res.ending {
		return res, nil
	}
	return nil, fmt.Errorf("%w: %s", ErrNoReservation, id)
}

// StepReservation says where a reservation's work is, and tells those who
// watch the text, if there is one.
func (s *Switcher) StepReservation(id, step, level, text string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	res, err := s.reservationLocked(id)
	if err != nil {
		return err
	}
	if step != "" {
		res.op.Step = step
	}
	if text != "" {
		s.publish(res.event(level, text))
	}
	return nil
}

// EndReservation ends a reservation with the record of what was done under it:
// its outcome, moves, services, error, warning, reason and bake count, the rest
// is filled in. exonerate are bad releases of the moved services that are not bad
// any more: they were deployed nevertheless, and kept. It is refused as busy
// while an operation of the reservation runs.
func (s *Switcher) EndReservation(id string, r Record, exonerate ...string) (Record, error) {
	s.mu.Lock()
	res, err := s.reservationLocked(id)
	if err == nil && s.op != nil && s.op.within == id {
		err = s.op.busy()
	}
	if err != nil {
		s.mu.Unlock()
		return Record{}, err
	}
	res.ending = true
	s.mu.Unlock()
	s.exonerate(r.Moves, exonerate)
	return res.end(r), nil
}

// exonerate forgets that releases are bad. The reservation still keeps others
// out; what happens by itself is waited for.
func (s *Switcher) exonerate(moves []Move, releases []string) {
	if len(releases) == 0 {
		return
	}
	op, err := s.beginPatiently(context.Background(), kindBake, Request{Actor: s.opts.Actor, always: true})
	if err == nil {
		next := s.next(s.State())
		for _, m := range moves {
			if svc, known := next.Services[m.Service]; known {
				svc.BadReleases = slices.DeleteFunc(svc.BadReleases, func(b BadRelease) bool { return slices.Contains(releases, b.Release) })
				next.Services[m.Service] = svc
			}
		}
		err = s.opts.Store.Save(next)
		s.take(next)
		s.leave(op)
	}
	if err != nil {
		s.warn(warnState, fmt.Sprintf("that releases are good again could not be saved (%v): after a restart they may be refused; deploy them with --force then", err))
	}
}

// Lose ends a reservation whose command is gone without a word; why is what it
// was cut short by. One that has ended is left alone.
func (r *Reservation) Lose(why string) {
	r.s.mu.Lock()
	if r.ending {
		r.s.mu.Unlock()
		<-r.ended
		return
	}
	r.ending = true
	step, traffic := r.op.Step, placesOf(r.s.state, r.s.services)
	r.s.mu.Unlock()
	r.end(Record{
		Outcome: Interrupted, Moves: slices.Clone(r.op.Moves), Reason: r.reason,
		Error: fmt.Sprintf("%s during step %s; %s", why, step, traffic),
	})
}

// end writes the history before others are let in, as an operation does.
func (r *Reservation) end(rec Record) Record {
	rec.ID, rec.Kind, rec.Actor, rec.Started = r.ID, r.op.Kind, r.op.Actor, r.op.Started
	rec.Took, rec.Generation, rec.Drain = time.Since(r.begun), 0, nil
	if rec.Reason == "" {
		rec.Reason = r.reason
	}
	r.s.ledger.append(rec)
	r.s.mu.Lock()
	r.s.last = cloneRecord(&rec)
	r.s.mu.Unlock()
	r.s.tellEnd(rec)
	r.s.mu.Lock()
	r.s.reserved = nil
	r.s.mu.Unlock()
	close(r.ended)
	return rec
}
