package reconcile

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"charactier-proxy/switcher"
	"charactier-proxy/systemd"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// fakeUnits is systemd: what is asked of it comes about at once.
type fakeUnits struct {
	states map[string]systemd.UnitState
	did    []string
	err    error        // of whatever changes something
	stale  []string     // not enabled, whatever systemd remembers
	onStop func(string) // while it stops

	onEnable, onDisable func(string) // before and while it happens
}

func (u *fakeUnits) State(_ context.Context, unit string) (systemd.UnitState, error) {
	s, ok := u.states[unit]
	if !ok {
		s.LoadState = "not-found"
	}
	return s, nil
}

func (u *fakeUnits) change(what, unit string, change func(*systemd.UnitState)) error {
	if u.err != nil {
		return u.err
	}
	u.did = append(u.did, what+" "+unit)
	s := u.states[unit]
	change(&s)
	u.states[unit] = s
	return nil
}

func (u *fakeUnits) Start(_ context.Context, unit string) error {
	return u.change("start", unit, func(s *systemd.UnitState) { s.ActiveState, s.ActiveSince = "active", noon })
}

func (u *fakeUnits) Stop(_ context.Context, unit string) error {
	if u.onStop != nil {
		u.onStop(unit)
	}
	return u.change("stop", unit, func(s *systemd.UnitState) { s.ActiveState = "inactive" })
}

func (u *fakeUnits) Enable(_ context.Context, units ...string) error {
	if u.onEnable != nil {
		u.onEnable(units[0])
	}
	if u.states[units[0]].UnitFileState == "enabled" && !slices.Contains(u.stale, units[0]) {
		return u.err // nothing is to be done
	}
	return u.change("enable", units[0], func(s *systemd.UnitState) { s.UnitFileState = "enabled" })
}

func (u *fakeUnits) Disable(_ context.Context, units ...string) error {
	if u.onDisable != nil {
		u.onDisable(units[0])
	}
	return u.change("disable", units[0], func(s *systemd.UnitState) { s.UnitFileState = "disabled" })
}

// world is one service after a switch to green an hour ago: blue is still
// enabled and runs.
type world struct {
	units   *fakeUnits
	service Service
	// later is the service as it is when it is looked at again.
	later *Service
	said  []string
	r     *Reconciler
}

func newWorld() *world {
	w := &world{
		units: &fakeUnits{states: map[string]systemd.UnitState{
			"b.service": {LoadState: "loaded", ActiveState: "active", UnitFileState: "enabled", ActiveSince: noon.Add(-48 * time.Hour)},
			"g.service": {LoadState: "loaded", ActiveState: "active", UnitFileState: "disabled", ActiveSince: noon.Add(-61 * time.Minute)},
		}},
		service: Service{
			Name: "backend", Active: Slot{Name: switcher.Green, Unit: "g.service"}, Standby: Slot{Name: switcher.Blue, Unit: "b.service"},
			Since: noon.Add(-time.Hour), Warm: 10 * time.Minute,
		},
	}
	w.r = &Reconciler{
		Units: w.units, Now: func() time.Time { return noon }, Say: func(s string) { w.said = append(w.said, s) },
		Look: func(context.Context, string) (Service, error) {
			if w.later != nil {
				return *w.later, nil
			}
			return w.service, nil
		},
		Lock: func(context.Context) (func(), error) { return func() {}, nil },
	}
	return w
}

func (w *world) run(t *testing.T) { t.Helper(); w.try(t, nil) }

func (w *world) try(t *testing.T, want error) {
	t.Helper()
	if err := w.r.Run(t.Context(), []Service{w.service}); !errors.Is(err, want) {
		t.Errorf("the error is %v, want %v", err, want)
	}
}

func (w *world) set(unit string, change func(*systemd.UnitState)) {
	s := w.units.states[unit]
	change(&s)
	w.units.states[unit] = s
}

func (w *world) expect(t *testing.T, did ...string) {
	t.Helper()
	if diff := cmp.Diff(did, w.units.did); diff != "" {
		t.Errorf("done (-want +got):\n%s", diff)
	}
}

func TestSystemdComesToAgreeAndThenThereIsNothingToDo(t *testing.T) {
	w := newWorld()
	w.run(t)
	all := []string{"enable g.service", "disable b.service", "stop b.service"}
	w.expect(t, all...)
	want := []string{
		"enabled g.service: green is the active slot of backend",
		"disabled b.service: blue is the standby of backend",
		"stopped b.service: blue is the standby of backend, and its warm time of 10m0s is over",
	}
	if diff := cmp.Diff(want, w.said); diff != "" {
		t.Errorf("said (-want +got):\n%s", diff)
	}
	w.run(t)
	w.expect(t, all...)
	if len(w.said) != len(want) {
		t.Errorf("with nothing to do it said %q", w.said[len(want):])
	}
}

func TestAStandbyIsNotStoppedWhile(t *testing.T) {
	for name, reason := range map[string]func(*world){
		"it is warm":               func(w *world) { w.service.Since = noon.Add(-9 * time.Minute) },
		"requests are on it":       func(w *world) { w.service.Standby.Busy = true },
		"the service is held":      func(w *world) { w.service.Held = true },
		"its warm time has no end": func(w *world) { w.service.Warm = -1 },
		"somebody started it after": func(w *world) {
			w.set("b.service", func(s *systemd.UnitState) { s.ActiveSince = noon.Add(-9 * time.Minute) })
		},
		"somebody started it, and it is 0": func(w *world) {
			w.service.Warm = 0
			w.set("b.service", func(s *systemd.UnitState) { s.ActiveSince = noon.Add(-time.Minute) })
		},
		"it just became busy":                 func(w *world) { l := w.service; l.Standby.Busy = true; w.later = &l },
		"it is just starting":                 func(w *world) { w.set("b.service", func(s *systemd.UnitState) { s.ActiveState = "activating" }) },
		"only what is enabled may be touched": func(w *world) { w.r.EnableOnly = true },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			reason(w)
			w.run(t)
			w.expect(t, "enable g.service", "disable b.service")
		})
	}
}

// What may be the next to be active stays enabled: a power cut right after the
// swap must find it so.
func TestAStandbyIsNotDisabledWhile(t *testing.T) {
	for name, reason := range map[string]func(*world){
		"a bake runs":              func(w *world) { w.service.Baking = true },
		"a bake was just begun":    func(w *world) { l := w.service; l.Baking = true; w.later = &l },
		"a deploy is not finished": func(w *world) { w.service.Unsettled = true },
		"a deploy was just begun":  func(w *world) { l := w.service; l.Unsettled, l.Standby.Busy = true, true; w.later = &l },
		"it was just switched to": func(w *world) {
			l := w.service
			l.Active, l.Standby = l.Standby, l.Active
			w.later = &l
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			w.service.Warm = -1
			reason(w)
			w.run(t)
			w.expect(t, "enable g.service")
		})
	}
}

func TestAStandbyIsNotDisabledUnlessTheActiveSlotIsEnabled(t *testing.T) {
	w := newWorld()
	w.service.Warm = -1
	denied := errors.New("access denied")
	w.units.onEnable = func(string) { w.units.err = denied }
	w.units.onDisable = func(string) { t.Error("the standby was disabled all the same") }
	w.try(t, denied)
	// Nor if somebody disables that one at the same moment.
	w = newWorld()
	w.service.Warm = -1
	w.r.Lock = func(context.Context) (func(), error) {
		w.set("g.service", func(s *systemd.UnitState) { s.UnitFileState = "disabled" })
		return func() {}, nil
	}
	w.run(t)
	w.expect(t, "enable g.service")
}

func TestWithoutTheLockNothingIsDisabled(t *testing.T) {
	w := newWorld()
	w.service.Warm = -1
	locked := errors.New("somebody has it")
	w.r.Lock = func(context.Context) (func(), error) { return nil, locked }
	w.try(t, locked)
	w.expect(t, "enable g.service")
}

func TestASwitchThatSlipsInIsEnabledAgain(t *testing.T) {
	w := newWorld()
	w.service.Warm = -1
	w.units.onDisable = func(string) { l := w.service; l.Active, l.Standby = l.Standby, l.Active; w.later = &l }
	w.run(t)
	w.expect(t, "enable g.service", "disable b.service", "enable b.service")
	if last := w.said[len(w.said)-1]; !strings.Contains(last, "enabled b.service again") {
		t.Errorf("it said %q", last)
	}
}

func TestASwitchThatSlipsInIsGivenItsUnitBack(t *testing.T) {
	w := newWorld()
	w.units.onStop = func(string) { l := w.service; l.Active, l.Standby = l.Standby, l.Active; w.later = &l }
	w.run(t)
	w.expect(t, "enable g.service", "disable b.service", "stop b.service", "start b.service")
	if last := w.said[len(w.said)-1]; !strings.Contains(last, "started b.service again") {
		t.Errorf("it said %q", last)
	}
}

// slowUnits stop so slowly that the time for the whole run is over.
type slowUnits struct {
	*fakeUnits
	over context.CancelFunc
}

func (u slowUnits) Stop(ctx context.Context, unit string) error {
	err := u.fakeUnits.Stop(ctx, unit)
	u.over()
	return errors.Join(err, ctx.Err())
}

func (u slowUnits) Start(ctx context.Context, unit string) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return u.fakeUnits.Start(ctx, unit)
}

func TestASwitchThatSlipsInIsGivenItsUnitBackThoughTheTimeIsOver(t *testing.T) {
	w := newWorld()
	switched := w.service
	switched.Active, switched.Standby = w.service.Standby, w.service.Active
	w.units.onStop = func(string) { w.later = &switched }
	ctx, cancel := context.WithCancel(t.Context())
	w.r.Units = slowUnits{w.units, cancel}
	if err := w.r.Run(ctx, []Service{w.service}); !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
	if !slices.Contains(w.units.did, "start b.service") {
		t.Errorf("the active slot's unit was left stopped: %v", w.units.did)
	}
}

func TestTheActiveSlotIsStartedUnlessItFails(t *testing.T) {
	for name, c := range map[string]struct {
		state func(*systemd.UnitState)
		did   []string
		says  string
	}{
		"stopped":    {func(s *systemd.UnitState) { s.ActiveState = "inactive" }, []string{"start g.service"}, "started g.service"},
		"failed":     {func(s *systemd.UnitState) { s.ActiveState, s.Result = "failed", "exit-code" }, nil, "it has failed (exit-code)"},
		"restarting": {func(s *systemd.UnitState) { s.ActiveState, s.SubState, s.NRestarts = "activating", "auto-restart", 3 }, nil, "3 restarts"},
		"stopping":   {func(s *systemd.UnitState) { s.ActiveState = "deactivating" }, nil, ""},
		"masked": {func(s *systemd.UnitState) {
			s.LoadState, s.UnitFileState, s.ActiveState = "masked", "masked", "inactive"
		}, nil, "left g.service masked"},
		"static": {func(s *systemd.UnitState) { s.UnitFileState = "static" }, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			w.set("g.service", func(s *systemd.UnitState) { s.UnitFileState = "enabled" })
			w.set("b.service", func(s *systemd.UnitState) { s.ActiveState, s.UnitFileState = "inactive", "disabled" })
			w.set("g.service", c.state)
			w.run(t)
			w.expect(t, c.did...)
			if said := strings.Join(w.said, "\n"); !strings.Contains(said, c.says) || c.says == "" && said != "" {
				t.Errorf("it said %q", said)
			}
		})
	}
}

func TestAHeldServiceIsSomebodysWork(t *testing.T) {
	w := newWorld()
	w.service.Held = true
	w.set("g.service", func(s *systemd.UnitState) { s.ActiveState, s.UnitFileState = "inactive", "enabled" })
	w.run(t)
	w.expect(t, "disable b.service")
}

func TestWhatHasNoUnitIsLeftAlone(t *testing.T) {
	for _, unit := range []string{"", "nowhere.service"} {
		w := newWorld()
		w.service.Active.Unit, w.service.Standby.Unit = unit, unit
		w.run(t)
		w.expect(t)
		if len(w.said) > 0 {
			t.Errorf("it said %q", w.said)
		}
	}
}

func TestOneServicesFailureKeepsNoOtherFromBeingDone(t *testing.T) {
	w := newWorld()
	broken := errors.New("access denied")
	w.units.err = broken
	w.try(t, broken)
	if len(w.said) > 0 {
		t.Errorf("it said what was not done: %q", w.said)
	}
	other := w.service
	other.Name = "frontend"
	w.r.Look = func(context.Context, string) (Service, error) { return Service{}, broken }
	w.units.err = nil
	if err := w.r.Run(t.Context(), []Service{w.service, other}); !errors.Is(err, broken) || !strings.Contains(err.Error(), "frontend: ") {
		t.Errorf("the error is %v", err)
	}
	if slices.Contains(w.units.did, "stop b.service") {
		t.Error("a standby was stopped although the daemon did not answer again")
	}
}

// A command that was killed right after it disabled a unit has not told systemd
// to read its files again.
func TestTheStandbyIsDisabledOnceTheActiveSlotIsCertainlyEnabled(t *testing.T) {
	w := newWorld()
	g := w.units.states["g.service"]
	g.UnitFileState = "enabled"
	w.units.states["g.service"], w.units.stale = g, []string{"g.service"}
	w.service.Standby.Busy = true // it is not to be stopped too
	if err := w.r.Run(t.Context(), []Service{w.service}); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"enable g.service", "disable b.service"}, w.units.did); diff != "" {
		t.Errorf("done (-want +got):\n%s", diff)
	}
}
