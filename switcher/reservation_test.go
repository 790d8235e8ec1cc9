package switcher

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var alice = Actor{User: "alice", UID: 1000}

func mustReserve(t testing.TB, s *Switcher, kind Kind, moves ...Move) *Reservation {
	t.Helper()
	r, err := s.Reserve(t.Context(), kind, Request{Actor: alice, Reason: "release 42"}, moves)
	if err != nil {
		t.Fatalf("reserving: %v", err)
	}
	return r
}

func backendToGreen() Move { return Move{Service: "backend", From: Blue, To: Green} }

func TestAReservationKeepsOthersOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.mustBoot()
		res := mustReserve(t, s, KindDeploy, backendToGreen())
		if err := s.StepReservation(res.ID, "build", LevelInfo, ""); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		refusals := map[string]error{}
		_, _, refusals["switch"] = s.Switch(t.Context(), to(Green))
		_, _, refusals["rollback"] = s.Rollback(t.Context(), to(""))
		_, refusals["hold"] = s.Hold(t.Context(), to(""))
		_, refusals["release-hold"] = s.ReleaseHold(t.Context(), to(""))
		_, refusals["reserve"] = s.Reserve(t.Context(), KindDeploy, to(""), nil)
		for what, err := range refusals {
			t.Log(what)
			wantError(t, err, ErrBusy, "deploy of backend to green "+res.ID+" by alice is at step build, since ", "(2s ago)")
		}
		if all := history(t, w.disk); len(all) > 0 {
			t.Errorf("history is %+v, want nothing of those who were refused", all)
		}
		wantActive(t, w, Blue, Blue)
	})
}

func TestOperationsOfTheReservationAreLetIn(t *testing.T) {
	w := newWorld(t)
	s := w.mustBoot()
	res := mustReserve(t, s, KindDeploy)
	r := to(Green)
	r.Within = res.ID
	mustSwitch(t, s, r)
	r.Within = "another"
	_, _, err := s.Switch(t.Context(), r)
	wantError(t, err, ErrNoReservation, "another")
	res.Lose("the command ended")
	r.Within = res.ID
	_, _, err = s.Switch(t.Context(), r)
	wantError(t, err, ErrNoReservation, res.ID)
	mustSwitch(t, s, to(Blue))
}

func TestAReservationWaitsForNoOperation(t *testing.T) {
	w := newWorld(t)
	s := w.mustBoot()
	begun := make(chan struct{})
	w.prober.answer("backend green", func(ctx context.Context) error { close(begun); return hangs(ctx) })
	ended := make(chan error, 1)
	go func() { _, _, err := s.Switch(t.Context(), to(Green, "backend")); ended <- err }()
	<-begun
	_, err := s.Reserve(t.Context(), KindDeploy, Request{Actor: alice}, nil)
	wantError(t, err, ErrBusy, "switch of backend to green")
	if _, err := s.Abort("", alice); err != nil {
		t.Fatal(err)
	}
	wantError(t, <-ended, ErrAborted)
	mustReserve(t, s, KindDeploy).Lose("the command ended")
}

func TestTheConfigurationMayChangeDuringAReservation(t *testing.T) {
	w := newWorld(t)
	s := w.mustBoot()
	res := mustReserve(t, s, KindDeploy)
	services := append(slices.Clone(twoServices), ServiceConfig{Name: "images"})
	if err := s.Reconfigure(t.Context(), root, services, w.traffic.configure); err != nil {
		t.Fatal(err)
	}
	if now := s.Reservation(); now == nil || now.ID != res.ID {
		t.Errorf("the reservation is %+v", now)
	}
}

func TestAnEndedReservationIsInTheHistory(t *testing.T) {
	w := newWorld(t)
	s := w.mustBoot()
	res := mustReserve(t, s, KindDeploy, backendToGreen())
	rec, err := s.EndReservation(res.ID, Record{
		ID: "forged", Kind: KindHold, Actor: root, Generation: 99, Outcome: Done, Moves: []Move{backendToGreen()}, Warning: "disk is nearly full",
		Drain: []DrainCount{{Service: "backend"}}, Bake: &BakeResult{Verdict: Passed},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := Record{
		ID: res.ID, Kind: KindDeploy, Actor: alice, Outcome: Done, Moves: []Move{backendToGreen()}, Warning: "disk is nearly full",
		Reason: "release 42", Started: rec.Started, Took: rec.Took, Bake: &BakeResult{Verdict: Passed},
	}
	wantEqual(t, "record", want, rec)
	wantEqual(t, "last", &want, s.Last())
	wantEqual(t, "history", []Record{want}, history(t, w.disk))
	if op := s.Reservation(); op != nil {
		t.Errorf("the reservation is still there: %+v", op)
	}
	<-res.Ended()
	res.Lose("the command ended") // as its connection does then
	_, err = s.EndReservation(res.ID, Record{Outcome: Done})
	wantError(t, err, ErrNoReservation)
	if all := history(t, w.disk); len(all) != 1 {
		t.Errorf("history is %+v, want one record", all)
	}
}

func TestALostReservationSaysWhereTrafficIs(t *testing.T) {
	w := newWorld(t)
	s := w.mustBoot()
	res := mustReserve(t, s, KindDeploy, backendToGreen())
	r := to(Green, "backend")
	r.Within = res.ID
	mustSwitch(t, s, r)
	if err := s.StepReservation(res.ID, "bake", LevelInfo, ""); err != nil {
		t.Fatal(err)
	}
	res.Lose("the command ended")
	got := history(t, w.disk)[0]
	if got.ID != res.ID || got.Outcome != Interrupted || got.Error != "the command ended during step bake; backend is on green, frontend is on blue" {
		t.Errorf("record is %+v", got)
	}
	mustSwitch(t, s, to(Blue))
}

func TestAReservationDoesNotEndUnderItsOwnOperation(t *testing.T) {
	w := newWorld(t)
	s := w.mustBoot()
	res := mustReserve(t, s, KindDeploy)
	begun := make(chan struct{})
	w.prober.answer("backend green", func(ctx context.Context) error { close(begun); return hangs(ctx) })
	ctx, leave := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	r := to(Green, "backend")
	r.Within = res.ID
	go func() { _, _, err := s.Switch(ctx, r); ended <- err }()
	<-begun
	_, err := s.EndReservation(res.ID, Record{Outcome: Done})
	wantError(t, err, ErrBusy, "switch of backend to green")
	_, _, err = s.Switch(t.Context(), r)
	wantError(t, err, ErrBusy, "awaiting health")
	leave()
	wantError(t, <-ended, ErrAborted)
	if _, err := s.EndReservation(res.ID, Record{Outcome: Failed}); err != nil {
		t.Error(err)
	}
}

func TestAbortAsksTheReservation(t *testing.T) {
	w := newWorld(t)
	s := w.mustBoot()
	res := mustReserve(t, s, KindDeploy)
	_, err := s.Abort("another", root)
	wantError(t, err, ErrNothingToAbort)
	for _, id := range []string{"", res.ID, ""} {
		op, err := s.Abort(id, root)
		if err != nil || op.ID != res.ID || op.Kind != KindDeploy {
			t.Fatalf("asked %+v, error %v", op, err)
		}
	}
	if by := <-res.Asked(); by != "root" {
		t.Errorf("asked by %q", by)
	}
	if s.Reservation() == nil {
		t.Error("to be asked ended the reservation")
	}
	if !told(w, "deploy was asked to stop by root") {
		t.Error("nobody was told")
	}
}

// told reports whether an event says the text.
func told(w *world, text string) bool {
	fresh := uint64(0)
	events, _ := w.events.since(&fresh, true)
	return slices.ContainsFunc(events, func(e Event) bool { return strings.Contains(e.Text, text) })
}

func TestStepsAreEvents(t *testing.T) {
	w := newWorld(t)
	s := w.mustBoot()
	res := mustReserve(t, s, KindDeploy)
	if err := s.StepReservation(res.ID, "build", LevelWarn, "npm is slow today"); err != nil {
		t.Fatal(err)
	}
	fresh := uint64(0)
	events, _ := w.events.since(&fresh, true)
	last := events[len(events)-1]
	want := Event{Seq: last.Seq, Time: last.Time, Kind: "deploy", Op: res.ID, Level: LevelWarn, Text: "npm is slow today"}
	wantEqual(t, "event", want, last)
	if step := s.Reservation().Step; step != "build" {
		t.Errorf("step is %q", step)
	}
	wantError(t, s.StepReservation("another", "build", LevelInfo, ""), ErrNoReservation)
}

func TestAReservationNamesWhatThereIs(t *testing.T) {
	w := newWorld(t)
	s := w.mustBoot()
	_, err := s.Reserve(t.Context(), KindDeploy, to("", "bakend"), nil)
	wantError(t, err, ErrUnknownService)
	mustReserve(t, s, KindDeploy)
}
