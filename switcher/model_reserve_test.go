package switcher

import (
	"errors"
	"slices"

	"pgregory.net/rapid"
)

func wantIs(t *rapid.T, err, is error) {
	t.Helper()
	if !errors.Is(err, is) {
		t.Fatalf("error is %v, want %v", err, is)
	}
}

// within draws the reservation that an operation names: none, the one that there
// is or another.
func (m *machine) within(t *rapid.T) string {
	names := []string{"", "another"}
	if m.reserved != nil {
		names = append(names, m.reserved.ID, m.reserved.ID)
	}
	return rapid.SampledFrom(names).Draw(t, "within")
}

// reserve begins a reservation, or is refused because there is one.
func (m *machine) reserve(t *rapid.T) {
	res, err := m.s.Reserve(m.w.t.Context(), KindDeploy, Request{Actor: alice}, nil)
	if m.reserved != nil {
		wantIs(t, err, ErrBusy)
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	m.reserved = res
}

// endReservation ends it with or without a word.
func (m *machine) endReservation(t *rapid.T) {
	if m.reserved == nil {
		_, err := m.s.EndReservation("another", Record{Outcome: Done})
		wantIs(t, err, ErrNoReservation)
		return
	}
	want := Done
	if rapid.Bool().Draw(t, "lost") {
		want = Interrupted
		m.reserved.Lose("the command ended")
	} else if _, err := m.s.EndReservation(m.reserved.ID, Record{Outcome: Done}); err != nil {
		t.Fatal(err)
	}
	if last := m.s.Last(); last.ID != m.reserved.ID || last.Outcome != want {
		t.Fatalf("the last operation is %+v, want the reservation, %s", last, want)
	}
	m.reserved = nil
}

// endBake ends the bake of one switch, by a verdict or by returning the traffic.
func (m *machine) endBake(t *rapid.T) {
	id := ""
	for _, name := range m.config {
		id = max(id, m.model[name].bake)
	}
	if id == "" {
		return
	}
	moves, results := map[string]Slot{}, map[string]BakeResult{}
	for name, s := range m.model {
		if s.bake == id {
			results[name] = BakeResult{Verdict: BakeFailed}
			if slices.Contains(m.config, name) {
				moves[name] = s.previous
			}
		}
	}
	if rapid.Bool().Draw(t, "return") {
		_, _, err := m.s.Return(m.w.t.Context(), id, Request{}, results)
		if !m.sick(moves) {
			if err != nil {
				t.Fatal(err)
			}
			m.switches++
			m.model.apply(moves, m.switches, true, "")
			return
		}
		wantIs(t, err, ErrUnhealthy)
	}
	if err := m.s.EndBake(m.w.t.Context(), id, results); err != nil {
		t.Fatal(err)
	}
	for name := range results {
		s := m.model[name]
		s.bake = ""
		m.model[name] = s
	}
}
