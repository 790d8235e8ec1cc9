package deploy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
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
		drafts: map[string]bool{}, units: map[string]*unit{}, inFlight: map[string]int64{}, sick: map[string]string{},
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
			Name: name, Slots: map[switcher.Slot]Place{}, Commands: []string{"make"}, Tries: 3, Interval: 5 * time.Millisecond,
			Shared: []string{".env"}, Identity: true, DrainTimeout: 20 * time.Millisecond, Warm: time.Minute, RoleRequired: true, RoleTimeout: 10 * time.Millisecond,
		}
		for _, slot := range []switcher.Slot{blue, green} {
			s.Slots[slot] = Place{Address: name + "-" + string(slot), Unit: name + "-" + string(slot) + ".service", Link: "/" + name + "/" + string(slot)}
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
		Confirm:    func(context.Context, string) (bool, error) { return true, nil },
		Remembered: w.remembered,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { p.Close() })
	return p
}

// remembered is the daemon's state file.
func (w *world) remembered() (active map[string]switcher.Slot, err error) {
	err = w.call("remembered", func() { active = maps.Clone(w.active) })
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
	if s, err := unfinished((&Pipeline{opts: Options{Root: w.root}}).deploys()); err != nil || s != nil {
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

// daemon is the world's.
type daemon struct{ w *world }

func (d daemon) View(context.Context) (View, error) {
	v := View{Services: map[string]ServiceView{}}
	err := d.w.call("view", func() {
		for _, s := range d.w.services() {
			sv := ServiceView{Active: d.w.active[s.Name], Bad: d.w.bad[s.Name], Bake: d.w.bakes[s.Name], Slots: map[switcher.Slot]SlotView{}}
			for _, slot := range []switcher.Slot{blue, green} {
				u := d.w.units[s.Slots[slot].Unit]
				view := SlotView{Healthy: u.running, Health: "connection refused", InFlight: d.w.inFlight[s.Name+"/"+string(slot)]}
				if d.w.roles {
					view.Role, view.Wanted = "standby", "standby"
					if sv.Active == slot {
						view.Wanted = "active"
						if u.release != "roleless" && d.w.sick[u.release] != "no role" {
							view.Role = "active"
						}
					}
				}
				sv.Slots[slot] = view
			}
			v.Services[s.Name] = sv
		}
	})
	return v, err
}

func (d daemon) Reserve(_ context.Context, _ switcher.Kind, _ []string, _ string) (Lease, error) {
	l := &lease{w: d.w, asked: make(chan string, 1), lost: make(chan struct{})}
	busy := false
	err := d.w.call("reserve", func() {
		busy = d.w.reserved != nil
		if !busy {
			d.w.reserved = l
		}
	})
	if busy {
		return nil, switcher.ErrBusy
	}
	if err != nil {
		l.Close() // the connection of a call that failed has ended
		return nil, err
	}
	return l, nil
}

type lease struct {
	w     *world
	asked chan string
	lost  chan struct{}
}

func (l *lease) Asked() <-chan string  { return l.asked }
func (l *lease) Lost() <-chan struct{} { return l.lost }

func (l *lease) Step(_ context.Context, step, _ string) error {
	return l.w.call("step "+step, func() {})
}

// lose is what the daemon's end does to the lease.
func (w *world) lose() {
	if w.reserved != nil {
		close(w.reserved.lost)
		w.reserved = nil
	}
}

func (l *lease) Move(_ context.Context, kind switcher.Kind, services []string, bake time.Duration, reason string) (switcher.Record, error) {
	rec := switcher.Record{ID: "op-2", Kind: kind}
	var refused error
	err := l.w.call("move", func() {
		for _, name := range services {
			to := l.w.active[name].Other()
			if u := l.w.units[name+"-"+string(to)+".service"]; !u.running {
				refused = fmt.Errorf("%w: %s", switcher.ErrUnhealthy, to)
				return
			}
			if kind == switcher.KindRollback && l.w.previous[name] == "" {
				refused = switcher.ErrNothingToRollBack
				return
			}
		}
		for _, name := range services {
			from := l.w.active[name]
			l.w.active[name], l.w.previous[name] = from.Other(), from
			l.w.bakes[name] = nil
			if kind == switcher.KindRollback {
				left := l.w.links["/"+name+"/"+string(from)]
				l.w.bad[name] = append(l.w.bad[name], switcher.BadRelease{Release: left, Reason: reason})
			}
			if bake != 0 && kind == switcher.KindSwitch {
				l.w.bakes[name] = &switcher.BakeResult{Verdict: switcher.Passed, Text: "as good as before"}
			}
		}
		if bake != 0 && l.w.bakeFail != "" {
			// The daemon returns it by itself, at once.
			for _, name := range services {
				l.w.active[name] = l.w.active[name].Other()
				l.w.bakes[name] = &switcher.BakeResult{Verdict: switcher.BakeFailed, Text: l.w.bakeFail, Returned: "op-3"}
			}
		}
	})
	return rec, errors.Join(err, refused)
}

func (l *lease) End(_ context.Context, r switcher.Record, good []string) error {
	return l.w.call("end", func() {
		for _, m := range r.Moves {
			l.w.bad[m.Service] = slices.DeleteFunc(l.w.bad[m.Service], func(b switcher.BadRelease) bool { return slices.Contains(good, b.Release) })
		}
		l.w.records = append(l.w.records, r)
		if l.w.reserved == l {
			l.w.reserved = nil
		}
	})
}

func (l *lease) Close() {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	if l.w.reserved == l {
		l.w.reserved = nil
	}
}

// units is the world's systemd.
type units struct{ w *world }

func (u units) Start(_ context.Context, name string) error {
	dies := false
	err := u.w.call("start "+name, func() {
		it := u.w.units[name]
		dies = it.dies
		if it.running || dies {
			return
		}
		service, slot, _ := strings.Cut(strings.TrimSuffix(name, ".service"), "-")
		it.running, it.release = true, u.w.links["/"+service+"/"+slot]
	})
	if dies {
		return errors.Join(err, errors.New(name+" ended with exit code 1"))
	}
	return err
}

func (u units) Stop(_ context.Context, name string) error {
	return u.w.call("stop "+name, func() {
		service, slot, _ := strings.Cut(strings.TrimSuffix(name, ".service"), "-")
		if u.w.active[service] == switcher.Slot(slot) {
			u.w.stopped = append(u.w.stopped, name)
		}
		if strings.HasPrefix(name, "charactier-build-") {
			u.w.building = false
			return
		}
		u.w.units[name].running = false
	})
}

func (u units) Running(_ context.Context, name string) (running bool, err error) {
	err = u.w.call("running", func() { running = u.w.units[name].running })
	return running, err
}

func (u units) Files(_ context.Context, name string) (v UnitView, err error) {
	err = u.w.call("files", func() { v = u.w.units[name].files })
	return v, err
}

func (u units) Tail(_ context.Context, name string) []string {
	return []string{"the last words of " + name}
}

func (u units) Exited(ctx context.Context, _ string) error {
	<-ctx.Done()
	return nil
}

func (u units) Enable(_ context.Context, on, off []string) error {
	name := "enable"
	if len(off) == 0 {
		name = "enable too"
	}
	return u.w.call(name, func() {
		for _, name := range on {
			u.w.units[name].enabled = true
		}
		for _, name := range off {
			u.w.units[name].enabled = false
		}
	})
}

func (u units) Owner(address string) (owner, process string, err error) {
	err = u.w.call("owner", func() {
		if u.w.units[address+".service"].running {
			owner, process = address+".service", "node, pid 1"
		}
	})
	return owner, process, err
}

func (u units) Serving(address string) (all []Process, err error) {
	err = u.w.call("serving", func() { all = u.w.units[address+".service"].processes })
	return all, err
}

// releases is the world's disk.
type releases struct{ w *world }

func (r releases) Resolve(_ context.Context, s Source) (o Origin, err error) {
	missing := false
	err = r.w.call("resolve", func() {
		if s.Release != "" {
			_, ok := r.w.revision[s.Release]
			missing = !ok
			o = Origin{Source: s, Release: s.Release, Revision: r.w.revision[s.Release], Built: true}
			return
		}
		o = Origin{Source: s, Revision: r.w.ref, Release: "r2-" + short(r.w.ref), Subject: "Mend it"}
		for n := 3; r.w.revision[o.Release] != ""; n++ {
			o.Release = fmt.Sprintf("r%d-%s", n, short(r.w.ref))
		}
	})
	if missing {
		err = errors.New("no such release")
	}
	return o, err
}

func (r releases) Fetch(_ context.Context, _ Origin, name string, _ []Service) error {
	return r.w.call("fetch", func() { r.w.mustNotBuild(); r.w.drafts[name] = true })
}

func (r releases) Build(_ context.Context, name string, _ Service, _ string, say func(string)) error {
	r.w.setBuilding(true)
	// Not when the command is killed: the unit goes on.
	err := r.w.call("build", func() {
		if !r.w.drafts[name] {
			r.w.t.Errorf("%s is built and was not fetched", name)
		}
		say("compiling")
	})
	r.w.setBuilding(false)
	return err
}

func (w *world) setBuilding(building bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.building = building
}

func (w *world) mustNotBuild() {
	if w.building {
		w.t.Error("files are taken away from a build that runs")
	}
}

func (r releases) Seal(_ context.Context, name string) error {
	return r.w.call("seal", func() { delete(r.w.drafts, name); r.w.revision[name] = r.w.ref })
}

func (r releases) Sealed(name string) (ok bool, err error) {
	err = r.w.call("sealed", func() { _, ok = r.w.revision[name] })
	return ok, err
}

func (r releases) Discard(name string) error {
	return r.w.call("discard", func() { r.w.mustNotBuild(); delete(r.w.drafts, name) })
}

func (r releases) CheckShared(service string, names []string) (err error) {
	cerr := r.w.call("check shared", func() {
		for _, name := range names {
			if r.w.unshared == service+"/"+name {
				err = errors.New(r.w.unshared + " is not there")
			}
		}
	})
	return errors.Join(cerr, err)
}

func (r releases) Point(link, name string, _ Service) error {
	return r.w.call("point", func() { r.w.links[link] = name })
}

func (r releases) Pointed(link string) (a Aim, err error) {
	err = r.w.call("pointed", func() {
		a.Target = r.w.links[link]
		if revision, ok := r.w.revision[a.Target]; ok {
			a.Release, a.Revision = a.Target, revision
		}
	})
	return a, err
}

func (r releases) Restore(link, target string) error {
	return r.w.call("restore", func() { r.w.links[link] = target })
}

func (r releases) Mark(release, reason string) error {
	return r.w.call("mark "+release, func() {
		if r.w.marks == nil {
			r.w.marks = map[string]string{}
		}
		r.w.marks[release] = reason
	})
}

func (r releases) Prune(keep int, inUse []string) (removed []string, err error) {
	err = r.w.call("prune", func() {
		var names []string
		for name := range r.w.revision {
			if !slices.Contains(inUse, name) {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		for len(names) > keep {
			delete(r.w.revision, names[0])
			names = names[1:]
		}
	})
	return removed, err
}

func (r releases) Free() (free uint64, err error) {
	err = r.w.call("free", func() { free = 1 << 30 })
	return free, err
}
