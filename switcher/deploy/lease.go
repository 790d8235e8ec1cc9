package deploy

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"charactier-proxy/switcher"
)

// regainTime is how long a daemon that ended may take to be back.
const regainTime = 30 * time.Second

// keeper keeps a reservation over restarts of the daemon: a lost one is taken
// again when it is needed next.
type keeper struct {
	reserve func(context.Context) (Lease, error)
	regain  time.Duration
	done    chan struct{} // closed with the keeper

	mu    sync.Mutex
	lease Lease
	asked func(by string) // who wants the deploy to stop
	by    string          // kept until somebody listens
	wait  sync.WaitGroup
}

// reserve takes the deploy's reservation.
func (d *deploy) reserve(ctx context.Context) error {
	r := d.request()
	k := &keeper{regain: d.opts.Regain, done: make(chan struct{}), reserve: func(ctx context.Context) (Lease, error) {
		return d.opts.Daemon.Reserve(ctx, r.Kind, r.Services, r.Reason)
	}}
	if k.regain == 0 {
		k.regain = regainTime
	}
	lease, err := k.reserve(ctx)
	if err != nil {
		return err
	}
	k.take(lease)
	d.lease = k
	return nil
}

// noticeTime is how long the daemon may take to notice that a command was killed.
const noticeTime = 2 * time.Second

// reserveSoon takes the reservation of a deploy whose command has ended, as the
// lock shows, although the daemon may still think that it works.
func (d *deploy) reserveSoon(ctx context.Context) error {
	deadline := time.Now().Add(noticeTime)
	for {
		err := d.reserve(ctx)
		if !errors.Is(err, switcher.ErrBusy) || time.Now().After(deadline) {
			return err
		}
		if sleep(ctx, 20*time.Millisecond) != nil {
			return err
		}
	}
}

func (k *keeper) take(l Lease) {
	k.mu.Lock()
	k.lease = l
	k.mu.Unlock()
	k.wait.Go(func() {
		select {
		case by := <-l.Asked():
			k.ask(by)
		case <-l.Lost():
		case <-k.done:
		}
	})
}

func (k *keeper) ask(by string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.by = by
	if k.asked != nil {
		k.asked(by)
	}
}

// onAsk has f told of who wants the deploy to stop, also if that was earlier.
// The function it returns ends that.
func (k *keeper) onAsk(f func(by string)) (stop func()) {
	if k == nil {
		return func() {}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asked = f
	if k.by != "" {
		f(k.by)
	}
	return func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.asked = nil
	}
}

// lost reports whether the daemon does not keep the reservation any more.
func (k *keeper) lost() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	select {
	case <-k.lease.Lost():
		return true
	default:
		return false
	}
}

// held returns a lease that holds, and takes it again where it was lost.
func (k *keeper) held(ctx context.Context) (Lease, error) {
	k.mu.Lock()
	l := k.lease
	k.mu.Unlock()
	if !k.lost() {
		return l, nil
	}
	ctx, cancel := context.WithTimeout(ctx, k.regain)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		fresh, err := k.reserve(ctx)
		if err == nil {
			l.Close()
			k.take(fresh)
			return fresh, nil
		}
		if errors.Is(err, switcher.ErrBusy) {
			return nil, fmt.Errorf("taking the lost reservation again: %w", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("the daemon ended and did not come back within %s: %w", k.regain, err)
		}
	}
}

// with calls do with a lease that holds. One that the daemon does not know any
// more was lost before anybody noticed.
func (k *keeper) with(ctx context.Context, do func(Lease) error) error {
	l, err := k.held(ctx)
	if err != nil {
		return err
	}
	err = do(l)
	if !errors.Is(err, switcher.ErrNoReservation) {
		return err
	}
	l.Close()
	if l, err = k.held(ctx); err != nil {
		return err
	}
	return do(l)
}

// step makes sure of the reservation and tells the daemon where the deploy is.
// That the daemon does not hear it matters to no step.
func (k *keeper) step(ctx context.Context, name string) error {
	return k.with(ctx, func(l Lease) error {
		if err := l.Step(ctx, name, ""); errors.Is(err, switcher.ErrNoReservation) {
			return err
		}
		return nil
	})
}

// tell tells the daemon where the deploy is, if it hears.
func (k *keeper) tell(ctx context.Context, text string) {
	k.mu.Lock()
	l := k.lease
	k.mu.Unlock()
	_ = l.Step(ctx, text, "")
}

func (k *keeper) close() {
	close(k.done)
	k.mu.Lock()
	l := k.lease
	k.mu.Unlock()
	l.Close()
	k.wait.Wait()
}
