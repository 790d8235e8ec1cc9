package chaos

import (
	"bytes"
	"os"
	"time"

	"charactier-proxy/switcher"
)

// audit looks at what the daemon left in the end: its history must tell every
// operation that was answered as done, once, and one chain of moves that leads
// to what is active now (S1, S2, S4).
func (o *operator) audit() {
	o.inspectDisk()
	o.findRaces()
	newest, err := switcher.ReadHistory(o.daemon.stateDir(), 1_000_000)
	if err != nil {
		o.notes.breach("S2", "the history cannot be read: %v", err)
		return
	}
	told := map[string]switcher.Record{}
	for _, r := range newest {
		if _, twice := told[r.ID]; twice {
			o.notes.breach("S4", "the history has %s %s twice", r.Kind, r.ID)
		}
		told[r.ID] = r
	}
	for _, f := range o.done {
		if got := told[f.ID]; got.Outcome != f.Outcome && !o.notes.overlaps("", f.from, f.till, spoilt...) {
			o.notes.breach("S2", "%s %s was answered as %s, and the history says %q", f.Kind, f.ID, f.Outcome, got.Outcome)
		}
	}
	o.chain(newest)
}

// chain follows each service through its moves, the oldest first. A full disk
// may leave a gap.
func (o *operator) chain(newest []switcher.Record) {
	at := map[string]switcher.Slot{}
	before := o.notes.begun
	for i := len(newest) - 1; i >= 0; i-- {
		r := newest[i]
		if r.Outcome != switcher.Done || r.Kind != switcher.KindSwitch && r.Kind != switcher.KindRollback {
			continue
		}
		for _, m := range r.Moves {
			if last, known := at[m.Service]; known && last != m.From && !o.notes.overlaps("", before, o.moment(r.Started.Add(r.Took)), spoilt...) {
				o.notes.breach("S1", "the history moves %s from %s by %s %s, and it was on %s", m.Service, m.From, r.Kind, r.ID, last)
			}
			at[m.Service] = m.To
		}
		before = o.moment(r.Started)
	}
	for service, last := range at {
		if active, _ := o.model.active(service); active != last && !o.notes.overlaps("", before, now(), spoilt...) {
			o.notes.breach("S1", "the history leads %s to %s, and %s is active", service, last, active)
		}
	}
}

// moment is the one at a time of the clock on the wall, which nobody sets during
// a run.
func (o *operator) moment(t time.Time) moment { return now() - moment(time.Since(t)) }

// findRaces looks for what the race detector or a panic left in the log.
func (o *operator) findRaces() {
	text, err := os.ReadFile(o.daemon.log())
	o.fail(err)
	for _, mark := range []string{"WARNING: DATA RACE", "panic:", "fatal error:"} {
		if _, found, ok := bytes.Cut(text, []byte(mark)); ok {
			o.notes.breach("", "charactier-proxy's log has: %s%.2000s", mark, found)
		}
	}
}
