package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"charactier-proxy/health"
	"charactier-proxy/switcher"
)

const (
	// failoverLook is how often is looked whether a slot is to be left.
	failoverLook = 250 * time.Millisecond
	// failoverPause is the least time between two failovers that were tried and did
	// not succeed.
	failoverPause = 30 * time.Second
	// failoverRest is for how long both slots must have been healthy before there is
	// a second failover that nobody has answered with a switch.
	failoverRest = 10 * time.Minute
)

// failoverView is what decides whether a service leaves its active slot.
type failoverView struct {
	state           switcher.ServiceState
	active, standby health.Status
	standbyRelease  string
	rested          string // the failover since which both slots have rested
	after           time.Duration
}

// due reports whether the active slot is dead and the standby well, each for long
// enough, and nobody else is at work on the service. One failover is all there is,
// until somebody has switched or both slots have rested: it must not go to and fro.
func (v failoverView) due(now time.Time) bool {
	s := v.state
	switch {
	case s.Held != nil, s.Bake != nil && s.Bake.Verdict == switcher.Baking:
		return false // an operator's, or the bake's to decide
	case s.RolledBack && s.Previous == s.Active.Other(), v.isBad():
		return false // what was left for being bad is not better than nothing for sure
	case s.FailedOver != nil && s.FailedOver.ID != v.rested:
		return false
	}
	return v.active.State == health.Unhealthy && now.Sub(v.active.Since) >= v.after &&
		v.standby.State == health.Healthy && now.Sub(v.standby.Since) >= v.after
}

func (v failoverView) isBad() bool {
	for _, bad := range v.state.BadReleases {
		if bad.Release == v.standbyRelease {
			return true
		}
	}
	return false
}

// rests reports whether both slots are healthy for long enough.
func (v failoverView) rests(now time.Time) bool {
	return v.active.State == health.Healthy && now.Sub(v.active.Since) >= failoverRest &&
		v.standby.State == health.Healthy && now.Sub(v.standby.Since) >= failoverRest
}

// failOver moves services away from slots that are dead, where that is wanted,
// until ctx ends.
func (d *daemon) failOver(ctx context.Context) {
	tick := time.NewTicker(failoverLook)
	defer tick.Stop()
	rested, tried := map[string]string{}, map[string]time.Time{}
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		now, state := time.Now(), d.switcher.State()
		for name, cfg := range d.config.current().Services {
			if !cfg.Failover.Enabled || d.switcher.Reservation() != nil {
				continue
			}
			s := state.Services[name]
			v := failoverView{
				state: s, after: cfg.Failover.After, rested: rested[name],
				active: d.watches.status(place{name, s.Active}), standby: d.watches.status(place{name, s.Active.Other()}),
				standbyRelease: d.releaseOf(name, s.Active.Other()),
			}
			if s.FailedOver != nil && v.rests(now) {
				rested[name] = s.FailedOver.ID
			}
			if v.due(now) && now.Sub(tried[name]) >= failoverPause && !errors.Is(d.failOverOnce(ctx, name, v), switcher.ErrBusy) {
				tried[name] = now
			}
		}
	}
}

// failOverOnce moves one service and says so loudly.
func (d *daemon) failOverOnce(ctx context.Context, name string, v failoverView) error {
	from, to := v.state.Active, v.state.Active.Other()
	why := fmt.Sprintf("%s is unhealthy since %s: %s", from, v.active.Since.Local().Format(time.TimeOnly), errorText(v.active.Err))
	rec, _, err := d.switcher.Failover(ctx, switcher.Request{
		Services: []string{name}, To: to, Actor: daemonActor("failover"), Reason: why,
	})
	switch {
	case err == nil && rec.Outcome == switcher.Done:
		text := fmt.Sprintf("%s: FAILOVER: the traffic moved from %s to %s by itself, because %s", name, from, to, why)
		d.events.Publish(switcher.Event{Kind: string(switcher.KindFailover), Op: rec.ID, Service: name, Slot: to, Level: switcher.LevelError, Text: text})
		d.log.Error("failover", zap.String("service", name), zap.String("from", string(from)), zap.String("to", string(to)), zap.String("why", why), zap.String("op", rec.ID))
	case err != nil && !errors.Is(err, switcher.ErrBusy) && ctx.Err() == nil:
		d.log.Error("failing over", zap.String("service", name), zap.String("to", string(to)), zap.String("why", why), zap.Error(err))
	}
	return err
}

// failoverWarning says what to do after a failover.
func failoverWarning(service string, s switcher.ServiceState) []string {
	if s.FailedOver == nil {
		return nil
	}
	from := s.Active.Other()
	return []string{fmt.Sprintf("%s: %s took over by itself at %s, because %s: find out why %s died, then charactier-proxyctl switch %s --service %s. There is no second failover until somebody has switched or both slots were healthy for %s",
		service, s.Active, s.FailedOver.Since.Local().Format(time.DateTime), s.FailedOver.Reason, from, from, service, failoverRest)}
}
