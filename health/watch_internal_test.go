package health

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

var errSick = errors.New("GET /: 503 Service Unavailable")

// slot stands for a probed address within a bubble, where no real socket may
// be touched.
type slot struct {
	took time.Duration // how long a probe takes

	mu      sync.Mutex
	err     error
	probes  []time.Duration // when each began, since start
	start   time.Time
	changes []string // "1.5s unhealthy"
}

func (s *slot) probe(ctx context.Context) error {
	s.mu.Lock()
	s.probes = append(s.probes, time.Since(s.start))
	took, err := s.took, s.err
	s.mu.Unlock()
	select {
	case <-time.After(took):
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *slot) set(err error) { s.mu.Lock(); s.err = err; s.mu.Unlock() }

func (s *slot) changed(st Status) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changes = append(s.changes, fmt.Sprintf("%v %v", st.Since.Sub(s.start), st.State))
}

// at returns the probes that began in [from, to).
func (s *slot) at(from, to time.Duration) []time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	var got []time.Duration
	for _, p := range s.probes {
		if from <= p && p < to {
			got = append(got, p)
		}
	}
	return got
}

// watch runs a watcher of s, with an interval of 2 s and its grid at offset,
// while body runs.
func watch(t *testing.T, s *slot, offset time.Duration, body func(*testing.T, *Watcher)) {
	synctest.Test(t, func(t *testing.T) {
		s.start = time.Now()
		w := NewWatcher(Options{Address: "127.0.0.1:1", OnChange: s.changed})
		w.probe, w.jitter = s.probe, func(interval time.Duration) time.Duration { return interval - offset }
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { w.Watch(ctx) })
		body(t, w)
		stop()
		running.Wait()
	})
}

// until waits for a time since the start, by the bubble's clock, and for all
// that happens then.
func until(s *slot, at time.Duration) {
	<-time.After(at - time.Since(s.start))
	synctest.Wait()
}

const ms = time.Millisecond

func TestWatchProbesAtOnceThenFastThenOnItsInterval(t *testing.T) {
	s := &slot{took: 10 * ms}
	watch(t, s, 300*ms, func(*testing.T, *Watcher) { until(s, 9*time.Second) })
	// 300 ms is on the fast grid and makes the second success.
	want := []time.Duration{0, 300 * ms, 2300 * ms, 4300 * ms, 6300 * ms, 8300 * ms}
	if diff := cmp.Diff(want, s.at(0, time.Hour)); diff != "" {
		t.Errorf("probes (-want +got):\n%s", diff)
	}
	if want := []string{"310ms healthy"}; !slices.Equal(s.changes, want) {
		t.Errorf("changes = %q, want %q", s.changes, want)
	}
}

func TestWatchDoesNotDriftNorOverlapWhenProbesAreSlow(t *testing.T) {
	s := &slot{took: 1900 * ms}
	watch(t, s, 0, func(*testing.T, *Watcher) {
		until(s, 9*time.Second)
		s.mu.Lock()
		s.took = 2100 * ms // misses every second point
		s.mu.Unlock()
		until(s, 20*time.Second)
	})
	want := []time.Duration{0, 2, 4, 6, 8, 10, 14, 18}
	for i := range want {
		want[i] *= time.Second
	}
	if diff := cmp.Diff(want, s.at(0, 20*time.Second)); diff != "" {
		t.Errorf("probes (-want +got):\n%s", diff)
	}
}

func TestWatchProbesFasterWhileUnhealthy(t *testing.T) {
	s := &slot{}
	watch(t, s, 0, func(*testing.T, *Watcher) {
		until(s, 3*time.Second)
		s.set(errSick)
		until(s, 8750*ms) // failures at 4, 6 and 8 s
		s.set(nil)
		until(s, 13*time.Second)
	})
	want := []time.Duration{4000 * ms, 6000 * ms, 8000 * ms, 8500 * ms, 9000 * ms, 9500 * ms, 10000 * ms, 12000 * ms}
	if diff := cmp.Diff(want, s.at(3*time.Second, 13*time.Second)); diff != "" {
		t.Errorf("probes (-want +got):\n%s", diff)
	}
	if want := []string{"500ms healthy", "8s unhealthy", "9.5s healthy"}; !slices.Equal(s.changes, want) {
		t.Errorf("changes = %q, want %q", s.changes, want)
	}
}

func TestFastProbesAreAtLeastAQuarterSecondApartUnlessTheIntervalIsShorter(t *testing.T) {
	for interval, want := range map[time.Duration]time.Duration{
		8 * time.Second: 2 * time.Second,
		2 * time.Second: 500 * ms,
		600 * ms:        250 * ms,
		100 * ms:        100 * ms,
	} {
		w := NewWatcher(Options{Check: Check{Interval: interval}})
		if got := w.pace(); got != want {
			t.Errorf("interval %v: pace %v, want %v", interval, got, want)
		}
	}
}

func TestAConnectThatFailedOtherwiseCountsLikeAProbe(t *testing.T) {
	s := &slot{took: 10 * ms}
	watch(t, s, 0, func(t *testing.T, w *Watcher) {
		until(s, 2500*ms)
		w.Nudge(errors.New("no route to host"))
		if got := w.Status(); got.State != Healthy || got.Failures != 1 {
			t.Errorf("after one connect that proves nothing: %+v", got)
		}
		until(s, 4*time.Second)
	})
}

func TestWhatWeRanOutOfIsShownAndChangesNothing(t *testing.T) {
	for _, out := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM} {
		for _, was := range []error{nil, errSick} {
			t.Run(fmt.Sprintf("%v after %v", out, was), func(t *testing.T) { runOut(t, out, was) })
		}
	}
}

// runOut has a slot whose probes ended with was; then probes and the data path
// run out of something.
func runOut(t *testing.T, out, was error) {
	ours := fmt.Errorf("probing 127.0.0.1:1: %w", out)
	s := &slot{err: was}
	watch(t, s, 0, func(t *testing.T, w *Watcher) {
		until(s, 5100*ms)
		before := w.Status()
		s.set(ours)
		until(s, time.Minute+100*ms)
		for range 10 {
			w.Nudge(ours)
		}
		until(s, time.Minute+200*ms)
		if got := s.at(time.Minute+100*ms, time.Minute+200*ms); len(got) != 0 {
			t.Errorf("nudges had it probed at %v", got)
		}
		if err := w.Await(t.Context()); err != ours {
			t.Errorf("Await = %v, want %v", err, ours)
		}
		got := w.Status()
		if got.Err != ours || !got.Probed.After(before.Probed) {
			t.Errorf("the error is not shown: %+v", got)
		}
		got.Err, got.Probed = before.Err, before.Probed
		if got != before {
			t.Errorf("status = %+v\nbefore   %+v", got, before)
		}
		s.set(nil)
		until(s, 63*time.Second)
		if got := w.Status(); got.State != Healthy || got.Err != nil {
			t.Errorf("status once there is enough again = %+v", got)
		}
	})
}

func TestNudgeMakesUnhealthyAtOnceAndProbesOnce(t *testing.T) {
	s := &slot{took: 10 * ms}
	refused := fmt.Errorf("dial tcp: %w", syscall.ECONNREFUSED)
	watch(t, s, 0, func(t *testing.T, w *Watcher) {
		until(s, 2500*ms)
		for range 100 {
			w.Nudge(refused)
		}
		if got := w.Status(); got.State != Unhealthy || got.Err != refused || got.LastFailure.Err != refused || got.Since.Sub(s.start) != 2500*ms {
			t.Errorf("status after a nudge = %+v", got)
		}
		until(s, 2600*ms)
		if got := s.at(2500*ms, 2600*ms); !slices.Equal(got, []time.Duration{2500 * ms}) {
			t.Errorf("probes after 100 nudges began at %v, want one at 2.5s", got)
		}
		until(s, 4*time.Second)
	})
	if want := []string{"510ms healthy", "2.5s unhealthy", "3.01s healthy"}; !slices.Equal(s.changes, want) {
		t.Errorf("changes = %q, want %q", s.changes, want)
	}
}

func TestNudgesOfAnUnhealthySlotDoNotAddProbes(t *testing.T) {
	s := &slot{err: errSick}
	watch(t, s, 0, func(t *testing.T, w *Watcher) {
		until(s, 4*time.Second)
		for range 100 {
			w.Nudge(errSick)
			until(s, time.Since(s.start)+10*ms)
		}
	})
	want := []time.Duration{4000 * ms, 4500 * ms}
	if diff := cmp.Diff(want, s.at(4*time.Second, 5*time.Second)); diff != "" {
		t.Errorf("probes (-want +got):\n%s", diff)
	}
}

func TestNudgeNeedsNoOneThatWatches(t *testing.T) {
	w := NewWatcher(Options{})
	for range 3 {
		w.Nudge(errSick)
	}
	if got := w.Status().State; got != Unhealthy {
		t.Errorf("state = %v, want unhealthy", got)
	}
}

func TestAwaitProbesRiseTimesWithoutWaiting(t *testing.T) {
	s := &slot{took: 3 * ms}
	watch(t, s, 0, func(t *testing.T, w *Watcher) {
		until(s, 700*ms)
		s.mu.Lock()
		s.probes = nil
		s.mu.Unlock()
		if err := w.Await(t.Context()); err != nil {
			t.Errorf("Await = %v", err)
		}
		if got, want := s.at(0, time.Hour), []time.Duration{700 * ms, 703 * ms}; !slices.Equal(got, want) {
			t.Errorf("probes began at %v, want %v", got, want)
		}
	})
}

func TestAwaitTeachesTheWatcher(t *testing.T) {
	s := &slot{err: errSick}
	watch(t, s, 0, func(t *testing.T, w *Watcher) {
		until(s, 1100*ms)
		s.set(nil)
		if err := w.Await(t.Context()); err != nil {
			t.Errorf("Await = %v", err)
		}
		synctest.Wait()
	})
	if want := []string{"1s unhealthy", "1.1s healthy"}; !slices.Equal(s.changes, want) {
		t.Errorf("changes = %q, want %q", s.changes, want)
	}
}

func TestAwaitEndsWithTheFirstFailure(t *testing.T) {
	s := &slot{}
	watch(t, s, 0, func(t *testing.T, w *Watcher) {
		until(s, 1100*ms)
		s.set(errSick)
		if err := w.Await(t.Context()); err != errSick {
			t.Errorf("Await = %v, want %v", err, errSick)
		}
		if got := w.Status(); got.State != Healthy || got.Failures != 1 || got.Err != errSick {
			t.Errorf("status after one failure = %+v, want healthy still", got)
		}
	})
	if got := s.at(1100*ms, 2*time.Second); len(got) != 1 {
		t.Errorf("%d probes, want 1", len(got))
	}
}

func TestProbesAreCountedWhoeverAskedForThem(t *testing.T) {
	s := &slot{}
	watch(t, s, 0, func(t *testing.T, w *Watcher) {
		until(s, 1100*ms)
		before := w.Status()
		if err := w.Probe(t.Context()); err != nil {
			t.Errorf("Probe = %v", err)
		}
		s.set(errSick)
		if err := w.Probe(t.Context()); err != errSick {
			t.Errorf("Probe = %v, want %v", err, errSick)
		}
		s.set(syscall.EMFILE)
		_ = w.Probe(t.Context())
		w.Nudge(errSick)
		got := w.Status()
		if got.Probes != before.Probes+2 || got.ProbesFailed != before.ProbesFailed+1 {
			t.Errorf("%d probes of which %d failed, after %d of which %d did", got.Probes, got.ProbesFailed, before.Probes, before.ProbesFailed)
		}
	})
}

func TestAwaitEndsWithItsContext(t *testing.T) {
	s := &slot{took: time.Hour}
	watch(t, s, 0, func(t *testing.T, w *Watcher) {
		why := errors.New("aborted")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, why)
		defer cancel()
		if err := w.Await(ctx); !errors.Is(err, why) {
			t.Errorf("Await = %v, want %v", err, why)
		}
		if got := w.Status(); got.State != Unknown || got.Failures != 0 {
			t.Errorf("status after an abort = %+v, want nothing known", got)
		}
	})
}

func TestAnEndingWatchLeavesNoFailureBehind(t *testing.T) {
	s := &slot{}
	var w *Watcher
	watch(t, s, 0, func(_ *testing.T, running *Watcher) {
		w = running
		until(s, 2500*ms)
		s.mu.Lock()
		s.took = time.Hour
		s.mu.Unlock()
		until(s, 4*time.Second+ms)
	})
	if got := w.Status(); got.State != Healthy || got.Err != nil {
		t.Errorf("status after the end = %+v, want healthy", got)
	}
}

func TestStatusRemembersTheLastFailureApart(t *testing.T) {
	s := &slot{err: errSick, took: 5 * ms}
	watch(t, s, 0, func(t *testing.T, w *Watcher) {
		if got := w.Status(); got != (Status{}) {
			t.Errorf("status before the first probe = %+v, want none", got)
		}
		until(s, 10*ms)
		s.set(nil)
		until(s, 5*time.Second)
		got := w.Status()
		if got.State != Healthy || got.Err != nil || got.Took != 5*ms || got.Successes < 2 || got.Failures != 0 {
			t.Errorf("status = %+v", got)
		}
		if got.LastFailure.Err != errSick || got.LastFailure.Time.Sub(s.start) != 5*ms {
			t.Errorf("last failure = %+v, want %v at 5ms", got.LastFailure, errSick)
		}
	})
}

func TestStatesArePrintedAsWords(t *testing.T) {
	got, err := json.Marshal([]State{Unknown, Healthy, Unhealthy})
	if want := `["unknown","healthy","unhealthy"]`; err != nil || string(got) != want {
		t.Errorf("states in JSON = %s, %v; want %s", got, err, want)
	}
}
