package proxy

import (
	"sync"
	"time"

	"go.uber.org/zap"
)

// faultPause is the least time between two lines about the same fault of the
// same slot.
const faultPause = 10 * time.Second

// faultLog tells the operator of requests that fail at a slot: the first at
// once, then a line with their number at most every faultPause. The access log
// has each of them, but it may be off.
type faultLog struct {
	mu   sync.Mutex
	seen map[faultKey]*faultSeen
}

// faultKey is what is told apart; there are few of them.
type faultKey struct {
	service, slot string
	cause         cause
}

type faultSeen struct {
	told   time.Time
	silent int // since then
}

// note counts a request that failed at its slot, and tells of it if it is time.
func (f *faultLog) note(l *zap.Logger, t *target, c cause, err error, id string) {
	silent, due := f.due(faultKey{t.Service, t.Slot, c}, time.Now())
	if !due {
		return
	}
	l.Warn("a request failed at its slot",
		zap.String("service", t.Service), zap.String("slot", t.Slot), zap.String("target", t.Address),
		zap.String("cause", string(c)), zap.Error(err), zap.String("request_id", id),
		zap.Int("more_since_the_last_line", silent))
}

func (f *faultLog) due(key faultKey, now time.Time) (silent int, due bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	seen := f.seen[key]
	if seen == nil {
		if f.seen == nil {
			f.seen = map[faultKey]*faultSeen{}
		}
		seen = &faultSeen{}
		f.seen[key] = seen
	}
	if !seen.told.IsZero() && now.Sub(seen.told) < faultPause {
		seen.silent++
		return 0, false
	}
	silent = seen.silent
	seen.told, seen.silent = now, 0
	return silent, true
}
