package main

import (
	"context"
	"fmt"
	"time"

	"charactier-proxy/switcher/control"
)

// progress shows on a terminal what a long operation waits for. Elsewhere it
// is silent.
type progress struct {
	e      *env
	client *control.Client
	start  time.Time
	ticker *time.Ticker
	shown  bool
}

func (e *env) newProgress(c *control.Client) *progress {
	p := &progress{e: e, client: c, start: e.now()}
	if e.errTerminal {
		p.ticker = time.NewTicker(progressEvery)
	}
	return p
}

func (p *progress) tick() <-chan time.Time {
	if p.ticker == nil {
		return nil
	}
	return p.ticker.C
}

// show draws the one line anew.
func (p *progress) show(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, progressEvery/2)
	defer cancel()
	status, err := p.client.Status(ctx)
	if err != nil {
		return
	}
	what := "waiting for requests on the old slot"
	if op := status.Operation; op != nil && p.e.own(op.Actor) {
		what = clean(op.Step)
	}
	fmt.Fprintf(p.e.stderr, "\r\x1b[K%s, %s (Ctrl-C stops)", what, p.e.ago(p.start))
	p.shown = true
}

// clear takes the line away, to make room for another.
func (p *progress) clear() {
	if p.shown {
		fmt.Fprint(p.e.stderr, "\r\x1b[K")
		p.shown = false
	}
}

func (p *progress) stop() {
	p.clear()
	if p.ticker != nil {
		p.ticker.Stop()
	}
}
