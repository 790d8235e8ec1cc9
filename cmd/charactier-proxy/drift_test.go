package main

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"charactier-proxy/health"
	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
)

// calmViews are a service whose units are as they should be, with blue active.
func calmViews(now time.Time) (active, standby *driftView, views []driftView) {
	long := now.Add(-time.Hour)
	units := calmUnits()
	views = []driftView{
		{
			place: place{"backend", switcher.Blue}, address: "127.0.0.1:5000", unit: blueUnit, active: true, known: true,
			record: unitRecord{state: units[blueUnit], changed: long}, health: health.Status{State: health.Healthy, Since: long, Probed: now},
		},
		{
			place: place{"backend", switcher.Green}, address: "unix:/run/green", unit: greenUnit, known: true,
			record: unitRecord{state: units[greenUnit], changed: long}, health: health.Status{State: health.Healthy, Since: long, Probed: now},
		},
	}
	return &views[0], &views[1], views
}

func TestDrift(t *testing.T) {
	now := time.Now()
	down := func(v *driftView, active string) {
		v.record.state.Active, v.health = active, health.Status{State: health.Unhealthy, Since: now.Add(-time.Hour), Probed: now, Err: errors.New("connection refused")}
	}
	for name, c := range map[string]struct {
		change func(active, standby *driftView)
		want   []string
	}{
		"all is well":        {func(_, _ *driftView) {}, nil},
		"standby is stopped": {func(_, s *driftView) { down(s, "inactive") }, nil},
		"static units":       {func(a, s *driftView) { a.record.state.Enabled, s.record.state.Enabled = "static", "static" }, nil},
		"nothing is known":   {func(a, s *driftView) { a.known, s.known = false, false }, nil},
		"reloading":          {func(a, _ *driftView) { a.record.state.Active = "reloading" }, nil},
		"just started, not up yet": {func(a, _ *driftView) {
			down(a, "active")
			a.record.changed = now.Add(-startGrace / 2)
		}, nil},
		"just stopped, not probed since": {func(_, s *driftView) {
			s.record.state.Active = "inactive"
			s.health.Probed = s.record.changed
		}, nil},

		"neither is enabled": {func(a, _ *driftView) { a.record.state.Enabled = "disabled" },
			[]string{"backend: a reboot would not start the active slot blue: systemctl enable " + blueUnit}},
		"enabled for this boot only": {func(a, _ *driftView) { a.record.state.Enabled = "enabled-runtime" },
			[]string{"backend: a reboot would not start the active slot blue: systemctl enable " + blueUnit}},
		"both are enabled": {func(_, s *driftView) { s.record.state.Enabled = "enabled" },
			[]string{"backend: a reboot would start both slots: systemctl disable " + greenUnit}},
		"the wrong one is enabled": {func(a, s *driftView) { a.record.state.Enabled, s.record.state.Enabled = "disabled", "enabled" },
			[]string{"backend: a reboot would start the standby slot green instead of blue: systemctl enable " + blueUnit + " && systemctl disable " + greenUnit}},
		"only the standby has a unit": {func(a, s *driftView) { a.known, s.record.state.Enabled = false, "enabled" },
			[]string{"backend: a reboot would start the standby slot green: systemctl disable " + greenUnit}},

		"masked": {func(_, s *driftView) { s.record.state.Load, s.record.state.Enabled = "masked", "masked" },
			[]string{"backend/green: " + greenUnit + " is masked, so that nothing can start it: systemctl unmask " + greenUnit}},
		"not found": {func(_, s *driftView) { s.record.state = unitState{Load: "not-found", Active: "inactive"} },
			[]string{"backend/green: there is no unit " + greenUnit + `: install it, or set services.backend.slots.green.unit to "" if systemd does not run this slot`}},
		"not loadable": {func(_, s *driftView) { s.record.state.Load = "bad-setting" },
			[]string{"backend/green: " + greenUnit + " cannot be loaded (bad-setting): systemd-analyze verify " + greenUnit}},
		"failed": {func(a, _ *driftView) { down(a, "failed"); a.record.state.Result = "exit-code" },
			[]string{"backend/blue: " + blueUnit + " failed (exit-code): journalctl -u " + blueUnit + " -n 50, then systemctl restart " + blueUnit}},
		"the standby failed": {func(_, s *driftView) { down(s, "failed") },
			[]string{"backend/green: " + greenUnit + " failed: journalctl -u " + greenUnit + " -n 50, then systemctl reset-failed " + greenUnit}},
		"active and stopped": {func(a, _ *driftView) { down(a, "inactive") },
			[]string{"backend/blue: it is the active slot, but " + blueUnit + " is inactive: systemctl start " + blueUnit}},
		"a stranger has the port": {func(a, _ *driftView) { a.record.state.Active = "inactive" },
			[]string{"backend/blue: 127.0.0.1:5000 answers, but " + blueUnit + " is inactive: something else has the address: ss -ltnp 'sport = :5000'"}},
		"a stranger has the socket": {func(_, s *driftView) { s.record.state.Active, s.record.state.Result = "failed", "timeout" },
			[]string{"backend/green: unix:/run/green answers, but " + greenUnit + " is failed (timeout): something else has the address: ss -xlp src /run/green"}},
		"active and not healthy": {func(_, s *driftView) { down(s, "active") },
			[]string{"backend/green: " + greenUnit + " is active, but not healthy (connection refused): journalctl -u " + greenUnit + " -n 50"}},
		"again and again": {func(a, _ *driftView) {
			a.record.restarts = []restartCount{{now.Add(-time.Hour), 1}, {now.Add(-time.Second), 4}}
		}, []string{"backend/blue: systemd restarted " + blueUnit + " 3 times within a minute: journalctl -u " + blueUnit + " -n 50"}},
	} {
		t.Run(name, func(t *testing.T) {
			active, standby, views := calmViews(now)
			c.change(active, standby)
			if diff := cmp.Diff(c.want, serviceDrift(views, now, false)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// A deploy keeps both enabled until it is at its end, and so does a bake.
func TestBothMayBeEnabledWhileItIsUndecidedWhichStays(t *testing.T) {
	now := time.Now()
	active, standby, views := calmViews(now)
	standby.record.state.Enabled = "enabled"
	if got := serviceDrift(views, now, true); len(got) > 0 {
		t.Errorf("both are enabled, and the drift is %q", got)
	}
	active.record.state.Enabled = "disabled"
	if got := serviceDrift(views, now, true); len(got) != 1 {
		t.Errorf("the active one is not enabled, and the drift is %q", got)
	}
}

func TestRestartsCountWithinAMinute(t *testing.T) {
	now := time.Now()
	var r unitRecord
	see := func(after time.Duration, n, want uint32) {
		t.Helper()
		now = now.Add(after)
		r = r.next(unitState{Active: "active", Restarts: n}, now)
		if got := r.restarted(now); got != want {
			t.Errorf("with %d restarts: %d within a minute, want %d", n, got, want)
		}
	}
	see(0, 7, 0) // those before we looked do not count
	see(time.Second, 8, 1)
	see(30*time.Second, 9, 2)
	see(40*time.Second, 10, 2)
	see(time.Second, 10, 2)
	see(2*time.Minute, 10, 0)
	see(time.Second, 11, 1)
	see(time.Second, 0, 0) // somebody started it anew
	see(time.Second, 3, 3)
}

func TestDriftIsShownAndLoggedOnceThingsHaveSettled(t *testing.T) {
	f := newFakeSystemd(calmUnits())
	w := newWorldWithUnits(t, f, services(service("backend", freeAddress(t), namedSlot(t, "blue"), namedSlot(t, "green"))))
	await(t, "the units to be known", func() bool { return w.slot(switcher.Green).Runs != nil })
	if got := w.status().Drift; len(got) > 0 {
		t.Errorf("drift where all is well: %q", got)
	}
	if _, err := w.client.Switch(t.Context(), control.SwitchRequest{}); err != nil {
		t.Fatal(err)
	}
	// Whoever switches enables and disables next; for a moment nothing is said.
	if got := w.status().Drift; len(got) > 0 {
		t.Errorf("drift right after a switch: %q", got)
	}
	want := "a reboot would start the standby slot blue instead of green"
	await(t, "the drift to show", func() bool { return strings.Contains(strings.Join(w.status().Drift, "\n"), want) })
	await(t, "the drift to be logged", func() bool { return w.log.contains(want) && w.saw("drift", want) })
	f.set(func() {
		b, g := f.units[blueUnit], f.units[greenUnit]
		b.Enabled, g.Enabled = "disabled", "enabled"
		f.units[blueUnit], f.units[greenUnit] = b, g
	})
	await(t, "all to be well", func() bool { return len(w.status().Drift) == 0 })
	await(t, "the end of the drift to be told", func() bool { return w.saw("drift", "agree again") })
}
