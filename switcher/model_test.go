package switcher

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// model is what the switcher is meant to be, without a disk or a crash.
type model map[string]modelService

type modelService struct {
	active, previous Slot
	moved            int // number of the switch
	rolledBack, held bool
	bad              string // releases, newest first, each with a space
	bake             string // ID of the switch whose bake is not over
}

// release is what a slot runs in the model, which changes nothing of it.
func release(service string, slot Slot) string { return service + "-" + string(slot) + " " }

func (m model) apply(moves map[string]Slot, n int, rollback bool, bake string) {
	for name, to := range moves {
		was := m[name]
		now := modelService{to, was.active, n, rollback && !was.rolledBack, was.held, was.bad, bake}
		if rollback {
			now.bad = strings.ReplaceAll(now.bad, release(name, to), "")
		}
		if now.rolledBack {
			now.bad = release(name, was.active) + strings.ReplaceAll(now.bad, release(name, was.active), "")
		} else if rollback {
			now.bad = strings.ReplaceAll(now.bad, release(name, was.active), "")
		}
		m[name] = now
	}
}

func (m model) switchMoves(services []string, to Slot) map[string]Slot {
	moves := map[string]Slot{}
	for _, name := range services {
		if want := cmpOr(to, m[name].active.Other()); want != m[name].active {
			moves[name] = want
		}
	}
	return moves
}

// rollbackMoves is nil where a rollback is refused.
func (m model) rollbackMoves(services []string, named, force bool) map[string]Slot {
	newest := 0
	for _, name := range services {
		newest = max(newest, m[name].moved)
	}
	moves := map[string]Slot{}
	for _, name := range services {
		s := m[name]
		switch {
		case !named && (s.moved == 0 || s.moved < newest):
			continue
		case s.previous == "" || s.rolledBack && !force:
			return nil
		}
		moves[name] = s.previous
	}
	return moves
}

func cmpOr(a, b Slot) Slot {
	if a != "" {
		return a
	}
	return b
}

// machine runs the model beside a daemon that is crashed, restarted and
// reconfigured meanwhile.
type machine struct {
	w        *world
	s        *Switcher
	model    model
	config   []string
	switches int
	reserved *Reservation // nil: there is none
}

// draw picks services to name: possibly none.
func (m *machine) draw(t *rapid.T) (named, chosen []string) {
	named = rapid.SliceOfDistinct(rapid.SampledFrom(m.config), rapid.ID[string]).Draw(t, "services")
	if len(named) == 0 {
		return nil, m.config
	}
	return named, named
}

func (m *machine) sick(moves map[string]Slot) bool {
	for name, slot := range moves {
		if m.w.prober.answers[name+" "+string(slot)] != nil {
			return true
		}
	}
	return false
}

// expect compares an operation with what the model makes of it. moves is nil
// where the model refuses it.
func (m *machine) expect(t *rapid.T, moves map[string]Slot, r Request, rollback bool, rec Record, err error) {
	force := r.Force
	switch {
	case m.reserved != nil && r.Within == "":
		wantIs(t, err, ErrBusy)
	case r.Within != "" && (m.reserved == nil || m.reserved.ID != r.Within):
		wantIs(t, err, ErrNoReservation)
	case moves == nil:
		if !errors.Is(err, ErrNothingToRollBack) {
			t.Fatalf("error is %v, want nothing to roll back", err)
		}
	case len(moves) == 0 && !rollback:
		if err != nil || rec.Outcome != Unchanged {
			t.Fatalf("outcome is %s, error %v, want unchanged", rec.Outcome, err)
		}
	case len(moves) == 0:
		if !errors.Is(err, ErrNothingToRollBack) {
			t.Fatalf("error is %v, want nothing to roll back", err)
		}
	case m.sick(moves) && !force:
		if !errors.Is(err, ErrUnhealthy) {
			t.Fatalf("error is %v, want unhealthy", err)
		}
	default:
		if err != nil {
			t.Fatal(err)
		}
		m.switches++
		bake := ""
		if r.Bake != nil && !rollback {
			bake = rec.ID
		}
		m.model.apply(moves, m.switches, rollback, bake)
	}
}

func (m *machine) operate(t *rapid.T, rollback bool) {
	named, chosen := m.draw(t)
	r := Request{Services: named, Force: rapid.Bool().Draw(t, "force"), Within: m.within(t), Actor: root}
	if !rollback && rapid.Bool().Draw(t, "bake") {
		r.Bake = baked("").Bake
	}
	var moves map[string]Slot
	operation := m.s.Switch
	if rollback {
		moves, operation = m.model.rollbackMoves(chosen, named != nil, r.Force), m.s.Rollback
	} else {
		r.To = rapid.SampledFrom([]Slot{"", Blue, Green}).Draw(t, "to")
		moves = m.model.switchMoves(chosen, r.To)
	}
	rec, d, err := operation(m.w.t.Context(), r)
	if _, err := d.Wait(m.w.t.Context()); err != nil {
		t.Fatal(err)
	}
	m.expect(t, moves, r, rollback, rec, err)
}

// setHold holds or releases.
func (m *machine) setHold(t *rapid.T) {
	named, chosen := m.draw(t)
	held, operation := rapid.Bool().Draw(t, "held"), m.s.ReleaseHold
	if held {
		operation = m.s.Hold
	}
	_, err := operation(m.w.t.Context(), Request{Services: named, Actor: root})
	if m.reserved != nil {
		wantIs(t, err, ErrBusy)
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range chosen {
		s := m.model[name]
		s.held = held
		m.model[name] = s
	}
}

// crash lets the daemon die at one of the calls of a switch and starts another
// on what a power cut left: all of the old or all of the new.
func (m *machine) crash(t *rapid.T) {
	moves := m.model.switchMoves(m.config, "")
	m.w.faults.arm(rapid.IntRange(1, 24).Draw(t, "call"), die)
	r := Request{Force: true, Actor: root}
	if m.reserved != nil {
		r.Within = m.reserved.ID
	}
	_, d, err := m.s.Switch(m.w.t.Context(), r)
	done := err == nil && !m.w.faults.isDead()
	_, _ = d.Wait(m.w.t.Context())
	m.s.Close()
	disk := m.w.disk
	left := disk.after(nil, rapid.IntRange(0, len(disk.pending)).Draw(t, "name changes"), rapid.IntRange(0, 2).Draw(t, "tear"))
	answers := m.w.prober.answers
	m.w = m.w.revived(left)
	m.w.prober.answers = answers
	m.start(t)
	active, _ := m.s.Routing()
	if first := m.config[0]; done || active[first] == moves[first] {
		m.switches++
		m.model.apply(moves, m.switches, false, "")
	}
}

func (m *machine) start(t *rapid.T) {
	s, err := m.w.boot()
	if err != nil {
		t.Fatal(err)
	}
	m.s, m.reserved = s, nil
}

func (m *machine) restart(t *rapid.T) {
	m.s.Close()
	m.start(t)
}

// reconfigure adds or removes the third service.
func (m *machine) reconfigure(t *rapid.T) {
	services := slices.Clone(twoServices)
	if len(m.config) == 2 {
		services = append(services, ServiceConfig{Name: "images", Initial: Green})
		if _, known := m.model["images"]; !known {
			m.model["images"] = modelService{active: Green}
		}
	}
	if err := m.s.Reconfigure(m.w.t.Context(), root, services, m.w.traffic.configure); err != nil {
		t.Fatal(err)
	}
	m.w.services, m.config = services, nil
	for _, c := range services {
		m.config = append(m.config, c.Name)
	}
}

func (m *machine) changeHealth(t *rapid.T) {
	key := rapid.SampledFrom(m.config).Draw(t, "service") + " " + string(rapid.SampledFrom([]Slot{Blue, Green}).Draw(t, "slot"))
	if m.w.prober.answers[key] == nil {
		m.w.prober.answer(key, says("sick"))
	} else {
		delete(m.w.prober.answers, key)
	}
}

// check compares everything that can be seen.
func (m *machine) check(t *rapid.T) {
	active, held := map[string]Slot{}, map[string]bool{}
	for _, name := range m.config {
		active[name] = m.model[name].active
		if m.model[name].held {
			held[name] = true
		}
	}
	toldActive, toldHeld := m.s.Routing()
	trafficActive, trafficHeld := m.w.traffic.state()
	if !maps.Equal(active, toldActive) || !maps.Equal(active, trafficActive) {
		t.Fatalf("active: model %v, told %v, traffic %v", active, toldActive, trafficActive)
	}
	if !maps.Equal(held, toldHeld) || !maps.Equal(held, trafficHeld) {
		t.Fatalf("held: model %v, told %v, traffic %v", held, toldHeld, trafficHeld)
	}
	for name, s := range m.model {
		got := m.s.State().Services[name]
		bad, bake := "", ""
		for _, b := range got.BadReleases {
			bad += b.Release + " "
		}
		if got.Bake != nil && got.Bake.Verdict == Baking {
			bake = got.Bake.ID
		}
		if got.Previous != s.previous || got.RolledBack != s.rolledBack || bad != s.bad || bake != s.bake {
			t.Fatalf("%s is %+v, model %+v", name, got, s)
		}
	}
	if now := m.s.Reservation(); (now == nil) != (m.reserved == nil) {
		t.Fatalf("the reservation is %+v, model %+v", now, m.reserved)
	}
}

func TestTheSwitcherIsItsModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := &machine{w: newWorld(t), config: []string{"backend", "frontend"},
			model: model{"backend": {active: Blue}, "frontend": {active: Blue}}}
		m.w.releases = releases{}
		for _, name := range []string{"backend", "frontend", "images"} {
			for _, slot := range []Slot{Blue, Green} {
				m.w.releases[name+" "+string(slot)] = strings.TrimSpace(release(name, slot))
			}
		}
		m.start(rt)
		defer func() { m.s.Close() }()
		rt.Repeat(map[string]func(*rapid.T){
			"switch":          func(rt *rapid.T) { m.operate(rt, false) },
			"rollback":        func(rt *rapid.T) { m.operate(rt, true) },
			"hold":            m.setHold,
			"crash":           m.crash,
			"restart":         m.restart,
			"reconfigure":     m.reconfigure,
			"reserve":         m.reserve,
			"end reservation": m.endReservation,
			"end bake":        m.endBake,
			"change health":   m.changeHealth,
			"":                m.check,
		})
	})
}
