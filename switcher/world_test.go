package switcher

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	errInjected = errors.New("injected fault")
	errShort    = fmt.Errorf("%w: disk full", errInjected)
	errDead     = errors.New("the process is dead")
)

// faultMode is what happens at the chosen call.
type faultMode string

const (
	failBefore faultMode = "the call fails"
	failAfter  faultMode = "the call has its effect and fails"
	failShort  faultMode = "the call has half its effect and fails"
	failOn     faultMode = "the call and all later ones fail"
	failWrites faultMode = "the call has its effect and fails, and so do all later writes"
	die        faultMode = "the process dies"
)

var faultModes = []faultMode{failBefore, failAfter, failShort, failOn, failWrites, die}

// faults counts the calls to everything outside of the switcher and breaks one.
type faults struct {
	mu    sync.Mutex
	at    int // counts from 1; zero: none
	mode  faultMode
	calls int
	hit   string // the label of the call that was broken
	dead  bool
	watch func(call int, label string) // called before each call
}

func (f *faults) arm(at int, mode faultMode) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.at, f.mode, f.calls, f.hit = at, mode, 0, ""
}

func (f *faults) isDead() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.dead
}

func (f *faults) do(label string, effect func() error) error {
	f.mu.Lock()
	watch, call := f.watch, f.calls+1
	f.mu.Unlock()
	if watch != nil {
		watch(call, label)
	}
	f.mu.Lock()
	f.calls++
	now := f.at > 0 && f.calls == f.at
	later := f.at > 0 && f.calls > f.at
	mode := f.mode
	if now {
		f.hit = label
	}
	f.dead = f.dead || now && mode == die
	dead := f.dead
	f.mu.Unlock()
	switch {
	case dead:
		return errDead
	case now && (mode == failAfter || mode == failWrites):
		return errors.Join(effect(), errInjected)
	case now && mode == failShort:
		return errShort
	case now, later && mode == failOn, later && mode == failWrites && writes(label):
		return errInjected
	}
	return effect()
}

func writes(label string) bool {
	switch label {
	case "disk read", "disk list", "traffic swap", "traffic configure", "prober await":
		return false
	}
	return true
}

// fakeTraffic is where requests go.
type fakeTraffic struct {
	faults *faults
	drain  Drain

	mu     sync.Mutex
	active map[string]Slot
	held   map[string]bool
	swaps  int
}

func (f *fakeTraffic) configure(active map[string]Slot, held map[string]bool) error {
	if err := f.faults.do("traffic configure", nothing); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.active, f.held = active, held
	return nil
}

func nothing() error { return nil }

func (f *fakeTraffic) Swap(to map[string]Slot) (Drain, error) {
	if err := f.faults.do("traffic swap", nothing); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	maps.Copy(f.active, to)
	f.swaps++
	if f.drain != nil {
		return f.drain, nil
	}
	var counts []DrainCount
	for name, slot := range to {
		counts = append(counts, DrainCount{Service: name, Slot: slot.Other(), Moved: 3})
	}
	slices.SortFunc(counts, func(a, b DrainCount) int { return strings.Compare(a.Service, b.Service) })
	return func(context.Context) ([]DrainCount, error) { return counts, nil }, nil
}

func (f *fakeTraffic) Hold(services ...string) { f.setHold(services, true) }

func (f *fakeTraffic) Release(services ...string) { f.setHold(services, false) }

func (f *fakeTraffic) setHold(services []string, held bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, name := range services {
		if held {
			f.held[name] = true
		} else {
			delete(f.held, name)
		}
	}
}

func (f *fakeTraffic) state() (map[string]Slot, map[string]bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.active), maps.Clone(f.held)
}

// fakeProber finds every slot healthy but those that it has an answer for.
type fakeProber struct {
	faults *faults

	mu      sync.Mutex
	answers map[string]func(context.Context) error // "backend green"
	asked   []string
}

func (p *fakeProber) Await(ctx context.Context, service string, slot Slot) error {
	key := service + " " + string(slot)
	p.mu.Lock()
	answer := p.answers[key]
	p.asked = append(p.asked, key)
	p.mu.Unlock()
	return p.faults.do("prober await", func() error {
		if answer != nil {
			return answer(ctx)
		}
		return ctx.Err()
	})
}

func (p *fakeProber) answer(key string, with func(context.Context) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.answers == nil {
		p.answers = map[string]func(context.Context) error{}
	}
	p.answers[key] = with
}

// hangs is a slot that never answers.
func hangs(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func says(text string) func(context.Context) error {
	return func(context.Context) error { return errors.New(text) }
}

// world is one machine: its disk outlives the daemons that are booted on it.
type world struct {
	t        testing.TB
	faults   *faults
	disk     *memDisk
	traffic  *fakeTraffic
	prober   *fakeProber
	services []ServiceConfig
	events   *Broker
	assume   map[string]Slot
	releases releases
}

var twoServices = []ServiceConfig{
	{Name: "backend", DrainTimeout: 30 * time.Second},
	{Name: "frontend", DrainTimeout: 30 * time.Second},
}

func newWorld(t testing.TB) *world {
	f := &faults{}
	w := &world{t: t, faults: f, prober: &fakeProber{faults: f}, services: twoServices, events: NewBroker()}
	w.disk = newMemDisk(f)
	return w
}

// boot starts a daemon, as its main would.
func (w *world) boot() (*Switcher, error) {
	w.traffic = &fakeTraffic{faults: w.faults}
	store, err := openFileStore(w.disk, "state")
	if err != nil {
		return nil, err
	}
	s, err := New(Options{
		Traffic: w.traffic, Prober: w.prober, Store: store, History: openFileHistory(w.disk, "state"),
		Events: w.events, Services: w.services, AssumeActive: w.assume, ReleaseOf: w.releases.of, Actor: Actor{User: "daemon"},
	})
	if err != nil {
		return nil, err
	}
	if err := w.traffic.configure(s.Routing()); err != nil {
		return nil, err
	}
	w.t.Cleanup(s.Close)
	return s, nil
}

func (w *world) mustBoot() *Switcher {
	w.t.Helper()
	s, err := w.boot()
	if err != nil {
		w.t.Fatalf("booting: %v", err)
	}
	return s
}

// revived is the same machine with what a crash left on the disk.
func (w *world) revived(d *memDisk) *world {
	next := newWorld(w.t)
	next.services, next.disk, next.assume, next.releases = w.services, d, w.assume, w.releases
	d.faults = next.faults
	return next
}

var root = Actor{User: "root", Command: "charactier-proxyctl"}

func to(slot Slot, services ...string) Request {
	return Request{To: slot, Services: services, Actor: root}
}

func mustSwitch(t testing.TB, s *Switcher, r Request) Record {
	t.Helper()
	rec, d, err := s.Switch(t.Context(), r)
	if err != nil {
		t.Fatalf("switching: %v", err)
	}
	if _, err := d.Wait(t.Context()); err != nil {
		t.Fatalf("draining: %v", err)
	}
	return rec
}

func history(t testing.TB, d disk) []Record {
	t.Helper()
	rs, err := openFileHistory(d, "state").Tail(1000)
	if err != nil {
		t.Fatal(err)
	}
	return rs
}
