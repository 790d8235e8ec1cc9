package proxy

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// model is what a proxy with two services should be, in plain values.
type model struct {
	p        *Proxy
	services []Service
	slot     map[string]string
	held     map[string]bool
	down     map[string]*target // the target that takes no connections
	open     []openClaim
}

type openClaim struct {
	claim
	generation *target // the target that was active when the claim began
	stream     bool
}

func (m *model) target(service string) *target { return m.p.table.Load().routes[service].target }

// onTarget counts the open claims of a target.
func (m *model) onTarget(target *target) (requests, streams int64) {
	for _, c := range m.open {
		switch {
		case c.generation != target:
		case c.stream:
			streams++
		default:
			requests++
		}
	}
	return requests, streams
}

// retire checks what a change of the table says of the targets it replaced.
func (m *model) retire(t *rapid.T, retired *Retired, before map[string]*target) {
	var want []DrainCount
	for service, target := range before {
		if m.target(service) == target {
			continue
		}
		requests, streams := m.onTarget(target)
		want = append(want, DrainCount{
			Service: service, Slot: target.Slot, Moved: requests + streams, OpenRequests: requests, OpenStreams: streams,
		})
	}
	slices.SortFunc(want, func(a, b DrainCount) int { return cmpStrings(a.Service, b.Service) })
	if want == nil {
		want = []DrainCount{}
	}
	if diff := cmp.Diff(want, drainNow(retired)); diff != "" {
		t.Fatalf("retired (-want +got):\n%s", diff)
	}
}

func (m *model) targets() map[string]*target {
	out := map[string]*target{}
	for _, s := range m.services {
		out[s.Name] = m.target(s.Name)
	}
	return out
}

func (m *model) swap(t *rapid.T) {
	before, to := m.targets(), map[string]string{}
	for _, s := range m.services {
		if rapid.Bool().Draw(t, "move "+s.Name) {
			to[s.Name] = rapid.SampledFrom([]string{"blue", "green"}).Draw(t, "to")
		}
	}
	retired, err := m.p.Swap(to)
	if err != nil {
		t.Fatal(err)
	}
	for service, slot := range to {
		if m.slot[service] == slot && m.target(service) != before[service] {
			t.Fatalf("%s was on %s already and got a new target", service, slot)
		}
		m.slot[service] = slot
	}
	m.retire(t, retired, before)
}

// configure changes one description or none.
func (m *model) configure(t *rapid.T) {
	before := m.targets()
	changed := rapid.IntRange(-1, len(m.services)-1).Draw(t, "changed")
	if changed >= 0 {
		m.services[changed].MaxBodyBytes++
	}
	retired, err := m.p.Configure(Settings{}, m.services, m.slot, m.held)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range m.services {
		if kept := m.target(s.Name) == before[s.Name]; kept == (i == changed) {
			t.Fatalf("%s: target kept %v, description changed %v", s.Name, kept, i == changed)
		}
	}
	m.retire(t, retired, before)
}

func (m *model) hold(t *rapid.T) {
	s := rapid.SampledFrom(m.services).Draw(t, "service").Name
	if m.held[s] = rapid.Bool().Draw(t, "held"); m.held[s] {
		m.p.Hold(s)
		return
	}
	m.p.Release(s)
}

func (m *model) claim(t *rapid.T) {
	s := rapid.SampledFrom(m.services).Draw(t, "service").Name
	ctx, cancel := context.WithCancel(context.Background())
	waits := m.held[s] || m.down[s] == m.target(s)
	if waits {
		cancel()
	}
	defer cancel()
	c, err := m.p.claim(ctx, s, nil)
	if (err != nil) != waits {
		t.Fatalf("claiming %s, which is to wait: %v: %v", s, waits, err)
	}
	if err != nil {
		return
	}
	if c.Slot != m.slot[s] || c.target != m.target(s) {
		t.Fatalf("claimed %s of %s, want %s", c.Slot, s, m.slot[s])
	}
	m.open = append(m.open, openClaim{claim: c, generation: c.target})
}

// connect has a slot take no connections, or take them again.
func (m *model) connect(t *rapid.T) {
	s := rapid.SampledFrom(m.services).Draw(t, "service").Name
	if rapid.Bool().Draw(t, "down") {
		m.down[s] = m.target(s)
		m.down[s].room.close(time.Now(), errShutDoor)
		return
	}
	delete(m.down, s)
	m.p.Reached(s, m.slot[s])
}

// change turns an open claim into a stream or ends it.
func (m *model) change(t *rapid.T) {
	if len(m.open) == 0 {
		t.Skip("nothing is open")
	}
	i := rapid.IntRange(0, len(m.open)-1).Draw(t, "claim")
	c := &m.open[i]
	if c.target != c.generation {
		t.Fatal("a claim changed its target (P1)")
	}
	if !c.stream && rapid.Bool().Draw(t, "stream") {
		c.stream = true
		c.beginStream()
		return
	}
	if c.stream {
		c.endStream()
	}
	c.release()
	m.open = slices.Delete(m.open, i, i+1)
}

func (m *model) check(t *rapid.T) {
	stats := m.p.Stats()
	for _, s := range m.services {
		if _, lasts := m.p.Outage(s.Name); lasts != (m.down[s.Name] == m.target(s.Name)) {
			t.Fatalf("%s: an outage lasts: %v", s.Name, lasts)
		}
		for slot := range s.Slots {
			var want SlotStats
			for _, c := range m.open {
				if c.Service != s.Name || c.Slot != slot {
					continue
				}
				want.InFlight++
				if c.stream {
					want.Streams++
				}
				if c.target != m.target(s.Name) {
					want.Draining++
				}
			}
			got := stats[s.Name][slot]
			if got.InFlight != want.InFlight || got.Streams != want.Streams || got.Draining != want.Draining {
				t.Fatalf("%s %s: %d in flight, %d streams, %d draining; want %+v",
					s.Name, slot, got.InFlight, got.Streams, got.Draining, want)
			}
		}
	}
	for _, target := range m.p.draining {
		requests, streams := m.onTarget(target)
		if target.drained() != (requests+streams == 0) {
			t.Fatalf("drained %v with %d requests and %d streams", target.drained(), requests, streams)
		}
	}
}

// Whatever the order of swaps, holds, configurations and claims, the proxy is
// what plain values say it should be.
func TestTheProxyFollowsItsModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &model{
			p: New(Options{}), services: []Service{twoSlots("backend"), twoSlots("frontend")},
			slot: map[string]string{"backend": "blue", "frontend": "green"}, held: map[string]bool{}, down: map[string]*target{},
		}
		if _, err := m.p.Configure(Settings{}, m.services, m.slot, nil); err != nil {
			t.Fatal(err)
		}
		t.Repeat(map[string]func(*rapid.T){
			"swap": m.swap, "configure": m.configure, "hold": m.hold, "connect": m.connect, "claim": m.claim, "change": m.change, "": m.check,
		})
	})
}
