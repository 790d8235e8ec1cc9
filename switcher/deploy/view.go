package deploy

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// errMoving: what the daemon says of the traffic may be over by the time it is
// acted upon. Such is a switch whose command left while its intent was saved.
var errMoving = errors.New("an operation of the daemon has not ended")

// view asks where traffic is; a daemon that was ended may take a moment to be
// back, and an operation to end.
func (d *deploy) view(ctx context.Context) (View, error) {
	bound := d.opts.Regain
	if bound == 0 {
		bound = regainTime
	}
	deadline := time.Now().Add(bound)
	for delay := 20 * time.Millisecond; ; delay = min(2*delay, time.Second) {
		v, err := d.opts.Daemon.View(ctx)
		if err == nil && v.Moving {
			err = errMoving
		}
		if err == nil || time.Now().After(deadline) || ctx.Err() != nil {
			return v, err
		}
		if err := sleep(ctx, delay); err != nil {
			return v, err
		}
	}
}

// sleep waits, at most until ctx ends, and then returns why that was.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// whereabouts is where traffic is, seen from the deploy.
type whereabouts int

const (
	onOld whereabouts = iota
	onNew
)

var errMixed = errors.New("traffic is neither where it was nor where the deploy wanted it")

// whereIs compares the daemon's view with what the deploy found.
func (d *deploy) whereIs(v View) (whereabouts, error) {
	var old, moved []string
	for _, s := range d.services {
		p, ok := d.facts().Places[s.Name]
		if !ok {
			continue
		}
		now, ok := v.Services[s.Name]
		switch {
		case !ok:
			return onOld, fmt.Errorf("the daemon does not know the service %s any more", s.Name)
		case now.Active == p.New:
			moved = append(moved, s.Name+" is on "+string(p.New))
		default:
			old = append(old, s.Name+" is on "+string(p.Old))
		}
	}
	switch {
	case len(moved) == 0:
		return onOld, nil
	case len(old) == 0:
		return onNew, nil
	}
	return onOld, hint(fmt.Errorf("%w: %s", errMixed, strings.Join(append(old, moved...), ", ")),
		"move the services to the same side with charactier-proxyctl switch SLOT --service NAME, then try again")
}
