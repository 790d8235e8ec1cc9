package main

import (
	"context"
	"time"

	"charactier-proxy/proxy"
)

// lookAtPredecessor is how often is looked whether the predecessor is as far.
const lookAtPredecessor = 20 * time.Millisecond

// stopping has the predecessor send nothing more to a slot that is about to stop.
func (p *predecessor) stopping(at place) {
	if !p.isGone() {
		p.ask(askStopping, order{Service: at.service, Slot: at.slot})
	}
}

// awaitAnswers waits until the predecessor has no request on a slot any more,
// streams apart, or ctx ends. It returns how many it has.
func (p *predecessor) awaitAnswers(ctx context.Context, at place) (left int64) {
	for {
		if left = p.open()[at].OpenRequests; left == 0 || !p.pause(ctx) {
			return left
		}
	}
}

// went says that a slot whose stop was announced has gone.
func (p *predecessor) went(at place) {
	if !p.isGone() {
		p.ask(askWent, order{Service: at.service, Slot: at.slot})
	}
}

// endStreams has the predecessor end the streams that it has on a slot, and waits
// until it has, or ctx ends.
func (p *predecessor) endStreams(ctx context.Context, at place) (c proxy.StreamCount) {
	if p.isGone() {
		return c
	}
	begun, ok := p.ask(askEnd, order{Service: at.service, Slot: at.slot})
	for ok {
		var a reply
		if a, ok = p.ask(askEnded, order{Of: begun.N}); a.Ended != nil {
			return *a.Ended
		}
		if !p.pause(ctx) {
			break
		}
	}
	c.Left = p.open()[at].OpenStreams
	return c
}

// pause waits until it is worth to ask again, and reports false where it is not: the
// predecessor is gone, or ctx has ended.
func (p *predecessor) pause(ctx context.Context) bool {
	select {
	case <-time.After(lookAtPredecessor):
		return true
	case <-p.gone:
	case <-ctx.Done():
	}
	return false
}
