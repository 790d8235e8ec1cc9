package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"charactier-proxy/cmd/internal/config"
	"charactier-proxy/cmd/internal/reconcile"
	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
	"charactier-proxy/switcher/deploy"
	"charactier-proxy/systemd"
)

func newReconcileCmd(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "reconcile",
		Short: "Make systemd agree with what is active",
		Long: `Enables the active slot's unit and disables the standby's, starts the active one
if it does not run, and stops a standby whose warm time is over. It says what it
did, and nothing if there was nothing to do. charactier-proxy-reconcile.service
runs it after each change and every minute.

During an operation it does nothing, and during a deploy it only enables: after
a power cut at any moment that slot must run that has the traffic, so that both
stay enabled until the deploy is at its end. If the daemon is not reachable it
goes by the state file, as the daemon will, and leaves alone what runs.`,
		Args:   noArgs,
		Hidden: true,
		RunE:   func(cmd *cobra.Command, _ []string) error { return e.reconcile(cmd.Context()) },

		DisableFlagsInUseLine: true,
	}
}

// reconcileTime bounds one run, a little under what its unit has
// (TimeoutStartSec=).
const reconcileTime = 100 * time.Second

func (e *env) reconcile(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, reconcileTime)
	defer cancel()
	status, err := e.client().Status(ctx)
	if errors.Is(err, control.ErrUnreachable) {
		return errors.Join(err, e.reconcileOffline(ctx))
	}
	for err == nil && status.Operation == nil {
		was := status.State.Generation
		if err = e.reconcileWith(ctx, status); err != nil {
			return err
		}
		// What changed meanwhile has triggered nothing, and was perhaps overtaken by
		// what was just done.
		status, err = e.client().Status(ctx)
		if errors.Is(err, control.ErrUnreachable) || err == nil && status.State.Generation == was {
			return nil
		}
	}
	return err
}

// reconcileWith makes systemd agree with what the daemon has said.
func (e *env) reconcileWith(ctx context.Context, status control.Status) error {
	cfg, err := e.loadConfig()
	if err != nil {
		return err
	}
	var services []reconcile.Service
	for _, s := range status.Services {
		services = append(services, reconcilable(s, cfg))
	}
	return e.runReconcile(ctx, services, &reconcile.Reconciler{
		EnableOnly: status.Reservation != nil,
		Look: func(ctx context.Context, service string) (reconcile.Service, error) {
			return e.lookAgain(ctx, service, cfg)
		},
	})
}

// lookAgain is a service as the daemon has it now. While somebody does
// something it is busy.
func (e *env) lookAgain(ctx context.Context, name string, cfg *config.Config) (reconcile.Service, error) {
	// A deploy that the daemon has forgotten, for one of the two was killed, has a
	// journal. It comes first: what ends after it shows in the status.
	left, err := deploy.Unfinished(cfg.Deploy.Root)
	if err != nil {
		return reconcile.Service{}, err
	}
	status, err := e.client().Status(ctx)
	if err != nil {
		return reconcile.Service{}, err
	}
	for _, s := range status.Services {
		if s.Name == name {
			service, busy := reconcilable(s, cfg), status.Operation != nil || status.Reservation != nil
			service.Standby.Busy = service.Standby.Busy || busy
			service.Unsettled = busy || left != nil
			return service, nil
		}
	}
	return reconcile.Service{}, fmt.Errorf("the daemon has no service %s any more", name)
}

// reconcilable is what the daemon and the configuration say of a service. One
// that the configuration does not know any more is warm for ever.
func reconcilable(s control.ServiceStatus, cfg *config.Config) reconcile.Service {
	r := reconcile.Service{
		Name: s.Name, Since: s.Since, Held: s.Held != nil, Warm: -1,
		Baking: s.Bake != nil && s.Bake.Verdict == switcher.Baking,
	}
	c := cfg.Services[s.Name]
	if c != nil {
		r.Warm = c.Warm
	}
	for _, slot := range s.Slots {
		place := reconcile.Slot{Name: slot.Name, Unit: agreed(c, slot), Busy: slot.InFlight > 0 || slot.Streams > 0 || slot.Draining}
		if slot.Name == s.Active {
			r.Active = place
		} else {
			r.Standby = place
		}
	}
	return r
}

// agreed is a slot's unit, where the daemon and the configuration name the same
// one. The daemon is not root and we are: who has made it say what he likes must
// not have us stop any other unit. While a changed file is not in force yet,
// neither name is certain.
func agreed(c *config.Service, slot control.SlotStatus) string {
	if c == nil || c.Slots[string(slot.Name)] == nil || c.Slots[string(slot.Name)].Unit != slot.Unit {
		return ""
	}
	return slot.Unit
}

func (e *env) runReconcile(ctx context.Context, services []reconcile.Service, r *reconcile.Reconciler) error {
	units, err := systemd.ConnectUnits(ctx)
	if err != nil {
		return err
	}
	defer units.Close()
	r.Units, r.Now = units, e.now
	r.Lock = func(ctx context.Context) (func(), error) { return reconcile.Lock(ctx, reconcile.LockDir) }
	r.Say = func(sentence string) { e.printf("%s\n", clean(sentence)) }
	return r.Run(ctx, services)
}

// reconcileOffline brings what is enabled up to date by the state file. It is
// what the daemon decides by when it is back, so that a machine that reboots in
// between starts the slot that will be active. A state that is doubtful is left
// to the daemon.
func (e *env) reconcileOffline(ctx context.Context) error {
	state, err := e.certainState()
	if err != nil || len(state.Services) == 0 {
		return err
	}
	cfg, err := e.loadConfig()
	if err != nil {
		return err
	}
	var services []reconcile.Service
	for _, name := range slices.Sorted(maps.Keys(cfg.Services)) {
		if saved, ok := state.Services[name]; ok {
			services = append(services, offlineService(cfg.Services[name], saved))
		}
	}
	return e.runReconcile(ctx, services, &reconcile.Reconciler{
		EnableOnly: true,
		Look: func(_ context.Context, name string) (reconcile.Service, error) {
			return e.lookOffline(cfg.Services[name], cfg.Deploy.Root)
		},
	})
}

// certainState is what was saved last; empty where that is doubtful.
func (e *env) certainState() (switcher.State, error) {
	state, err := switcher.ReadState(e.paths().StateDir)
	if err != nil || state.Generation == 0 || state.Intent != nil || state.Note != "" {
		return switcher.State{}, err
	}
	return state, nil
}

// lookOffline is lookAgain without a daemon.
func (e *env) lookOffline(cfg *config.Service, deploys string) (reconcile.Service, error) {
	left, err := deploy.Unfinished(deploys)
	if err != nil {
		return reconcile.Service{}, err
	}
	state, err := e.certainState()
	saved, ok := state.Services[cfg.Name]
	if err != nil || !ok {
		return reconcile.Service{Unsettled: true}, err
	}
	s := offlineService(cfg, saved)
	s.Unsettled = left != nil
	return s, nil
}

func offlineService(cfg *config.Service, saved switcher.ServiceState) reconcile.Service {
	slot := func(name switcher.Slot) reconcile.Slot {
		return reconcile.Slot{Name: name, Unit: cfg.Slots[string(name)].Unit}
	}
	return reconcile.Service{
		Name: cfg.Name, Active: slot(saved.Active), Standby: slot(saved.Active.Other()),
		Baking: saved.Bake != nil && saved.Bake.Verdict == switcher.Baking,
	}
}
