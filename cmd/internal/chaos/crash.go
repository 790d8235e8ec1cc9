package chaos

import (
	"context"
	"fmt"
	"time"

	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
)

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
