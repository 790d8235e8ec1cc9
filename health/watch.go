package health

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// minFastInterval bounds how often an address is probed that is not healthy,
// unless its interval is shorter anyway.
const minFastInterval = 250 * time.Millisecond

// Options say what a [Watcher] watches.
type Options struct {
	// Address is "host:port" or "unix:/path".
	Address string
	Check   Check
	// OnChange is told of every change of the state, one call at a time, by the
	// goroutine that runs Watch. Two changes that undo each other before it is
	// called again are not reported. Nil means nobody is told.
	OnChange func(Status)
}

// Status is what a watcher knows.
type Status struct {
	State State
	// Since is when State began; the zero time while nothing is known.
	Since time.Time
	// Probed is when the last probe ended and Took how long it took.
	Probed time.Time
	Took   time.Duration
	// Err is the outcome of the last probe or, if that was later, the failed
	// connect that the data path reported; nil means it succeeded. One that is
	// [Ours] is shown and counts for nothing.
	Err error
	// Successes and Failures count in a row; one of them is zero.
	Successes, Failures int
	// Probes and ProbesFailed count since the watcher began. Probes that failed
	// for a reason that is [Ours] are in neither.
	Probes, ProbesFailed int64
	// LastFailure is kept when probes succeed again.
	LastFailure Failure
}

// Failure is one failed probe or connect; the zero value means there was none.
type Failure struct {
	Time time.Time
	Err  error
}

// Watcher watches one address.
type Watcher struct {
	opts     Options
	check    Check
	probe    func(context.Context) error
	jitter   func(time.Duration) time.Duration
	nudged   chan struct{} // wants a probe at once; holds one
	observed chan struct{} // somebody else than Watch observed something; holds one

	mu      sync.Mutex
	tracker tracker
	status  Status
}

// NewWatcher returns a watcher that knows nothing yet. The check must be valid;
// unset fields get their defaults.
func NewWatcher(o Options) *Watcher {
	check := o.Check.WithDefaults()
	return &Watcher{
		opts:     o,
		check:    check,
		probe:    func(ctx context.Context) error { return check.Probe(ctx, o.Address) },
		jitter:   rand.N[time.Duration],
		nudged:   make(chan struct{}, 1),
		observed: make(chan struct{}, 1),
		tracker:  tracker{rise: check.Rise, fall: check.Fall},
	}
}

// Status returns what is known now.
func (w *Watcher) Status() Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.status
}

// Watch probes until ctx ends: the first time at once, then on a grid of the
// check's interval, or of a quarter of it (at least 250 ms) while the address
// is not healthy. The grid begins at a random offset, so that watchers that
// start together spread out, and does not drift. It must run only once at a
// time.
func (w *Watcher) Watch(ctx context.Context) {
	grid := time.Now().Add(-w.jitter(w.check.Interval))
	reported := w.Status().State
	for due := true; ctx.Err() == nil; {
		if due {
			w.probeOnce(ctx)
		}
		reported = w.report(reported)
		due = w.wait(ctx, grid)
	}
}

// wait returns true when the next probe is due, false when there is only
// something to report, or ctx has ended.
func (w *Watcher) wait(ctx context.Context, grid time.Time) (due bool) {
	timer := time.NewTimer(untilNext(grid, w.pace()))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-w.nudged:
		return true
	case <-w.observed:
		return false
	case <-ctx.Done():
		return false
	}
}

// pace returns the time between two probes in the present state.
func (w *Watcher) pace() time.Duration {
	if w.Status().State == Healthy {
		return w.check.Interval
	}
	return min(w.check.Interval, max(w.check.Interval/4, minFastInterval))
}

// untilNext returns the time until the next point of the grid. Points that
// passed during a slow probe are left out.
func untilNext(grid time.Time, pace time.Duration) time.Duration {
	return pace - time.Since(grid)%pace
}

func (w *Watcher) report(reported State) State {
	status := w.Status()
	if status.State != reported && w.opts.OnChange != nil {
		w.opts.OnChange(status)
	}
	return status.State
}

// probeOnce probes and counts the outcome, unless ctx ended meanwhile: that
// says nothing about the address.
func (w *Watcher) probeOnce(ctx context.Context) error {
	start := time.Now()
	err := w.probe(ctx)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !Ours(err) {
		w.tracker.observe(err)
		w.status.Probes++
		if err != nil {
			w.status.ProbesFailed++
		}
	}
	w.status.Probed, w.status.Took = time.Now(), time.Since(start)
	w.noteLocked(err)
	return err
}

func (w *Watcher) noteLocked(err error) {
	now := time.Now()
	if w.tracker.state != w.status.State {
		w.status.State, w.status.Since = w.tracker.state, now
	}
	w.status.Successes, w.status.Failures = w.tracker.successes, w.tracker.failures
	w.status.Err = err
	if err != nil && !Ours(err) {
		w.status.LastFailure = Failure{now, err}
	}
}

// Nudge tells the watcher that the data path could not connect. A refused
// connect makes the address unhealthy from this instant; any other counts like
// one failed probe. Either way the address is probed at once. One that is [Ours]
// is only shown: a probe would need what we have run out of. It does not block.
// An address that is unhealthy already is probed fast anyway, so further nudges
// cost nothing and change nothing but the error.
func (w *Watcher) Nudge(err error) {
	w.mu.Lock()
	news := w.tracker.state != Unhealthy && !Ours(err)
	switch {
	case Ours(err):
	case Refused(err):
		w.tracker.refuse()
	default:
		w.tracker.observe(err)
	}
	w.noteLocked(err)
	w.mu.Unlock()
	if news {
		signal(w.nudged)
	}
}

// Await returns nil once Rise probes in a row, begun after the call and with
// no wait between them, have succeeded. The first failure ends it with that
// probe's error. What it sees counts for the state too.
func (w *Watcher) Await(ctx context.Context) error {
	defer signal(w.observed)
	for range w.check.Rise {
		if err := w.probeOnce(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Probe probes once, at once. What it sees counts for the state too.
func (w *Watcher) Probe(ctx context.Context) error {
	defer signal(w.observed)
	return w.probeOnce(ctx)
}

// signal leaves a note in a channel that holds one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
