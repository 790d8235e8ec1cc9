package switcher

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// releases are what the slots run, by "service slot".
type releases map[string]string

func (r releases) of(service string, slot Slot) string { return r[service+" "+string(slot)] }

func releaseWorld(t *testing.T) (*world, *Switcher, releases) {
	w := newWorld(t)
	w.releases = releases{"backend blue": "r1", "backend green": "r2"}
	return w, w.mustBoot(), w.releases
}

func rolledBack(t *testing.T, s *Switcher, r Request) Record {
	t.Helper()
	rec, _, err := s.Rollback(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

func badReleases(s *Switcher, service string) string {
	var names []string
	for _, b := range s.State().Services[service].BadReleases {
		names = append(names, b.Release)
	}
	return strings.Join(names, " ")
}

func TestMovesNameTheReleases(t *testing.T) {
	_, s, _ := releaseWorld(t)
	rec := mustSwitch(t, s, to(Green))
	wantEqual(t, "moves", []Move{
		{Service: "backend", From: Blue, To: Green, FromRelease: "r1", ToRelease: "r2"},
		{Service: "frontend", From: Blue, To: Green},
	}, rec.Moves)
}

func TestAReleaseThatWasRolledBackFromIsBad(t *testing.T) {
	w, s, _ := releaseWorld(t)
	mustSwitch(t, s, to(Green))
	if bad := badReleases(s, "backend"); bad != "" {
		t.Errorf("bad after a switch: %s", bad)
	}
	back := Request{Actor: root, Reason: "checkout answers 500"}
	rec := rolledBack(t, s, back)
	next := w.mustBoot()
	bad := next.State().Services["backend"].BadReleases
	if len(bad) != 1 || bad[0].Release != "r2" || bad[0].Reason != back.Reason || bad[0].Since.Before(rec.Started) {
		t.Errorf("bad after a restart: %+v", bad)
	}
	if bad := badReleases(next, "frontend"); bad != "" {
		t.Errorf("bad although its release is not known: %s", bad)
	}
}

func TestAReleaseThatWasDeployedNeverthelessIsGood(t *testing.T) {
	w, s, _ := releaseWorld(t)
	mustSwitch(t, s, to(Green))
	rolledBack(t, s, Request{Actor: root})
	for _, good := range [][]string{nil, {"r0"}, {"r2"}} {
		res := mustReserve(t, s, KindDeploy)
		if _, err := s.EndReservation(res.ID, Record{Outcome: Done, Moves: []Move{backendToGreen()}}, good...); err != nil {
			t.Fatal(err)
		}
		want := "r2"
		if slices.Contains(good, "r2") {
			want = ""
		}
		if bad := badReleases(w.mustBoot(), "backend"); bad != want {
			t.Errorf("bad after a deploy with %q kept: %q, want %q", good, bad, want)
		}
	}
}

func TestASwitchToABadReleaseIsDoneAndWarnedAbout(t *testing.T) {
	_, s, _ := releaseWorld(t)
	mustSwitch(t, s, to(Green))
	rolledBack(t, s, Request{Actor: root, Reason: "checkout answers 500"})
	rec := mustSwitch(t, s, to(Green, "backend"))
	if !strings.HasPrefix(rec.Warning, "release r2 was rolled back from at ") || !strings.HasSuffix(rec.Warning, ": checkout answers 500") {
		t.Errorf("warning is %q", rec.Warning)
	}
	if bad := badReleases(s, "backend"); bad != "r2" {
		t.Errorf("bad after the switch: %q", bad)
	}
}

func TestAForcedRollbackToABadReleaseClearsIt(t *testing.T) {
	_, s, _ := releaseWorld(t)
	mustSwitch(t, s, to(Green))
	rolledBack(t, s, Request{Actor: root})
	rec := rolledBack(t, s, Request{Actor: root, Force: true})
	if rec.Warning != "" {
		t.Errorf("warning is %q", rec.Warning)
	}
	if bad := badReleases(s, "backend"); bad != "" {
		t.Errorf("bad after the change of mind: %s", bad)
	}
	rolledBack(t, s, Request{Actor: root})
	if bad := badReleases(s, "backend"); bad != "r2" {
		t.Errorf("bad after one more rollback: %q", bad)
	}
}

func TestTheSameReleaseOnBothSlotsIsNotBad(t *testing.T) {
	_, s, releases := releaseWorld(t)
	releases["backend green"] = "r1"
	mustSwitch(t, s, to(Green))
	rolledBack(t, s, Request{Actor: root})
	if bad := badReleases(s, "backend"); bad != "" {
		t.Errorf("bad: %s", bad)
	}
}

func TestSoManyBadReleasesAreRemembered(t *testing.T) {
	_, s, releases := releaseWorld(t)
	for i := range maxBad + 5 {
		releases["backend green"] = fmt.Sprint("bad", i)
		mustSwitch(t, s, to(Green, "backend"))
		rolledBack(t, s, to("", "backend"))
	}
	bad := s.State().Services["backend"].BadReleases
	if len(bad) != maxBad || bad[0].Release != fmt.Sprint("bad", maxBad+4) {
		t.Errorf("%d are remembered, the newest is %+v", len(bad), bad[0])
	}
}

// A rollback to a release further back makes a slot ready with it and switches
// there, which may be the slot that would be next anyway.
func TestASwitchWithinAReservationForARollbackIsARollback(t *testing.T) {
	_, s, releases := releaseWorld(t)
	mustSwitch(t, s, to(Green, "backend"))
	rolledBack(t, s, to("", "backend")) // r1 is active, r2 bad
	res := mustReserve(t, s, KindRollback)
	releases["backend green"] = "r0"
	r := to(Green, "backend")
	r.Within = res.ID
	rec := mustSwitch(t, s, r)
	if rec.Kind != KindRollback || rec.Warning != "" {
		t.Errorf("record is %+v", rec)
	}
	if bad := badReleases(s, "backend"); bad != "r1 r2" {
		t.Errorf("bad: %q, want both that were left", bad)
	}
	if !s.State().Services["backend"].RolledBack {
		t.Error("the way back to what was left is open without force")
	}
}

func TestTheHistoryBringsBackBadReleases(t *testing.T) {
	w, s, _ := releaseWorld(t)
	mustSwitch(t, s, to(Green))
	before := w.disk.live[stateName].data
	rolledBack(t, s, Request{Actor: root, Reason: "slow"})
	w.disk.live[stateName].data = before // as if a copy was put back
	next := w.mustBoot()
	if bad := next.State().Services["backend"].BadReleases; len(bad) != 1 || bad[0].Release != "r2" || bad[0].Reason != "slow" {
		t.Errorf("bad: %+v", bad)
	}
}

// A cold rollback that did not prove itself is undone within its reservation.
func TestARollbackThatIsUndoneTakesItsMarkBack(t *testing.T) {
	_, s, _ := releaseWorld(t)
	mustSwitch(t, s, to(Green, "backend"))
	res, err := s.Reserve(t.Context(), KindRollback, Request{Actor: root}, nil)
	if err != nil {
		t.Fatal(err)
	}
	rolledBack(t, s, Request{Actor: root, Services: []string{"backend"}, Within: res.ID})
	if bad := badReleases(s, "backend"); bad != "r2" {
		t.Errorf("bad after the rollback: %q", bad)
	}
	undo := to(Green, "backend")
	undo.Within = res.ID
	mustSwitch(t, s, undo)
	if bad := badReleases(s, "backend"); bad != "" {
		t.Errorf("bad although it has the traffic again, or was never proven: %q", bad)
	}
	res.Lose("the test ended")
}

func TestAGoodReleaseThatCannotBeSavedIsToldOf(t *testing.T) {
	w, s, _ := releaseWorld(t)
	mustSwitch(t, s, to(Green))
	rolledBack(t, s, Request{Actor: root})
	res := mustReserve(t, s, KindDeploy)
	w.faults.arm(1, failWrites)
	if _, err := s.EndReservation(res.ID, Record{Outcome: Done, Moves: []Move{backendToGreen()}}, "r2"); err != nil {
		t.Fatal(err)
	}
	w.faults.arm(0, "")
	if bad := badReleases(s, "backend"); bad != "" {
		t.Errorf("bad after all: %s", bad)
	}
	if told := strings.Join(s.Warnings(), "\n"); !strings.Contains(told, "after a restart they may be refused") {
		t.Errorf("the warnings are %q", told)
	}
	if bad := badReleases(w.mustBoot(), "backend"); bad != "r2" {
		t.Errorf("bad after a restart: %q", bad)
	}
}
