package switcher

import "testing"

func failover(t *testing.T, s *Switcher, to Slot) (Record, error) {
	t.Helper()
	rec, d, err := s.Failover(t.Context(), Request{Services: []string{"backend"}, To: to, Actor: root, Reason: "blue is dead"})
	if _, err := d.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	return rec, err
}

func TestAFailoverIsASwitchThatIsRememberedAsOne(t *testing.T) {
	w := newWorld(t)
	s := w.mustBoot()
	rec, err := failover(t, s, Green)
	if err != nil || rec.Kind != KindFailover || rec.Outcome != Done || rec.summary() != "failover of backend to green" {
		t.Fatalf("%+v, %v", rec, err)
	}
	wantActive(t, w, Green, Blue)
	got := w.mustBoot().State().Services["backend"]
	if got.FailedOver == nil || got.FailedOver.ID != rec.ID || got.FailedOver.Reason != "blue is dead" || got.Previous != Blue {
		t.Errorf("after a restart: %+v", got)
	}
	if all := history(t, w.disk); len(all) != 1 || all[0].Kind != KindFailover {
		t.Errorf("history: %+v", all)
	}
}

func TestAFailoverAsksForHealthAndForTheLock(t *testing.T) {
	w := newWorld(t)
	s := w.mustBoot()
	w.prober.answer("backend green", says("sick"))
	_, err := failover(t, s, Green)
	wantError(t, err, ErrUnhealthy)
	wantActive(t, w, Blue, Blue)
	mustReserve(t, s, KindDeploy)
	_, err = failover(t, s, Green)
	wantError(t, err, ErrBusy)
}

// Leaving what a failover chose is no verdict on it, and ends the failover.
func TestAMoveAfterAFailoverEndsItAndJudgesNobody(t *testing.T) {
	for name, back := range map[string]func(*Switcher) error{
		"a switch":   func(s *Switcher) error { mustSwitch(t, s, to(Blue, "backend")); return nil },
		"a rollback": func(s *Switcher) error { return rollback(t, s, "backend") },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.releases = releases{"backend blue": "r2", "backend green": "r1"}
			s := w.mustBoot()
			if _, err := failover(t, s, Green); err != nil {
				t.Fatal(err)
			}
			if err := back(s); err != nil {
				t.Fatal(err)
			}
			if got := s.State().Services["backend"]; got.Active != Blue || got.FailedOver != nil || got.RolledBack || len(got.BadReleases) > 0 {
				t.Errorf("%+v", got)
			}
		})
	}
}
