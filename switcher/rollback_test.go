package switcher

import (
	"testing"
	"testing/synctest"
	"time"
)

func rollback(t *testing.T, s *Switcher, services ...string) error {
	t.Helper()
	_, d, err := s.Rollback(t.Context(), Request{Services: services, Actor: root})
	if _, err := d.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	return err
}

func TestRollbackReturnsWhatMovedInTheNewestSwitch(t *testing.T) {
	w := newWorld(t)
	s := w.mustBoot()
	mustSwitch(t, s, to(Green, "frontend"))
	mustSwitch(t, s, to(Green, "backend"))
	if err := rollback(t, s); err != nil {
		t.Fatal(err)
	}
	wantActive(t, w, Blue, Green)
}

func TestRollbackReturnsServicesThatMovedTogether(t *testing.T) {
	w := newWorld(t)
	s := w.mustBoot()
	mustSwitch(t, s, to(Green))
	if _, err := s.Hold(t.Context(), to("", "backend")); err != nil {
		t.Fatal(err)
	}
	if err := rollback(t, w.mustBoot()); err != nil {
		t.Fatal(err)
	}
	wantActive(t, w, Blue, Blue)
}

func TestTheNewestSwitchIsKnownWhateverTheClockDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.mustBoot()
		mustSwitch(t, s, to(Green, "backend"))
		ahead := s.State()
		backend := ahead.Services["backend"]
		backend.Since = time.Now().Add(time.Hour) // as if the clock had been set back since
		ahead.Services["backend"] = backend
		s.take(ahead)
		mustSwitch(t, s, to(Green, "frontend"))
		if err := rollback(t, s); err != nil {
			t.Fatal(err)
		}
		wantActive(t, w, Green, Blue)
	})
}

func TestRollbackOfWhatWasNeverSwitchedIsRefused(t *testing.T) {
	w := newWorld(t)
	s := w.mustBoot()
	wantError(t, rollback(t, s), ErrNothingToRollBack, "no service was ever switched")
	mustSwitch(t, s, to(Green, "backend"))
	wantError(t, rollback(t, s, "backend", "frontend"), ErrNothingToRollBack, "frontend was never switched and is on blue")
	wantActive(t, w, Green, Blue)
}

func TestRollbackTwiceIsRefusedUnlessForced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.mustBoot()
		mustSwitch(t, s, to(Green, "backend"))
		if err := rollback(t, s); err != nil {
			t.Fatal(err)
		}
		wantError(t, rollback(t, s), ErrNothingToRollBack,
			"backend was rolled back from green at 2000-01-01T00:00:00Z; `charactier-proxyctl switch green --service backend` goes there anyway")
		wantActive(t, w, Blue, Blue)
		if last := s.Last(); last.Outcome != Refused {
			t.Errorf("outcome is %s", last.Outcome)
		}
		if _, _, err := s.Rollback(t.Context(), Request{Force: true, Actor: root}); err != nil {
			t.Fatal(err)
		}
		wantActive(t, w, Green, Blue)
		if err := rollback(t, s); err != nil {
			t.Errorf("the way back is closed: %v", err)
		}
		wantActive(t, w, Blue, Blue)
	})
}

func TestASwitchMayGoWhereARollbackCameFrom(t *testing.T) {
	w := newWorld(t)
	s := w.mustBoot()
	mustSwitch(t, s, to(Green, "backend"))
	if err := rollback(t, s); err != nil {
		t.Fatal(err)
	}
	mustSwitch(t, s, to("", "backend"))
	wantActive(t, w, Green, Blue)
	if s.State().Services["backend"].RolledBack {
		t.Error("a switch is not a rollback")
	}
}

func TestARollbackIsGatedByHealth(t *testing.T) {
	w := newWorld(t)
	s := w.mustBoot()
	mustSwitch(t, s, to(Green, "backend"))
	w.prober.answer("backend blue", says("stopped"))
	wantError(t, rollback(t, s), ErrUnhealthy, "rolling back backend to blue", "stopped")
	wantActive(t, w, Green, Blue)
}
