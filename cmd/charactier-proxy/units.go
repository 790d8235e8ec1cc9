package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"charactier-proxy/switcher/role"
)

// unitState is what the daemon wants to know of a systemd unit.
type unitState struct {
	Load       string // loaded, not-found, masked, ...
	Active     string // active, inactive, failed, activating, ...
	Sub        string // running, dead, auto-restart, ...
	Result     string // success, exit-code, signal, ...
	Enabled    string // enabled, disabled, masked, static, ...
	Restarts   uint32 // by systemd, since somebody started it
	Invocation string // another one for each run
	Since      time.Time
}

// up reports whether the unit's process is there and meant to stay.
func (s unitState) up() bool {
	return s.Active == "active" || s.Active == "reloading" || s.Active == "refreshing"
}

// dead reports whether the unit has no process.
func (s unitState) dead() bool { return s.Active == "inactive" || s.Active == "failed" }

// String is "inactive", or "failed (exit-code)" where systemd says why.
func (s unitState) String() string {
	if s.Result == "" || s.Result == "success" {
		return s.Active
	}
	return s.Active + " (" + s.Result + ")"
}

// unitBus is a connection to systemd. Follow calls changed with the unit's state
// now and after each change, until it returns false, ctx ends or the connection
// is lost.
type unitBus interface {
	role.Units
	Follow(ctx context.Context, unit string, changed func(unitState) bool) error
	Close() error
}

// The pauses between two attempts to reach systemd.
const (
	minUnitsPause = time.Second
	maxUnitsPause = 30 * time.Second
)

// units watch the systemd unit of each slot. Where there is no systemd nothing
// is known of them, and everything else works.
type units struct {
	connect  func(context.Context) (unitBus, error) // nil: there is no systemd
	tasks    *tasks
	log      *zap.Logger
	onChange func(p place, unit string, before, now unitState)

	mu     sync.RWMutex
	bus    unitBus // nil while there is no connection
	wanted map[place]string
	known  map[place]unitRecord
}

const unitsTask = "units"

// apply watches the wanted units from now on. It must not be called by several
// goroutines at once.
func (u *units) apply(wanted map[place]string) {
	if u.connect == nil || maps.Equal(u.wanted, wanted) {
		return
	}
	u.tasks.stop(unitsTask)
	u.mu.Lock()
	maps.DeleteFunc(u.known, func(p place, _ unitRecord) bool { return u.wanted[p] != wanted[p] })
	u.wanted = wanted
	u.mu.Unlock()
	if len(wanted) > 0 {
		u.tasks.start(unitsTask, u.run)
	}
}

// run follows the units until ctx ends, and connects again when the connection
// is lost.
func (u *units) run(ctx context.Context) error {
	pause, lost := minUnitsPause, true
	for {
		err := u.follow(ctx, func() { pause, lost = minUnitsPause, true })
		if ctx.Err() != nil {
			return nil
		}
		u.forget()
		if lost {
			u.log.Info("systemd does not answer: until it does, nothing is known of the slots' units", zap.Error(err))
		}
		lost = false // it is said once
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
		pause = min(2*pause, maxUnitsPause)
	}
}

// follow connects and follows every unit until ctx ends or something fails.
func (u *units) follow(ctx context.Context, connected func()) (err error) {
	bus, err := u.connect(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bus.Close()) }()
	connected()
	u.use(bus)
	defer u.use(nil)
	group, ctx := errgroup.WithContext(ctx)
	for p, unit := range u.wanted {
		group.Go(func() error {
			return bus.Follow(ctx, unit, func(s unitState) bool {
				u.learn(p, unit, s)
				return true
			})
		})
	}
	return group.Wait()
}

func (u *units) use(bus unitBus) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.bus = bus
}

// forget is for a connection that was lost: what was known may be wrong by now.
func (u *units) forget() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.known = nil
}

func (u *units) learn(p place, unit string, s unitState) {
	u.mu.Lock()
	before := u.known[p]
	if u.known == nil {
		u.known = map[place]unitRecord{}
	}
	u.known[p] = before.next(s, time.Now())
	u.mu.Unlock()
	u.onChange(p, unit, before.state, s)
}

// get returns what is known of a place's unit.
func (u *units) get(p place) (unitRecord, bool) {
	u.mu.RLock()
	defer u.mu.RUnlock()
	r, ok := u.known[p]
	return r, ok
}

// dead reports whether it is known that a place's unit has no process.
func (u *units) dead(p place) bool {
	r, ok := u.get(p)
	return ok && r.state.dead()
}

// Start and Stop are for units that belong to a slot's role.
func (u *units) Start(ctx context.Context, unit string) error {
	bus, err := u.connection()
	if err != nil {
		return err
	}
	return bus.Start(ctx, unit)
}

// Stop see Start.
func (u *units) Stop(ctx context.Context, unit string) error {
	bus, err := u.connection()
	if err != nil {
		return err
	}
	return bus.Stop(ctx, unit)
}

var errNoSystemd = errors.New("systemd does not answer")

func (u *units) connection() (unitBus, error) {
	u.mu.RLock()
	defer u.mu.RUnlock()
	if u.bus == nil {
		return nil, errNoSystemd
	}
	return u.bus, nil
}

// unitRecord is what is known of a unit and of its recent past.
type unitRecord struct {
	state    unitState
	changed  time.Time // when its Active or its run was seen to change
	restarts []restartCount
}

type restartCount struct {
	at time.Time
	n  uint32
}

// restartWindow and restartLimit say what restarting again and again is.
const (
	restartWindow = time.Minute
	restartLimit  = 3
)

// next is the record after another state was seen.
func (r unitRecord) next(s unitState, now time.Time) unitRecord {
	if s.Active != r.state.Active || s.Invocation != r.state.Invocation {
		r.changed = now
	}
	last := len(r.restarts) - 1
	switch {
	case last < 0, s.Restarts < r.restarts[last].n: // somebody started it anew
		r.restarts = []restartCount{{now, s.Restarts}}
	case s.Restarts > r.restarts[last].n:
		r.restarts = append(r.recent(now), restartCount{now, s.Restarts})
	}
	r.state = s
	return r
}

// recent are the counts of the window, and the last one before it.
func (r unitRecord) recent(now time.Time) []restartCount {
	kept := r.restarts
	for len(kept) > 1 && now.Sub(kept[1].at) >= restartWindow {
		kept = kept[1:]
	}
	return append([]restartCount(nil), kept...)
}

// restarted is how often systemd restarted the unit within the window.
func (r unitRecord) restarted(now time.Time) uint32 {
	kept := r.recent(now)
	if len(kept) == 0 {
		return 0
	}
	last := kept[len(kept)-1]
	if now.Sub(last.at) >= restartWindow {
		return 0
	}
	return last.n - kept[0].n
}

// unitText is "backend/green: charactier-backend-green.service is failed (signal)".
func unitText(p place, unit string, s unitState) string {
	return fmt.Sprintf("%s: %s is %s", p, unit, s)
}
