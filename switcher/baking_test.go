package switcher

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// baked is a switch whose services bake for a minute.
func baked(slot Slot, services ...string) Request {
	r := to(slot, services...)
	r.Bake = func(m Move) *Bake {
		return &Bake{
			Plan: BakePlan{Time: time.Minute, MinRequests: 50}, Baseline: Baseline{Slot: m.From, Requests: 6000},
			BakeResult: BakeResult{Text: "compared with " + string(m.From)},
		}
	}
	return r
}

func result(s *Switcher, service string, v Verdict, text string) BakeResult {
	r := s.State().Services[service].Bake.BakeResult
	r.Verdict, r.Text = v, text
	return r
}

func newestBake(t *testing.T, w *world, id string) *BakeResult {
	t.Helper()
	for _, r := range history(t, w.disk) {
		if r.ID == id {
			return r.Bake
		}
	}
	t.Fatalf("%s is not in the history", id)
	return nil
}

func TestASwitchRemembersItsBake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.mustBoot()
		now := wall(time.Now())
		rec := mustSwitch(t, s, baked(Green, "backend"))
		want := &Bake{
			ID: rec.ID, Plan: BakePlan{Time: time.Minute, MinRequests: 50}, Baseline: Baseline{Slot: Blue, Requests: 6000},
			BakeResult: BakeResult{Verdict: Baking, Text: "compared with blue", Since: now, Until: now.Add(time.Minute)},
		}
		next := w.mustBoot()
		wantEqual(t, "bake after a restart", want, next.State().Services["backend"].Bake)
		for _, got := range []*BakeResult{rec.Bake, s.Last().Bake, newestBake(t, w, rec.ID)} {
			if got == nil || got.Verdict != Baking || got.Text != "backend: compared with blue" || got.Until != want.Until {
				t.Errorf("the record says %+v", got)
			}
		}
		if next.State().Services["frontend"].Bake != nil {
			t.Error("a service that did not move bakes")
		}
	})
}

func TestABakeThatEndsIsInTheRecordOfItsSwitch(t *testing.T) {
	w := newWorld(t)
	s := w.mustBoot()
	rec := mustSwitch(t, s, baked(Green))
	end := func(service string, v Verdict) {
		t.Helper()
		if err := s.EndBake(t.Context(), rec.ID, map[string]BakeResult{service: result(s, service, v, "fine")}); err != nil {
			t.Fatal(err)
		}
	}
	end("backend", Passed)
	if got := newestBake(t, w, rec.ID); got.Verdict != Baking {
		t.Errorf("one of two has passed, and the record says %s", got.Verdict)
	}
	end("frontend", Inconclusive)
	next := w.mustBoot()
	for _, got := range []*BakeResult{newestBake(t, w, rec.ID), s.Last().Bake, next.Last().Bake} {
		if got.Verdict != Inconclusive || got.Text != "backend: fine; frontend: fine" {
			t.Errorf("the record says %+v", got)
		}
	}
	if v := next.State().Services["backend"].Bake.Verdict; v != Passed {
		t.Errorf("after a restart the backend's verdict is %s", v)
	}
	if all := history(t, w.disk); len(all) != 1 || len(all[0].Drain) != 2 {
		t.Errorf("history is %+v, want the switch with its drain and nothing else", all)
	}
	if op := s.Last(); op.ID != rec.ID {
		t.Errorf("the last operation is %+v", op)
	}
	if !told(w, "bake: inconclusive") {
		t.Error("nobody was told of the end")
	}
	end("backend", BakeFailed)
	if v := s.State().Services["backend"].Bake.Verdict; v != Passed {
		t.Errorf("a verdict that was final became %s", v)
	}
}

func TestWhatABakeHasSeenOutlivesARestart(t *testing.T) {
	w := newWorld(t)
	s := w.mustBoot()
	rec := mustSwitch(t, s, baked(Green, "backend"))
	seen := BakeSeen{Requests: BakeTally{Samples: 151, Bad: 46, Stretches: 5, BadStretches: 5, All: 151, Failed: 46, Squares: 14.1}}
	all := map[string]BakeSeen{"backend": seen, "frontend": seen, "nothing": seen}
	if err := s.NoteBakes(t.Context(), rec.ID, all); err != nil {
		t.Fatal(err)
	}
	next := w.mustBoot()
	wantEqual(t, "seen after a restart", seen, next.State().Services["backend"].Bake.Seen)
	if err := next.NoteBakes(t.Context(), "another", map[string]BakeSeen{"backend": {}}); err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "seen after a note of another switch", seen, next.State().Services["backend"].Bake.Seen)
	if err := next.EndBake(t.Context(), rec.ID, map[string]BakeResult{"backend": result(next, "backend", Passed, "fine")}); err != nil {
		t.Fatal(err)
	}
	if err := next.NoteBakes(t.Context(), rec.ID, map[string]BakeSeen{"backend": {}}); err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "seen after the end", seen, next.State().Services["backend"].Bake.Seen)
}

func TestANoteThatCannotBeSavedChangesNothing(t *testing.T) {
	w := newWorld(t)
	s := w.mustBoot()
	rec := mustSwitch(t, s, baked(Green, "backend"))
	was := s.State()
	w.faults.arm(1, failWrites)
	if err := s.NoteBakes(t.Context(), rec.ID, map[string]BakeSeen{"backend": {Requests: BakeTally{Samples: 1}}}); err == nil {
		t.Error("it says that it was saved")
	}
	wantEqual(t, "state", was, s.State())
}

func TestAFailedBakeReturnsAllServicesOfItsSwitch(t *testing.T) {
	w := newWorld(t)
	w.releases = releases{"backend blue": "r1", "backend green": "r2"}
	s := w.mustBoot()
	rec := mustSwitch(t, s, baked(Green))
	results := map[string]BakeResult{"backend": result(s, "backend", BakeFailed, "5 % failed"), "frontend": result(s, "frontend", BakeFailed, "with the backend")}
	back, _, err := s.Return(t.Context(), rec.ID, Request{Actor: Actor{User: "daemon", Command: "bake"}, Reason: "5 % failed"}, results)
	if err != nil {
		t.Fatal(err)
	}
	wantActive(t, w, Blue, Blue)
	if back.Kind != KindRollback || back.Actor.Command != "bake" || back.Reason != "5 % failed" || back.Bake != nil || w.traffic.swaps != 2 {
		t.Errorf("record is %+v after %d swaps", back, w.traffic.swaps)
	}
	got := newestBake(t, w, rec.ID)
	if got.Verdict != BakeFailed || got.Returned != back.ID || got.Text != "backend: 5 % failed; frontend: with the backend" {
		t.Errorf("the record of the switch says %+v", got)
	}
	next := w.mustBoot()
	backend := next.State().Services["backend"]
	if backend.Bake == nil || backend.Bake.Verdict != BakeFailed || backend.Bake.Returned != back.ID {
		t.Errorf("after a restart the bake is %+v", backend.Bake)
	}
	if len(backend.BadReleases) != 1 || backend.BadReleases[0].Reason != "5 % failed" {
		t.Errorf("bad releases are %+v", backend.BadReleases)
	}
	_, _, err = s.Return(t.Context(), rec.ID, Request{}, results)
	wantError(t, err, ErrNothingToRollBack, "was ended by another operation")
	wantActive(t, w, Blue, Blue)
}

func TestNothingIsReturnedToASickSlot(t *testing.T) {
	w := newWorld(t)
	s := w.mustBoot()
	rec := mustSwitch(t, s, baked(Green, "backend"))
	w.prober.answer("backend blue", says("connection refused"))
	results := map[string]BakeResult{"backend": result(s, "backend", BakeFailed, "5 % failed")}
	_, _, err := s.Return(t.Context(), rec.ID, Request{}, results)
	wantError(t, err, ErrUnhealthy, "backend blue: connection refused")
	wantActive(t, w, Green, Blue)
	if b := s.State().Services["backend"].Bake; b.Verdict != Baking || b.Returned != "" {
		t.Errorf("the bake is %+v", b)
	}
	if err := s.EndBake(t.Context(), rec.ID, results); err != nil {
		t.Fatal(err)
	}
	if got := newestBake(t, w, rec.ID); got.Verdict != BakeFailed || got.Returned != "" {
		t.Errorf("the record says %+v", got)
	}
}

func TestAReturnIsKeptOutByNobody(t *testing.T) {
	w := newWorld(t)
	s := w.mustBoot()
	res := mustReserve(t, s, KindDeploy)
	r := baked(Green, "backend")
	r.Within = res.ID
	rec := mustSwitch(t, s, r)
	begun, release := make(chan struct{}), make(chan struct{})
	w.prober.answer("frontend green", func(context.Context) error { close(begun); <-release; return nil })
	other := to(Green, "frontend")
	other.Within = res.ID
	ended := make(chan error, 1)
	go func() { _, _, err := s.Switch(t.Context(), other); ended <- err }()
	<-begun
	returned := make(chan error, 1)
	go func() {
		_, _, err := s.Return(t.Context(), rec.ID, Request{}, map[string]BakeResult{"backend": result(s, "backend", BakeFailed, "")})
		returned <- err
	}()
	close(release)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := <-returned; err != nil {
		t.Error(err)
	}
	wantActive(t, w, Blue, Green)
	if s.Reservation() == nil {
		t.Error("the return ended the reservation")
	}
}

func TestAnyMoveEndsTheBakeOfItsService(t *testing.T) {
	w := newWorld(t)
	s := w.mustBoot()
	rec := mustSwitch(t, s, baked(Green))
	back := rolledBack(t, s, to("", "frontend"))
	if b := s.State().Services["frontend"].Bake; b != nil {
		t.Errorf("the frontend's bake is %+v", b)
	}
	if b := s.State().Services["backend"].Bake; b == nil || b.Verdict != Baking {
		t.Errorf("the backend's bake is %+v", b)
	}
	if got := newestBake(t, w, rec.ID); got.Verdict != Baking {
		t.Errorf("the record says %+v", got)
	}
	again := mustSwitch(t, s, baked(Blue, "backend"))
	got := newestBake(t, w, rec.ID)
	if got.Verdict != BakeEnded || got.Text != "backend: ended by the switch "+again.ID {
		t.Errorf("the record says %+v after %s", got, back.ID)
	}
	if b := s.State().Services["backend"].Bake; b == nil || b.ID != again.ID {
		t.Errorf("the new bake is %+v", b)
	}
}

func TestASwitchThatFailsBakesNothing(t *testing.T) {
	w := newWorld(t)
	s := w.mustBoot()
	breakFrom(w, "traffic swap", 1, failBefore)
	rec, _, err := s.Switch(t.Context(), baked(Green))
	wantError(t, err, errInjected)
	if rec.Bake != nil || s.State().Services["backend"].Bake != nil {
		t.Errorf("record is %+v", rec)
	}
}

// Nobody is refused for a few milliseconds of bookkeeping.
func TestTheEndOfABakeRefusesNobody(t *testing.T) {
	w := newWorld(t)
	s := w.mustBoot()
	rec := mustSwitch(t, s, baked(Green, "backend"))
	saving, release := make(chan struct{}), make(chan struct{})
	once := false
	w.faults.watch = func(_ int, label string) {
		if label == "disk create" && !once {
			once = true
			close(saving)
			<-release
		}
	}
	ended := make(chan error, 1)
	go func() {
		ended <- s.EndBake(t.Context(), rec.ID, map[string]BakeResult{"backend": result(s, "backend", Passed, "")})
	}()
	<-saving
	if op := s.Operation(); op != nil {
		t.Errorf("the bookkeeping is shown as %+v", op)
	}
	_, err := s.Abort("", root)
	wantError(t, err, ErrNothingToAbort, "no operation is running")
	ctx, leave := context.WithCancel(t.Context())
	leave()
	_, _, err = s.Switch(ctx, to(Blue))
	wantError(t, err, ErrAborted)
	switched := make(chan error, 1)
	go func() { _, _, err := s.Switch(t.Context(), to(Blue)); switched <- err }()
	close(release)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := <-switched; err != nil {
		t.Error(err)
	}
	wantActive(t, w, Blue, Blue)
}

func TestTheEndOfABakeThatCannotBeSavedIsWarnedAbout(t *testing.T) {
	w := newWorld(t)
	s := w.mustBoot()
	rec := mustSwitch(t, s, baked(Green, "backend"))
	breakFrom(w, "disk create", 1, failOn)
	if err := s.EndBake(t.Context(), rec.ID, map[string]BakeResult{"backend": result(s, "backend", Passed, "")}); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(s.Warnings(), "\n"); !strings.Contains(got, "how the bake of "+rec.ID+" ended could not be saved") {
		t.Errorf("warnings are %q", got)
	}
	if v := s.State().Services["backend"].Bake.Verdict; v != Passed {
		t.Errorf("verdict is %s", v)
	}
	mend(w)
	mustSwitch(t, s, to(Blue))
	if len(s.Warnings()) > 0 {
		t.Errorf("warnings are %q", s.Warnings())
	}
}

func TestADrainThatEndsLateKeepsTheVerdict(t *testing.T) {
	w := newWorld(t)
	s := w.mustBoot()
	release := make(chan struct{})
	w.traffic.drain = func(ctx context.Context) ([]DrainCount, error) {
		select {
		case <-release:
		case <-ctx.Done():
		}
		return []DrainCount{{Service: "backend", Slot: Blue, Moved: 3}}, nil
	}
	rec, d, err := s.Switch(t.Context(), baked(Green, "backend"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.EndBake(t.Context(), rec.ID, map[string]BakeResult{"backend": result(s, "backend", Passed, "fine")}); err != nil {
		t.Fatal(err)
	}
	close(release)
	if _, err := d.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, got := range []*Record{&history(t, w.disk)[0], s.Last()} {
		if got.Bake.Verdict != Passed || len(got.Drain) != 1 {
			t.Errorf("the record is %+v with bake %+v", got, got.Bake)
		}
	}
}
