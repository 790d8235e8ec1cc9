package chaos

import (
	"slices"
	"sync"

	"charactier-proxy/switcher"
)

// span is a time in which a slot may have been the active one.
type span struct {
	Slot       switcher.Slot
	From, Till moment
}

// model knows which slot of each service may be active, and when it may have
// been. An attempt to move makes both possible until its outcome is known.
type model struct {
	mu    sync.Mutex
	spans map[string][]span
	held  map[string]bool
}

func newModel(services []string) *model {
	m := &model{spans: map[string][]span{}, held: map[string]bool{}}
	for _, s := range services {
		m.spans[s] = []span{{switcher.Blue, 0, never}}
	}
	return m
}

// active is the slot that is active now; ok is false if both may be.
func (m *model) active(service string) (slot switcher.Slot, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	open := 0
	for _, s := range m.spans[service] {
		if s.Till == never {
			slot, ok, open = s.Slot, true, open+1
		}
	}
	return slot, ok && open == 1
}

// attempt says that services may move from now on, each to its other slot.
func (m *model) attempt(services []string) {
	at := now()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, service := range services {
		open := slices.IndexFunc(m.spans[service], func(s span) bool { return s.Till == never })
		other := m.spans[service][open].Slot.Other()
		m.spans[service] = append(m.spans[service], span{other, at, never})
	}
}

// settle says that this is known to be active: whatever else may have been is
// not any more. Without a trace, it never was.
func (m *model) settle(service string, active switcher.Slot, trace bool) {
	at := now()
	m.mu.Lock()
	defer m.mu.Unlock()
	kept, open := m.spans[service][:0], false
	for _, s := range m.spans[service] {
		switch {
		case s.Till != never || s.Slot == active:
			kept, open = append(kept, s), open || s.Till == never
		case trace:
			s.Till = at
			kept = append(kept, s)
		}
	}
	if !open { // which is a breach, and the rest of the run goes on from there
		kept = append(kept, span{active, at, never})
	}
	m.spans[service] = kept
}

// arrive says that an attempt is known to have moved the service.
func (m *model) arrive(service string) {
	m.mu.Lock()
	newest := m.spans[service][len(m.spans[service])-1].Slot
	m.mu.Unlock()
	m.settle(service, newest, true)
}

// mayBe reports whether the slot may be active now.
func (m *model) mayBe(service string, slot switcher.Slot) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.ContainsFunc(m.spans[service], func(s span) bool { return s.Till == never && s.Slot == slot })
}

// during are the slots that may have been active at some time between two
// moments.
func (m *model) during(service string, from, till moment) map[switcher.Slot]bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	may := map[switcher.Slot]bool{}
	for _, s := range m.spans[service] {
		if s.From <= till && from <= s.Till {
			may[s.Slot] = true
		}
	}
	return may
}

func (m *model) hold(service string, held bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.held[service] = held
}

func (m *model) isHeld(service string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.held[service]
}
