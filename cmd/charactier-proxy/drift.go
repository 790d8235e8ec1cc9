package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"charactier-proxy/cmd/internal/config"
	"charactier-proxy/health"
	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
)

// How long things may disagree before it is called drift: after an operation,
// which starts, stops and enables units itself, and after a unit has come up or
// gone down, until its slot's health is known.
const (
	driftGrace   = 5 * time.Second
	startGrace   = 15 * time.Second
	driftLogging = 2 * time.Second // how often is looked whether there is something to log
)

// driftView is one slot of a service, as it is compared with its unit.
type driftView struct {
	place
	address, unit string
	active        bool
	record        unitRecord
	known         bool // whether record is what systemd says
	health        health.Status
}

// drift says in plain sentences where units and state disagree, each with what
// mends it. While an operation is under way, or has just ended, it says nothing.
// But that a deploy was left it says at once.
func (d *daemon) drift(now time.Time, left *control.DeployStatus) (all []string) {
	if !d.settled(now) {
		return leftDeploy(left)
	}
	all = d.programs.drift()
	cfg, state := d.config.current(), d.switcher.State()
	for _, name := range slices.Sorted(maps.Keys(cfg.Services)) {
		s := state.Services[name]
		undecided := left != nil || s.Bake != nil && s.Bake.Verdict == switcher.Baking
		all = append(all, serviceDrift(d.driftViews(name, cfg.Services[name], s.Active), now, undecided)...)
	}
	return append(all, leftDeploy(left)...)
}

// settled reports that nobody is changing anything.
func (d *daemon) settled(now time.Time) bool {
	if d.switcher.Operation() != nil || d.switcher.Reservation() != nil {
		return false
	}
	last := d.switcher.Last()
	return last == nil || now.Sub(last.Started.Add(last.Took)) >= driftGrace
}

// driftViews are the service's slots that have a unit, the active one first.
func (d *daemon) driftViews(name string, cfg *config.Service, active switcher.Slot) (views []driftView) {
	for _, slot := range []switcher.Slot{active, active.Other()} {
		at, p := cfg.Slots[string(slot)], place{name, slot}
		if at == nil || at.Unit == "" {
			continue
		}
		v := driftView{place: p, address: at.Address, unit: at.Unit, active: slot == active, health: d.watches.status(p)}
		v.record, v.known = d.units.get(p)
		views = append(views, v)
	}
	return views
}

// serviceDrift compares the slots of one service with their units. While it is
// undecided which slot the traffic stays on, a reboot may start both.
func serviceDrift(views []driftView, now time.Time, undecided bool) (all []string) {
	views = slices.DeleteFunc(views, func(v driftView) bool { return !v.known })
	for _, v := range views {
		if text := v.drift(now); text != "" {
			all = append(all, text)
		}
	}
	if text := bootDrift(views, undecided); text != "" {
		all = append(all, text)
	}
	return all
}

// drift is what is wrong with one unit, the gravest thing only.
func (v driftView) drift(now time.Time) string {
	s := v.record.state
	switch restarted := v.record.restarted(now); {
	case s.Load == "not-found":
		return fmt.Sprintf(`%s: there is no unit %s: install it, or set services.%s.slots.%s.unit to "" if systemd does not run this slot`, v.place, v.unit, v.service, v.slot)
	case v.masked():
		return fmt.Sprintf("%s: %s is masked, so that nothing can start it: systemctl unmask %s", v.place, v.unit, v.unit)
	case s.Load != "" && s.Load != "loaded":
		return fmt.Sprintf("%s: %s cannot be loaded (%s): systemd-analyze verify %s", v.place, v.unit, s.Load, v.unit)
	case restarted >= restartLimit:
		return fmt.Sprintf("%s: systemd restarted %s %d times within a minute: journalctl -u %s -n 50", v.place, v.unit, restarted, v.unit)
	case s.dead() && v.answers(now):
		return fmt.Sprintf("%s: %s answers, but %s is %s: something else has the address: %s", v.place, v.address, v.unit, s, whoListens(v.address))
	case s.Active == "failed":
		return fmt.Sprintf("%s: %s failed%s: journalctl -u %s -n 50, then systemctl %s %s", v.place, v.unit, because(s.Result), v.unit, v.mend(), v.unit)
	case s.dead() && v.active && v.settled(now, driftGrace):
		return fmt.Sprintf("%s: it is the active slot, but %s is %s: systemctl start %s", v.place, v.unit, s, v.unit)
	case s.up() && v.silent(now):
		return fmt.Sprintf("%s: %s is active, but not healthy (%s): journalctl -u %s -n 50", v.place, v.unit, errorText(v.health.Err), v.unit)
	}
	return ""
}

func (v driftView) masked() bool {
	return v.record.state.Load == "masked" || strings.HasPrefix(v.record.state.Enabled, "masked")
}

// settled reports that the unit is for that long what it is now.
func (v driftView) settled(now time.Time, grace time.Duration) bool {
	return now.Sub(v.record.changed) >= grace
}

// answers reports that the slot was found healthy since its unit went down.
func (v driftView) answers(now time.Time) bool {
	return v.settled(now, driftGrace) && v.health.State == health.Healthy && v.health.Probed.After(v.record.changed)
}

// silent reports that the slot should be healthy by now.
func (v driftView) silent(now time.Time) bool {
	return v.settled(now, startGrace) && v.health.State == health.Unhealthy && now.Sub(v.health.Since) >= driftGrace
}

// mend is what to do with a unit that failed. A standby may well be stopped.
func (v driftView) mend() string {
	if v.active {
		return "restart"
	}
	return "reset-failed"
}

func because(result string) string {
	if result == "" || result == "success" {
		return ""
	}
	return " (" + result + ")"
}

// whoListens is the command that shows who has an address.
func whoListens(address string) string {
	network, rest := config.Network(address)
	if network == "unix" {
		return "ss -xlp src " + rest
	}
	return "ss -ltnp 'sport = " + rest[strings.LastIndex(rest, ":"):] + "'"
}

// bootDrift is what a reboot would do wrong. Of units that can be neither
// enabled nor disabled, such as static ones, it knows nothing.
func bootDrift(views []driftView, undecided bool) string {
	var active, standby *driftView
	for i, v := range views {
		if v.masked() || v.enabled() == v.disabled() {
			continue
		}
		if v.active {
			active = &views[i]
		} else {
			standby = &views[i]
		}
	}
	starts, stays := active != nil && active.enabled(), active != nil && active.disabled()
	other := standby != nil && standby.enabled()
	switch {
	case stays && other:
		return fmt.Sprintf("%s: a reboot would start the standby slot %s instead of %s: systemctl enable %s && systemctl disable %s",
			active.service, standby.slot, active.slot, active.unit, standby.unit)
	case starts && other && undecided:
	case starts && other:
		return fmt.Sprintf("%s: a reboot would start both slots: systemctl disable %s", active.service, standby.unit)
	case stays:
		return fmt.Sprintf("%s: a reboot would not start the active slot %s: systemctl enable %s", active.service, active.slot, active.unit)
	case other:
		return fmt.Sprintf("%s: a reboot would start the standby slot %s: systemctl disable %s", standby.service, standby.slot, standby.unit)
	}
	return ""
}

// enabled and disabled are both false for a unit that is neither. What is
// enabled until the next boot only is not started by it.
func (v driftView) enabled() bool { return v.record.state.Enabled == "enabled" }

func (v driftView) disabled() bool {
	return v.record.state.Enabled == "disabled" || v.record.state.Enabled == "enabled-runtime"
}

// unitStatus is nil where nothing is known.
func (d *daemon) unitStatus(p place) *control.UnitStatus {
	r, ok := d.units.get(p)
	if !ok {
		return nil
	}
	s := r.state
	return &control.UnitStatus{Active: s.Active, Sub: s.Sub, Result: s.Result, Enabled: s.Enabled, Since: s.Since, Restarts: s.Restarts}
}

// tellDrift logs what drifts and what does not any more, until ctx ends.
func (d *daemon) tellDrift(ctx context.Context) {
	tick := time.NewTicker(driftLogging)
	defer tick.Stop()
	var told []string
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if now := time.Now(); d.settled(now) && !d.units.blind() {
			told = d.tellDriftOnce(told, d.drift(now, d.deployStatus(now)))
		}
	}
}

func (d *daemon) tellDriftOnce(before, now []string) []string {
	for _, text := range now {
		if !slices.Contains(before, text) {
			d.log.Warn("drift", zap.String("found", text))
			d.publish("drift", switcher.LevelWarn, text)
		}
	}
	if len(before) > 0 && len(now) == 0 {
		d.log.Info("drift", zap.String("found", "none any more"))
		d.publish("drift", switcher.LevelInfo, "units and state agree again")
	}
	return now
}

// wantedUnits are the units to watch.
func wantedUnits(cfg *config.Config) map[place]string {
	wanted := map[place]string{}
	for name, s := range cfg.Services {
		for slot, at := range s.Slots {
			if at.Unit != "" {
				wanted[place{name, switcher.Slot(slot)}] = at.Unit
			}
		}
	}
	return wanted
}

// unitChanged is told of each change of a slot's unit, and of what it was found
// to be at first: then before is the zero state.
func (d *daemon) unitChanged(p place, unit string, before, now unitState) {
	if before.Active != "" && before.Active != now.Active && !now.up() {
		// Its process is about to go, or gone: whether its address still answers is
		// asked at once, each time.
		d.watches.unitLeft(p, fmt.Errorf("%s is %s", unit, now))
	}
	if before.Active != "deactivating" && now.Active == "deactivating" {
		d.streams.stopping(p)
	}
	if before.Active != "" && now.up() && (!before.up() || now.Invocation != before.Invocation) {
		d.roles.restarted(p)
		d.wentAway(p)
	}
	d.roles.nudge()
	if before.Active != "" && before.Active != now.Active {
		d.tellUnit(p, unit, now)
	}
}

func (d *daemon) tellUnit(p place, unit string, now unitState) {
	level, logLevel := switcher.LevelInfo, zap.InfoLevel
	if active := d.switcher.State().Services[p.service].Active == p.slot; now.Active == "failed" || active && !now.up() {
		level, logLevel = switcher.LevelWarn, zap.WarnLevel
	}
	text := unitText(p, unit, now)
	d.events.Publish(switcher.Event{Kind: "unit", Service: p.service, Slot: p.slot, Level: level, Text: text})
	d.log.Log(logLevel, "unit changed", zap.String("service", p.service), zap.String("slot", string(p.slot)),
		zap.String("unit", unit), zap.Stringer("state", now))
}
