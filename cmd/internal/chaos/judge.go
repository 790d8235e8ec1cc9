package chaos

import (
	"fmt"
	"slices"
	"strings"
)

// Violation is something that happened and must not have.
type Violation struct {
	At      moment
	Promise string // P1 to S5; empty where it is none of them
	Text    string
	visit   *visit
}

// verdict is what came of a run.
type verdict struct {
	sent       int
	violations []Violation
	rows       map[faultKind]*row
}

// row is what the report tells of one kind of fault.
type row struct {
	times, requests int
	allowed, wrong  int // requests that failed: with a reason, and without
	lost            int // states
}

// court judges one visit after the other.
type court struct {
	notes     *notes
	model     *model
	sightings map[string][]sighting
	verdict
}

// nothing is the row of what happened while nothing was broken.
const nothing faultKind = "(nothing)"

// judge holds what was noted against what was allowed. Nobody writes notes any
// more.
func judge(n *notes, m *model, sightings map[string][]sighting) verdict {
	c := &court{n, m, sightings, verdict{rows: map[faultKind]*row{}}}
	slices.SortFunc(n.visits, func(a, b visit) int { return int(a.Begun - b.Begun) })
	for _, f := range n.faults {
		c.row(f.Kind).times++
		c.row(f.Kind).requests += c.begunDuring(f)
	}
	for kind, lost := range n.lost {
		c.row(kind).lost += lost
	}
	for i := range n.visits {
		c.judge(&n.visits[i])
	}
	for _, b := range n.breaches {
		c.violations = append(c.violations, Violation{b.At, b.Promise, b.Text, nil})
	}
	return c.verdict
}

func (c *court) row(kind faultKind) *row {
	if c.rows[kind] == nil {
		c.rows[kind] = &row{}
	}
	return c.rows[kind]
}

// begunDuring counts the visits that a fault overlaps.
func (c *court) begunDuring(f *fault) (n int) {
	first, _ := slices.BinarySearchFunc(c.notes.visits, f.Begun-moment(visitTime), func(v visit, at moment) int { return int(v.Begun - at) })
	for _, v := range c.notes.visits[first:] {
		if v.Begun > f.Ended {
			break
		}
		if v.Ended >= f.Begun && (f.At.Service == "" || f.At.Service == v.Service) {
			n++
		}
	}
	return n
}

// judge holds one visit against the promises.
func (c *court) judge(v *visit) {
	c.sent++
	seen := c.sightings[v.ID]
	c.oneTarget(v, seen)
	c.onceOnly(v, seen)
	c.notRetired(v, seen)
	switch v.Symptom {
	case good:
		c.reallyServed(v, seen)
	case left:
	case behind:
		c.neverArrived(v, seen)
	case wrong:
		promise := "P4"
		for _, named := range []string{"P1", "P5"} {
			if strings.Contains(v.Detail, named+": ") {
				promise = named
			}
		}
		c.accuse(v, promise, "the answer is wrong")
	case turnedAway:
		c.neverArrived(v, seen)
		c.excused(v, seen)
	default:
		c.excused(v, seen)
	}
}

// neverArrived: its client was told that it may send it again.
func (c *court) neverArrived(v *visit, seen []sighting) {
	if len(seen) > 0 {
		c.accuse(v, "P3", "it arrived at %s although its client was told that it was not processed", seen[0].place)
	}
}

// oneTarget is P1: whatever arrived, arrived at one slot. nginx may send a safe
// request again when the daemon is killed, or drops an event stream instead of
// answering it with an error, and that one is a new request to us.
func (c *court) oneTarget(v *visit, seen []sighting) {
	for _, s := range seen {
		if s.place != seen[0].place && !c.sentAgainByNginx(v) {
			c.accuse(v, "P1", "it arrived at %s and at %s", seen[0].place, s.place)
			return
		}
	}
}

func (c *court) sentAgainByNginx(v *visit) bool {
	return v.Way == "nginx" && v.Method == "GET" && slices.ContainsFunc(c.notes.faults, func(f *fault) bool {
		return f.overlaps(v) && (f.Kind == daemonKilled || v.Kind == "events" && slices.Contains(dropping, f.Kind))
	})
}

// onceOnly is P3. A safe request may arrive again if its connection was broken.
func (c *court) onceOnly(v *visit, seen []sighting) {
	switch {
	case len(seen) < 2:
	case v.Method != "GET":
		c.accuse(v, "P3", "it arrived %d times", len(seen))
	case c.touched(v, seen, again...) == nil:
		c.accuse(v, "P3", "it arrived %d times, and no connection was broken", len(seen))
	}
}

// notRetired is P2: where it arrived was active at some time between the
// request's begin and its arrival.
func (c *court) notRetired(v *visit, seen []sighting) {
	for _, s := range seen {
		if !c.model.during(v.Service, v.Begun, s.At)[s.Slot] {
			c.accuse(v, "P2", "it arrived at %s, which was not active from its begin to its arrival", s.place)
		}
		if s.Service != v.Service {
			c.accuse(v, "P2", "it arrived at %s, another service", s.place)
		}
	}
}

// reallyServed: a good answer comes from a slot that saw the request.
func (c *court) reallyServed(v *visit, seen []sighting) {
	for _, s := range seen {
		if s.Slot == v.Slot && (v.Life == "" || v.Life == s.Life) {
			return
		}
	}
	c.accuse(v, "P1", "it was answered by %s in life %q, where it never arrived", v.Slot, v.Life)
}

// excused looks for a rule and a fault that allow what the client saw.
func (c *court) excused(v *visit, seen []sighting) {
	for _, r := range rules {
		if r.symptom != v.Symptom || r.unseen && len(seen) > 0 || r.streams && v.Kind != "events" && v.Kind != "websocket" {
			continue
		}
		if v.Ended.since(v.Begun) < r.lasting {
			continue
		}
		if f := c.touched(v, seen, r.faults...); f != nil {
			c.row(f.Kind).allowed++
			return
		}
	}
	c.accuse(v, "", "it failed, and nothing allows that")
}

// touched finds a fault of one of the kinds that touches the visit.
func (c *court) touched(v *visit, seen []sighting, kinds ...faultKind) *fault {
	at := map[string]bool{}
	for _, s := range seen {
		at[string(s.Slot)] = true
	}
	if len(seen) == 0 || c.sentAgainByNginx(v) {
		for slot := range c.model.during(v.Service, v.Begun, v.Ended) {
			at[string(slot)] = true
		}
	}
	for _, f := range c.notes.faults {
		if slices.Contains(kinds, f.Kind) && f.overlaps(v) && (!f.Kind.ofSlot() || at[string(f.At.Slot)]) {
			return f
		}
	}
	return nil
}

func (f *fault) overlaps(v *visit) bool {
	till := f.Ended
	if v.Way == "nginx" {
		till = max(till, f.Nginx)
	}
	return f.Begun <= v.Ended && v.Begun <= till && (f.At.Service == "" || f.At.Service == v.Service)
}

// accuse notes a violation, in the rows of all that was broken at that time.
func (c *court) accuse(v *visit, promise, format string, args ...any) {
	c.violations = append(c.violations, Violation{v.Ended, promise, fmt.Sprintf(format, args...), v})
	kinds := map[faultKind]bool{}
	for _, f := range c.notes.faults {
		if f.overlaps(v) {
			kinds[f.Kind] = true
		}
	}
	if len(kinds) == 0 {
		kinds[nothing] = true
	}
	for kind := range kinds {
		c.row(kind).wrong++
	}
}
