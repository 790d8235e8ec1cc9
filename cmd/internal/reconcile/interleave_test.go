package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"charactier-proxy/switcher"
	"charactier-proxy/systemd"
)

// machine is one on which a deploy and a reconcile take their steps in turn, in
// whatever order. What is here is on disk: after a power cut it counts.
type machine struct {
	t       *testing.T
	active  switcher.Slot
	enabled map[switcher.Slot]bool
	// unfinished is the deploy's journal; the daemon, which may have been
	// restarted, knows of no reservation.
	unfinished bool
	locked     string // by whom

	deploy []deployStep
	turn   chan bool     // lets the reconcile take its next step; false kills it
	at     chan string   // the step that it is about to take; empty: it has ended
	next   func(int) int // the choice among so many
	trace  []string
}

// deployStep is one step that a kill -9 or a power cut may follow. One that
// needs the lock waits for it.
type deployStep struct {
	name string
	lock bool
	do   func(*machine)
}

func (m *machine) slot(unit string) switcher.Slot {
	return switcher.Slot(strings.TrimSuffix(unit, ".service"))
}

// step is where the reconcile waits for its turn.
func (m *machine) step(name string) error {
	m.at <- name
	if !<-m.turn {
		return errKilled
	}
	m.trace = append(m.trace, "reconcile: "+name)
	return nil
}

var errKilled = errors.New("killed")

func (m *machine) State(_ context.Context, unit string) (systemd.UnitState, error) {
	if err := m.step("state of " + unit); err != nil {
		return systemd.UnitState{}, err
	}
	s := systemd.UnitState{LoadState: "loaded", ActiveState: "active", UnitFileState: "disabled"}
	if m.enabled[m.slot(unit)] {
		s.UnitFileState = "enabled"
	}
	return s, nil
}

func (m *machine) Start(context.Context, string) error { return errors.New("not to be called") }
func (m *machine) Stop(context.Context, string) error  { return errors.New("not to be called") }

func (m *machine) Enable(_ context.Context, units ...string) error {
	return m.set("enable ", units[0], true)
}

func (m *machine) Disable(_ context.Context, units ...string) error {
	return m.set("disable ", units[0], false)
}

func (m *machine) set(what, unit string, enabled bool) error {
	if err := m.step(what + unit); err != nil {
		return err
	}
	m.enabled[m.slot(unit)] = enabled
	return nil
}

func (m *machine) look(context.Context, string) (Service, error) {
	if err := m.step("look"); err != nil {
		return Service{}, err
	}
	place := func(s switcher.Slot) Slot { return Slot{Name: s, Unit: string(s) + ".service"} }
	return Service{Name: "backend", Active: place(m.active), Standby: place(m.active.Other()), Unsettled: m.unfinished}, nil
}

func (m *machine) lock(context.Context) (func(), error) {
	if err := m.step("lock"); err != nil {
		return nil, err
	}
	m.locked = "reconcile"
	return func() { m.locked = "" }, nil
}

// run lets both go on until they have ended, and looks after each step whether a
// reboot would start the slot that the state names.
func (m *machine) run() {
	go func() {
		defer func() { m.at <- "" }()
		s, err := m.look(context.Background(), "")
		if err == nil {
			r := &Reconciler{Units: m, Look: m.look, Lock: m.lock, Say: func(string) {}, EnableOnly: true}
			_ = r.Run(context.Background(), []Service{s}) // it is killed, or it is not
		}
	}()
	for at := <-m.at; ; {
		var choices []func()
		if at != "" {
			choices = append(choices, func() { m.turn <- false; m.trace = append(m.trace, "reconcile is killed"); at = m.killed() })
		}
		if at != "" && (at != "lock" || m.locked == "") {
			choices = append(choices, func() { m.turn <- true; at = <-m.at })
		}
		if len(m.deploy) > 0 && (!m.deploy[0].lock || m.locked != "reconcile") {
			choices = append(choices, m.deployOn)
		}
		if len(choices) == 0 {
			return
		}
		choices[m.next(len(choices))]()
		if !m.enabled[m.active] {
			m.t.Fatalf("%s is active and a reboot would not start it, after\n%s", m.active, strings.Join(m.trace, "\n"))
		}
	}
}

// killed lets the reconcile return: it does nothing more.
func (m *machine) killed() string {
	for at := range m.at {
		if at == "" {
			break
		}
		m.turn <- false
	}
	m.locked = ""
	return ""
}

func (m *machine) deployOn() {
	s := m.deploy[0]
	m.deploy = m.deploy[1:]
	m.trace = append(m.trace, "deploy: "+s.name)
	s.do(m)
}

// The steps of a deploy from blue to green.
var (
	begins   = deployStep{name: "begins", do: func(m *machine) { m.unfinished = true }}
	switches = deployStep{name: "switches to green", do: func(m *machine) { m.active = switcher.Green }}
	returns  = deployStep{name: "returns to blue", do: func(m *machine) { m.active = switcher.Blue }}
	ends     = deployStep{name: "ends", do: func(m *machine) { m.unfinished = false }}
)

func enables(s switcher.Slot) deployStep {
	return deployStep{name: "enables " + string(s), lock: true, do: func(m *machine) { m.enabled[s] = true }}
}

func disables(s switcher.Slot) deployStep {
	return deployStep{name: "disables " + string(s), lock: true, do: func(m *machine) { m.enabled[s] = false }}
}

// A kill -9 of the reconcile is one of the choices at each step, and a power cut
// may come after each: all orders of all steps are gone through.
func TestWhateverIsCutOffTheActiveSlotStartsAtTheNextBoot(t *testing.T) {
	for name, steps := range map[string][]deployStep{
		"a deploy":                       {begins, enables("green"), switches, enables("green"), disables("blue"), ends},
		"one that is returned":           {begins, enables("green"), switches, returns, enables("blue"), disables("green"), ends},
		"one that is killed at once":     {begins},
		"one that is killed before":      {begins, enables("green")},
		"one that is killed after":       {begins, enables("green"), switches},
		"killed, and aborted by another": {begins, enables("green"), switches, returns, enables("blue")},
	} {
		for _, left := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, green was enabled: %v", name, left), func(t *testing.T) {
				runs := 0
				for c := (choices{}); ; runs++ {
					m := &machine{
						t: t, active: switcher.Blue, enabled: map[switcher.Slot]bool{switcher.Blue: true, switcher.Green: left},
						deploy: slices.Clone(steps), turn: make(chan bool), at: make(chan string), next: c.next,
					}
					m.run()
					if !c.advance() {
						break
					}
				}
				t.Logf("%d orders", runs)
			})
		}
	}
}

// choices goes through all sequences of choices, one sequence for each run.
type choices struct {
	made, of []int
	at       int
}

func (c *choices) next(n int) int {
	if c.at == len(c.made) {
		c.made, c.of = append(c.made, 0), append(c.of, n)
	}
	c.at++
	return c.made[c.at-1]
}

// advance makes the next run choose differently, the last choices first; false
// when there is nothing left.
func (c *choices) advance() bool {
	c.at = 0
	for n := len(c.made) - 1; n >= 0; n-- {
		if c.made[n]++; c.made[n] < c.of[n] {
			return true
		}
		c.made, c.of = c.made[:n], c.of[:n]
	}
	return false
}
