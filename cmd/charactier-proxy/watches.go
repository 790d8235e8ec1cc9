package main

import (
	"context"
	"fmt"
	"reflect"
	"sync"

	"go.uber.org/zap"

	"charactier-proxy/health"
	"charactier-proxy/switcher"
)

// place is one slot of one service.
type place struct {
	service string
	slot    switcher.Slot
}

func (p place) String() string { return p.service + "/" + string(p.slot) }

// watch is the health watch of one place.
type watch struct {
	*health.Watcher
	address string
	check   health.Check
}

// watches keep one health watch for each slot of each service.
type watches struct {
	tasks    *tasks
	onChange func(place, health.Status)

	mu      sync.RWMutex
	byPlace map[place]*watch
}

// apply starts, replaces and ends watches so that they are the wanted ones. A
// watch whose address and check did not change goes on and keeps what it knows.
// From its return on, whoever asks about a place asks the new watch. It must not
// be called by several goroutines at once.
func (w *watches) apply(wanted map[place]watch) {
	ended, begun := w.replace(wanted)
	// The lock is not held here: a watch may be busy telling of a change, and
	// requests ask about theirs meanwhile.
	w.tasks.stop(ended...)
	for p, now := range begun {
		w.tasks.start(watchTask(p), func(ctx context.Context) error {
			now.Watch(ctx)
			return nil
		})
	}
}

func (w *watches) replace(wanted map[place]watch) (ended []string, begun map[place]*watch) {
	begun = map[place]*watch{}
	w.mu.Lock()
	defer w.mu.Unlock()
	for p, old := range w.byPlace {
		if now, ok := wanted[p]; !ok || now.address != old.address || !reflect.DeepEqual(now.check, old.check) {
			ended = append(ended, watchTask(p))
			delete(w.byPlace, p)
		}
	}
	for p, now := range wanted {
		if w.byPlace[p] == nil {
			now.Watcher = health.NewWatcher(health.Options{
				Address:  now.address,
				Check:    now.check,
				OnChange: func(s health.Status) { w.onChange(p, s) },
			})
			w.byPlace[p], begun[p] = &now, &now
		}
	}
	return ended, begun
}

func watchTask(p place) string { return "watch " + p.String() }

func (w *watches) get(p place) *watch {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.byPlace[p]
}

// status is what is known of a place; the zero Status where nothing is.
func (w *watches) status(p place) health.Status {
	if found := w.get(p); found != nil {
		return found.Status()
	}
	return health.Status{}
}

// Await is the switcher's Prober: probes back to back, right now.
func (w *watches) Await(ctx context.Context, service string, slot switcher.Slot) error {
	p := place{service, slot}
	found := w.get(p)
	if found == nil {
		return fmt.Errorf("no health check for %s", p)
	}
	return found.Await(ctx)
}

// unitLeft is told that the unit of a place is not active any more.
func (w *watches) unitLeft(p place, err error) {
	if found := w.get(p); found != nil {
		found.Nudge(err)
	}
}

// connectFailed is told by the data path, which must not wait.
func (w *watches) connectFailed(service, slot string, err error) {
	if found := w.get(place{service, switcher.Slot(slot)}); found != nil {
		found.Nudge(err)
	}
}

func (d *daemon) connectFailed(service, slot string, err error) {
	d.watches.connectFailed(service, slot, err)
}

// healthChanged is told of each change of a slot's health. One that is healthy
// again may be another process, which does not know its role.
func (d *daemon) healthChanged(p place, s health.Status) {
	if s.State == health.Healthy {
		d.proxy.Reached(p.service, string(p.slot))
		d.roles.restarted(p)
	}
	level, logLevel, text := switcher.LevelInfo, zap.InfoLevel, p.String()+" is "+s.State.String()
	if s.State == health.Unhealthy {
		d.wentAway(p) // if it was to stop, that is done
		level, logLevel, text = switcher.LevelWarn, zap.WarnLevel, text+": "+errorText(s.Err)
	}
	d.events.Publish(switcher.Event{Kind: "health", Service: p.service, Slot: p.slot, Level: level, Text: text})
	d.log.Log(logLevel, "health changed", zap.String("service", p.service), zap.String("slot", string(p.slot)),
		zap.Stringer("state", s.State), zap.Error(s.Err))
}
