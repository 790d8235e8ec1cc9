package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"charactier-proxy/switcher"
)

func TestADeployMovesTrafficToTheNewRelease(t *testing.T) {
	w := newWorld(t)
	r, err := w.deploy(t.Context(), request())
	if err != nil || r.Outcome != switcher.Done {
		t.Fatalf("deploy = %+v, %v", r, err)
	}
	if err := w.checkSettled(nil, nil); err != nil {
		t.Error(err)
	}
	if w.active["backend"] != green || w.units["backend-green.service"].release != r.Release {
		t.Errorf("backend is on %s with release %s, want green with %s", w.active["backend"], w.units["backend-green.service"].release, r.Release)
	}
	if len(w.records) != 1 || w.records[0].Kind != switcher.KindDeploy || w.records[0].Outcome != switcher.Done || w.records[0].Moves[0].FromRelease != "r1-111111111111" {
		t.Errorf("the history got %+v", w.records)
	}
}

func TestTheActiveRevisionIsNotDeployedAgain(t *testing.T) {
	w := newWorld(t)
	w.ref = "1111111111111111"
	r, err := w.deploy(t.Context(), request())
	if err != nil || r.Outcome != switcher.Unchanged {
		t.Fatalf("deploy = %+v, %v, want unchanged", r, err)
	}
	force := request()
	force.Force = true
	if r, err = w.deploy(t.Context(), force); err != nil || r.Outcome != switcher.Done {
		t.Errorf("a forced deploy = %+v, %v", r, err)
	}
}

func TestWhatFailsLeavesTrafficWhereItWas(t *testing.T) {
	for name, c := range map[string]struct {
		plant func(*world, *Request)
		want  error
		step  string // part of the message
	}{
		"a slot that is never healthy":  {func(w *world, _ *Request) { w.sick["r2-222222222222"] = "503" }, ErrUnhealthy, "503"},
		"a unit that dies at its start": {func(w *world, _ *Request) { w.units["backend-green.service"].dies = true }, ErrUnhealthy, "exit code 1"},
		"a bake that fails":             {func(w *world, _ *Request) { w.bakeFail = "5 % errors" }, ErrReturned, "5 % errors"},
		"requests on the standby":       {func(w *world, _ *Request) { w.inFlight["frontend/green"] = 1 }, ErrDraining, "1 requests"},
		"a bad release": {func(w *world, _ *Request) {
			w.bad["backend"] = []switcher.BadRelease{{Release: "x-222222222222", Reason: "it lost orders"}}
		}, ErrBadRelease, "it lost orders"},
		"a unit that runs elsewhere": {func(w *world, _ *Request) { w.units["frontend-green.service"].files.Directory = "/home/ops/app" },
			nil, "would not change what it runs"},
		"a release that is not there": {func(_ *world, r *Request) { r.Source = Source{Release: "nope"} }, nil, "no such release"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			links, ran := w.warmStandby()
			r := request()
			c.plant(w, &r)
			if name == "a unit that dies at its start" {
				// It cannot run again either: the warm standby is gone, and said so.
				ran["backend-green.service"] = false
			}
			got, err := w.deploy(t.Context(), r)
			if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.step) {
				t.Errorf("deploy = %v, want %v with %q", err, c.want, c.step)
			}
			if err := w.checkSettled(links, ran); err != nil {
				t.Error(err)
			}
			if w.active["backend"] != blue || got.Outcome == switcher.Done {
				t.Errorf("backend is on %s, the outcome %s", w.active["backend"], got.Outcome)
			}
		})
	}
}

func TestASlotThatTakesNoRoleIsReturned(t *testing.T) {
	w := newWorld(t)
	links, ran := w.warmStandby()
	w.roles, w.sick["r2-222222222222"] = true, ""
	w.ref = "roleless"
	w.revision["roleless"] = "roleless"
	r := request()
	r.Source = Source{Release: "roleless"}
	got, err := w.deploy(t.Context(), r)
	if !errors.Is(err, ErrReturned) || got.Outcome != switcher.Returned || !strings.Contains(err.Error(), "role") {
		t.Errorf("deploy = %s, %v, want it returned for its role", got.Outcome, err)
	}
	if err := w.checkSettled(links, ran); err != nil {
		t.Error(err)
	}
}

// countCalls runs a whole deploy and returns how many calls it makes.
func countCalls(t *testing.T) int {
	w := newWorld(t)
	w.warmStandby()
	if _, err := w.deploy(t.Context(), request()); err != nil {
		t.Fatal(err)
	}
	return w.calls
}

func TestACommandKilledAnywhereIsSettledByTheNext(t *testing.T) {
	for n := 1; n <= countCalls(t); n++ {
		for _, applied := range []bool{false, true} {
			t.Run(fmt.Sprintf("call %d, applied %t", n, applied), func(t *testing.T) { killAndSettle(t, n, applied, 0) })
		}
	}
}

// killAndSettle kills a deploy in its n-th call and, unless m is zero, the
// command that settles it in its m-th.
func killAndSettle(t *testing.T, n int, applied bool, m int) {
	w := newWorld(t)
	links, ran := w.warmStandby()
	die := func(at int) {
		w.calls = 0
		w.fault = func(i int, _ string, effect func()) error {
			if i == at {
				if applied {
					effect()
				}
				panic(killed{})
			}
			return nil
		}
	}
	die(n)
	if _, _, dead := w.run(func(p *Pipeline) (Result, error) { return p.Run(t.Context(), request()) }); !dead {
		t.Fatal("the deploy was not killed")
	}
	if err := w.check(); err != nil {
		t.Fatalf("right after the kill in %q: %v", w.log[len(w.log)-1], err)
	}
	if m > 0 {
		die(m)
		w.run(func(p *Pipeline) (Result, error) { r, err := p.Settle(t.Context()); return deref(r), err })
		if err := w.check(); err != nil {
			t.Fatalf("after a kill while settling: %v", err)
		}
	}
	w.fault = nil
	if _, err, _ := w.run(func(p *Pipeline) (Result, error) { r, err := p.Settle(t.Context()); return deref(r), err }); err != nil {
		t.Fatalf("settling: %v", err)
	}
	if err := w.checkSettled(links, ran); err != nil {
		t.Fatalf("settled after a kill in %q: %v", w.log, err)
	}
	again := request()
	again.Force = true
	if r, err := w.deploy(t.Context(), again); err != nil || r.Outcome != switcher.Done {
		t.Errorf("the next deploy = %+v, %v", r, err)
	}
}

func deref(r *Result) Result {
	if r == nil {
		return Result{}
	}
	return *r
}

func TestAKillWhileSettlingIsSettledToo(t *testing.T) {
	last := countCalls(t)
	for n := 3; n <= last; n += 4 {
		for m := 2; m <= 30; m += 3 {
			t.Run(fmt.Sprintf("calls %d and %d", n, m), func(t *testing.T) { killAndSettle(t, n, (n+m)%2 == 0, m) })
		}
	}
}

func TestACallThatFailsUndoesWhatCameBefore(t *testing.T) {
	for n := 1; n <= countCalls(t); n++ {
		for _, applied := range []bool{false, true} {
			t.Run(fmt.Sprintf("call %d, applied %t", n, applied), func(t *testing.T) {
				w := newWorld(t)
				links, ran := w.warmStandby()
				w.fault = func(i int, _ string, effect func()) error {
					if i != n {
						return nil
					}
					if applied {
						effect()
					}
					return errBroken
				}
				r, err := w.deploy(t.Context(), request())
				w.fault = nil
				if w.log[n-1] == "enable" {
					// Traffic has moved and stays; what a reboot would do is told.
					if err != nil || len(r.Warnings) == 0 || !strings.Contains(r.Warnings[0], "systemctl enable") {
						t.Errorf("deploy = %v, warnings %q, want done with the mending command", err, r.Warnings)
					}
					return
				}
				if errors.Is(err, ErrStuck) {
					if _, err, _ = w.run(func(p *Pipeline) (Result, error) { return p.Abort(t.Context()) }); err == nil {
						t.Error("an abort ended without saying so")
					}
				}
				if wrong := w.checkSettled(links, ran); wrong != nil {
					t.Errorf("after a failure of %q (deploy: %v): %v", w.log[n-1], err, wrong)
				}
				if err == nil && w.active["backend"] != green {
					t.Error("the deploy is done, and traffic is where it was")
				}
			})
		}
	}
}

func TestADaemonThatRestartsAnywhereChangesNothing(t *testing.T) {
	for n := 2; n <= countCalls(t); n++ {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			w := newWorld(t)
			links, ran := w.warmStandby()
			w.fault = func(i int, _ string, _ func()) error {
				if i == n {
					w.lose()
				}
				return nil
			}
			r, err := w.deploy(t.Context(), request())
			if err := w.checkSettled(links, ran); err != nil {
				t.Errorf("after a restart in %q: %v", w.log[n-1], err)
			}
			if err == nil != (w.active["backend"] == green) {
				t.Errorf("deploy = %s, %v, and backend is on %s", r.Outcome, err, w.active["backend"])
			}
		})
	}
}

func TestAbortIsHeardInEveryStep(t *testing.T) {
	for n := 2; n <= countCalls(t); n++ {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			w := newWorld(t)
			links, ran := w.warmStandby()
			w.fault = func(i int, _ string, _ func()) error {
				if i == n && w.reserved != nil {
					w.reserved.asked <- "somebody"
				}
				return nil
			}
			_, err := w.deploy(t.Context(), request())
			if err := w.checkSettled(links, ran); err != nil {
				t.Errorf("after an abort in %q: %v", w.log[n-1], err)
			}
			if err == nil != (w.active["backend"] == green) {
				t.Errorf("deploy = %v, and backend is on %s", err, w.active["backend"])
			}
		})
	}
}

func TestACommandThatLeavesAfterTheSwitchIsResumed(t *testing.T) {
	w := newWorld(t)
	links, ran := w.warmStandby()
	ctx, leave := context.WithCancel(t.Context())
	w.fault = func(_ int, call string, _ func()) error {
		if call == "step drain" {
			leave()
		}
		return nil
	}
	w.inFlight["backend/blue"] = 1
	r, err := w.deploy(ctx, request())
	if !errors.Is(err, ErrDetached) || r.Outcome != switcher.Interrupted {
		t.Fatalf("deploy = %s, %v, want it detached", r.Outcome, err)
	}
	found, err := Unfinished(w.root)
	if err != nil || found == nil || found.ID != r.ID || !strings.Contains(found.At, "drain") {
		t.Errorf("Unfinished = %+v, %v", found, err)
	}
	w.fault = nil
	if r, err, _ = w.run(func(p *Pipeline) (Result, error) { return p.Resume(t.Context()) }); err != nil || r.Outcome != switcher.Done {
		t.Errorf("resumed: %+v, %v", r, err)
	}
	if err := w.checkSettled(links, ran); err != nil {
		t.Error(err)
	}
}

func TestOnlyOneDeployRunsAtATime(t *testing.T) {
	w := newWorld(t)
	first := w.pipeline()
	if _, err := Open(first.opts); !errors.Is(err, switcher.ErrBusy) || !strings.Contains(err.Error(), "by ops") {
		t.Errorf("a second one: %v, want busy, naming the first", err)
	}
	if !Running(w.root) {
		t.Error("nobody is said to run")
	}
	if err := first.Close(); err != nil || Running(w.root) || Running(w.root+"/nowhere") {
		t.Errorf("after its end (%v) it is said to run", err)
	}
}

// A command that is stopped in a step undoes what it did, or leaves what has
// moved to be finished, whatever became of the step by that.
func TestACommandThatLeavesInAnyStep(t *testing.T) {
	for n, step := range StepNames() {
		w := newWorld(t)
		links, ran := w.warmStandby()
		ctx, leave := context.WithCancel(t.Context())
		w.fault = func(_ int, call string, _ func()) error {
			if call == "step "+step {
				leave()
			}
			return nil
		}
		r := request()
		r.Confirm = true
		_, err := w.deploy(ctx, r)
		leave()
		w.fault = nil
		switch after := n - slices.Index(StepNames(), "switch"); {
		case after < 0:
			if !errors.Is(err, switcher.ErrAborted) || w.active["backend"] != blue {
				t.Errorf("left in %s: %v, backend is on %s", step, err, w.active["backend"])
			}
		case slices.Index(StepNames(), "enable") <= n:
			if err != nil {
				t.Errorf("left in %s: %v, want it done", step, err)
			}
		case !errors.Is(err, ErrDetached):
			t.Errorf("left in %s: %v, want it to be finished later", step, err)
		default:
			if _, err, _ := w.run(func(p *Pipeline) (Result, error) { return p.Resume(t.Context()) }); err != nil {
				t.Errorf("left in %s, resumed: %v", step, err)
			}
		}
		if err := w.checkSettled(links, ran); err != nil {
			t.Errorf("left in %s: %v", step, err)
		}
	}
}

// A return to what was there before takes each slot as it is: its own release,
// or what no release was made of.
func TestAReturnKeepsTheLinks(t *testing.T) {
	w := newWorld(t)
	w.revision["r0-000000000000"] = "0000000000000000"
	before := map[string]string{"/backend/green": "/opt/by-hand", "/frontend/green": "r0-000000000000"}
	for link, target := range before {
		w.links[link] = target
	}
	w.previous["backend"], w.previous["frontend"] = green, green
	r := request()
	r.Kind, r.Source, r.Bake = switcher.KindRollback, Source{}, 0
	if _, err := w.deploy(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	for link, target := range before {
		if got := w.links[link]; got != target {
			t.Errorf("%s leads to %s, want %s", link, got, target)
		}
	}
	if err := w.checkSettled(nil, nil); err != nil {
		t.Error(err)
	}
}

// A release is bad and not all of its revision, which may have served well since.
// Whoever is refused is told of a way that works.
func TestARollbackAsksForTheReleaseItself(t *testing.T) {
	for bad, refused := range map[string]bool{"r0-000000000000": true, "r9-000000000000": false} {
		w := newWorld(t)
		w.revision["r0-000000000000"] = "0000000000000000"
		w.links["/backend/green"], w.links["/frontend/green"] = "r0-000000000000", "r0-000000000000"
		w.previous["backend"], w.previous["frontend"] = green, green
		w.units["backend-green.service"].files.Directory = "/home/ops/app" // which keeps nobody from going back
		w.bad["backend"] = []switcher.BadRelease{{Release: bad}}
		r := request()
		r.Kind, r.Source, r.Bake = switcher.KindRollback, Source{}, 0
		_, err := w.deploy(t.Context(), r)
		if errors.Is(err, ErrBadRelease) != refused || err != nil && !refused {
			t.Errorf("with %s bad: %v", bad, err)
		}
		if refused && !strings.Contains(hintOf(err), "rollback --to r0-000000000000 --force") {
			t.Errorf("the hint is of no use: %s", hintOf(err))
		}
	}
}

func TestTheDaemonMayEndOverAMove(t *testing.T) {
	for _, moved := range []bool{false, true} {
		w := newWorld(t)
		w.fault = func(_ int, call string, effect func()) error {
			if call != "move" {
				return nil
			}
			w.fault = nil
			if moved {
				effect()
			}
			w.lose()
			return errBroken
		}
		if _, err := w.deploy(t.Context(), request()); err != nil {
			t.Errorf("moved before it ended: %t: %v", moved, err)
		}
		if err := w.checkSettled(nil, nil); err != nil {
			t.Error(err)
		}
	}
}

func TestAnUnconfirmedDeployIsConfirmedByResume(t *testing.T) {
	w := newWorld(t)
	r := request()
	r.Confirm = true
	unattended := func(do func(*Pipeline) (Result, error)) error {
		_, err, _ := w.run(func(p *Pipeline) (Result, error) {
			p.opts.Confirm = nil
			return do(p)
		})
		return err
	}
	if err := unattended(func(p *Pipeline) (Result, error) { return p.Run(t.Context(), r) }); !errors.Is(err, ErrDetached) {
		t.Errorf("nobody can be asked: %v", err)
	}
	// The next deploy is nobody's yes.
	settle := func(p *Pipeline) (Result, error) { r, err := p.Settle(t.Context()); return deref(r), err }
	if err := unattended(settle); !errors.Is(err, ErrDetached) {
		t.Errorf("settled: %v", err)
	}
	if err := unattended(func(p *Pipeline) (Result, error) { return p.Resume(t.Context()) }); err != nil {
		t.Errorf("resumed: %v", err)
	}
	if err := w.checkSettled(nil, nil); err != nil {
		t.Error(err)
	}
}

func TestAResumedDeployStartsAndProvesAgain(t *testing.T) {
	w := newWorld(t)
	w.fault = func(_ int, call string, _ func()) error {
		if call == "step smoke" {
			panic(killed{})
		}
		return nil
	}
	if _, _, dead := w.run(func(p *Pipeline) (Result, error) { return p.Run(t.Context(), request()) }); !dead {
		t.Fatal("it was not killed")
	}
	w.fault = nil
	w.lose()
	for _, s := range w.services() { // the machine was rebooted
		w.units[s.Slots[green].Unit].running = false
	}
	if _, err, _ := w.run(func(p *Pipeline) (Result, error) { return p.Resume(t.Context()) }); err != nil {
		t.Error(err)
	}
	if err := w.checkSettled(nil, nil); err != nil {
		t.Error(err)
	}
}

func TestAnAbortAfterARebootStartsTheOldSlots(t *testing.T) {
	w := newWorld(t)
	links, ran := w.warmStandby()
	w.fault = func(_ int, call string, _ func()) error {
		if call == "step retire" {
			panic(killed{})
		}
		return nil
	}
	if _, _, dead := w.run(func(p *Pipeline) (Result, error) { return p.Run(t.Context(), request()) }); !dead {
		t.Fatal("it was not killed")
	}
	w.fault = nil
	w.lose()
	for _, s := range w.services() {
		w.units[s.Slots[blue].Unit].running = false
	}
	_, err, _ := w.run(func(p *Pipeline) (Result, error) { return p.Abort(t.Context()) })
	if !errors.Is(err, ErrReturned) || w.active["backend"] != blue {
		t.Errorf("the abort ended with %v, and backend is on %s", err, w.active["backend"])
	}
	if err := w.checkSettled(links, ran); err != nil {
		t.Error(err)
	}
}
