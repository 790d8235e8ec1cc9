package proxy

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// actor is a stream that ends some time after it was asked.
type actor struct {
	set          *streamSet
	delay        time.Duration // negative: never
	asked, ended time.Duration // since begun
	begun        time.Time
	cut          bool
}

func (a *actor) ask(now time.Time) {
	if a.asked == 0 {
		a.asked = max(1, now.Sub(a.begun))
	}
	if took := now.Sub(a.begun) - a.asked; a.delay >= 0 && took >= a.delay {
		a.end(now)
	}
}

func (a *actor) abort() { a.cut = true; a.end(time.Now()) }

func (a *actor) end(now time.Time) {
	a.ended = now.Sub(a.begun)
	a.set.remove(a)
}

// Streams are asked one by one over the spread, each has the whole bound from
// then on, and what comes later is asked too.
func TestStreamsAreAskedToEndSpreadOverATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const spread, bound = 5 * time.Second, 2 * time.Second
		set, begun := &streamSet{}, time.Now()
		var all []*actor
		add := func(delay time.Duration) {
			a := &actor{set: set, delay: delay, begun: begun}
			all = append(all, a)
			set.add(a)
		}
		for range 200 {
			add(0)
		}
		add(time.Second)
		add(-1)
		late := time.AfterFunc(3*time.Second, func() { add(0) })
		defer late.Stop()
		ended, cut := streamEnding{spread: spread, bound: bound, open: set.list}.run(context.Background())
		if ended != len(all)-1 || cut != 1 || len(all) != 203 {
			t.Errorf("of %d streams %d ended and %d were cut", len(all), ended, cut)
		}
		byTenth := make([]int, 10)
		for i, a := range all {
			if a.asked > spread+2*lookAtStreams {
				t.Errorf("stream %d was asked after %v", i, a.asked)
			}
			if took := a.ended - a.asked; a.cut && (took < bound || took > bound+2*lookAtStreams) || a.cut != (a.delay < 0) {
				t.Errorf("stream %d, which takes %v, ended %v after it was asked, cut: %v", i, a.delay, took, a.cut)
			}
			byTenth[min(9, int(a.asked/(spread/10)))]++
		}
		if slices.Min(byTenth) == 0 || slices.Max(byTenth) > 60 {
			t.Errorf("by tenths of the spread: %v", byTenth)
		}
	})
}

func TestWhoEndsStreamsMayLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		set := &streamSet{}
		a := &actor{set: set, begun: time.Now(), delay: -1}
		set.add(a)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		ended, cut := streamEnding{bound: time.Hour, open: set.list}.run(ctx)
		if ended+cut != 0 || a.cut || a.asked == 0 {
			t.Errorf("%d ended, %d cut, asked after %v", ended, cut, a.asked)
		}
	})
}

// With no time at all they are cut at once.
func TestStreamsWithoutABoundAreCutAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		set := &streamSet{}
		set.add(&actor{set: set, begun: time.Now()})
		if ended, cut := (streamEnding{open: set.list}).run(t.Context()); ended != 0 || cut != 1 {
			t.Errorf("%d ended, %d cut", ended, cut)
		}
	})
}
