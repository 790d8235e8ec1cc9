package proxy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// twoSlots is a service whose addresses nobody calls.
func twoSlots(name string) Service {
	return Service{Name: name, Slots: map[string]string{"blue": "127.0.0.1:1", "green": "127.0.0.1:2"}}
}

// newTestProxy has the named services, all on blue.
func newTestProxy(t testing.TB, names ...string) *Proxy {
	t.Helper()
	p := New(Options{})
	active := map[string]string{}
	var services []Service
	for _, name := range names {
		services = append(services, twoSlots(name))
		active[name] = "blue"
	}
	mustConfigure(t, p, services, active, nil)
	return p
}

func mustConfigure(t testing.TB, p *Proxy, services []Service, active map[string]string, held map[string]bool) *Retired {
	t.Helper()
	retired, err := p.Configure(Settings{}, services, active, held)
	if err != nil {
		t.Fatal(err)
	}
	return retired
}

func mustSwap(t testing.TB, p *Proxy, to map[string]string) *Retired {
	t.Helper()
	retired, err := p.Swap(to)
	if err != nil {
		t.Fatal(err)
	}
	return retired
}

func mustClaim(t testing.TB, p *Proxy, service string) claim {
	t.Helper()
	c, err := p.claim(t.Context(), service, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// drainNow returns the counts of this instant.
func drainNow(r *Retired) []DrainCount {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	counts, _ := r.Drain(ctx)
	for i := range counts {
		counts[i].Took = 0
	}
	slices.SortFunc(counts, func(a, b DrainCount) int { return cmpStrings(a.Service, b.Service) })
	return counts
}

func cmpStrings(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func other(slot string) string {
	if slot == "blue" {
		return "green"
	}
	return "blue"
}

// P2, in the whole: a target that was seen drained is never used again, and what
// starts after a swap starts on the new target.
func TestDrainedTargetsAreNeverUsedAgain(t *testing.T) {
	p := newTestProxy(t, "backend")
	var (
		drained sync.Map // of *target
		swaps   atomic.Int64
		number  sync.Map // *target -> how many swaps came before it
		stop    atomic.Bool
		wg      sync.WaitGroup
	)
	for range 8 {
		wg.Go(func() {
			for !stop.Load() {
				before := swaps.Load()
				c, err := p.claim(t.Context(), "backend", nil)
				if err != nil {
					t.Error(err)
					return
				}
				if _, ok := drained.Load(c.target); ok {
					t.Error("a claim holds a target that was drained")
				}
				if n, ok := number.Load(c.target); ok && n.(int64) < before {
					t.Errorf("a claim that began after swap %d got the target of swap %d", before, n)
				}
				c.release()
			}
		})
	}
	slot := "blue"
	start := time.Now()
	for n := int64(0); time.Since(start) < time.Second/2 && !t.Failed(); n++ {
		slot = other(slot)
		retired := mustSwap(t, p, map[string]string{"backend": slot})
		number.Store(p.table.Load().routes["backend"].target, n+1)
		swaps.Store(n + 1)
		for target := retired.targets[0]; !target.drained(); {
			if _, err := retired.Drain(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		drained.Store(retired.targets[0], true)
	}
	stop.Store(true)
	wg.Wait()
	t.Logf("%d swaps", swaps.Load())
}

// Two services that swap together are never seen apart by who loads the table
// once.
func TestServicesMoveInOneInstant(t *testing.T) {
	p := newTestProxy(t, "backend", "frontend")
	var stop atomic.Bool
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for !stop.Load() {
				routes := p.table.Load().routes
				if b, f := routes["backend"].target.Slot, routes["frontend"].target.Slot; b != f {
					t.Errorf("backend on %s and frontend on %s", b, f)
					return
				}
			}
		})
	}
	slot := "blue"
	for range 5000 {
		slot = other(slot)
		mustSwap(t, p, map[string]string{"backend": slot, "frontend": slot})
	}
	stop.Store(true)
	wg.Wait()
}

// Once Hold has returned, nothing starts until Release: a claim either is
// counted before that or waits. See [TestAClaimEitherCountsOrIsRefused].
func TestNothingStartsOnceHeld(t *testing.T) {
	p := newTestProxy(t, "backend")
	target := p.table.Load().routes["backend"].target
	leaving, leave := context.WithCancel(t.Context())
	leave() // so that a claim that would wait fails at once
	var claimer, holder atomic.Int64
	var claimed, enough atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; !enough.Load(); i += 3 {
			meet(&claimer, &holder, i)
			c, err := p.claim(leaving, "backend", nil)
			claimed.Store(err == nil)
			meet(&claimer, &holder, i+1)
			if err == nil {
				c.release()
			}
			meet(&claimer, &holder, i+2)
		}
	}()
	start := time.Now()
	for i := 0; !enough.Load(); i += 3 {
		meet(&holder, &claimer, i)
		for range i % 100 {
			holder.Load()
		}
		p.Hold("backend")
		nobody := target.claims.Load() == 0
		meet(&holder, &claimer, i+1)
		if nobody && claimed.Load() {
			t.Error("a claim began after Hold had returned")
		}
		// Between two meetings, so that both see it before the same one.
		took := time.Since(start)
		enough.Store(t.Failed() || took > time.Second && i > 3*1000 || took > 5*time.Second)
		p.Release("backend")
		meet(&holder, &claimer, i+2)
	}
	<-done
}

func TestSwapsThatCannotBeMoveNothing(t *testing.T) {
	p := newTestProxy(t, "backend", "frontend")
	before := p.table.Load()
	for _, to := range []map[string]string{
		{"backend": "green", "other": "green"},
		{"backend": "green", "frontend": "red"},
	} {
		if _, err := p.Swap(to); err == nil {
			t.Errorf("swapped to %v", to)
		}
	}
	if _, err := p.Swap(map[string]string{"other": "blue"}); !errors.Is(err, errNoService) {
		t.Errorf("error %v", err)
	}
	if p.table.Load() != before {
		t.Error("the table changed")
	}
}

func TestConfigurationsThatCannotBeChangeNothing(t *testing.T) {
	p := newTestProxy(t, "backend")
	before, stats := p.table.Load(), maps.Clone(p.stats)
	blue := map[string]string{"backend": "blue", "new": "blue"}
	for name, services := range map[string][]Service{
		"twice":     {twoSlots("new"), twoSlots("backend"), twoSlots("backend")},
		"no slot":   {twoSlots("new"), {Name: "backend", Slots: map[string]string{"green": "x"}}},
		"no active": {twoSlots("new"), twoSlots("unknown")},
	} {
		if _, err := p.Configure(Settings{}, services, blue, nil); err == nil {
			t.Errorf("%s: configured", name)
		}
	}
	if p.table.Load() != before || !maps.Equal(p.stats, stats) {
		t.Error("something changed")
	}
}

func TestConfigureKeepsWhatDidNotChange(t *testing.T) {
	p := newTestProxy(t, "kept", "changed", "gone")
	old := p.table.Load().routes
	c := mustClaim(t, p, "gone")
	services := []Service{twoSlots("kept"), twoSlots("changed"), twoSlots("new")}
	services[1].MaxBodyBytes = 5
	active := map[string]string{"kept": "blue", "changed": "blue", "new": "green"}
	retired := mustConfigure(t, p, services, active, nil)
	services[0].Slots["blue"] = "changed by the caller" // which must not reach the table
	routes := p.table.Load().routes
	if routes["kept"].target != old["kept"].target || routes["kept"].service.Slots["blue"] != "127.0.0.1:1" {
		t.Error("a service that did not change got a new target or description")
	}
	if routes["changed"].target == old["changed"].target || routes["changed"].service.MaxBodyBytes != 5 {
		t.Error("a service that changed kept its target or description")
	}
	if _, err := p.claim(t.Context(), "gone", nil); err != errNoService {
		t.Errorf("claiming a service that is gone: %v", err)
	}
	want := []DrainCount{{Service: "changed", Slot: "blue"}, {Service: "gone", Slot: "blue", Moved: 1, OpenRequests: 1}}
	if diff := cmp.Diff(want, drainNow(retired)); diff != "" {
		t.Errorf("drained (-want +got):\n%s", diff)
	}
	if s := p.Stats()["gone"]["blue"]; s.Draining != 1 || s.InFlight != 1 {
		t.Errorf("statistics of a slot that is gone and drains: %+v", s)
	}
	c.release()
	if _, ok := p.Stats()["gone"]; ok {
		t.Error("a service that is gone and drained is still in the statistics")
	}
}

func TestDrainWaitsForRequestsAndCountsStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newTestProxy(t, "backend")
		request, tunnel, becomes := mustClaim(t, p, "backend"), mustClaim(t, p, "backend"), mustClaim(t, p, "backend")
		tunnel.beginStream()
		retired := mustSwap(t, p, map[string]string{"backend": "green"})
		var counts []DrainCount
		var drainErr error
		done := make(chan struct{})
		go func() {
			defer close(done)
			counts, drainErr = retired.Drain(t.Context())
		}()
		synctest.Wait()
		want := []DrainCount{{Service: "backend", Slot: "blue", Moved: 3, OpenRequests: 2, OpenStreams: 1}}
		if diff := cmp.Diff(want, drainNow(retired)); diff != "" {
			t.Errorf("at first (-want +got):\n%s", diff)
		}
		time.Sleep(time.Second)
		request.release()
		synctest.Wait()
		becomes.beginStream() // after the swap, and it must wake the drain
		<-done
		want = []DrainCount{{Service: "backend", Slot: "blue", Moved: 3, OpenStreams: 2, Took: time.Second}}
		if diff := cmp.Diff(want, counts); diff != "" || drainErr != nil {
			t.Errorf("drained with %v (-want +got):\n%s", drainErr, diff)
		}
		if retired.targets[0].drained() {
			t.Error("drained with streams on it")
		}
		for _, c := range []claim{tunnel, becomes} {
			c.endStream()
			c.release()
		}
		if !retired.targets[0].drained() {
			t.Error("not drained with nothing on it")
		}
	})
}

func TestDrainEndsWithItsContext(t *testing.T) {
	p := newTestProxy(t, "backend")
	mustClaim(t, p, "backend")
	retired := mustSwap(t, p, map[string]string{"backend": "green"})
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	if counts, err := retired.Drain(ctx); err != why || counts[0].OpenRequests != 1 {
		t.Errorf("%+v, %v", counts, err)
	}
	if counts, err := mustSwap(t, p, map[string]string{"backend": "green"}).Drain(ctx); len(counts) != 0 || err != nil {
		t.Errorf("a swap to the active slot retired %v, %v", counts, err)
	}
}

func TestHeldRequestsGoToWhateverIsActiveThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newTestProxy(t, "backend", "frontend")
		p.Hold("backend", "unknown")
		p.Hold("backend")
		slots := make(chan string, 3)
		for range 3 {
			go func() {
				c, err := p.claim(t.Context(), "backend", nil)
				if err != nil {
					t.Error(err)
				}
				if c.held != 3*time.Second {
					t.Errorf("held for %v", c.held)
				}
				slots <- c.Slot
			}()
		}
		if c := mustClaim(t, p, "frontend"); c.held != 0 {
			t.Error("another service was held too")
		}
		synctest.Wait()
		if n := p.Waiting("backend"); n != 3 {
			t.Errorf("%d wait, want 3", n)
		}
		time.Sleep(time.Second)
		mustSwap(t, p, map[string]string{"backend": "green"})
		mustConfigure(t, p, []Service{twoSlots("backend"), twoSlots("frontend")},
			map[string]string{"backend": "green", "frontend": "blue"}, map[string]bool{"backend": true})
		time.Sleep(2 * time.Second)
		if len(slots) != 0 {
			t.Error("a swap or a configuration that keeps the hold let requests go")
		}
		p.Release("backend")
		for range 3 {
			if slot := <-slots; slot != "green" {
				t.Errorf("a held request went to %s", slot)
			}
		}
		if n := p.Waiting("backend"); n != 0 {
			t.Errorf("%d wait, want none", n)
		}
	})
}

func TestHoldsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := twoSlots("backend")
		s.HoldRequests, s.HoldTime = 2, 10*time.Second
		p := New(Options{})
		active := map[string]string{"backend": "blue"}
		mustConfigure(t, p, []Service{s}, active, map[string]bool{"backend": true})
		start := time.Now()
		left := errors.New("left")
		leaving, leave := context.WithCancelCause(t.Context())
		type end struct {
			err   error
			after time.Duration
		}
		ends := make(chan end, 2)
		for _, ctx := range []context.Context{leaving, t.Context()} {
			go func() {
				_, err := p.claim(ctx, "backend", nil)
				ends <- end{err, time.Since(start)}
			}()
		}
		synctest.Wait()
		if _, err := p.claim(t.Context(), "backend", nil); err != errHoldFull {
			t.Errorf("the third: %v", err)
		}
		time.Sleep(time.Second)
		leave(left)
		if e := <-ends; e.err != left || e.after != time.Second {
			t.Errorf("who left: %v", e)
		}
		if e := <-ends; e.err != errHoldTimeout || e.after != 10*time.Second {
			t.Errorf("who waited: %v", e)
		}
	})
}

// A hold that begins anew gives who waited before only what is left of its time.
func TestTheTimeOfAllHoldsCountsTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHold(&Service{HoldTime: 10 * time.Second})
		start := time.Now()
		if err := h.wait(t.Context(), 6*time.Second); err != errHoldTimeout || time.Since(start) != 4*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

// waits counts the waits of a claim, and lets the second end at once.
type waits struct {
	p           *Proxy
	began, over int
}

func (w *waits) beginWait(ctx context.Context, s *Service) (context.Context, func()) {
	w.began++
	w.p.Release(s.Name)
	if w.began == 1 {
		w.p.Hold(s.Name)
	}
	return ctx, func() { w.over++ }
}

// A hold may begin after a request has looked: whoever waits is told so all the
// same, and nobody else.
func TestEveryWaitIsTold(t *testing.T) {
	p := newTestProxy(t, "backend")
	for _, held := range []bool{false, true} {
		w := &waits{p: p}
		want := 0
		if held {
			p.Hold("backend")
			want = 2
		}
		if _, err := p.claim(t.Context(), "backend", w); err != nil {
			t.Fatal(err)
		}
		if w.began != want || w.over != want {
			t.Errorf("%d waits began and %d ended, want %d", w.began, w.over, want)
		}
	}
}

func TestRemovingAServiceEndsItsHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newTestProxy(t, "backend")
		p.Hold("backend")
		got := make(chan error)
		go func() {
			_, err := p.claim(t.Context(), "backend", nil)
			got <- err
		}()
		synctest.Wait()
		mustConfigure(t, p, nil, nil, nil)
		if err := <-got; err != errNoService {
			t.Errorf("error %v", err)
		}
	})
}

func TestClaimingDoesNotAllocate(t *testing.T) {
	p := newTestProxy(t, "backend")
	ctx := t.Context()
	if n := testing.AllocsPerRun(1000, func() {
		c, err := p.claim(ctx, "backend", nil)
		if err != nil {
			t.Fatal(err)
		}
		c.release()
	}); n != 0 {
		t.Errorf("%v allocations for a claim, want none", n)
	}
}

func BenchmarkClaim(b *testing.B) {
	p := newTestProxy(b, "backend")
	ctx := b.Context()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			c, err := p.claim(ctx, "backend", nil)
			if err != nil {
				b.Error(err)
				return
			}
			c.release()
		}
	})
}

func BenchmarkSwap(b *testing.B) {
	for _, n := range []int{1, 10} {
		b.Run(fmt.Sprint(n, " services"), func(b *testing.B) {
			var names []string
			for i := range n {
				names = append(names, fmt.Sprint("service", i))
			}
			p := newTestProxy(b, names...)
			slot := "blue"
			for b.Loop() {
				slot = other(slot)
				to := map[string]string{}
				for _, name := range names {
					to[name] = slot
				}
				mustSwap(b, p, to)
			}
		})
	}
}
