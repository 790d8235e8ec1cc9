package drive

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long after the last request was due answers are waited for.
const patience = 10 * time.Second

// Paced sends requests at a fixed rate over keep-alive connections. A request
// that is due waits for a free connection, and its latency includes the wait.
type Paced struct {
	Addr, Path  string
	Connections int
	Rate        float64 // requests per second of all connections together
	Time        time.Duration
}

// Run sends for the time given and waits for the answers.
func (p Paced) Run(ctx context.Context) (Result, error) {
	ctx, cancel := context.WithTimeout(ctx, p.Time+2*patience)
	defer cancel()
	clients, err := open(ctx, p.Addr, p.Path, p.Connections)
	if err != nil {
		return Result{}, err
	}
	due := make(chan time.Time, p.requests())
	var t tally
	var group sync.WaitGroup
	for _, c := range clients {
		group.Go(func() { serve(ctx, c, due, &t) })
	}
	started := time.Now()
	late := p.dispatch(ctx, due)
	group.Wait()
	result := t.result(time.Since(started))
	result.Late = late
	return result, ctx.Err()
}

func (p Paced) requests() int { return int(p.Rate * p.Time.Seconds()) }

// open opens n connections, at most 64 at once so that no backlog overflows.
func open(ctx context.Context, addr, path string, n int) ([]*client, error) {
	clients := make([]*client, n)
	errs := make([]error, n)
	limit := make(chan struct{}, 64)
	var group sync.WaitGroup
	for i := range clients {
		clients[i] = newClient(addr, path)
		limit <- struct{}{}
		group.Go(func() { errs[i] = clients[i].open(ctx); <-limit })
	}
	group.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, fmt.Errorf("opening a connection: %w", err)
		}
	}
	return clients, nil
}

// serve sends what is due over one connection.
func serve(ctx context.Context, c *client, due <-chan time.Time, t *tally) {
	latencies := make([]time.Duration, 0, cap(due)/8)
	defer func() { t.good(latencies); c.close() }()
	for at := range due {
		err := c.do()
		if err == nil {
			latencies = append(latencies, time.Since(at))
			continue
		}
		t.bad(err)
		c.close()
		if err := c.open(ctx); err != nil {
			t.bad(fmt.Errorf("opening a connection again: %w", err))
			return
		}
	}
}

// dispatch hands out each request when it is due and returns the 99th percentile
// of its own lateness. It never waits for anybody: due holds all requests.
func (p Paced) dispatch(ctx context.Context, due chan<- time.Time) time.Duration {
	defer close(due)
	// The runtime's timers are a millisecond coarse on an otherwise idle machine,
	// which is longer than what is measured; a thread that sleeps by itself is not.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// Refused, the kernel's timers stay 50 µs coarse, and Late shows it.
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	late := make([]time.Duration, 0, cap(due))
	begin := time.Now()
	for i := range cap(due) {
		at := begin.Add(time.Duration(float64(i) / p.Rate * float64(time.Second)))
		sleepUntil(at)
		due <- at
		late = append(late, time.Since(at))
		if ctx.Err() != nil {
			break
		}
	}
	slices.Sort(late)
	return quantile(late, 0.99)
}

// sleepUntil blocks the thread.
func sleepUntil(at time.Time) {
	for {
		left := time.Until(at)
		if left <= 0 {
			return
		}
		ts := unix.NsecToTimespec(int64(left))
		// Interrupted by a signal, it sleeps the rest.
		_ = unix.Nanosleep(&ts, nil)
	}
}
