package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
	"charactier-proxy/switcher/role"
)

const (
	blueUnit  = "charactier-backend-blue.service"
	greenUnit = "charactier-backend-green.service"
)

// fakeSystemd knows units, and can be restarted or not be there.
type fakeSystemd struct {
	mu       sync.Mutex
	units    map[string]unitState
	changed  chan struct{} // closed and replaced at each change
	away     bool
	connects int
	asked    []string
}

func newFakeSystemd(units map[string]unitState) *fakeSystemd {
	return &fakeSystemd{units: units, changed: make(chan struct{})}
}

// calm are two units as they should be with blue active.
func calmUnits() map[string]unitState {
	return map[string]unitState{
		blueUnit:  {Load: "loaded", Active: "active", Sub: "running", Enabled: "enabled", Invocation: "b1"},
		greenUnit: {Load: "loaded", Active: "active", Sub: "running", Enabled: "disabled", Invocation: "g1"},
	}
}

func (f *fakeSystemd) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *fakeSystemd) setUnit(unit string, change func(*unitState)) {
	f.set(func() {
		s := f.units[unit]
		change(&s)
		f.units[unit] = s
	})
}

func (f *fakeSystemd) connect(context.Context) (unitBus, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.connects++
	if f.away {
		return nil, errors.New("no such file or directory")
	}
	return fakeBus{f}, nil
}

func (f *fakeSystemd) look(unit string) (s unitState, changed chan struct{}, away bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.units[unit], f.changed, f.away
}

func (f *fakeSystemd) wasAsked() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.asked)
}

type fakeBus struct{ *fakeSystemd }

func (f fakeBus) Close() error { return nil }

func (f fakeBus) Follow(ctx context.Context, unit string, told func(unitState) bool) error {
	for {
		s, changed, away := f.look(unit)
		if away {
			return errors.New("the connection was lost")
		}
		if !told(s) {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (f fakeBus) Start(_ context.Context, unit string) error { return f.ask("start " + unit) }
func (f fakeBus) Stop(_ context.Context, unit string) error  { return f.ask("stop " + unit) }

func (f *fakeSystemd) ask(what string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, what)
	return nil
}

func newWorldWithUnits(t *testing.T, f *fakeSystemd, yaml string) *world {
	return newWorldWith(t, yaml, func(o *daemonOptions) { o.connectUnits = f.connect })
}

func TestTheStatusShowsWhatSystemdSays(t *testing.T) {
	f := newFakeSystemd(calmUnits())
	w := newWorldWithUnits(t, f, services(service("backend", freeAddress(t), namedSlot(t, "blue"), namedSlot(t, "green"))))
	await(t, "the units to be known", func() bool { return w.slot(switcher.Blue).Runs != nil && w.slot(switcher.Green).Runs != nil })
	if got := w.slot(switcher.Green).Runs; got.Active != "active" || got.Sub != "running" || got.Enabled != "disabled" {
		t.Errorf("green's unit: %+v", got)
	}
	f.setUnit(blueUnit, func(s *unitState) { s.Active, s.Result, s.Restarts = "failed", "exit-code", 2 })
	await(t, "the change to show", func() bool {
		got := w.slot(switcher.Blue).Runs
		return got.Active == "failed" && got.Result == "exit-code" && got.Restarts == 2
	})
	if !w.saw("unit", "backend/blue: "+blueUnit+" is failed (exit-code)") {
		t.Error("no event tells of it")
	}
}

func TestWithoutSystemdNothingIsKnownAndAllWorks(t *testing.T) {
	f := newFakeSystemd(nil)
	f.away = true
	address := freeAddress(t)
	w := newWorldWithUnits(t, f, services(service("backend", address, namedSlot(t, "blue"), namedSlot(t, "green"))))
	await(t, "the log to say so", func() bool { return w.log.contains("systemd does not answer") })
	if _, err := w.client.Switch(t.Context(), control.SwitchRequest{}); err != nil {
		t.Error(err)
	}
	if s := w.status(); w.slot(switcher.Blue).Runs != nil || len(s.Drift) > 0 {
		t.Errorf("runs %+v, drift %q", w.slot(switcher.Blue).Runs, s.Drift)
	}
}

// A slot whose unit ends must not wait for the next probe, which here comes in
// an hour.
func TestAUnitThatEndsIsNoticedAtOnce(t *testing.T) {
	f := newFakeSystemd(calmUnits())
	blue := newStagehand(t)
	yaml := services(service("backend", freeAddress(t), blue.address(), namedSlot(t, "green")))
	w := newWorldWithUnits(t, f, strings.Replace(yaml, "interval: 50ms", "interval: 1h, rise: 1", 1))
	await(t, "blue to be healthy and its unit to be known", func() bool {
		s := w.slot(switcher.Blue)
		return s.Health.State == "healthy" && s.Runs != nil
	})
	blue.Close()
	f.setUnit(blueUnit, func(s *unitState) { s.Active, s.Sub, s.Result = "failed", "failed", "signal" })
	await(t, "blue to be unhealthy", func() bool { return w.slot(switcher.Blue).Health.State == "unhealthy" })
}

func TestARestartedUnitIsToldItsRole(t *testing.T) {
	f := newFakeSystemd(calmUnits())
	blue, green := newStagehand(t), newStagehand(t)
	w := newWorldWithUnits(t, f, told(freeAddress(t), blue.address(), green.address(), "path: /internal/role, refresh: 1h"))
	w.awaitRole(switcher.Blue, role.Active)
	await(t, "the unit to be known", func() bool { return w.slot(switcher.Blue).Runs != nil })
	w.awaitRole(switcher.Blue, role.Active)
	before := w.slot(switcher.Blue).Role.Since
	f.setUnit(blueUnit, func(s *unitState) { s.Invocation = "b2" })
	await(t, "blue to be told again", func() bool {
		r := w.slot(switcher.Blue).Role
		return r.Told == string(role.Active) && r.Since.After(before)
	})
	// A unit that is stopped has no role, and is told one when it is back.
	f.setUnit(blueUnit, func(s *unitState) { s.Active = "inactive" })
	await(t, "blue to have no role", func() bool { r := w.slot(switcher.Blue).Role; return r.Told == "" && r.Error == "" })
	f.setUnit(blueUnit, func(s *unitState) { s.Active, s.Invocation = "active", "b3" })
	w.awaitRole(switcher.Blue, role.Active)
}

func TestAWorkersUnitRunsBesideTheActiveSlot(t *testing.T) {
	f := newFakeSystemd(calmUnits())
	w := newWorldWithUnits(t, f, told(freeAddress(t), namedSlot(t, "blue"), namedSlot(t, "green"), `unit: "worker-{slot}.service"`))
	w.awaitRole(switcher.Blue, role.Active)
	before := len(f.wasAsked())
	if _, err := w.client.Switch(t.Context(), control.SwitchRequest{}); err != nil {
		t.Fatal(err)
	}
	w.awaitRole(switcher.Green, role.Active)
	w.awaitRole(switcher.Blue, role.Standby)
	// Either may be asked again, once its unit's state is known.
	asked := f.wasAsked()[before:]
	stop, start := slices.Index(asked, "stop worker-blue.service"), slices.Index(asked, "start worker-green.service")
	if stop < 0 || start < stop {
		t.Errorf("since the switch systemd was asked %q", asked)
	}
}

func TestAWorkerNeedsNoUnitOfItsSlot(t *testing.T) {
	f := newFakeSystemd(nil)
	yaml := told(freeAddress(t), namedSlot(t, "blue"), namedSlot(t, "green"), `unit: "worker-{slot}.service"`)
	for _, slot := range []string{"blue", "green"} {
		yaml = strings.Replace(yaml, slot+": {", slot+`: {unit: "", `, 1)
	}
	w := newWorldWithUnits(t, f, yaml)
	w.awaitRole(switcher.Blue, role.Active)
	if asked := fmt.Sprint(f.wasAsked()); !strings.Contains(asked, "start worker-blue.service") {
		t.Errorf("systemd was asked %s", asked)
	}
}

func TestTheUnitsAreFollowedAgainAfterTheBusWasAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeSystemd(calmUnits())
		ctx, cancel := context.WithCancel(t.Context())
		p := place{"backend", switcher.Blue}
		u := &units{
			connect: f.connect, log: zap.NewNop(), wanted: map[place]string{p: blueUnit},
			onChange: func(place, string, unitState, unitState) {},
		}
		done := make(chan error)
		go func() { done <- u.run(ctx) }()
		synctest.Wait()
		if _, known := u.get(p); !known {
			t.Fatal("the unit is not known")
		}
		f.set(func() { f.away = true })
		synctest.Wait()
		if _, known := u.get(p); known || u.dead(p) {
			t.Error("without a connection something is known of the unit")
		}
		if err := u.Start(ctx, "x.service"); err == nil {
			t.Error("a unit was started without a connection")
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if f.connects < 10 || f.connects > 60 {
			t.Errorf("%d attempts within ten minutes", f.connects)
		}
		f.set(func() { f.away, f.units[blueUnit] = false, unitState{Active: "failed"} })
		time.Sleep(maxUnitsPause)
		synctest.Wait()
		if !u.dead(p) {
			t.Error("the unit's new state is not known")
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// readLines returns a file's lines, sorted, each once.
func readLines(t *testing.T, name string) []string {
	t.Helper()
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(raw)), "\n")
	slices.Sort(lines)
	return slices.Compact(lines)
}

// Nobody need have tried to connect while the slot was away.
func TestAnAnnouncedStopIsOverWithTheUnitsNextRun(t *testing.T) {
	f := newFakeSystemd(calmUnits())
	address := freeAddress(t)
	w := newWorldWithUnits(t, f, services(service("backend", address, namedSlot(t, "blue"), namedSlot(t, "green"))+"    hold: {time: 1h}\n"))
	await(t, "the unit to be known", func() bool { return w.slot(switcher.Blue).Runs != nil })
	if r, err := w.client.Stopping(t.Context(), control.StoppingRequest{Unit: blueUnit}); err != nil || !r.Active {
		t.Fatalf("%+v, %v", r, err)
	}
	for _, now := range []unitState{
		{Active: "deactivating", Invocation: "b1"}, {Active: "inactive", Invocation: "b1"},
		{Active: "activating", Invocation: "b2"}, {Active: "active", Invocation: "b2"},
	} {
		f.setUnit(blueUnit, func(s *unitState) { s.Active, s.Invocation = now.Active, now.Invocation })
		await(t, "the unit to be "+now.Active, func() bool { return w.slot(switcher.Blue).Runs.Active == now.Active })
	}
	if status, body, err := get(address, "/"); status != http.StatusOK {
		t.Errorf("got %d %s %v", status, body, err)
	}
}
