package chaos

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

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

// kill ends the daemon, some time after a switch of services was asked for if
// there are any, and sees what it left.
func (o *operator) kill(ctx context.Context, lasts time.Duration, during []string, after time.Duration) {
	from := now()
	moved := make(chan switcher.Record, 1)
	var outcome error // to be read after moved
	if len(during) > 0 {
		o.model.attempt(during)
		go func() {
			r, err := o.daemon.api.Switch(context.WithoutCancel(ctx), control.SwitchRequest{Services: during, Drain: -1, Force: true})
			outcome = err
			moved <- r
		}()
		pause(ctx, after)
	}
	f := o.notes.breaks(daemonKilled, place{})
	o.daemon.kill()
	gone := now()
	if len(during) > 0 {
		r := <-moved
		o.killedDuring(during, r, outcome, from)
	}
	o.notes.did("kill -9 of the daemon")
	o.left(daemonKilled)
	pause(ctx, lasts)
	if err := o.daemon.start(context.WithoutCancel(ctx)); err != nil {
		o.fail(fmt.Errorf("after kill -9: %w", err))
		return
	}
	o.notes.mendedAt(f, gone)
	o.inspect(ctx)
}

// killedDuring settles a switch that was answered after all.
func (o *operator) killedDuring(during []string, r switcher.Record, err error, from moment) {
	o.notes.did("the switch of %v during which the daemon is killed: %v", during, short(err))
	if err != nil {
		return // it may have been done
	}
	o.remember(r, from)
	for _, s := range during {
		o.model.arrive(s)
	}
}

// left looks at the state that a daemon left.
func (o *operator) left(by faultKind) {
	if !o.inspectDisk() {
		o.notes.loses(by)
	}
}

// restart ends the daemon in good order.
func (o *operator) restart(ctx context.Context) {
	f := o.notes.breaks(daemonStopped, place{})
	o.notes.did("SIGTERM to the daemon")
	if err := o.daemon.stop(stopTime + patience); err != nil {
		o.notes.breach("", "%v", err)
	}
	if state := o.daemon.cmd.ProcessState; !state.Success() {
		o.notes.breach("", "the daemon ended with %s after SIGTERM", state)
	}
	o.left(daemonStopped)
	if err := o.daemon.start(context.WithoutCancel(ctx)); err != nil {
		o.fail(fmt.Errorf("after SIGTERM: %w", err))
		return
	}
	o.notes.mended(f)
	o.notes.did("the daemon is back")
	o.inspect(ctx)
}

// reconfigure writes a configuration and sees that it is taken, or refused if it
// is bad.
func (o *operator) reconfigure(ctx context.Context, byLink bool, how string, change func(*settings)) {
	change(&o.settings)
	kind := reloaded
	if o.settings.Broken {
		kind = reloadedBad
	}
	f := o.notes.breaks(kind, place{})
	defer o.notes.mended(f)
	ctx = context.WithoutCancel(ctx)
	before, err := o.daemon.api.Status(ctx)
	if err == nil {
		err = o.daemon.configure(o.settings, byLink)
	}
	if err != nil {
		o.fail(err)
		return
	}
	switch how {
	case "signal":
		o.daemon.hangUp()
	case "api":
		// What is wrong with it shows in the status.
		_, _ = o.daemon.api.Reload(ctx)
	}
	o.awaitConfig(ctx, before.Config, f.Begun)
	o.inspect(ctx)
}

// awaitConfig waits until the daemon has made up its mind about the new file.
func (o *operator) awaitConfig(ctx context.Context, before control.ConfigStatus, from moment) {
	var c control.ConfigStatus
	err := eventually(ctx, func() error {
		st, err := o.daemon.api.Status(ctx)
		if c = st.Config; err == nil && c.Loaded.Equal(before.Loaded) && c.RejectedAt.Equal(before.RejectedAt) {
			err = errors.New("the daemon has not looked at its configuration")
		}
		return err
	})
	taken := c.Rejected == ""
	o.notes.did("configuration %d (bad: %t): taken %t, %v %s", o.daemon.versions, o.settings.Broken, taken, short(err), c.Rejected)
	if err != nil {
		o.notes.breach("", "%v", err)
	} else if taken == o.settings.Broken && (taken || !o.notes.overlaps("", from, now(), spoilt...)) {
		o.notes.breach("", "a configuration (bad: %t) was taken: %t, %s", o.settings.Broken, taken, c.Rejected)
	}
	o.settings.Broken = false
}
