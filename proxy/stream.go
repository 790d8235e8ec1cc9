package proxy

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// stream is a claim that may last for ever, as those see it who want it to end.
type stream interface {
	// ask wants the stream to end at the next place where that costs nothing. It is
	// called again and again until the stream has ended.
	ask(now time.Time)
	// abort ends the stream wherever it is. It may have to be called again too.
	abort()
}

// errStreamCut is the cause with which a stream is cut that did not end in time.
var errStreamCut = errors.New("the stream did not come to a place where it could end")

// streamSet are the streams that are open. The zero value is empty.
type streamSet struct {
	mu   sync.Mutex
	open map[stream]struct{}
}

func (s *streamSet) add(x stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		s.open = map[stream]struct{}{}
	}
	s.open[x] = struct{}{}
}

func (s *streamSet) remove(x stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, x)
}

func (s *streamSet) list() []stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.open))
}

// streamEnding is how streams are ended.
type streamEnding struct {
	// spread is the time over which they are asked, so that their clients do not
	// come back all at once, and bound how long each may take from then on before it
	// is cut.
	spread, bound time.Duration
	// open lists those that are left, and over says whether no other will come; nil
	// means that it does not matter.
	open func() []stream
	over func() bool
}

// lookAtStreams is how often streams that were asked to end are looked after.
const lookAtStreams = 20 * time.Millisecond

// run ends the streams and returns once they are over, or ctx has ended. It
// returns how many ended after they were asked, and how many had to be cut.
func (e streamEnding) run(ctx context.Context) (ended, cut int) {
	begun := time.Now()
	due, wasCut := map[stream]time.Time{}, map[stream]bool{}
	tick := time.NewTicker(lookAtStreams)
	defer tick.Stop()
	for {
		now, open := time.Now(), e.open()
		gone := forgetEnded(due, open, now)
		for _, s := range gone {
			if wasCut[s] {
				cut++
			} else {
				ended++
			}
			delete(wasCut, s)
		}
		if len(open) == 0 && (e.over == nil || e.over()) {
			return ended, cut
		}
		for _, s := range open {
			at, known := due[s]
			if !known {
				at = now.Add(jitter(e.spread - now.Sub(begun)))
				due[s] = at
			}
			switch late := now.Sub(at); {
			case late < 0:
			case late < e.bound:
				s.ask(now)
			default:
				wasCut[s] = true
				s.abort()
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ended, cut
		}
	}
}

// forgetEnded takes those out of due that are not open any more, and returns those
// of them that had been asked.
func forgetEnded(due map[stream]time.Time, open []stream, now time.Time) (gone []stream) {
	if len(due) == 0 {
		return nil
	}
	is := make(map[stream]struct{}, len(open))
	for _, s := range open {
		is[s] = struct{}{}
	}
	for s, at := range due {
		if _, ok := is[s]; ok {
			continue
		}
		if delete(due, s); !now.Before(at) {
			gone = append(gone, s)
		}
	}
	return gone
}

// jitter is some time between zero and the given one.
func jitter(most time.Duration) time.Duration {
	if most <= 0 {
		return 0
	}
	return rand.N(most)
}
