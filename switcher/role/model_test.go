package role

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"charactier-proxy/switcher"
)

// app is a process as it should be: it begins as standby and refuses what is out
// of date.
type app struct {
	dead, silent bool
	role         Role
	generation   uint64
}

// city is two apps under a keeper; its state belongs to the stage's mutex.
type city struct {
	*stage
	apps map[switcher.Slot]*app
	// silences says that an app was silent once: then it may be active beside the
	// other one until it hears again.
	silences bool
}

func (c *city) tell(ctx context.Context, o Order) error {
	c.mu.Lock()
	silent := c.apps[o.Slot].silent
	c.mu.Unlock()
	if silent {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	a := c.apps[o.Slot]
	switch {
	case a.dead:
		return fmt.Errorf("telling %s: %w", o.Slot, ErrNobody)
	case o.Generation < a.generation:
		return errors.New("409")
	case o.Role == Active && c.apps[o.Slot.Other()].role == Active && !c.silences:
		c.Errorf("%s was made active beside the other", o.Slot)
	}
	a.role, a.generation = o.Role, o.Generation
	return nil
}

// Whatever happens, two slots that answer are never active together, and in the
// end each has the role that it should have.
func TestNeverAreTwoActiveAndInTheEndAllIsRight(t *testing.T) {
	for seed := range uint64(200) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 0))
			c := &city{apps: map[switcher.Slot]*app{switcher.Blue: {role: Standby}, switcher.Green: {role: Standby}}}
			newStage(t, func(s *stage, o *Options) {
				o.Process = map[switcher.Slot][]Way{switcher.Blue: {wayFunc(c.tell)}, switcher.Green: {wayFunc(c.tell)}}
				c.stage = s
			})
			defer c.end()
			for range 40 {
				c.happen(r, seed%2 == 1)
				time.Sleep(time.Duration(r.Int64N(int64(2 * timeout))))
			}
			c.set(func() {
				for slot, a := range c.apps {
					a.dead, a.silent, c.dead[slot] = false, false, false
				}
			})
			time.Sleep(refresh + timeout + maxPause)
			synctest.Wait()
			for slot, a := range c.apps {
				want := Standby
				if slot == c.wanted.Active {
					want = Active
				}
				if a.role != want || !c.keeper.Status(slot).Taken() {
					t.Errorf("seed %d: %s is %s, want %s", seed, slot, a.role, want)
				}
			}
		})
	}
}

// happen is one thing that happens; not all of it is announced.
func (c *city) happen(r *rand.Rand, silences bool) {
	slot := switcher.Blue
	if r.IntN(2) == 0 {
		slot = switcher.Green
	}
	a := c.apps[slot]
	change := func() {}
	switch r.IntN(5) {
	case 0, 1:
		change = func() { c.wanted = Wanted{c.wanted.Active.Other(), c.wanted.Generation + 1} }
	case 2:
		known := r.IntN(2) == 0
		change = func() { *a = app{dead: true, silent: a.silent}; c.dead[slot] = known }
	case 3:
		change = func() { *a = app{role: Standby, silent: a.silent}; c.dead[slot] = false }
		defer c.keeper.Restarted(slot)
	case 4:
		change = func() { a.silent = silences && !a.silent; c.silences = c.silences || a.silent }
	}
	c.mu.Lock()
	change()
	c.mu.Unlock()
	if r.IntN(3) > 0 {
		c.keeper.Nudge()
	}
}
