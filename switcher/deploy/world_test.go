package deploy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"sync"
	"testing"
	"time"

	"charactier-proxy/switcher"
)

// world is a machine with a daemon, units and releases, of which every call can
// be the last.
type world struct {
	t    *testing.T
	root string

	mu       sync.Mutex
	calls    int
	fault    func(n int, call string, effect func()) error // what goes wrong with the n-th call
	log      []string
	active   map[string]switcher.Slot
	previous map[string]switcher.Slot
	bad      map[string][]switcher.BadRelease
	bakes    map[string]*switcher.BakeResult
	links    map[string]string
	revision map[string]string // of sealed releases
	drafts   map[string]bool
	marks    map[string]string // why releases did not prove themselves
	building bool              // a build's unit runs
	units    map[string]*unit
	reserved *lease
	records  []switcher.Record
	inFlight map[string]int64 // by service/slot
	streams  map[string]int64 // likewise
	sick     map[string]string
	roles    bool
	bakeFail string   // verdict text of every bake; empty: it passes
	ref      string   // what the branch points to
	unshared string   // service/name that is to be shared and is missing
	stopped  []string // units that were stopped while they had the traffic
}

type unit struct {
	running, enabled bool
	release          string // that it was started with
	files            UnitView
	dies             bool // right after a start
	processes        []Process
	restarts         uint32
	stranger         string // unit that has its port
}

var errBroken = errors.New("broken on purpose")

// killed is what a command's death looks like.
type killed struct{}

const (
	blue  = switcher.Blue
	green = switcher.Green
)

func newWorld(t *testing.T) *world {
	w := &world{
		t: t, root: inMemory(t), ref: "2222222222222222",
		active: map[string]switcher.Slot{}, previous: map[string]switcher.Slot{}, bad: map[string][]switcher.BadRelease{},
		bakes: map[string]*switcher.BakeResult{}, links: map[string]string{}, revision: map[string]string{"r1-111111111111": "1111111111111111"},
		drafts: map[string]bool{}, units: map[string]*unit{}, inFlight: map[string]int64{}, streams: map[string]int64{}, sick: map[string]string{},
	}
	for _, s := range w.services() {
		w.active[s.Name] = blue
		w.links[s.Slots[blue].Link] = "r1-111111111111"
		w.units[s.Slots[blue].Unit] = &unit{running: true, enabled: true, release: "r1-111111111111"}
		w.units[s.Slots[green].Unit] = &unit{}
	}
	return w
}

// inMemory is a directory that needs no disk, where there is one: thousands of
// journals are written here, each line to the disk.
func inMemory(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "deploy-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func (w *world) services() []Service {
	var all []Service
	for _, name := range []string{"backend", "frontend"} {
		s := Service{
			Name: name, Slots: map[switcher.Slot]SlotConfig{}, Commands: []string{"make"}, Tries: 3, Interval: 5 * time.Millisecond,
			Shared: []string{".env"}, Identity: true, DrainTimeout: 20 * time.Millisecond, Warm: time.Minute, RoleRequired: true, RoleTimeout: 10 * time.Millisecond,
		}
		for _, slot := range []switcher.Slot{blue, green} {
			s.Slots[slot] = SlotConfig{Address: name + "-" + string(slot), Unit: name + "-" + string(slot) + ".service", Link: "/" + name + "/" + string(slot)}
		}
		all = append(all, s)
	}
	return all
}

// call is one call of the world's; effect is what it does if nothing is wrong
// with it.
func (w *world) call(name string, effect func()) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls++
	w.log = append(w.log, name)
	if w.fault != nil {
		if err := w.fault(w.calls, name, effect); err != nil {
			return err
		}
	}
	effect()
	return nil
}

func (w *world) pipeline() *Pipeline {
	w.t.Helper()
	p, err := Open(Options{
		Root: w.root, Services: w.services(), Keep: 2, Daemon: daemon{w}, Units: units{w}, Releases: releases{w},
		Probe: w.probe, Actor: switcher.Actor{User: "ops"}, Regain: 50 * time.Millisecond,
		Confirm:     func(context.Context, string) (bool, error) { return true, nil },
		SavedActive: w.savedActive,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { p.Close() })
	return p
}

// savedActive is the daemon's state file.
func (w *world) savedActive() (active map[string]switcher.Slot, err error) {
	err = w.call("saved", func() { active = maps.Clone(w.active) })
	return active, err
}

func request() Request {
	return Request{Kind: switcher.KindDeploy, Services: []string{"backend", "frontend"}, Source: Source{Ref: "main"}, Bake: -1}
}

// run runs do with a pipeline of its own, as a command would. A killed command
// leaves nothing but what is on disk.
func (w *world) run(do func(*Pipeline) (Result, error)) (r Result, err error, dead bool) {
	p := w.pipeline()
	defer func() {
		if v := recover(); v != nil {
			if _, ok := v.(killed); !ok {
				panic(v)
			}
			dead = true
			w.mu.Lock()
			w.reserved = nil
			w.mu.Unlock()
		}
		p.Close()
	}()
	r, err = do(p)
	return r, err, false
}

func (w *world) deploy(ctx context.Context, r Request) (Result, error) {
	res, err, dead := w.run(func(p *Pipeline) (Result, error) { return p.Run(ctx, r) })
	if dead {
		w.t.Fatal("killed, which was not meant")
	}
	return res, err
}

// check says what is wrong with the machine, whatever came before: the active
// slots run, nothing that had traffic was stopped, and services agree.
func (w *world) check() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []error
	if len(w.stopped) > 0 {
		all = append(all, fmt.Errorf("stopped while they had the traffic: %v", w.stopped))
	}
	for _, s := range w.services() {
		at := s.Slots[w.active[s.Name]]
		u := w.units[at.Unit]
		if !u.running {
			all = append(all, fmt.Errorf("%s is on %s, whose unit does not run", s.Name, w.active[s.Name]))
		}
		if u.release != w.links[at.Link] {
			all = append(all, fmt.Errorf("%s runs %s and its link leads to %s", at.Unit, u.release, w.links[at.Link]))
		}
	}
	if w.active["backend"] != w.active["frontend"] {
		all = append(all, fmt.Errorf("backend is on %s, frontend on %s", w.active["backend"], w.active["frontend"]))
	}
	if w.reserved != nil {
		all = append(all, errors.New("the reservation is left"))
	}
	return errors.Join(all...)
}

// checkSettled checks further that one of the two ends was reached whole.
func (w *world) checkSettled(before map[string]string, ran map[string]bool) error {
	if err := w.check(); err != nil {
		return err
	}
	if s, err := unfinished(Dir(w.root)); err != nil || s != nil {
		return fmt.Errorf("the journal has no end: %v, %v", s, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []error
	for _, s := range w.services() {
		active := w.active[s.Name]
		standby := s.Slots[active.Other()]
		if active == green {
			if !w.units[s.Slots[green].Unit].enabled || w.units[s.Slots[blue].Unit].enabled {
				all = append(all, fmt.Errorf("%s: a reboot would not start green alone", s.Name))
			}
			continue
		}
		if !w.units[s.Slots[blue].Unit].enabled || w.units[standby.Unit].enabled {
			all = append(all, fmt.Errorf("%s: a reboot would not start blue alone", s.Name))
		}
		if got := w.links[standby.Link]; got != before[standby.Link] {
			all = append(all, fmt.Errorf("%s leads to %q, before to %q", standby.Link, got, before[standby.Link]))
		}
		if got := w.units[standby.Unit].running; got != ran[standby.Unit] {
			all = append(all, fmt.Errorf("%s runs: %t, before: %t", standby.Unit, got, ran[standby.Unit]))
		}
	}
	if len(w.drafts) > 0 {
		all = append(all, fmt.Errorf("drafts are left: %v", w.drafts))
	}
	return errors.Join(all...)
}

// warmStandby gives the standby slots a release that runs, as a deploy before
// leaves it.
func (w *world) warmStandby() (links map[string]string, ran map[string]bool) {
	links, ran = map[string]string{}, map[string]bool{}
	w.revision["r0-000000000000"] = "0000000000000000"
	for _, s := range w.services() {
		at := s.Slots[green]
		w.links[at.Link] = "r0-000000000000"
		*w.units[at.Unit] = unit{running: true, release: "r0-000000000000"}
		links[at.Link], ran[at.Unit] = "r0-000000000000", true
	}
	return links, ran
}

func (w *world) probe(ctx context.Context, s Service, slot switcher.Slot) (string, error) {
	var err error
	cerr := w.call("probe", func() {
		u := w.units[s.Slots[slot].Unit]
		switch {
		case w.sick[u.release] != "":
			err = errors.New(w.sick[u.release])
		case !u.running:
			err = errors.New("connection refused")
		}
	})
	return "", errors.Join(cerr, err, ctx.Err())
}
