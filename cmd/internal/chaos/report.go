package chaos

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Report is what came of a run.
type Report struct {
	Seed       uint64
	Took       time.Duration
	Sent       int
	Violations []Violation
	// Log is a file of JSON lines: what was done, what was broken, every request
	// that did not end well, every violation.
	Log string

	rows   map[faultKind]*row
	notes  *notes
	seen   map[string][]sighting
	access string // the daemon's access log
}

func (w *world) report(v verdict, seen map[string][]sighting) (*Report, error) {
	// A broken promise says more than a failure.
	slices.SortStableFunc(v.violations, func(a, b Violation) int { return strings.Compare(b.Promise, a.Promise) })
	r := &Report{
		Seed: w.opts.Seed, Took: now().since(w.notes.begun), Sent: v.sent, Violations: v.violations,
		Log: filepath.Join(w.opts.Dir, "chaos.jsonl"), rows: v.rows, notes: w.notes, seen: seen, access: w.daemon.accessLog(),
	}
	return r, r.write()
}

// write makes the log.
func (r *Report) write() error {
	f, err := os.Create(r.Log)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(f)
	lines := json.NewEncoder(out)
	for _, d := range r.notes.deeds {
		err = errors.Join(err, lines.Encode(d))
	}
	for _, f := range r.notes.faults {
		err = errors.Join(err, lines.Encode(map[string]any{"fault": f}))
	}
	for _, v := range r.notes.visits {
		if v.Symptom != good && v.Symptom != left {
			err = errors.Join(err, lines.Encode(map[string]any{"visit": v, "arrived": r.seen[v.ID]}))
		}
	}
	for _, v := range r.Violations {
		err = errors.Join(err, lines.Encode(map[string]any{"violation": v.Text, "promise": v.Promise, "at": v.At, "visit": v.visit}))
	}
	return errors.Join(err, out.Flush(), f.Close())
}

// String is the table, and the first violations with their stories.
func (r *Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "chaos with seed %d, %s, %d requests\n", r.Seed, r.Took.Round(time.Second), r.Sent)
	fmt.Fprintf(&b, "%-18s %6s %9s %13s %16s %12s\n", "fault", "times", "requests", "failed, may", "failed, may not", "states lost")
	for _, kind := range slices.Sorted(maps.Keys(r.rows)) {
		w := r.rows[kind]
		fmt.Fprintf(&b, "%-18s %6d %9d %13d %16d %12d\n", kind, w.times, w.requests, w.allowed, w.wrong, w.lost)
	}
	fmt.Fprintf(&b, "%s\n", r.symptoms())
	const most = 5
	for _, v := range r.Violations[:min(most, len(r.Violations))] {
		b.WriteString(r.story(v))
	}
	if n := len(r.Violations); n > 0 {
		fmt.Fprintf(&b, "%d violations in all; repeat with SEED=%d; all of it is in %s\n", n, r.Seed, r.Log)
	}
	return b.String()
}

// symptoms is what clients saw, in one line.
func (r *Report) symptoms() string {
	counts := map[symptom]int{}
	for _, v := range r.notes.visits {
		if v.Symptom != good {
			counts[v.Symptom]++
		}
	}
	parts := []string{}
	for _, s := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%s %d", s, counts[s]))
	}
	return "clients saw: " + strings.Join(parts, ", ")
}

// logged are the lines of the access log about a violation's request.
func (r *Report) logged(v Violation) (lines []string) {
	text, err := os.ReadFile(r.access)
	if err != nil || v.visit == nil {
		return nil
	}
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, `"`+v.visit.ID+`"`) {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

// story tells a violation with what was done around it and all that is known of
// the request.
func (r *Report) story(v Violation) string {
	at := func(m moment) string { return fmt.Sprintf("%.3fs", m.since(r.notes.begun).Seconds()) }
	text := fmt.Sprintf("\nVIOLATION %s at %s, seed %d: %s\n", v.Promise, at(v.At), r.Seed, v.Text)
	from := v.At
	if v.visit != nil {
		from = v.visit.Begun
		text += fmt.Sprintf("  %s %s of %s (%s, %s), begun %s, ended %s, answered by %s in life %q: %s: %s\n", v.visit.Method, v.visit.ID,
			v.visit.Service, v.visit.Kind, v.visit.Way, at(v.visit.Begun), at(v.visit.Ended), v.visit.Slot, v.visit.Life, v.visit.Symptom, v.visit.Detail)
		for _, s := range r.seen[v.visit.ID] {
			text += fmt.Sprintf("  arrived at %s in life %s at %s\n", s.place, s.Life, at(s.At))
		}
	}
	for _, line := range r.logged(v) {
		text += fmt.Sprintf("  access log: %s\n", line)
	}
	around := moment(3 * time.Second)
	for _, f := range r.notes.faults {
		if f.Begun < v.At+around && from-around < f.Ended {
			text += fmt.Sprintf("  %s at %s from %s to %s\n", f.Kind, f.At, at(f.Begun), at(f.Ended))
		}
	}
	var deeds []deed
	for _, d := range r.notes.deeds {
		if from-around < d.At && d.At < v.At+around {
			deeds = append(deeds, d)
		}
	}
	return text + r.notes.around(deeds)
}
