package main

import (
	"context"
	"fmt"
	"os/user"
	"slices"
	"strings"

	"charactier-proxy/cmd/internal/config"
	"charactier-proxy/switcher"
	"charactier-proxy/switcher/deploy"
	"charactier-proxy/switcher/deploy/release"
	"charactier-proxy/systemd"
)

// works is what a deploy runs with.
type works struct {
	config   *config.Config
	services []string // chosen
	store    *deploy.Store
	units    *reconnecting[*systemd.Units]
	view     deployView
	log      *deployLog
	closers  []func() error
}

// openWorks reads the configuration and connects to whatever a deploy needs.
func (e *env) openWorks(ctx context.Context, f *deployFlags) (_ *works, err error) {
	if e.uid != 0 {
		return nil, usagef(e.asRoot(), "this starts and stops units and writes releases: it must be run by root")
	}
	w := &works{}
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	if w.config, err = e.loadConfig(); err != nil {
		return nil, err
	}
	if w.services, err = w.choose(f.services); err != nil {
		return nil, err
	}
	if w.units, err = newReconnecting(ctx, systemd.ConnectUnits); err != nil {
		return nil, err
	}
	w.onClose(w.units.Close)
	w.view = e.newDeployView(f)
	w.onClose(func() error { w.view.end(); return nil })
	w.store, err = deploy.OpenStore(deploy.StoreOptions{
		Root: w.config.Deploy.Root, Repository: w.config.Deploy.Repository, Run: deployUnits{bus: w.units}.build,
		Progress: func(line string) {
			if strings.Contains(line, "%") && !strings.Contains(line, "100%") {
				return // git counts in dozens of lines
			}
			w.view.report(deploy.Report{Time: e.now(), Step: "fetch", State: deploy.StateLine, Text: line})
		},
	})
	if err != nil {
		return nil, err
	}
	w.log = e.newDeployLog(w.config.Deploy.Log, w.config.Deploy.Root)
	w.onClose(w.log.close)
	return w, nil
}

// choose returns the named services, or all that have units and links.
func (w *works) choose(named []string) ([]string, error) {
	var all []string
	for _, s := range w.config.DeployServices() {
		blue, green := s.Slots[switcher.Blue], s.Slots[switcher.Green]
		if blue.Unit != "" && blue.Link != "" && green.Unit != "" && green.Link != "" {
			all = append(all, s.Name)
		}
	}
	if len(named) == 0 {
		if len(all) == 0 {
			return nil, usagef("set services.NAME.slots.blue.unit and .link, and green's", "no service has units and links for both of its slots")
		}
		return all, nil
	}
	for _, name := range named {
		if !slices.Contains(all, name) {
			return nil, usagef("there is "+list(all), "%q is not a service with units and links for both of its slots", name)
		}
	}
	return slices.Compact(slices.Sorted(slices.Values(named))), nil
}

func (w *works) onClose(do func() error) { w.closers = append(w.closers, do) }

// close closes in reverse; what fails then is of no consequence any more.
func (w *works) close() {
	for _, do := range slices.Backward(w.closers) {
		_ = do()
	}
	w.closers = nil
}

// options are those of the pipeline.
func (w *works) options(e *env) deploy.Options {
	d := w.config.Deploy
	o := deploy.Options{
		Root: d.Root, Services: w.config.DeployServices(), Keep: d.Keep, MinFree: uint64(d.MinFree),
		Repository: release.Shown(d.Repository), Hooks: d.Hooks, HookTimeout: d.HookTimeout,
		Daemon: deployDaemon{e.client()}, Units: deployUnits{w.units, w.view.notef},
		Releases: w.store, Probe: w.probe, Actor: e.actor(), SavedActive: e.savedActive,
		Report: func(r deploy.Report) { w.view.report(r); w.log.write(r) },
	}
	if e.canAsk {
		o.Confirm = func(ctx context.Context, question string) (bool, error) {
			w.view.end()
			return e.askPerson(ctx, question)
		}
	}
	return o
}

// savedActive are the active slots by the daemon's state file.
func (e *env) savedActive() (map[string]switcher.Slot, error) {
	state, err := switcher.ReadState(e.paths().StateDir)
	if err != nil {
		return nil, err
	}
	active := map[string]switcher.Slot{}
	for name, s := range state.Services {
		active[name] = s.Active
	}
	return active, nil
}

// actor is who runs this command.
func (e *env) actor() switcher.Actor {
	a := switcher.Actor{UID: uint32(e.uid), PID: int32(e.pid)}
	if u, err := user.LookupId(fmt.Sprint(e.uid)); err == nil {
		a.User = u.Username
	}
	if name := e.getenv("SUDO_USER"); name != "" && e.uid == 0 {
		a.User = "root (sudo by " + name + ")"
	}
	return a
}

// probe asks a slot for its health as the daemon does.
func (w *works) probe(ctx context.Context, s deploy.Service, slot switcher.Slot) (string, error) {
	fields, err := w.config.HealthCheck(s.Name).Ask(ctx, s.Slots[slot].Address)
	if err != nil || s.ReleaseHeader == "" {
		return "", err
	}
	return fields.Get(s.ReleaseHeader), nil
}
