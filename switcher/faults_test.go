package switcher

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// scenario is one operation and the moments before it.
type scenario struct {
	name    string
	prepare func(*world, *Switcher)
	operate func(*world, *Switcher) (Record, error)
	active  map[string]Slot // wanted after it
	held    map[string]bool
}

var scenarios = []scenario{
	{
		name:    "switch of one service",
		operate: func(w *world, s *Switcher) (Record, error) { return switched(w, s, to(Green, "backend")) },
		active:  map[string]Slot{"backend": Green, "frontend": Blue},
	},
	{
		name:    "switch of two services",
		operate: func(w *world, s *Switcher) (Record, error) { return switched(w, s, to(Green)) },
		active:  map[string]Slot{"backend": Green, "frontend": Green},
	},
	{
		name:    "rollback",
		prepare: func(w *world, s *Switcher) { mustSwitch(w.t, s, to(Green)) },
		operate: func(w *world, s *Switcher) (Record, error) {
			rec, d, err := s.Rollback(w.t.Context(), Request{Actor: root})
			return rec, errors.Join(err, waited(w, d))
		},
		active: map[string]Slot{"backend": Blue, "frontend": Blue},
	},
	{
		name:    "hold",
		operate: func(w *world, s *Switcher) (Record, error) { return s.Hold(w.t.Context(), to("", "backend")) },
		active:  map[string]Slot{"backend": Blue, "frontend": Blue},
		held:    map[string]bool{"backend": true},
	},
	{
		name: "release of a hold",
		prepare: func(w *world, s *Switcher) {
			if _, err := s.Hold(w.t.Context(), Request{Actor: root}); err != nil {
				w.t.Fatal(err)
			}
		},
		operate: func(w *world, s *Switcher) (Record, error) { return s.ReleaseHold(w.t.Context(), to("", "frontend")) },
		active:  map[string]Slot{"backend": Blue, "frontend": Blue},
		held:    map[string]bool{"backend": true},
	},
	{
		name: "reconfigure",
		operate: func(w *world, s *Switcher) (Record, error) {
			services := append(slices.Clone(twoServices), ServiceConfig{Name: "images", Initial: Green})
			err := s.Reconfigure(w.t.Context(), root, services, w.traffic.configure)
			if err == nil {
				w.services = services
			}
			return Record{}, err
		},
		active: map[string]Slot{"backend": Blue, "frontend": Blue, "images": Green},
	},
	{
		name:    "switch that bakes",
		operate: func(w *world, s *Switcher) (Record, error) { return switched(w, s, baked(Green)) },
		active:  map[string]Slot{"backend": Green, "frontend": Green},
	},
	{
		name:    "switch that ends a bake",
		prepare: func(w *world, s *Switcher) { mustSwitch(w.t, s, baked(Green)) },
		operate: func(w *world, s *Switcher) (Record, error) { return switched(w, s, to(Blue)) },
		active:  map[string]Slot{"backend": Blue, "frontend": Blue},
	},
	{
		name:    "end of a bake",
		prepare: func(w *world, s *Switcher) { mustSwitch(w.t, s, baked(Green, "backend")) },
		operate: func(w *world, s *Switcher) (Record, error) {
			bake := s.State().Services["backend"].Bake
			passed := BakeResult{Verdict: Passed, Since: bake.Since, Until: bake.Until}
			return Record{}, s.EndBake(w.t.Context(), bake.ID, map[string]BakeResult{"backend": passed})
		},
		active: map[string]Slot{"backend": Green, "frontend": Blue},
	},
	{
		name:    "note of a bake",
		prepare: func(w *world, s *Switcher) { mustSwitch(w.t, s, baked(Green, "backend")) },
		operate: func(w *world, s *Switcher) (Record, error) {
			seen := BakeSeen{Requests: BakeTally{Samples: 151, Bad: 46}}
			return Record{}, s.NoteBakes(w.t.Context(), s.State().Services["backend"].Bake.ID, map[string]BakeSeen{"backend": seen})
		},
		active: map[string]Slot{"backend": Green, "frontend": Blue},
	},
	{
		name:    "return of a bake",
		prepare: func(w *world, s *Switcher) { mustSwitch(w.t, s, baked(Green)) },
		operate: func(w *world, s *Switcher) (Record, error) {
			bake := s.State().Services["backend"].Bake
			rec, d, err := s.Return(w.t.Context(), bake.ID, Request{Actor: root}, map[string]BakeResult{"backend": {Verdict: BakeFailed}})
			return rec, errors.Join(err, waited(w, d))
		},
		active: map[string]Slot{"backend": Blue, "frontend": Blue},
	},
	{
		name: "reservation",
		operate: func(w *world, s *Switcher) (Record, error) {
			res := mustReserve(w.t, s, KindDeploy)
			r := to(Green)
			r.Within = res.ID
			rec, err := switched(w, s, r)
			if err != nil {
				res.Lose("the command ended")
				return rec, err
			}
			_, err = s.EndReservation(res.ID, Record{Outcome: Done, Moves: rec.Moves})
			return rec, err
		},
		active: map[string]Slot{"backend": Green, "frontend": Green},
	},
}

func switched(w *world, s *Switcher, r Request) (Record, error) {
	rec, d, err := s.Switch(w.t.Context(), r)
	return rec, errors.Join(err, waited(w, d))
}

func waited(w *world, d *Draining) error {
	_, err := d.Wait(w.t.Context())
	return err
}

// begin boots a daemon and brings it to where the scenario's operation starts.
func (c scenario) begin(t *testing.T) (*world, *Switcher) {
	w := newWorld(t)
	s := w.mustBoot()
	if c.prepare != nil {
		c.prepare(w, s)
	}
	return w, s
}

// TestEveryCallMayFail breaks each call to disk, traffic and health checks in
// every way, in every operation.
func TestEveryCallMayFail(t *testing.T) {
	for _, c := range scenarios {
		w, s := c.begin(t)
		w.faults.arm(0, "")
		if _, err := c.operate(w, s); err != nil {
			t.Fatalf("%s without a fault: %v", c.name, err)
		}
		c.wantDone(t, w)
		for n := range w.faults.calls {
			for _, mode := range faultModes {
				t.Run(fmt.Sprintf("%s/%d %s", c.name, n+1, mode), func(t *testing.T) { c.test(t, n+1, mode) })
			}
		}
	}
}

func (c scenario) test(t *testing.T, n int, mode faultMode) {
	w, s := c.begin(t)
	before, heldBefore := w.traffic.state()
	w.faults.arm(n, mode)
	rec, err := c.operate(w, s)
	t.Logf("broke %q: %v", w.faults.hit, err)
	if w.faults.isDead() {
		w.disk.powerCuts(&faults{}, func(d *memDisk) { c.wantOldOrNew(w.revived(d), before, rec) })
		return
	}
	w.faults.arm(0, "")
	if err == nil {
		c.wantDone(t, w)
	} else {
		active, held := w.traffic.state()
		wantSame(t, "active after "+err.Error(), before, active)
		wantSame(t, "held after "+err.Error(), heldBefore, held)
		if !strings.Contains(err.Error(), errInjected.Error()) {
			t.Errorf("the error does not say why: %v", err)
		}
	}
	active, held := s.Routing()
	trafficActive, trafficHeld := w.traffic.state()
	wantSame(t, "what is told of the slots", trafficActive, active)
	wantSame(t, "what is told of holds", trafficHeld, held)
	if mode == failWrites {
		// What can be read again is not in doubt, however little can be written.
		killed := w.revived(w.disk.after(nil, len(w.disk.pending), 2))
		after, _ := killed.mustBoot().Routing()
		wantSame(t, "active after a kill", active, after)
	}
	wantWayOut(t, w, s, rec)
}

func (c scenario) wantDone(t *testing.T, w *world) {
	t.Helper()
	active, held := w.traffic.state()
	wantSame(t, "active", c.active, active)
	wantSame(t, "held", c.held, held)
}

// wantWayOut asserts that the daemon stands by what it said: after a power cut
// the next one says the same, unless there is a warning, and the next operation
// succeeds and takes the warning back.
func wantWayOut(t *testing.T, w *world, s *Switcher, rec Record) {
	t.Helper()
	if op := s.Operation(); op != nil {
		t.Fatalf("%s %s still holds the lock", op.Kind, op.ID)
	}
	// Only then may the disk say something else than the daemon.
	unwritten := strings.Contains(strings.Join(s.Warnings(), "\n"), "the history misses")
	doubtful := strings.Contains(strings.Join(s.Warnings(), "\n"), "mend the disk")
	active, held := s.Routing()
	w.disk.powerCuts(&faults{}, func(d *memDisk) {
		next := w.revived(d)
		after, afterHeld := next.mustBoot().Routing()
		if !doubtful {
			wantSame(t, "active after a restart", active, after)
			wantSame(t, "held after a restart", held, afterHeld)
		}
		all := history(t, next.disk)
		wantSoundHistory(t, all)
		if rec.ID != "" && (!unwritten || rec.Outcome == Done && !doubtful) && !contains(all, Record{ID: rec.ID}) {
			t.Errorf("%s %s is not in the history after a restart", rec.Kind, rec.ID)
		}
	})
	mustSwitch(t, s, Request{Actor: root, Services: []string{"frontend"}})
	if warnings := s.Warnings(); len(warnings) > 0 {
		t.Errorf("warnings that a success did not take back: %q", warnings)
	}
	if all := history(t, w.disk); rec.ID != "" && !contains(all, Record{ID: rec.ID}) {
		t.Errorf("%s %s is not in the history although that was written again", rec.Kind, rec.ID)
	}
	active, _ = s.Routing()
	w.disk.powerCuts(&faults{}, func(d *memDisk) {
		after, _ := w.revived(d).mustBoot().Routing()
		wantSame(t, "active after one more switch and a restart", active, after)
	})
}

// wantOldOrNew asserts that a daemon that died left all of the old or all of
// the new, that the history says which, and that the next one goes on.
func (c scenario) wantOldOrNew(w *world, before map[string]Slot, rec Record) {
	w.t.Helper()
	s := w.mustBoot()
	active, _ := s.Routing()
	isNew := maps.Equal(active, c.active)
	if !isNew && !maps.Equal(active, before) {
		w.t.Errorf("active is %v: neither %v nor %v", active, before, c.active)
	}
	if s.State().Intent != nil {
		w.t.Error("the intent is still there")
	}
	if strings.Contains(s.Note(), "restored") {
		w.t.Errorf("the state was torn or taken for an old one: %s", s.Note())
	}
	if st, _, err := readState(w.disk, previousName); err == nil && st.Intent != nil {
		w.t.Errorf("the previous state has an intent: %+v", st)
	}
	all := history(w.t, w.disk)
	wantSoundHistory(w.t, all)
	for _, r := range all {
		if r.ID == rec.ID && len(r.Moves) > 0 && (r.Outcome == Done) != isNew {
			w.t.Errorf("the history says %s, and active is %v", r.Outcome, active)
		}
	}
	again, _ := w.mustBoot().Routing()
	wantSame(w.t, "active after one more restart", active, again)
	mustSwitch(w.t, s, Request{Actor: root})
}

func wantSoundHistory(t testing.TB, all []Record) {
	t.Helper()
	seen := map[string]bool{}
	for _, r := range all {
		if seen[r.ID] {
			t.Errorf("%s %s is in the history twice", r.Kind, r.ID)
		}
		seen[r.ID] = true
	}
}

func wantSame[K comparable, V comparable](t testing.TB, what string, want, got map[K]V) {
	t.Helper()
	if !maps.Equal(want, got) {
		t.Errorf("%s (-want +got):\n%s", what, cmp.Diff(want, got))
	}
}

// TestAStartMayFailAtEveryCall breaks each call of a start that has to mend an
// interrupted switch: the next start must find the same.
func TestAStartMayFailAtEveryCall(t *testing.T) {
	left := interruptedDisk(t)
	count := newWorld(t).revived(left.after(nil, 0, 0))
	count.mustBoot()
	for n := range count.faults.calls {
		for _, mode := range faultModes {
			t.Run(fmt.Sprintf("%d %s", n+1, mode), func(t *testing.T) {
				w := newWorld(t).revived(left.after(nil, 0, 0))
				w.faults.arm(n+1, mode)
				_, err := w.boot()
				t.Logf("broke %q: %v", w.faults.hit, err)
				w.disk.powerCuts(&faults{}, func(d *memDisk) {
					next := w.revived(d)
					active, _ := next.mustBoot().Routing()
					wantSame(t, "active", map[string]Slot{"backend": Blue, "frontend": Blue}, active)
					all := history(t, next.disk)
					wantSoundHistory(t, all)
					if len(all) != 1 || all[0].Outcome != Interrupted {
						t.Errorf("history is %+v, want one interrupted switch", all)
					}
				})
			})
		}
	}
}

// interruptedDisk is what a daemon leaves that dies between swap and result.
func interruptedDisk(t *testing.T) *memDisk {
	for n := 1; ; n++ {
		w := newWorld(t)
		s := w.mustBoot()
		w.faults.arm(n, die)
		_, _, err := s.Switch(t.Context(), to(Green))
		if err == nil {
			t.Fatal("no call to swap was seen")
		}
		if w.faults.hit == "traffic swap" {
			return w.disk.after(nil, 0, 0)
		}
	}
}
