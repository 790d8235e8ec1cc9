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
// that have not ended a StreamBound later. Of a slot that is active it ends those
// too that come meanwhile.
func (p *Proxy) EndStreams(ctx context.Context, service, slot string) StreamCount {
	targets, spread, bound := p.targetsOf(service, slot)
	e := streamEnding{spread: spread, bound: bound, open: func() []stream { return openStreams(targets) }}
	ended, cut := e.run(ctx)
	count := StreamCount{Ended: int64(ended), Cut: int64(cut), Left: int64(len(openStreams(targets)))}
	if len(targets) > 0 {
		stats := targets[0].stats // all targets of a slot have the same
		stats.ended.Add(count.Ended)
		stats.cut.Add(count.Cut)
	}
	return count
}

// targetsOf are a slot's targets that may have claims, and the times of its
// service. Those of a service that is gone are not waited for long.
func (p *Proxy) targetsOf(service, slot string) (targets []*target, spread, bound time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	targets = slices.DeleteFunc(p.dropDrained(), func(t *target) bool { return t.Service != service || t.Slot != slot })
	r := p.table.Load().routes[service]
	if r == nil {
		return targets, time.Second, time.Second
	}
	if r.target.Slot == slot {
		targets = append(targets, r.target)
	}
	return targets, r.service.StreamSpread, r.service.StreamBound
}

func openStreams(targets []*target) (all []stream) {
	for _, t := range targets {
		all = append(all, t.opened.list()...)
	}
	return all
}
