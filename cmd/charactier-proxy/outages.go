package main

import (
	"fmt"
	"time"

	"go.uber.org/zap"

	"charactier-proxy/cmd/internal/config"
	"charactier-proxy/health"
	"charactier-proxy/proxy"
	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
)

// kindOutage is the kind of the events that tell of outages.
const kindOutage = "outage"

// outageChanged is told by the data path when requests begin to wait for a slot
// that takes no connections, and when that is over. It must not block.
func (d *daemon) outageChanged(o proxy.Outage) {
	level, logLevel, text := switcher.LevelWarn, zap.WarnLevel, ""
	switch {
	case o.Until.IsZero():
		text = d.outageBegins(o)
	default:
		text = outageEnds(o)
		if o.TurnedAway == 0 {
			level, logLevel = switcher.LevelInfo, zap.InfoLevel
		}
	}
	d.events.Publish(switcher.Event{Kind: kindOutage, Service: o.Service, Slot: switcher.Slot(o.Slot), Level: level, Text: text})
	d.log.Log(logLevel, "outage", zap.String("service", o.Service), zap.String("slot", o.Slot), zap.String("what", text),
		zap.Time("since", o.Since), zap.Int64("waited", o.Waited), zap.Duration("longest", o.Longest), zap.Int64("turned_away", o.TurnedAway), zap.Error(o.Err))
}

func (d *daemon) outageBegins(o proxy.Outage) string {
	text := fmt.Sprintf("%s/%s takes no connections, so requests wait", o.Service, o.Slot)
	if cfg := d.config.current().Services[o.Service]; cfg != nil {
		text += fmt.Sprintf(" (at most %d, each at most %s)", cfg.Hold.Requests, cfg.Hold.Time)
	}
	return text + ": " + errorText(o.Err)
}

func outageEnds(o proxy.Outage) string {
	text := fmt.Sprintf("%s/%s takes connections again after %s", o.Service, o.Slot, rounded(o.Until.Sub(o.Since)))
	if o.Left {
		text = fmt.Sprintf("%s/%s took no connections for %s, and is not waited for any more: the requests go to what is active now", o.Service, o.Slot, rounded(o.Until.Sub(o.Since)))
	}
	text += fmt.Sprintf("; waited: %d, the longest for %s", o.Waited, rounded(o.Longest))
	if o.TurnedAway > 0 {
		text += fmt.Sprintf("; turned away with 503: %d", o.TurnedAway)
	}
	return text
}

func rounded(d time.Duration) time.Duration { return d.Round(10 * time.Millisecond) }

// outageStatus is nil while the active slot takes connections, also if no request
// has found that out yet.
func (d *daemon) outageStatus(name string, cfg *config.Service) *control.OutageStatus {
	o, lasts := d.proxy.Outage(name)
	if probed := d.watches.status(place{name, switcher.Slot(o.Slot)}); lasts && probed.State == health.Healthy && probed.Probed.After(o.Since) {
		d.proxy.Reached(name, o.Slot)
		o, lasts = d.proxy.Outage(name) // goes on where a stop was announced
	}
	if !lasts {
		return nil
	}
	return &control.OutageStatus{
		Slot: switcher.Slot(o.Slot), Since: o.Since, Error: errorText(o.Err), Waited: o.Waited, TurnedAway: o.TurnedAway,
		MaxWait: cfg.Hold.Time, MaxRequests: cfg.Hold.Requests,
	}
}

// waitedFor reports whether all that comes for an unhealthy slot waits and none of
// it has failed: nobody listens there, for no longer than a request waits.
func (d *daemon) waitedFor(name string, s health.Status) bool {
	cfg := d.config.current().Services[name]
	o, lasts := d.proxy.Outage(name)
	return cfg != nil && health.Refused(s.Err) && time.Since(s.Since) < cfg.Hold.Time && !(lasts && o.TurnedAway > 0)
}
