package main

import (
	"context"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
)

// moveFlags are the flags of switch and rollback.
type moveFlags struct {
	common
	force       bool
	wait        time.Duration
	drain       time.Duration
	noDrainWait bool
	bake        time.Duration // switch only
}

func newSwitchCmd(e *env) *cobra.Command {
	var f moveFlags
	cmd := &cobra.Command{
		Use:   "switch [blue|green]",
		Short: "Move the traffic to the other slot, or to the named one",
		Long: `The target slot is probed first; if it is not healthy, nothing is moved. All
chosen services move in the same instant and no request is lost: those under way
end on the slot on which they began. The answer comes when these have ended, or
after the service's drain_timeout.

With --bake the daemon then compares the new slot with what the old one did:
how many requests fail, and how long they take. If it is worse, the daemon
returns the traffic by itself, and the exit code is 6.

Ctrl-C before the swap aborts; after it, it only ends the waiting.`,
		Example: `  charactier-proxyctl switch
  charactier-proxyctl switch green --reason "release 412"
  charactier-proxyctl switch --service backend --wait 30s
  charactier-proxyctl switch --bake 60s`,
		Args: func(_ *cobra.Command, args []string) error {
			_, err := slotArg(args)
			return err
		},
		ValidArgs: []string{string(switcher.Blue), string(switcher.Green)},
		RunE: func(cmd *cobra.Command, args []string) error {
			to, err := slotArg(args)
			if err != nil {
				return err
			}
			return e.move(cmd.Context(), &f, switcher.KindSwitch, to)
		},
	}
	f.register(e, cmd)
	cmd.Flags().BoolVar(&f.force, "force", false, "move even if the target is not healthy")
	cmd.Flags().DurationVar(&f.bake, "bake", 0, "watch it for `TIME`, and return if it is worse")
	return cmd
}

func (f *moveFlags) register(e *env, cmd *cobra.Command) {
	f.changeFlags(e, cmd)
	cmd.Flags().DurationVar(&f.wait, "wait", 0, "let the target take up to `TIME` to become healthy")
	cmd.Flags().DurationVar(&f.drain, "drain-timeout", 0, "wait at most `TIME` for requests on the old slot")
	cmd.Flags().BoolVar(&f.noDrainWait, "no-drain-wait", false, "do not wait for them; they still end undisturbed")
}

func (f *moveFlags) request(to switcher.Slot) (control.SwitchRequest, error) {
	r := control.SwitchRequest{To: to, Services: f.services, Force: f.force, Reason: f.reason, Wait: f.wait, Drain: f.drain, Bake: f.bake}
	switch {
	case f.bake < 0:
		return r, usagef("", "--bake %s is negative", f.bake)
	case f.wait < 0:
		return r, usagef("", "--wait %s is negative", f.wait)
	case f.drain < 0:
		return r, usagef("--no-drain-wait does not wait at all", "--drain-timeout %s is negative", f.drain)
	case f.noDrainWait && f.drain > 0:
		return r, usagef("give one of them", "--no-drain-wait and --drain-timeout contradict each other")
	case f.noDrainWait:
		r.Drain = -1
	}
	return r, nil
}

// move asks for a switch or a rollback and tells how it ended.
func (e *env) move(ctx context.Context, f *moveFlags, kind switcher.Kind, to switcher.Slot) error {
	request, err := f.request(to)
	if err != nil {
		return err
	}
	if kind == switcher.KindSwitch && to == "" {
		to = e.otherSlot(ctx, f.services)
		request.To = to
	}
	if f.force {
		all := e.targets(ctx, f, kind, to)
		asSystemdHasIt(ctx, all)
		if kind == switcher.KindRollback && e.uid == 0 && slices.ContainsFunc(all, target.stopped) {
			return e.startAndReturn(ctx, f, all)
		}
		if err := e.mayForce(ctx, f, kind, all); err != nil {
			return err
		}
	}
	client := e.client()
	call := client.Switch
	if kind == switcher.KindRollback {
		call = client.Rollback
	}
	asked := e.wish(kind)
	record, err := e.await(ctx, client, kind, func(ctx context.Context) (switcher.Record, error) {
		return call(ctx, request)
	})
	if record, err = e.learn(ctx, asked, record, err); err != nil {
		if kind == switcher.KindRollback && e.isCold(ctx, record, err) {
			f.services = movedServices(record.Moves)
			return e.rollbackCold(ctx, f, "")
		}
		return e.failed(ctx, record, err, f.json)
	}
	if record.Bake == nil {
		return e.moved(ctx, record, f, to)
	}
	if !f.json {
		if err := e.moved(ctx, record, f, to); err != nil {
			return err
		}
	}
	return e.baked(ctx, record, f.json)
}

// otherSlot is the one that the services do not have now. It is named to the
// daemon: asked for the other one, it would undo what somebody else has switched
// since. Empty where the services are not all on the same slot, or nobody says.
func (e *env) otherSlot(ctx context.Context, services []string) (to switcher.Slot) {
	status, err := e.client().Status(ctx)
	if err != nil {
		return ""
	}
	for _, s := range status.Services {
		if len(services) > 0 && !slices.Contains(services, s.Name) {
			continue
		}
		if to != "" && to != s.Active.Other() {
			return ""
		}
		to = s.Active.Other()
	}
	return to
}

// moved tells how a switch or rollback ended.
func (e *env) moved(ctx context.Context, r switcher.Record, f *moveFlags, to switcher.Slot) error {
	if f.json {
		return e.printJSON(r)
	}
	if len(r.Moves) == 0 {
		e.printf("%s on %s already; nothing changed\n", e.areServices(ctx, f), e.slot(to))
	}
	changed := false
	for _, m := range r.Moves {
		if m.From == m.To || r.Outcome == switcher.Unchanged {
			e.printf("%s is on %s already; nothing changed\n", clean(m.Service), e.slot(m.To))
			continue
		}
		changed = true
		e.printf("%s\n", e.moveLine(r, m))
	}
	if r.Warning != "" {
		e.warnf("%s", clean(r.Warning))
	}
	if changed {
		e.afterMove(r, f)
	}
	return nil
}

// afterMove says what an operator may want next.
func (e *env) afterMove(r switcher.Record, f *moveFlags) {
	for _, d := range r.Drain {
		if open := openText(d); open != "" {
			e.notef("%s still serves %s of %s: do not stop it yet", d.Slot, open, clean(d.Service))
		}
	}
	if r.Kind == switcher.KindSwitch {
		e.printf("to return: %s rollback%s\n", e.self(), serviceFlags(f.services))
	}
}

// areServices names the chosen services, as the beginning of a sentence.
func (e *env) areServices(ctx context.Context, f *moveFlags) string {
	names := f.services
	if len(names) == 0 {
		names = e.serviceNames(ctx)
	}
	switch len(names) {
	case 0:
		return "every service is"
	case 1:
		return clean(names[0]) + " is"
	}
	return list(names[:len(names)-1]) + " and " + clean(names[len(names)-1]) + " are"
}
