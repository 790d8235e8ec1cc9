package proxy

import (
	"context"
	"slices"
	"time"
)

// StreamCount says what became of streams that were ended.
type StreamCount struct {
	// Ended are those that ended where that costs nothing, Cut those that did not
	// come to such a place in time, and Left those that are still open.
	Ended, Cut, Left int64
}

// EndStreams ends the streams that a slot has, event streams between two events
// and WebSockets with a Close, and returns when none is left or ctx has ended. It
// asks them one by one, spread over the service's StreamSpread, and cuts those
// that have not ended a StreamBound later. On the targets that were retired there
// may come more, from claims of before, which end too. On the active one, only
// those that are open now are ended.
func (p *Proxy) EndStreams(ctx context.Context, service, slot string) StreamCount {
	targets, active, times := p.targetsOf(service, slot)
	var present map[stream]bool
	if active != nil {
		present = map[stream]bool{}
		for _, s := range active.opened.list() {
			present[s] = true
		}
	}
	open := func() []stream {
		all := openStreams(targets)
		if active == nil {
			return all
		}
		later := func(s stream) bool { return !present[s] }
		return append(all, slices.DeleteFunc(active.opened.list(), later)...)
	}
	ended, cut := streamEnding{spread: times.spread, bound: times.bound, open: open}.run(ctx)
	count := StreamCount{Ended: int64(ended), Cut: int64(cut), Left: int64(len(open()))}
	p.countStreams(service, slot, count)
	return count
}

// countStreams adds to the slot's statistics, which may be gone by now.
func (p *Proxy) countStreams(service, slot string, c StreamCount) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if stats := p.stats[slotKey{service, slot}]; stats != nil {
		stats.ended.Add(c.Ended)
		stats.cut.Add(c.Cut)
	}
}

// endingTimes are those of a service.
type endingTimes struct{ spread, bound time.Duration }

// targetsOf are a slot's targets that were retired and may have claims, the one
// that is active, if it is, and the times of the service. The streams of one that
// is gone are not waited for long.
func (p *Proxy) targetsOf(service, slot string) (retired []*target, active *target, times endingTimes) {
	p.mu.Lock()
	defer p.mu.Unlock()
	retired = slices.DeleteFunc(p.dropDrained(), func(t *target) bool { return t.Service != service || t.Slot != slot })
	r := p.table.Load().routes[service]
	if r == nil {
		return retired, nil, endingTimes{time.Second, time.Second}
	}
	if r.target.Slot == slot {
		active = r.target
	}
	return retired, active, endingTimes{r.service.StreamSpread, r.service.StreamBound}
}

func openStreams(targets []*target) (all []stream) {
	for _, t := range targets {
		all = append(all, t.opened.list()...)
	}
	return all
}
