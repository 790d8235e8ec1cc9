package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
	"time"

	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
)

const (
	askTime       = 2 * time.Second // for the questions that a signal raises
	progressEvery = time.Second
)

// await waits for the answer to an operation, and lets a person stop it: the
// first SIGINT or SIGTERM asks the daemon to abort and goes on waiting, the
// second leaves at once. What has swapped already is not undone: then the first
// signal ends the waiting for the drain, and the operation counts as done.
func (e *env) await(ctx context.Context, c *control.Client, kind switcher.Kind,
	call func(context.Context) (switcher.Record, error),
) (switcher.Record, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)

	answers := start(func() (switcher.Record, error) { return call(ctx) })
	progress := e.newProgress(c)
	defer progress.stop()
	var aborts <-chan result
	stopping := false
	for {
		select {
		case a := <-answers:
			return a.record, a.err
		case <-progress.tick():
			progress.show(ctx)
		case <-signals:
			progress.clear()
			if stopping {
				return switcher.Record{}, e.leave()
			}
			stopping = true
			e.notef("stopping; press Ctrl-C again to leave without the answer")
			aborts = start(func() (switcher.Record, error) { return e.abortOwn(ctx, c, kind) })
		case a := <-aborts:
			progress.clear()
			if a.err == nil {
				cancel()
				<-answers
				e.notef("stopped waiting: the traffic has moved; %s status shows what still drains", e.self())
				return a.record, nil
			}
			e.aborting(a.err)
			aborts = nil
		}
	}
}

// result is what an operation came to.
type result struct {
	record switcher.Record
	err    error
}

// start runs do beside; the channel takes its result even if nobody waits.
func start(do func() (switcher.Record, error)) <-chan result {
	done := make(chan result, 1)
	go func() {
		record, err := do()
		done <- result{record, err}
	}()
	return done
}

// errAborting says that the daemon was told to stop the operation.
var errAborting = errors.New("aborting")

// abortOwn stops the operation that this process began, and no other. It
// returns errAborting if the daemon was told to, or the record if the swap is
// over.
func (e *env) abortOwn(ctx context.Context, c *control.Client, kind switcher.Kind) (switcher.Record, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	status, err := c.Status(ctx)
	if err != nil {
		return switcher.Record{}, err
	}
	if op := status.Operation; op != nil && e.own(op.Actor) {
		if _, err = c.Abort(ctx, control.AbortRequest{ID: op.ID}); err == nil {
			return switcher.Record{}, errAborting
		}
		if !errors.Is(err, switcher.ErrNothingToAbort) {
			return switcher.Record{}, err
		}
		if status, err = c.Status(ctx); err != nil {
			return switcher.Record{}, err
		}
	}
	if last := status.Last; last != nil && e.own(last.Actor) && last.Kind == kind && last.Outcome == switcher.Done {
		return *last, nil
	}
	return switcher.Record{}, switcher.ErrNothingToAbort
}

func (e *env) own(a switcher.Actor) bool { return int(a.PID) == e.pid && int(a.UID) == e.uid }

// aborting tells what came of the first signal, unless the answer will.
func (e *env) aborting(err error) {
	switch {
	case errors.Is(err, errAborting):
	case errors.Is(err, switcher.ErrNothingToAbort):
		e.notef("too late to abort; waiting for the answer")
	default:
		e.notef("asking to abort: %s; waiting for the answer", clean(err.Error()))
	}
}

// leave is the second signal.
func (e *env) leave() error {
	e.notef("left without the answer")
	e.hintf("%s history -n 1 shows how it ended", e.self())
	return exitError(exitInterrupted)
}
