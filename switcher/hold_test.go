package switcher

import (
	"errors"
	"slices"
	"testing"
)

func TestAHoldIsRememberedUntilItIsReleased(t *testing.T) {
	w := newWorld(t)
	s := w.mustBoot()
	rec, err := s.Hold(t.Context(), Request{Services: []string{"backend"}, Reason: "migration", Actor: root})
	if err != nil || !slices.Equal(rec.Services, []string{"backend"}) {
		t.Fatalf("record is %+v, error %v", rec, err)
	}
	next := w.mustBoot()
	held := next.State().Services["backend"].Held
	if held == nil || held.Reason != "migration" || held.Actor != root {
		t.Errorf("held is %+v after a restart", held)
	}
	mustSwitch(t, next, to(Green))
	if _, held := w.traffic.state(); !held["backend"] {
		t.Error("a switch ended the hold")
	}
	if rec, err := next.Hold(t.Context(), Request{}); err != nil || !slices.Equal(rec.Services, []string{"frontend"}) {
		t.Errorf("holding the rest: record is %+v, error %v", rec, err)
	}
	if rec, err := next.Hold(t.Context(), Request{}); err != nil || rec.Outcome != Unchanged {
		t.Errorf("holding again: record is %+v, error %v", rec, err)
	}
	if rec, err := next.ReleaseHold(t.Context(), Request{}); err != nil || len(rec.Services) != 2 {
		t.Errorf("releasing: record is %+v, error %v", rec, err)
	}
	if _, held := w.mustBoot().Routing(); len(held) > 0 {
		t.Errorf("held is %v after the release and a restart", held)
	}
}

func TestANewServiceStartsOnItsInitialSlot(t *testing.T) {
	w := newWorld(t)
	s := w.mustBoot()
	more := append(slices.Clone(twoServices), ServiceConfig{Name: "images", Initial: Green})
	if err := s.Reconfigure(t.Context(), root, more, w.traffic.configure); err != nil {
		t.Fatal(err)
	}
	active, _ := w.traffic.state()
	wantSame(t, "active", map[string]Slot{"backend": Blue, "frontend": Blue, "images": Green}, active)
	mustSwitch(t, s, to(Blue, "images"))
	if last := s.Last(); last.Kind != KindSwitch {
		t.Errorf("last is %+v", last)
	}
	if all := history(t, w.disk); all[1].Kind != KindReconfigure || all[1].Reason != "added images" {
		t.Errorf("history is %+v", all)
	}
}

func TestAServiceThatComesBackHasTheSlotItHad(t *testing.T) {
	w := newWorld(t)
	s := w.mustBoot()
	mustSwitch(t, s, to(Green, "frontend"))
	if err := s.Reconfigure(t.Context(), root, twoServices[:1], w.traffic.configure); err != nil {
		t.Fatal(err)
	}
	active, _ := s.Routing()
	wantSame(t, "active without it", map[string]Slot{"backend": Blue}, active)
	_, _, err := s.Switch(t.Context(), to(Blue, "frontend"))
	wantError(t, err, ErrUnknownService)
	if err := s.Reconfigure(t.Context(), root, twoServices, w.traffic.configure); err != nil {
		t.Fatal(err)
	}
	wantActive(t, w, Blue, Green)
}

func TestAConfigurationThatCannotBeAppliedIsTakenBack(t *testing.T) {
	w := newWorld(t)
	s := w.mustBoot()
	before := s.State().Services
	more := append(slices.Clone(twoServices), ServiceConfig{Name: "images"})
	refusal := errors.New("port 5080 is taken")
	err := s.Reconfigure(t.Context(), root, more, func(map[string]Slot, map[string]bool) error { return refusal })
	wantError(t, err, refusal, "reconfiguring: port 5080 is taken")
	wantEqual(t, "services", before, s.State().Services)
	_, _, err = s.Switch(t.Context(), to(Green, "images"))
	wantError(t, err, ErrUnknownService)
}

func TestAConfigurationThatMakesNoSenseIsRefused(t *testing.T) {
	s := newWorld(t).mustBoot()
	for _, services := range [][]ServiceConfig{{{Name: ""}}, {{Name: "a"}, {Name: "a"}}, {{Name: "a", Initial: "red"}}} {
		if err := s.Reconfigure(t.Context(), root, services, nil); err == nil {
			t.Errorf("%+v was taken", services)
		}
	}
}
