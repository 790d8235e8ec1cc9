package main

import (
	"context"
	"fmt"

	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
)

// Reserve keeps others out until the client leaves or ends the reservation.
func (d *daemon) Reserve(ctx context.Context, r control.ReserveRequest, by switcher.Actor, tell func(any) error) error {
	res, err := d.switcher.Reserve(ctx, r.Kind, switcher.Request{Services: r.Services, Reason: r.Reason, Actor: by}, r.Moves)
	if err != nil {
		return err
	}
	defer func() { res.Lose(d.whyLost()) }()
	if err := tell(control.Reservation{ID: res.ID, Generation: res.Generation}); err != nil {
		return err
	}
	for {
		select {
		case by := <-res.Asked():
			if err := tell(control.ReservationAsk{Abort: by}); err != nil {
				return err
			}
		case <-res.Ended():
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// whyLost is what cuts a reservation short.
func (d *daemon) whyLost() string {
	if d.stopping.Load() {
		return "the daemon was stopped"
	}
	return "the command ended"
}

// StepReservation says where the work under a reservation is.
func (d *daemon) StepReservation(_ context.Context, r control.ReserveStep, by switcher.Actor) error {
	if err := d.mayUse(r.ID, by); err != nil {
		return err
	}
	return d.switcher.StepReservation(r.ID, r.Step, r.Level, r.Text)
}

// EndReservation lets others in again.
func (d *daemon) EndReservation(_ context.Context, r control.ReserveEnd, by switcher.Actor) (switcher.Record, error) {
	if err := d.mayUse(r.ID, by); err != nil {
		return switcher.Record{}, err
	}
	return d.switcher.EndReservation(r.ID, r.Record, r.Exonerate...)
}

// mayUse refuses a reservation to everybody but the user who has it: its ID is
// no secret. One that has ended is the switcher's to refuse.
func (d *daemon) mayUse(id string, by switcher.Actor) error {
	res := d.switcher.Reservation()
	if id == "" || res == nil || res.ID != id || res.Actor.UID == by.UID {
		return nil
	}
	return fmt.Errorf("%w: the reservation %s belongs to %s", control.ErrForbidden, id, res.Actor)
}
