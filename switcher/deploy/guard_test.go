package deploy

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"charactier-proxy/switcher"
)

// moveAll is what somebody else does who was let in by a daemon that restarted.
func (w *world) moveAll(to switcher.Slot) {
	for name := range w.active {
		w.active[name] = to
	}
}

func TestAYesToWhatWasReturnedMeanwhileIsNone(t *testing.T) {
	w := newWorld(t)
	links, ran := w.warmStandby()
	r := request()
	r.Confirm = true
	_, err, _ := w.run(func(p *Pipeline) (Result, error) {
		p.opts.Confirm = func(context.Context, string) (bool, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.lose()
			w.moveAll(blue)
			return true, nil
		}
		return p.Run(t.Context(), r)
	})
	if !errors.Is(err, ErrReturned) {
		t.Errorf("deploy = %v, want it returned", err)
	}
	if err := w.checkSettled(links, ran); err != nil {
		t.Error(err)
	}
}

func TestASlotThatHasTheTrafficAgainIsNotRetired(t *testing.T) {
	w := newWorld(t)
	w.fault = func(_ int, call string, _ func()) error {
		if call == "step retire" {
			w.lose()
			w.moveAll(blue)
		}
		return nil
	}
	r, err, _ := w.run(func(p *Pipeline) (Result, error) {
		for i := range p.opts.Services {
			p.opts.Services[i].Warm = 0
		}
		return p.Run(t.Context(), request())
	})
	if err != nil || !strings.Contains(strings.Join(r.Warnings, "; "), "was not stopped") {
		t.Errorf("deploy = %v, warnings %q, want one of the slot that was not stopped", err, r.Warnings)
	}
	if err := w.check(); err != nil {
		t.Error(err)
	}
}

func TestALostReservationIsTakenAgainBeforeAUnitIsTouched(t *testing.T) {
	w := newWorld(t)
	w.warmStandby()
	touched := 0
	w.fault = func(_ int, call string, _ func()) error {
		switch {
		case call == "seal":
			w.lose()
		case call == "stop backend-green.service":
			touched++
			if w.reserved == nil {
				t.Error("the standby's unit is stopped while others may switch to it")
			}
		}
		return nil
	}
	if _, err := w.deploy(t.Context(), request()); err != nil || touched != 1 {
		t.Errorf("deploy = %v, the standby's unit was stopped %d times", err, touched)
	}
}

func TestNothingIsUndoneBesideSomebodyElse(t *testing.T) {
	w := newWorld(t)
	w.sick["r2-222222222222"] = "503"
	var other *lease
	w.fault = func(_ int, call string, _ func()) error {
		if call == "step undoing start" {
			w.lose()
			other = &lease{w: w, lost: make(chan struct{})}
			w.reserved = other
		}
		if other != nil && strings.HasPrefix(call, "stop ") {
			t.Errorf("%s while somebody else has the reservation", call)
		}
		return nil
	}
	if _, err := w.deploy(t.Context(), request()); !errors.Is(err, ErrStuck) || !errors.Is(err, switcher.ErrBusy) {
		t.Errorf("deploy = %v, want it stuck for somebody else is at work", err)
	}
	other.Close()
	w.fault = nil
	if _, err, _ := w.run(func(p *Pipeline) (Result, error) { return p.Abort(t.Context()) }); !errors.Is(err, switcher.ErrAborted) || errors.Is(err, ErrStuck) {
		t.Errorf("abort = %v", err)
	}
	if err := w.checkSettled(map[string]string{}, map[string]bool{}); err != nil {
		t.Error(err)
	}
}

func TestABakeThatLeavesTheTrafficInDoubtIsWarnedAbout(t *testing.T) {
	for verdict, says := range map[switcher.Verdict]string{
		switcher.BakeFailed:   "could not be returned",
		switcher.Inconclusive: "has no verdict and the traffic stays on green",
	} {
		w := newWorld(t)
		w.fault = func(_ int, call string, _ func()) error {
			if call == "step bake" {
				w.bakes["frontend"] = &switcher.BakeResult{Verdict: verdict, Text: "7 % errors"}
			}
			return nil
		}
		r, err := w.deploy(t.Context(), request())
		if err != nil || len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], says) || !strings.Contains(r.Warnings[0], "rollback --service frontend") {
			t.Errorf("%s: deploy = %v, warnings %q", verdict, err, r.Warnings)
		}
	}
}

func TestAHistoryThatWasNotToldIsAWarning(t *testing.T) {
	w := newWorld(t)
	w.fault = func(_ int, call string, _ func()) error {
		if call == "end" {
			return errBroken
		}
		return nil
	}
	r, err := w.deploy(t.Context(), request())
	if err != nil || !strings.Contains(strings.Join(r.Warnings, "; "), "history does not say") {
		t.Errorf("deploy = %v, warnings %q", err, r.Warnings)
	}
}

func TestAnAbortStartsAnOldSlotThatIsNotWarmAnyMore(t *testing.T) {
	w := newWorld(t)
	links, ran := w.warmStandby()
	r := request()
	r.Confirm = true
	_, err, _ := w.run(func(p *Pipeline) (Result, error) {
		p.opts.Confirm = nil
		return p.Run(t.Context(), r)
	})
	if !errors.Is(err, ErrDetached) {
		t.Fatalf("deploy = %v, want it to wait for somebody's yes", err)
	}
	for _, s := range w.services() {
		w.units[s.Slots[blue].Unit].running = false
	}
	if _, err, _ = w.run(func(p *Pipeline) (Result, error) { return p.Abort(t.Context()) }); !errors.Is(err, ErrReturned) || errors.Is(err, ErrStuck) {
		t.Errorf("abort = %v, want the traffic returned", err)
	}
	if err := w.checkSettled(links, ran); err != nil {
		t.Error(err)
	}
}

func TestADeployThatMovesAgainIsNotReturnedAnyMore(t *testing.T) {
	w := newWorld(t)
	w.bakeFail = "5 % errors"
	undoing := false
	w.fault = func(_ int, call string, _ func()) error {
		undoing = undoing || call == "step undoing start"
		if undoing && call == "stop backend-green.service" {
			return errBroken
		}
		return nil
	}
	if r, err := w.deploy(t.Context(), request()); !errors.Is(err, ErrStuck) || !r.Returned {
		t.Fatalf("deploy = %+v, %v, want it returned and stuck", r, err)
	}
	w.fault, w.bakeFail = nil, ""
	if r, err, _ := w.run(func(p *Pipeline) (Result, error) { return p.Resume(t.Context()) }); err != nil || r.Returned || r.Outcome != switcher.Done {
		t.Errorf("resumed: %+v, %v, want it done", r, err)
	}
	if err := w.checkSettled(nil, nil); err != nil {
		t.Error(err)
	}
}

// A slot that somebody switched to and from, while nobody looked after the
// deploy, may have requests left.
func TestRequestsOnTheNewSlotAreWaitedForBeforeItIsStopped(t *testing.T) {
	for _, step := range []string{"point", "gate"} {
		for name, end := range map[string]func(*Pipeline) (Result, error){
			"resume": func(p *Pipeline) (Result, error) { return p.Resume(t.Context()) },
			"abort":  func(p *Pipeline) (Result, error) { return p.Abort(t.Context()) },
		} {
			w := newWorld(t)
			w.warmStandby()
			w.fault = func(_ int, call string, _ func()) error {
				if call == "step "+step {
					panic(killed{})
				}
				return nil
			}
			w.run(func(p *Pipeline) (Result, error) { return p.Run(t.Context(), request()) })
			w.inFlight["backend/green"] = 1
			w.fault = func(_ int, call string, _ func()) error {
				if call == "stop backend-green.service" && w.inFlight["backend/green"] > 0 {
					t.Errorf("killed in %s, then %s: the slot is stopped and still serves", step, name)
				}
				return nil
			}
			w.run(func(p *Pipeline) (Result, error) {
				for i := range p.opts.Services {
					p.opts.Services[i].DrainTimeout = 10 * time.Second
				}
				p.opts.Report = func(r Report) {
					if r.Step == "start" && r.State == StateUndoing || r.Step == "point" && r.State == StateUndoing {
						w.mu.Lock()
						defer w.mu.Unlock()
						time.AfterFunc(30*time.Millisecond, func() {
							w.mu.Lock()
							defer w.mu.Unlock()
							w.inFlight["backend/green"] = 0
						})
					}
				}
				return end(p)
			})
			if err := w.check(); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestAServiceThatTheConfigurationLostIsNotForgotten(t *testing.T) {
	w := newWorld(t)
	links, ran := w.warmStandby()
	w.fault = func(_ int, call string, _ func()) error {
		if call == "step gate" {
			panic(killed{})
		}
		return nil
	}
	w.run(func(p *Pipeline) (Result, error) { return p.Run(t.Context(), request()) })
	w.fault = nil
	_, err, _ := w.run(func(p *Pipeline) (Result, error) {
		p.opts.Services = p.opts.Services[:1]
		return p.Abort(t.Context())
	})
	if !errors.Is(err, switcher.ErrUnknownService) || !strings.Contains(err.Error(), "frontend") {
		t.Errorf("abort = %v, want it to name the service that is missing", err)
	}
	if _, err, _ := w.run(func(p *Pipeline) (Result, error) { return p.Abort(t.Context()) }); !errors.Is(err, switcher.ErrAborted) {
		t.Errorf("abort with the service back = %v", err)
	}
	if err := w.checkSettled(links, ran); err != nil {
		t.Error(err)
	}
}

func TestTrafficThatMovedAlreadyIsNotMovedAway(t *testing.T) {
	for name, meanwhile := range map[string]func(w *world, effect func()){
		"by a daemon that ended over it and was away for long": func(_ *world, effect func()) { effect() },
		"by somebody whom a daemon that restarted let in":      func(w *world, _ func()) { w.moveAll(green) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			moved, away := false, false
			w.fault = func(_ int, call string, effect func()) error {
				switch {
				case call == "move" && !moved:
					meanwhile(w, effect)
					moved, away = true, true
					w.lose()
					return errBroken
				case call == "reserve":
					away = false
				case away && call == "view":
					return errBroken
				}
				return nil
			}
			r := request()
			r.Bake = 0 // which would notice it later
			_, err := w.deploy(t.Context(), r)
			if err == nil && w.active["backend"] != green {
				t.Errorf("the deploy is done, and the traffic is on %s", w.active["backend"])
			}
			if err := w.check(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestTrafficIsReturnedThoughSystemdSaysNothing(t *testing.T) {
	w := newWorld(t)
	r := request()
	r.Confirm = true
	w.fault = func(_ int, call string, _ func()) error {
		if call == "running" && w.active["backend"] == green {
			return errBroken
		}
		return nil
	}
	_, err, _ := w.run(func(p *Pipeline) (Result, error) {
		p.opts.Confirm = func(context.Context, string) (bool, error) { return false, nil }
		return p.Run(t.Context(), r)
	})
	if !errors.Is(err, ErrReturned) || w.active["backend"] != blue {
		t.Errorf("deploy = %v with the traffic on %s, want it returned", err, w.active["backend"])
	}
}

func TestWhoLooksWhetherADeployRunsKeepsNoneOut(t *testing.T) {
	w := newWorld(t)
	if err := w.pipeline().Close(); err != nil { // so that there is a lock to look at
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		looker, err := os.Open(LockPath(w.root))
		if err == nil {
			err = unix.Flock(int(looker.Fd()), unix.LOCK_SH|unix.LOCK_NB)
		}
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(lookTime/2, func() { looker.Close() })
		p, err := Open(Options{Root: w.root})
		if err != nil {
			t.Fatal(err)
		}
		p.Close()
	})
}
