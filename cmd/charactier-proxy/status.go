package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"charactier-proxy/cmd/internal/config"
	"charactier-proxy/health"
	"charactier-proxy/proxy"
	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
)

// Status is everything an operator looks at first.
func (d *daemon) Status(context.Context) control.Status {
	state := d.switcher.State()
	stats, before := d.proxy.Stats(), d.predecessor.open()
	cfg, configStatus := d.config.status()
	s := control.Status{
		Version:     version,
		PID:         os.Getpid(),
		Started:     d.started,
		Config:      configStatus,
		State:       control.StateStatus{Dir: d.paths.StateDir, Generation: state.Generation, Note: d.switcher.Note()},
		Reservation: d.switcher.Reservation(),
		Operation:   d.switcher.Operation(),
		Last:        d.switcher.Last(),
		Warnings:    slices.Concat(cfg.Warnings(), d.switcher.Warnings()),
	}
	if d.stopping.Load() {
		s.Warnings = append(s.Warnings, "the daemon is stopping: it waits for requests in flight and takes no new connections")
	}
	if configStatus.Rejected != "" {
		s.Warnings = append(s.Warnings, "a restart would not take the configuration file as it is now: charactier-proxyctl config check")
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Services)) {
		s.Warnings = append(s.Warnings, d.healthWarning(name, state.Services[name].Active)...)
		s.Warnings = append(s.Warnings, bakeWarning(name, state.Services[name])...)
		s.Warnings = append(s.Warnings, failoverWarning(name, state.Services[name])...)
		s.Warnings = append(s.Warnings, d.roles.warnings(name, time.Now())...)
		s.Services = append(s.Services, d.serviceStatus(name, cfg.Services[name], state.Services[name], stats[name], before))
	}
	now := time.Now()
	s.Deploy = d.deployStatus(now)
	s.Drift = d.drift(now, s.Deploy)
	return s
}

// healthWarning says what to do when the active slot is down.
func (d *daemon) healthWarning(service string, active switcher.Slot) []string {
	if d.watches.status(place{service, active}).State != health.Unhealthy {
		return nil
	}
	if d.watches.status(place{service, active.Other()}).State == health.Healthy {
		return []string{fmt.Sprintf("%s: the active slot %s is unhealthy, %s is healthy: charactier-proxyctl switch %s --service %s",
			service, active, active.Other(), active.Other(), service)}
	}
	return []string{fmt.Sprintf("%s: the active slot %s is unhealthy, and so is the other", service, active)}
}

func (d *daemon) serviceStatus(name string, cfg *config.Service, state switcher.ServiceState, stats map[string]proxy.SlotStats, before map[place]switcher.DrainCount) control.ServiceStatus {
	s := control.ServiceStatus{
		Name:        name,
		Listen:      cfg.Listen,
		Active:      state.Active,
		Previous:    state.Previous,
		Since:       state.Since,
		RolledBack:  state.RolledBack,
		Held:        state.Held,
		Outage:      d.outageStatus(name, cfg),
		Waiting:     d.proxy.Waiting(name),
		Queued:      d.proxy.Queued(name),
		BadReleases: state.BadReleases,
	}
	if state.Bake != nil {
		result := d.bakes.live(name, state.Bake.BakeResult)
		s.Bake = &result
	}
	for _, slot := range []switcher.Slot{switcher.Blue, switcher.Green} {
		s.Slots = append(s.Slots, d.slotStatus(place{name, slot}, cfg, state.Active == slot, stats[string(slot)], before[place{name, slot}]))
	}
	return s
}

func (d *daemon) slotStatus(p place, cfg *config.Service, active bool, stats proxy.SlotStats, before switcher.DrainCount) control.SlotStatus {
	place := cfg.Slots[string(p.slot)]
	recent := d.sampler.since(p.service, string(p.slot), stats)
	return control.SlotStatus{
		Name:         p.slot,
		Address:      place.Address,
		Unit:         place.Unit,
		Active:       active,
		Release:      d.releaseOf(p.service, p.slot),
		Health:       healthStatus(d.watches.status(p)),
		InFlight:     stats.InFlight - stats.Streams + before.OpenRequests,
		Streams:      stats.Streams + before.OpenStreams,
		StreamsUntil: d.streamsUntil(p, active, stats.Streams),
		StreamsEnded: uint64(stats.StreamsEnded),
		StreamsCut:   uint64(stats.StreamsCut),
		Draining:     stats.Draining > 0 || before.Moved > 0 || !active && before.OpenRequests+before.OpenStreams > 0,
		Requests:     uint64(stats.Total()),
		Errors:       uint64(stats.Errors),
		ByClass:      byClass(stats.Requests),
		ByCause:      byCause(stats.Causes),
		Rate:         recent.rate,
		P50:          recent.p50,
		P99:          recent.p99,
		Runs:         d.unitStatus(p),
		Role:         d.roles.status(p),
	}
}

// streamsUntil is when the streams of a slot that was left are ended.
func (d *daemon) streamsUntil(p place, active bool, open int64) time.Time {
	if active || open == 0 {
		return time.Time{}
	}
	return d.streams.until(p)
}

func healthStatus(s health.Status) control.HealthStatus {
	return control.HealthStatus{
		State:  s.State.String(),
		Since:  s.Since,
		Probed: s.Probed,
		Took:   s.Took,
		Error:  errorText(s.Err),
	}
}

// byClass names the classes of status; those that did not occur are left out.
func byClass(counts [6]int64) map[string]uint64 {
	classes := map[string]uint64{}
	for i, name := range []string{"none", "1xx", "2xx", "3xx", "4xx", "5xx"} {
		if counts[i] > 0 {
			classes[name] = uint64(counts[i])
		}
	}
	return classes
}

func byCause(counts map[string]int64) map[string]uint64 {
	causes := make(map[string]uint64, len(counts))
	for name, n := range counts {
		causes[name] = uint64(n)
	}
	return causes
}
