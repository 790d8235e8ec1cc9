package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"

	"charactier-proxy/cmd/internal/notify"
	"charactier-proxy/switcher"
	"charactier-proxy/switcher/deploy"
)

// untilSignal returns a context that the first SIGINT, SIGTERM or SIGHUP ends.
// Further ones change nothing: what is undone then must not be left half. A
// terminal that is gone makes no writing to it fatal.
func (e *env) untilSignal(ctx context.Context, w *works) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	// Taken and not looked at, rather than ignored, which hooks and git would
	// inherit.
	pipes := make(chan os.Signal, 1)
	signal.Notify(pipes, syscall.SIGPIPE)
	done := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		for {
			select {
			case s := <-signals:
				w.view.notef("%s: stopping; wait until it says where the traffic is", s)
				cancel(fmt.Errorf("%s", s))
			case <-done:
				return
			}
		}
	})
	return ctx, func() {
		signal.Stop(signals)
		signal.Stop(pipes)
		close(done)
		watch.Wait()
		cancel(nil)
	}
}

// tellOutside tells the webhook how a deploy ended, where one is configured. That
// it cannot be told is no failure of the deploy.
func (w *works) tellOutside(e *env, r deploy.Result, err error) {
	outcome := notify.Success
	switch {
	case err == nil && r.Outcome != switcher.Done, errors.Is(err, deploy.ErrDetached):
		return
	case errors.Is(err, deploy.ErrReturned):
		outcome = notify.Return
	case err != nil:
		outcome = notify.Failure
	}
	d := w.config.Deploy
	if d.Notify == "" || !slices.Contains(d.NotifyOn, string(outcome)) {
		return
	}
	host, _ := os.Hostname() // without one the message says less
	m := notify.Message{
		Outcome: outcome, Deploy: r.ID, Release: r.Release, Revision: r.Revision, Subject: r.Subject,
		Services: w.services, Host: host, By: e.actor().String(), Duration: r.Took, Where: whereNow(r, err),
	}
	if err != nil {
		m.Error = err.Error()
	}
	if err := notify.Send(context.Background(), d.Notify, m); err != nil {
		e.warnf("%v", err)
	}
}

// askPerson waits for a yes or a no, at most until ctx ends. A terminal that is
// gone has said neither. Its reading cannot be ended: where nobody answers it
// lasts as long as the command, which is about to end.
func (e *env) askPerson(ctx context.Context, question string) (yes bool, err error) {
	fmt.Fprintf(e.stderr, "%s [y/N] ", question)
	type answer struct {
		line string
		err  error
	}
	answers := make(chan answer, 1)
	go func() {
		line, err := bufio.NewReader(e.stdin).ReadString('\n')
		answers <- answer{line, err}
	}()
	select {
	case a := <-answers:
		said := strings.ToLower(strings.TrimSpace(a.line))
		return said == "y" || said == "yes", a.err
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
}
