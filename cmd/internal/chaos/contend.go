package chaos

import (
	"context"
	"errors"
	"sync"

	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
)

// abort begins a switch that cannot end, sees that a second one is refused (S4),
// and stops it: traffic stays where it was (S5), and the sick slot gets none (S3).
func (o *operator) abort(ctx context.Context, service string) {
	active, known := o.model.active(service)
	if !known {
		return
	}
	s := o.slots[place{service, active.Other()}]
	s.busy.Lock()
	defer s.busy.Unlock()
	sick := o.notes.breaks(slotSick, s.place)
	f := o.notes.breaks(aborted, place{Service: service})
	defer func() { o.notes.mended(f); o.notes.mended(sick) }()
	if err := s.setHealthy(false); err != nil {
		o.fail(err)
		return
	}
	o.notes.sure(sick)
	stuck := make(chan error, 1)
	go func() {
		_, err := o.daemon.api.Switch(context.WithoutCancel(ctx), control.SwitchRequest{Services: []string{service}, Wait: patience, Drain: -1})
		stuck <- err
	}()
	o.contend(ctx, service)
	err := <-stuck
	o.notes.did("abort of the switch of %s to its sick slot: %v", service, short(err))
	if !errors.Is(err, switcher.ErrAborted) {
		o.notes.breach("S3", "a switch of %s to a sick slot that was aborted ended with: %v", service, err)
	}
	if err := s.setHealthy(true); err != nil {
		o.fail(err)
	}
	o.inspect(ctx)
}

// contend waits until the operation runs, tries another and aborts it.
func (o *operator) contend(ctx context.Context, service string) {
	ctx = context.WithoutCancel(ctx)
	err := eventually(ctx, func() error {
		st, err := o.daemon.api.Status(ctx)
		if err == nil && (st.Operation == nil || st.Operation.Step != switcher.StepHealth) {
			err = errors.New("no switch awaits the health of its target")
		}
		return err
	})
	if err != nil {
		o.notes.breach("S5", "a switch of %s to a sick slot does not wait for it: %v", service, err)
	}
	if _, err := o.daemon.api.Switch(ctx, control.SwitchRequest{Force: true, Drain: -1}); !errors.Is(err, switcher.ErrBusy) {
		o.notes.breach("S4", "a switch during another one was answered: %v", err)
	}
	if _, err := o.daemon.api.Abort(ctx, control.AbortRequest{}); err != nil {
		o.notes.breach("S5", "an abort was answered: %v", err)
	}
}

// race begins two switches at once. Each is done or busy, and together they are
// as if one had come after the other (S4).
func (o *operator) race(ctx context.Context, service string) {
	before, known := o.model.active(service)
	if !known {
		return
	}
	from := now()
	o.model.attempt([]string{service})
	var both sync.WaitGroup
	var results [2]error
	var records [2]switcher.Record
	for n := range results {
		both.Go(func() {
			records[n], results[n] = o.daemon.api.Switch(context.WithoutCancel(ctx), control.SwitchRequest{Services: []string{service}, Wait: healthTime, Drain: -1})
		})
	}
	both.Wait()
	moves := 0
	for n, err := range results {
		switch {
		case err == nil:
			moves++
			o.remember(records[n], from)
		case !errors.Is(err, switcher.ErrBusy):
			o.mayFail("one of two switches", []string{service}, map[string]switcher.Slot{service: before}, false, from, err)
		}
	}
	o.notes.did("two switches of %s at once: %v, %v", service, short(results[0]), short(results[1]))
	now := before
	if moves == 1 {
		now = before.Other()
	}
	o.model.settle(service, now, true)
	o.inspect(ctx)
}
