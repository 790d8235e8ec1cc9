package switcher

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestASwitchIsRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.mustBoot()
		w.prober.answer("backend green", func(context.Context) error {
			time.Sleep(40 * time.Millisecond)
			return nil
		})
		r := to(Green, "backend")
		r.Reason = "release 42"
		started := wall(time.Now())
		rec := mustSwitch(t, s, r)
		want := Record{
			ID: rec.ID, Kind: KindSwitch, Outcome: Done, Reason: "release 42", Actor: root,
			Moves:   []Move{{Service: "backend", From: Blue, To: Green}},
			Started: started, Probing: 40 * time.Millisecond, Took: 40 * time.Millisecond, Generation: 3,
		}
		wantEqual(t, "record", want, rec)
		want.Drain = []DrainCount{{Service: "backend", Slot: Blue, Moved: 3}}
		wantEqual(t, "last", &want, s.Last())
		wantEqual(t, "history", []Record{want}, history(t, w.disk))
		backend := ServiceState{Active: Green, Previous: Blue, Since: started.Add(40 * time.Millisecond), Generation: 3}
		wantEqual(t, "state", backend, s.State().Services["backend"])
		wantEqual(t, "state after a restart", s.State(), w.mustBoot().State())
	})
}

func wantEqual[T any](t testing.TB, what string, want, got T) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func wantActive(t testing.TB, w *world, backend, frontend Slot) {
	t.Helper()
	active, _ := w.traffic.state()
	wantSame(t, "active", map[string]Slot{"backend": backend, "frontend": frontend}, active)
}

// wantError asserts what an operation ended with.
func wantError(t testing.TB, err, is error, contains ...string) {
	t.Helper()
	if !errors.Is(err, is) {
		t.Fatalf("error is %v, want one that is %q", err, is)
	}
	for _, text := range contains {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("error is %q, want it to contain %q", err, text)
		}
	}
}

func TestTwoServicesSwapInOneInstant(t *testing.T) {
	w := newWorld(t)
	s := w.mustBoot()
	mustSwitch(t, s, to(Green))
	wantActive(t, w, Green, Green)
	if w.traffic.swaps != 1 {
		t.Errorf("%d swaps, want 1", w.traffic.swaps)
	}
}

func TestASwitchWithoutASlotGoesToEachOtherOne(t *testing.T) {
	w := newWorld(t)
	s := w.mustBoot()
	mustSwitch(t, s, to(Green, "frontend"))
	rec := mustSwitch(t, s, to(""))
	wantActive(t, w, Green, Blue)
	if got, want := rec.summary(), "switch of frontend to blue, backend to green"; got != want {
		t.Errorf("summary is %q, want %q", got, want)
	}
}

func TestASwitchToWhereTrafficIsChangesNothing(t *testing.T) {
	w := newWorld(t)
	s := w.mustBoot()
	w.prober.answer("backend blue", says("must not be asked"))
	before := s.State()
	rec, d, err := s.Switch(t.Context(), to(Blue))
	if err != nil || rec.Outcome != Unchanged || len(rec.Moves) > 0 {
		t.Errorf("record is %+v, error %v; want unchanged and none", rec, err)
	}
	if counts, err := d.Wait(t.Context()); len(counts) > 0 || err != nil {
		t.Errorf("drain is %v, %v; want nothing", counts, err)
	}
	wantEqual(t, "state", before, s.State())
	if all := history(t, w.disk); len(all) != 1 || all[0].Outcome != Unchanged {
		t.Errorf("history is %+v, want who asked for nothing", all)
	}
}

func TestUnknownNamesAreRefusedBeforeTheyAreOperations(t *testing.T) {
	w := newWorld(t)
	s := w.mustBoot()
	_, _, err := s.Switch(t.Context(), to(Green, "backend", "bakend"))
	wantError(t, err, ErrUnknownService, `"bakend"`, "there is backend, frontend")
	_, _, err = s.Switch(t.Context(), to("grene"))
	wantError(t, err, ErrUnknownSlot, `"grene"`, "use blue or green")
	_, err = s.Hold(t.Context(), to("", "nothing"))
	wantError(t, err, ErrUnknownService)
	if all := history(t, w.disk); len(all) != 0 {
		t.Errorf("history is %+v, want none", all)
	}
}

func TestAnUnhealthyTargetIsRefused(t *testing.T) {
	w := newWorld(t)
	s := w.mustBoot()
	w.prober.answer("backend green", says("GET /api/v1/health: 503"))
	w.prober.answer("frontend green", says("connection refused"))
	rec, _, err := s.Switch(t.Context(), to(Green))
	wantError(t, err, ErrUnhealthy, "switching backend and frontend to green: the target slot is not healthy: "+
		"backend green: GET /api/v1/health: 503; frontend green: connection refused")
	if rec.Outcome != Refused || rec.Error != err.Error() {
		t.Errorf("record is %+v", rec)
	}
	wantActive(t, w, Blue, Blue)
	wantEqual(t, "history", []Record{rec}, history(t, w.disk))
}

func TestOneUnhealthyTargetKeepsAllServicesWhereTheyAre(t *testing.T) {
	w := newWorld(t)
	s := w.mustBoot()
	w.prober.answer("frontend green", says("connection refused"))
	_, _, err := s.Switch(t.Context(), to(Green))
	wantError(t, err, ErrUnhealthy, "frontend green: connection refused")
	wantActive(t, w, Blue, Blue)
}

func TestForceSkipsHealthAndIsRecorded(t *testing.T) {
	w := newWorld(t)
	s := w.mustBoot()
	w.prober.answer("backend green", says("down"))
	r := to(Green, "backend")
	r.Force = true
	if rec := mustSwitch(t, s, r); !rec.Forced {
		t.Error("the record does not say that it was forced")
	}
	wantActive(t, w, Green, Blue)
	if len(w.prober.asked) > 0 {
		t.Errorf("asked for %v", w.prober.asked)
	}
}

func TestEverySwitchAsksForHealthAnew(t *testing.T) {
	w := newWorld(t)
	s := w.mustBoot()
	mustSwitch(t, s, to(Green))
	mustSwitch(t, s, to(Blue))
	if _, _, err := s.Rollback(t.Context(), Request{Actor: root}); err != nil {
		t.Fatal(err)
	}
	if len(w.prober.asked) != 6 {
		t.Errorf("asked for %v, want two slots three times", w.prober.asked)
	}
}

func TestWaitAsksAgainUntilAllAreHealthyTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.mustBoot()
		start := time.Now()
		w.prober.answer("backend green", func(context.Context) error {
			if time.Since(start) < 900*time.Millisecond {
				return errors.New("booting")
			}
			return nil
		})
		r := to(Green)
		r.Wait = time.Minute
		rec := mustSwitch(t, s, r)
		if rec.Probing != time.Second {
			t.Errorf("probing took %s, want the fifth check at 1s", rec.Probing)
		}
		if n := len(w.prober.asked); n != 10 {
			t.Errorf("%d checks, want five of each", n)
		}
	})
}

func TestWaitEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.mustBoot()
		w.prober.answer("backend green", says("booting"))
		r := to(Green)
		r.Wait = 600 * time.Millisecond
		rec, _, err := s.Switch(t.Context(), r)
		wantError(t, err, ErrUnhealthy, "after 600ms: backend green: booting")
		if rec.Probing != r.Wait {
			t.Errorf("probing took %s, want the last check at %s", rec.Probing, r.Wait)
		}
		wantActive(t, w, Blue, Blue)
	})
}

func TestASecondOperationIsRefusedNamingTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.mustBoot()
		w.prober.answer("backend green", hangs)
		go s.Switch(t.Context(), Request{To: Green, Services: []string{"backend"}, Actor: Actor{UID: 7, User: "mika"}})
		synctest.Wait()
		time.Sleep(12 * time.Second)
		op := s.Operation()
		if op == nil || op.Step != StepHealth || op.Kind != KindSwitch {
			t.Fatalf("operation is %+v", op)
		}
		first := fmt.Sprintf("switch of backend to green %s by mika is awaiting health, since 2000-01-01T00:00:00Z (12s ago)", op.ID)
		refused := func(err error) {
			t.Helper()
			wantError(t, err, ErrBusy, first)
		}
		_, _, err := s.Switch(t.Context(), to(Green))
		refused(err)
		_, _, err = s.Rollback(t.Context(), Request{})
		refused(err)
		_, err = s.Hold(t.Context(), Request{})
		refused(err)
		_, err = s.ReleaseHold(t.Context(), Request{})
		refused(err)
		refused(s.Reconfigure(t.Context(), root, twoServices, w.traffic.configure))
		if _, err := s.Abort("", root); err != nil {
			t.Fatal(err)
		}
		if err := s.AwaitIdle(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Hold(t.Context(), Request{}); err != nil {
			t.Errorf("after the first has ended: %v", err)
		}
	})
}

func TestOfFiftyOperationsOneWins(t *testing.T) {
	w := newWorld(t)
	s := w.mustBoot()
	all := make(chan struct{})
	w.prober.answer("backend green", func(context.Context) error {
		<-all
		return nil
	})
	var wg, refused sync.WaitGroup
	var mu sync.Mutex
	won, busy := 0, 0
	refused.Add(49)
	for range 50 {
		wg.Go(func() {
			_, _, err := s.Switch(t.Context(), to(Green))
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won++
			} else if errors.Is(err, ErrBusy) && strings.Contains(err.Error(), "switch") {
				busy++
				refused.Done()
			} else {
				t.Error(err)
				refused.Done()
			}
		})
	}
	refused.Wait()
	close(all)
	wg.Wait()
	if won != 1 || busy != 49 {
		t.Errorf("%d won and %d were refused, want 1 and 49", won, busy)
	}
	wantActive(t, w, Green, Green)
	if w.traffic.swaps != 1 {
		t.Errorf("%d swaps, want 1", w.traffic.swaps)
	}
}

// TestAnOperationCanBeEndedUntilItSaves ends a switch at each call that it
// makes, by Abort and by its context.
func TestAnOperationCanBeEndedUntilItSaves(t *testing.T) {
	ends := map[string]func(*Switcher, context.CancelFunc) error{
		"abort": func(s *Switcher, _ context.CancelFunc) error {
			_, err := s.Abort("", Actor{User: "mika"})
			return err
		},
		"the client leaves": func(_ *Switcher, cancel context.CancelFunc) error {
			cancel()
			return nil
		},
	}
	for name, end := range ends {
		for n, more := 1, true; more; n++ {
			t.Run(fmt.Sprintf("%s at call %d", name, n), func(t *testing.T) { more = endedAt(t, n, end) })
		}
	}
}

// endedAt reports whether there was an n-th call.
func endedAt(t *testing.T, n int, end func(*Switcher, context.CancelFunc) error) bool {
	w := newWorld(t)
	s := w.mustBoot()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	at, early := "", false
	w.faults.arm(0, "")
	w.faults.watch = func(call int, label string) {
		if call != n || s.Operation() == nil {
			return
		}
		at, early = label, strings.HasPrefix(label, "prober")
		if err := end(s, cancel); err != nil {
			wantError(t, err, ErrNothingToAbort, "already")
		} else if !early && ctx.Err() == nil {
			t.Errorf("at %q an abort was accepted", label)
		}
	}
	rec, d, err := s.Switch(ctx, to(Green, "backend"))
	if _, err := d.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	if early {
		wantError(t, err, ErrAborted, "switching backend to green: aborted")
		wantActive(t, w, Blue, Blue)
		if rec.Outcome != Aborted {
			t.Errorf("outcome is %s", rec.Outcome)
		}
	} else {
		if err != nil {
			t.Errorf("ended at %q: %v", at, err)
		}
		wantActive(t, w, Green, Blue)
	}
	return at != ""
}

func TestThereIsNothingToAbortWithoutAnOperation(t *testing.T) {
	_, err := newWorld(t).mustBoot().Abort("", root)
	wantError(t, err, ErrNothingToAbort, "no operation is running")
}

func TestAnAbortNamesWhoDidIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.mustBoot()
		w.prober.answer("backend green", hangs)
		ended := make(chan error)
		go func() {
			_, _, err := s.Switch(t.Context(), to(Green))
			ended <- err
		}()
		synctest.Wait()
		_, err := s.Abort("0000-0000-001", root)
		wantError(t, err, ErrNothingToAbort, "0000-0000-001 is not running, but switch "+s.Operation().ID+" is")
		op, err := s.Abort(s.Operation().ID, Actor{UID: 1000})
		if err != nil || op.Kind != KindSwitch {
			t.Errorf("aborted %+v, %v", op, err)
		}
		wantError(t, <-ended, ErrAborted, "aborted by uid 1000")
		wantActive(t, w, Blue, Blue)
	})
}

// slowDrain ends on a signal, and counts the requests that are left.
type slowDrain struct {
	mu   sync.Mutex
	open int64
	done chan struct{}
}

func (d *slowDrain) drain(ctx context.Context) ([]DrainCount, error) {
	var err error
	select {
	case <-d.done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return []DrainCount{{Service: "backend", Slot: Blue, Moved: 5, OpenRequests: d.open}}, err
}

func TestADrainDoesNotHoldTheLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.mustBoot()
		slow := &slowDrain{open: 2, done: make(chan struct{})}
		w.traffic.drain = slow.drain
		rec, d, err := s.Switch(t.Context(), to(Green, "backend"))
		if err != nil {
			t.Fatal(err)
		}
		w.traffic.drain = nil
		back, _, err := s.Rollback(t.Context(), Request{Actor: root})
		if err != nil {
			t.Fatalf("rolling back during the drain: %v", err)
		}
		synctest.Wait()
		slow.open = 0
		close(slow.done)
		counts, err := d.Wait(t.Context())
		want := []DrainCount{{Service: "backend", Slot: Blue, Moved: 5}}
		wantEqual(t, "counts", want, counts)
		if err != nil {
			t.Error(err)
		}
		all := history(t, w.disk)
		if len(all) != 2 || all[0].ID != back.ID || all[1].ID != rec.ID {
			t.Fatalf("history is %+v, want the rollback, then the switch", all)
		}
		wantEqual(t, "drain in the history", want, all[1].Drain)
	})
}

func TestWaitingForADrainIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.mustBoot()
		slow := &slowDrain{open: 2, done: make(chan struct{})}
		w.traffic.drain = slow.drain
		_, d, err := s.Switch(t.Context(), to(Green, "backend"))
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		counts, err := d.Wait(ctx)
		wantError(t, err, context.DeadlineExceeded)
		if len(counts) != 1 || counts[0].OpenRequests != 2 || time.Since(start) != time.Second {
			t.Errorf("counts are %+v after %s", counts, time.Since(start))
		}
		counts, err = d.Wait(t.Context())
		wantError(t, err, context.DeadlineExceeded)
		if len(counts) != 1 || time.Since(start) != 30*time.Second {
			t.Errorf("counts are %+v after %s, want the service's drain timeout", counts, time.Since(start))
		}
		if last := s.Last(); len(last.Drain) != 1 || last.Drain[0].OpenRequests != 2 {
			t.Errorf("last is %+v, want the counts of a drain that was given up", last)
		}
	})
}

func TestCloseRecordsWhatStillDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.mustBoot()
		w.traffic.drain = (&slowDrain{open: 4, done: make(chan struct{})}).drain
		if _, _, err := s.Switch(t.Context(), to(Green, "backend")); err != nil {
			t.Fatal(err)
		}
		s.Close()
		if all := history(t, w.disk); len(all) != 1 || len(all[0].Drain) != 1 || all[0].Drain[0].OpenRequests != 4 {
			t.Errorf("history is %+v", all)
		}
	})
}

func TestCloseAbortsWhatAwaitsHealthAndRefusesMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.mustBoot()
		w.prober.answer("backend green", hangs)
		ended := make(chan error, 1)
		go func() {
			_, _, err := s.Switch(t.Context(), to(Green))
			ended <- err
		}()
		synctest.Wait()
		s.Close()
		wantError(t, <-ended, ErrAborted, "the daemon is stopping")
		_, _, err := s.Switch(t.Context(), to(Green))
		wantError(t, err, ErrAborted, "the daemon is stopping")
		wantActive(t, w, Blue, Blue)
	})
}

// TestTrafficThatWillNotReturnIsNotLiedAbout has the result not saved, so that
// traffic must return, and traffic refuse to.
func TestTrafficThatWillNotReturnIsNotLiedAbout(t *testing.T) {
	w := newWorld(t)
	s := w.mustBoot()
	breakFrom(w, "disk create", 3, failOn) // previous, intent, and then the result
	rec, _, err := s.Switch(t.Context(), to(Green))
	mend(w)
	if err != nil || rec.Outcome != Done {
		t.Fatalf("record is %+v, error %v", rec, err)
	}
	wantActive(t, w, Green, Green)
	active, _ := s.Routing()
	wantSame(t, "what is told", map[string]Slot{"backend": Green, "frontend": Green}, active)
	if !strings.Contains(rec.Warning, "swapping back") || !strings.Contains(strings.Join(s.Warnings(), ""), "a restart may not know of it") {
		t.Errorf("warnings are %q and %q", rec.Warning, s.Warnings())
	}
}

// breakFrom breaks the n-th call with the label.
func breakFrom(w *world, label string, n int, mode faultMode) {
	w.faults.watch = func(_ int, called string) {
		if called != label {
			return
		}
		if n--; n == 0 {
			w.faults.arm(1, mode)
		}
	}
}

func mend(w *world) {
	w.faults.watch = nil
	w.faults.arm(0, "")
}

func TestTrafficIsNotTouchedWithoutASavedIntent(t *testing.T) {
	w := newWorld(t)
	s := w.mustBoot()
	w.faults.arm(3, failBefore) // after two health checks: the first call to the disk
	rec, _, err := s.Switch(t.Context(), to(Green))
	wantError(t, err, ErrNotSaved, "saving the intent")
	if w.traffic.swaps != 0 || rec.Outcome != Failed {
		t.Errorf("%d swaps, outcome %s", w.traffic.swaps, rec.Outcome)
	}
}

// TestADiskThatTookNothingIsNotInDoubt has no state reach the disk, then an
// intent that stays there.
func TestADiskThatTookNothingIsNotInDoubt(t *testing.T) {
	for nth, doubt := range map[int]bool{1: false, 3: true} { // previous, intent, result
		w := newWorld(t)
		s := w.mustBoot()
		breakFrom(w, "disk create", nth, failWrites)
		_, _, err := s.Switch(t.Context(), to(Green))
		wantError(t, err, ErrNotSaved)
		if got := strings.Contains(strings.Join(s.Warnings(), ""), "the state on disk may be another"); got != doubt {
			t.Errorf("create %d fails: warnings are %q, want doubt: %t", nth, s.Warnings(), doubt)
		}
		mend(w)
	}
}

func TestAForcedSwitchOfAClientThatLeftIsAborted(t *testing.T) {
	w := newWorld(t)
	s := w.mustBoot()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err := s.Switch(ctx, Request{Force: true})
	wantError(t, err, ErrAborted)
	wantError(t, err, context.Canceled)
	_, err = s.Hold(ctx, Request{})
	wantError(t, err, ErrAborted)
	wantActive(t, w, Blue, Blue)
}

// TestAFailedSwitchIsNotInterruptedLater leaves an intent on a disk that takes
// the history but no state: the next start must not tell another story.
func TestAFailedSwitchIsNotInterruptedLater(t *testing.T) {
	w := newWorld(t)
	s := w.mustBoot()
	breakFrom(w, "disk create", 3, failWrites) // previous, intent, and then the result
	rec, _, err := s.Switch(t.Context(), to(Green))
	wantError(t, err, ErrNotSaved)
	mend(w)
	_, _, _ = s.Switch(t.Context(), to(Blue)) // changes nothing and writes the history
	next := w.mustBoot()
	if all := history(t, w.disk); len(all) != 2 || all[1].ID != rec.ID || all[1].Outcome != Failed {
		t.Errorf("history is %+v", all)
	}
	if last := next.State().Last; last != nil {
		t.Errorf("the state says %+v", last)
	}
	wantActive(t, w, Blue, Blue)
}
