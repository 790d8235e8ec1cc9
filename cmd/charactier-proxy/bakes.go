package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"go.uber.org/zap"

	"charactier-proxy/proxy"
	"charactier-proxy/switcher"
	"charactier-proxy/switcher/bake"
)

const (
	// lookEvery is how often the bakes are looked at.
	lookEvery = 250 * time.Millisecond
	// returnWait is how long the old slot may take to prove healthy when the
	// traffic is to go back: one probe that goes astray must not keep it out.
	returnWait = 2 * time.Second
	// refusedTooLong is for how long a slot that bakes may take no connections.
	refusedTooLong = 3 * time.Second
	// noteEvery is how often at most is saved what a bake has seen, and noteParts
	// how often in all; what looks worse for the first time is saved at once.
	noteEvery = 5 * time.Second
	noteParts = 100
)

// bakes watches the services that bake and returns the traffic of those that
// fail. Which these are is in the state alone, with what they have seen, so that a
// bake goes on after a restart for what is left of its time.
type bakes struct {
	stats    func() map[string]map[string]proxy.SlotStats
	outage   func(service string) (proxy.Outage, bool)
	switcher *switcher.Switcher
	watches  *watches
	events   *switcher.Broker
	log      *zap.Logger
	actor    switcher.Actor

	probing sync.WaitGroup

	mu      sync.Mutex
	begun   map[place]proxy.SlotStats // a slot's counters right before its swap
	running map[string]*baking        // by service
}

// baking is the bake of one service.
type baking struct {
	id    string
	place place
	judge *bake.Judge
	from  proxy.SlotStats
	// openBefore is what the baseline has open.
	openBefore int64
	probes     int64 // of the watch, when the bake began
	failed     int64 // of them
	since      time.Time
	already    time.Duration // that had passed then
	text       string
	asking     bool // a probe is under way

	noted   time.Time // when it was last saved what it has seen
	seen    switcher.BakeSeen
	suspect bool // it looked worse then
}

// run looks until ctx ends.
func (b *bakes) run(ctx context.Context) {
	defer b.probing.Wait()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			for id, results := range b.look(ctx) {
				b.conclude(ctx, id, results)
			}
			b.note(ctx, b.switcher.NoteBakes, (*baking).due)
		case <-ctx.Done():
			b.look(ctx) // the next daemon draws the conclusions
			b.noteAll(context.WithoutCancel(ctx), b.switcher.NoteBakes)
			return
		}
	}
}

// look brings every bake up to date and returns those that ended, by the ID of
// their switch and by service.
func (b *bakes) look(ctx context.Context) map[string]map[string]switcher.BakeResult {
	services := bakingNow(b.switcher.State())
	b.mu.Lock()
	defer b.mu.Unlock()
	maps.DeleteFunc(b.running, func(name string, r *baking) bool {
		svc, ok := services[name]
		return !ok || svc.Bake.ID != r.id
	})
	if len(services) == 0 {
		return nil
	}
	ended := map[string]map[string]switcher.BakeResult{}
	stats := b.stats()
	for name, svc := range services {
		r := b.runningLocked(name, svc)
		verdict := r.look(stats[name][string(svc.Active)], b.watches)
		if verdict == switcher.Baking && b.refuses(r) {
			verdict = switcher.BakeFailed
		}
		if verdict == switcher.Baking {
			b.fillLocked(ctx, r)
			continue
		}
		if ended[r.id] == nil {
			ended[r.id] = map[string]switcher.BakeResult{}
		}
		result := svc.Bake.BakeResult
		result.Verdict, result.Text = verdict, r.text
		ended[r.id][name] = result
	}
	return ended
}

// refuses reports whether a slot that bakes takes no connections for so long that
// there is nothing left to wait for. Its users wait too, and may be too few to ever
// become the samples that a verdict needs.
func (b *bakes) refuses(r *baking) bool {
	o, lasts := b.outage(r.place.service)
	if !lasts || o.Slot != string(r.place.slot) || o.Waiting == 0 || time.Since(o.Since) < refusedTooLong {
		return false
	}
	r.text = fmt.Sprintf("%s takes no connections for %s, and requests wait: %v", o.Slot, rounded(time.Since(o.Since)), o.Err)
	return true
}

// saveSeen saves what the bakes of one switch have seen, by service.
type saveSeen func(ctx context.Context, id string, seen map[string]switcher.BakeSeen) error

// note saves what the bakes have seen whose turn it is. Where an operation runs it
// is put off until the next look; where another process took over it is that one's.
func (b *bakes) note(ctx context.Context, save saveSeen, due func(*baking) bool) {
	for id, seen := range b.unsaved(due) {
		err := save(ctx, id, seen)
		if errors.Is(err, switcher.ErrBusy) || errors.Is(err, switcher.ErrAborted) {
			continue
		}
		if err != nil && ctx.Err() == nil {
			b.log.Warn("saving what a bake has seen: a restart may forget it", zap.String("op", id), zap.Error(err))
		}
		b.noted(id, seen)
	}
}

// noteAll saves what all bakes have seen.
func (b *bakes) noteAll(ctx context.Context, save saveSeen) {
	b.note(ctx, save, func(*baking) bool { return true })
}

// unsaved is what bakes have seen, by the ID of their switch and by service.
func (b *bakes) unsaved(due func(*baking) bool) map[string]map[string]switcher.BakeSeen {
	b.mu.Lock()
	defer b.mu.Unlock()
	unsaved := map[string]map[string]switcher.BakeSeen{}
	for name, r := range b.running {
		if r.judge.Seen() == r.seen || !due(r) {
			continue
		}
		if unsaved[r.id] == nil {
			unsaved[r.id] = map[string]switcher.BakeSeen{}
		}
		unsaved[r.id][name] = r.judge.Seen()
	}
	return unsaved
}

func (b *bakes) noted(id string, seen map[string]switcher.BakeSeen) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for name, saw := range seen {
		if r := b.running[name]; r != nil && r.id == id {
			r.noted, r.seen, r.suspect = time.Now(), saw, r.judge.Suspects()
		}
	}
}

// due reports whether it is time to save what was seen.
func (r *baking) due() bool {
	return r.judge.Suspects() && !r.suspect || time.Since(r.noted) >= max(noteEvery, r.judge.Time()/noteParts)
}

// bakingNow are the services whose bake has no verdict yet.
func bakingNow(st switcher.State) map[string]switcher.ServiceState {
	services := map[string]switcher.ServiceState{}
	for name, svc := range st.Services {
		if svc.Bake != nil && svc.Bake.Verdict == switcher.Baking {
			services[name] = svc
		}
	}
	return services
}

// runningLocked is the bake of a service, begun where it is new. After a
// restart there is no mark, and the counters began at zero anyway.
func (b *bakes) runningLocked(name string, svc switcher.ServiceState) *baking {
	if r := b.running[name]; r != nil {
		return r
	}
	p := place{name, svc.Active}
	now, health := time.Now(), b.watches.status(p)
	r := &baking{
		id: svc.Bake.ID, place: p, judge: bake.New(svc.Bake.Plan, svc.Bake.Baseline), from: b.begun[p], openBefore: svc.Bake.Baseline.Open,
		probes: health.Probes, failed: health.ProbesFailed, since: now, already: max(0, now.Sub(svc.Bake.Since)),
		noted: now, seen: svc.Bake.Seen,
	}
	seen := svc.Bake.Seen
	if _, here := b.begun[p]; here {
		seen.Watched = r.already // nobody was away
	}
	r.judge.Resume(r.already, seen)
	b.running[name] = r
	return r
}

func (r *baking) passed() time.Duration { return r.already + time.Since(r.since) }

func (r *baking) look(now proxy.SlotStats, w *watches) switcher.Verdict {
	latency, health := now.Latency.Sub(r.from.Latency), w.status(r.place)
	c := bake.Counts{
		Requests: max(0, attempts(now)-attempts(r.from)),
		Failed:   max(0, failures(now)-failures(r.from)),
		Timed:    int64(latency.Count()),
		P95:      latency.Quantile(0.95),
		// A watch that was replaced meanwhile has counted from zero.
		Probes:       max(0, health.Probes-r.probes),
		ProbesFailed: max(0, health.ProbesFailed-r.failed),
	}
	if above := r.judge.SlowAbove(); above > 0 {
		c.Slow = int64(latency.Above(above))
		r.addOpen(&c, latency, now.Open, above)
	}
	verdict := r.judge.Look(r.passed(), c)
	r.text = r.judge.Text(verdict)
	return verdict
}

// addOpen counts the requests as slow that are open for too long already. What is
// never answered ends only when its client has lost patience, perhaps after the
// bake, and then it is the client who ended it.
func (r *baking) addOpen(c *bake.Counts, latency, open proxy.Histogram, above time.Duration) {
	if n := int64(open.Above(above)) - r.openBefore; n > 0 {
		c.Timed, c.Slow, c.P95 = c.Timed+n, c.Slow+n, latency.With(open, above).Quantile(0.95)
	}
}

// fillLocked probes the slot beside, where users send too little.
func (b *bakes) fillLocked(ctx context.Context, r *baking) {
	watch := b.watches.get(r.place)
	if r.asking || watch == nil || !r.judge.Wanting(r.passed()) {
		return
	}
	r.asking = true
	b.probing.Go(func() {
		// What it says is counted by the watch.
		_ = watch.Probe(ctx)
		b.mu.Lock()
		defer b.mu.Unlock()
		r.asking = false
	})
}

// live is the newest text of a bake that runs, if it is known.
func (b *bakes) live(service string, result switcher.BakeResult) switcher.BakeResult {
	b.mu.Lock()
	defer b.mu.Unlock()
	if r := b.running[service]; r != nil && r.text != "" && result.Verdict == switcher.Baking {
		result.Text = r.text
	}
	return result
}
