package main

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"charactier-proxy/health"
	"charactier-proxy/switcher"
)

func TestAFailoverIsDueOnlyWhereNothingSpeaksAgainstIt(t *testing.T) {
	now := time.Now()
	sick := health.Status{State: health.Unhealthy, Since: now.Add(-5 * time.Second), Err: errors.New("refused")}
	well := health.Status{State: health.Healthy, Since: now.Add(-time.Minute)}
	base := failoverView{
		state: switcher.ServiceState{Active: switcher.Blue}, active: sick, standby: well, standbyRelease: "r1", after: 5 * time.Second,
	}
	if !base.due(now) {
		t.Fatal("a dead slot beside a healthy one is not left")
	}
	for name, change := range map[string]func(*failoverView){
		"not dead for long enough":      func(v *failoverView) { v.active.Since = now.Add(-4 * time.Second) },
		"not known to be dead":          func(v *failoverView) { v.active.State = health.Unknown },
		"well":                          func(v *failoverView) { v.active = well },
		"the standby is dead too":       func(v *failoverView) { v.standby = sick },
		"the standby has just come up":  func(v *failoverView) { v.standby.Since = now.Add(-time.Second) },
		"held by somebody":              func(v *failoverView) { v.state.Held = &switcher.Held{} },
		"a bake decides":                func(v *failoverView) { v.state.Bake = bakeOf(switcher.Baking) },
		"rolled back from":              func(v *failoverView) { v.state.RolledBack, v.state.Previous = true, switcher.Green },
		"the standby's release is bad":  func(v *failoverView) { v.state.BadReleases = []switcher.BadRelease{{Release: "r1"}} },
		"there was one, and no answer":  func(v *failoverView) { v.state.FailedOver = &switcher.FailedOver{ID: "2"} },
		"there was another one to rest": func(v *failoverView) { v.state.FailedOver, v.rested = &switcher.FailedOver{ID: "2"}, "1" },
	} {
		v := base
		change(&v)
		if v.due(now) {
			t.Errorf("%s: due all the same", name)
		}
	}
	for name, change := range map[string]func(*failoverView){
		"a bake that has ended":            func(v *failoverView) { v.state.Bake = bakeOf(switcher.Passed) },
		"another release is bad":           func(v *failoverView) { v.state.BadReleases = []switcher.BadRelease{{Release: "r0"}} },
		"both have rested since the other": func(v *failoverView) { v.state.FailedOver, v.rested = &switcher.FailedOver{ID: "2"}, "2" },
	} {
		v := base
		change(&v)
		if !v.due(now) {
			t.Errorf("%s: not due", name)
		}
	}
}

func bakeOf(v switcher.Verdict) *switcher.Bake {
	return &switcher.Bake{BakeResult: switcher.BakeResult{Verdict: v}}
}

func TestSlotsRestWhenBothAreHealthyForLong(t *testing.T) {
	now := time.Now()
	old := health.Status{State: health.Healthy, Since: now.Add(-failoverRest)}
	young := health.Status{State: health.Healthy, Since: now.Add(time.Second - failoverRest)}
	if v := (failoverView{active: old, standby: old}); !v.rests(now) {
		t.Error("both healthy for long enough")
	}
	for _, v := range []failoverView{{active: young, standby: old}, {active: old, standby: young}} {
		if v.rests(now) {
			t.Errorf("%+v", v)
		}
	}
}

const failoverYAML = "    failover: {enabled: true, after: 200ms}\n"

// The traffic leaves a dead slot by itself, with those who wait for it, and does not
// go back when the other dies: it goes to and fro only when somebody says so.
func TestTheTrafficLeavesADeadSlotOnce(t *testing.T) {
	address, dead := freeAddress(t), freeAddress(t)
	green := newSickSlot(t, 0)
	w := newWorld(t, services(service("backend", address, dead, green.address)+failoverYAML))
	if status, body, err := get(address, "/"); status != http.StatusOK {
		t.Errorf("a request that came to a dead slot got %d %s %v", status, body, err)
	}
	await(t, "the failover to be told", func() bool { return w.told("failover", "by itself") })
	s := w.status()
	if s.Services[0].Active != switcher.Green || s.Last == nil || s.Last.Kind != switcher.KindFailover || s.Last.Actor.Command != "charactier-proxy (failover)" {
		t.Errorf("on %s, last %+v", s.Services[0].Active, s.Last)
	}
	if all := strings.Join(s.Warnings, "\n"); !strings.Contains(all, "took over by itself") || !strings.Contains(all, "charactier-proxyctl switch blue --service backend") {
		t.Errorf("warnings: %q", all)
	}
	blue := newSickSlot(t, 0)
	w.change(services(service("backend", address, blue.address, green.address) + failoverYAML))
	await(t, "blue to be healthy", func() bool { return w.status().Services[0].Slots[0].Health.State == "healthy" })
	green.ill.Store(true)
	await(t, "green to be unhealthy for long enough", func() bool {
		h := w.status().Services[0].Slots[1].Health
		return h.State == "unhealthy" && time.Since(h.Since) > 3*failoverLook
	})
	if got := w.status().Services[0].Active; got != switcher.Green {
		t.Errorf("a second failover went to %s", got)
	}
}

func TestWithoutFailoverTheTrafficStays(t *testing.T) {
	address, green := freeAddress(t), newSickSlot(t, 0)
	w := newWorld(t, services(service("backend", address, freeAddress(t), green.address)+briefHold))
	await(t, "blue to be unhealthy for long enough", func() bool {
		h := w.status().Services[0].Slots[0].Health
		return h.State == "unhealthy" && time.Since(h.Since) > 3*failoverLook
	})
	if s := w.status(); s.Services[0].Active != switcher.Blue || s.Last != nil {
		t.Errorf("on %s, last %+v", s.Services[0].Active, s.Last)
	}
}
