package proxy

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"
)

// outcome is how one request ended.
type outcome struct {
	status  int           // sent to the client; 0 if there was no answer
	cause   cause         // why it did not end well; empty if it did
	latency time.Duration // from the claim to the answer's last byte
	stream  bool          // an upgrade or an event stream: its latency says nothing
	in, out int64         // body bytes from and to the client
}

// slotStats counts what requests did to one slot, over all targets that it
// had. It outlives them.
type slotStats struct {
	classes [6]atomic.Int64
	faults  atomic.Int64
	fails   atomic.Int64 // answers 5xx that are the slot's own
	in, out atomic.Int64
	streams atomic.Int64 // opened
	refused atomic.Int64 // requests that waited because of it
	ended   atomic.Int64 // of those, because they were asked to
	cut     atomic.Int64 // of those, because they did not end when asked
	latency histogram
	open    ages // of those that are no streams

	mu     sync.Mutex
	causes map[cause]int64
}

// observe counts a request that has ended. It does not allocate unless the
// request has a cause that is new.
func (s *slotStats) observe(o outcome) {
	class := o.status / 100
	if class < 1 || class > 5 {
		class = 0
	}
	s.classes[class].Add(1)
	s.in.Add(o.in)
	s.out.Add(o.out)
	if !o.stream {
		s.latency.observe(o.latency)
	}
	if o.cause != "" {
		s.countCause(o.cause)
	} else if class == 5 {
		s.fails.Add(1)
	}
}

func (s *slotStats) countCause(c cause) {
	if c.ofSlot() {
		s.faults.Add(1)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.causes == nil {
		s.causes = map[cause]int64{}
	}
	s.causes[c]++
}

// SlotStats says what a slot did since the proxy began to know it. Counters
// only grow, so that the difference of two snapshots is what happened between
// them.
type SlotStats struct {
	// InFlight are the claims that are open now, Streams those of them that are
	// streams, and Draining those on targets that were retired.
	InFlight, Streams, Draining int64

	// Requests counts those that ended, by the class of their status: index 2 is
	// 2xx. Index 0 are those that ended without an answer.
	Requests [6]int64
	// Causes counts the requests that did not end well by the word for why.
	Causes map[string]int64
	// Faults are those of them that the slot is to blame for. What a client did
	// wrong is never among them.
	Faults int64
	// Errors are the slot's own answers 5xx together with its Faults.
	Errors int64
	// Unreached counts the requests that waited because the slot took no
	// connections, but for those that waited in vain, which are among its Faults. It
	// is a fault of the slot's that no client saw.
	Unreached int64
	// BytesIn and BytesOut are body bytes from and to clients.
	BytesIn, BytesOut int64
	// StreamsOpened counts upgrades and event streams; StreamsEnded and StreamsCut
	// those of them that were ended since their slot was left or stopped.
	StreamsOpened, StreamsEnded, StreamsCut int64
	// Latency holds how long the requests took that were not streams, Open for how
	// long those have been open at least that are so now, in whole seconds.
	Latency, Open Histogram
}

func (s *slotStats) snapshot() SlotStats {
	out := SlotStats{
		Faults: s.faults.Load(), BytesIn: s.in.Load(), BytesOut: s.out.Load(),
		StreamsOpened: s.streams.Load(), StreamsEnded: s.ended.Load(), StreamsCut: s.cut.Load(),
		Latency: s.latency.snapshot(), Open: s.open.snapshot(time.Now()), Causes: map[string]int64{},
	}
	out.Errors = s.fails.Load() + out.Faults
	for i := range s.classes {
		out.Requests[i] = s.classes[i].Load()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for c, n := range s.causes {
		out.Causes[string(c)] = n
	}
	out.Unreached = max(0, s.refused.Load()-s.causes[causeDown])
	return out
}

// Total is the number of requests that ended.
func (s SlotStats) Total() int64 {
	var sum int64
	for _, n := range s.Requests {
		sum += n
	}
	return sum
}

// Judged is the number of requests that ended and say something about the slot:
// all but those that a client or we ourselves spoiled.
func (s SlotStats) Judged() int64 {
	n := s.Total()
	for name, spoiled := range s.Causes {
		if !cause(name).ofSlot() {
			n -= spoiled
		}
	}
	return max(n, 0)
}

// Stats returns what is known of every slot, by service and slot. Claims and
// counters are read one after the other, so they may differ by what happens
// meanwhile.
func (p *Proxy) Stats() map[string]map[string]SlotStats {
	p.mu.Lock()
	stats, draining, t := maps.Clone(p.stats), p.dropDrained(), p.table.Load()
	p.mu.Unlock()
	all := map[string]map[string]SlotStats{}
	for name, r := range t.routes {
		all[name] = map[string]SlotStats{}
		for slot := range r.service.Slots {
			all[name][slot] = SlotStats{Causes: map[string]int64{}}
		}
	}
	for key, s := range stats {
		all[key.service][key.slot] = s.snapshot()
	}
	for _, r := range t.routes {
		addClaims(all, r.target, false)
	}
	for _, target := range draining {
		addClaims(all, target, true)
	}
	return all
}

// addClaims adds a target's open claims to its slot. The slot may be gone from
// the table and still drain.
func addClaims(all map[string]map[string]SlotStats, t *target, retired bool) {
	if all[t.Service] == nil {
		all[t.Service] = map[string]SlotStats{}
	}
	s := all[t.Service][t.Slot]
	requests, streams := t.open()
	s.InFlight += requests + streams
	s.Streams += streams
	if retired {
		s.Draining += requests + streams
	}
	all[t.Service][t.Slot] = s
}

// Queued returns how many requests of a service wait for one of those under way
// to end; see [Service.MaxRequests].
func (p *Proxy) Queued(service string) int64 {
	if r := p.table.Load().routes[service]; r != nil && r.target.inFlight != nil {
		return r.target.inFlight.waiting.Load()
	}
	return 0
}

// Waiting returns how many requests of a service wait, in its hold or because its
// slot takes no connections.
func (p *Proxy) Waiting(service string) (n int64) {
	r := p.table.Load().routes[service]
	if r == nil {
		return 0
	}
	if r.hold != nil {
		n = r.hold.waiting.Load()
	}
	o, _ := r.target.room.state()
	return n + o.Waiting
}

// Outage returns since when a service's active slot takes no connections, if that
// is so as far as requests have found.
func (p *Proxy) Outage(service string) (Outage, bool) {
	r := p.table.Load().routes[service]
	if r == nil {
		return Outage{}, false
	}
	return r.target.room.state()
}

// Went says that a slot whose stop was announced has gone, as others have found.
func (p *Proxy) Went(service, slot string) {
	if r := p.table.Load().routes[service]; r != nil && r.target.Slot == slot {
		r.target.room.went()
	}
}

// Reached says that somebody else has found a slot to take connections: what
// waits for it need not find out.
func (p *Proxy) Reached(service, slot string) {
	if r := p.table.Load().routes[service]; r != nil && r.target.Slot == slot {
		r.target.room.open()
	}
}
