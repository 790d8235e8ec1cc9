package deploy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"charactier-proxy/switcher"
)

// Found is a deploy that has no end: its command was killed, cut off, left
// while traffic had moved, or could not undo everything.
type Found struct {
	ID      string         `json:"id"`
	Kind    switcher.Kind  `json:"kind"`
	Request Request        `json:"request"`
	By      switcher.Actor `json:"by"`
	Begun   time.Time      `json:"begun"`
	At      string         `json:"at"` // the step it was in
	Release string         `json:"release,omitempty"`
}

// Unfinished looks for one below root. It takes no lock: what it finds may be
// running.
func Unfinished(root string) (*Found, error) {
	s, err := unfinished(Dir(root))
	if s == nil || err != nil {
		return nil, err
	}
	return &Found{
		ID: s.id, Kind: s.request.Kind, Request: s.request, By: s.by, Begun: s.begun, At: s.at(), Release: s.facts.Origin.Release,
	}, nil
}

// ErrNothingUnfinished: there is no deploy to go on with, or to abort.
var ErrNothingUnfinished = errors.New("no deploy is unfinished")

// Resume goes on with the unfinished deploy where it stopped. One that waits to
// be confirmed is confirmed by that.
func (p *Pipeline) Resume(ctx context.Context) (Result, error) {
	return p.again(ctx, func(d *deploy, at whereabouts) (Result, error) {
		if at == onOld && d.story.last["switch"] == phaseDone {
			return d.backward(errors.New("the traffic was returned while nobody watched"))
		}
		if d.story.touched("confirm") {
			d.story.request.Confirm = false
		}
		return d.forward(ctx, d.resumeAt())
	})
}

// Abort undoes the unfinished deploy, and returns the traffic if it has moved.
func (p *Pipeline) Abort(ctx context.Context) (Result, error) {
	return p.again(ctx, func(d *deploy, _ whereabouts) (Result, error) {
		return d.backward(fmt.Errorf("%w by %s", switcher.ErrAborted, p.opts.Actor))
	})
}

// Settle brings the unfinished deploy to the nearer of its two ends: finished
// if traffic has moved, undone if not. It does nothing where there is none, and
// the result is nil then.
func (p *Pipeline) Settle(ctx context.Context) (*Result, error) {
	r, err := p.again(ctx, func(d *deploy, at whereabouts) (Result, error) {
		if at == onNew {
			return d.finishAnyway(ctx)
		}
		r, err := d.backward(errInterrupted)
		if errors.Is(err, errInterrupted) && !errors.Is(err, ErrStuck) {
			err = nil
		}
		return r, err
	})
	if errors.Is(err, ErrNothingUnfinished) {
		return nil, nil
	}
	return &r, err
}

// finishAnyway is forward for whoever wants something else next: a slot that is
// down is no reason to keep a rollback from mending it.
func (d *deploy) finishAnyway(ctx context.Context) (Result, error) {
	r, err := d.forward(ctx, d.resumeAt())
	if errors.Is(err, ErrDown) {
		r.Outcome, err = switcher.Done, nil
	}
	return r, err
}

var errInterrupted = errors.New("its command ended before its time")

// again takes up the unfinished deploy.
func (p *Pipeline) again(ctx context.Context, do func(*deploy, whereabouts) (Result, error)) (Result, error) {
	s, err := unfinished(p.deploys())
	if err != nil {
		return Result{}, err
	}
	if s == nil {
		return Result{}, ErrNothingUnfinished
	}
	j, err := openJournal(p.deploys(), s.id)
	if err != nil {
		return Result{}, err
	}
	d := p.newDeploy(j, *s)
	defer d.close()
	d.resumed, d.earlierHooks = true, maps.Clone(s.hooks)
	if err := d.knowsAll(); err != nil {
		return d.result(switcher.Failed), err
	}
	if err := d.reserveSoon(ctx); err != nil {
		return d.result(switcher.Failed), err
	}
	v, err := d.view(ctx)
	if err != nil {
		return d.result(switcher.Failed), err
	}
	at, err := d.whereIs(v)
	if err != nil {
		return d.result(switcher.Failed), err
	}
	return do(d, at)
}

// knowsAll refuses what the configuration does not have any more: its units and
// links would be left as they are, and forgotten.
func (d *deploy) knowsAll() error {
	for _, name := range d.request().Services {
		if !slices.ContainsFunc(d.services, func(s Service) bool { return s.Name == name }) {
			return hint(fmt.Errorf("%w %q: the unfinished deploy %s is of it too, and the configuration has no such service any more", switcher.ErrUnknownService, name, d.story.id),
				"put services."+name+" back into the configuration until charactier-proxyctl abort has undone the deploy")
		}
	}
	return nil
}

// resumeAt is the step to begin with. What was fetched and not sealed is
// fetched again: nobody knows how far it was. A slot that was started is started
// and proven again: the machine may have been rebooted since.
func (d *deploy) resumeAt() int {
	steps := d.steps()
	index := func(name string) int {
		return slices.IndexFunc(steps, func(s step) bool { return s.name == name })
	}
	n := slices.IndexFunc(steps, func(s step) bool { return d.story.last[s.name] != phaseDone })
	if n < 0 {
		return len(steps)
	}
	switch {
	case n == index("build"):
		return index("fetch")
	case n > index("start") && n <= index("switch"):
		return index("start")
	}
	return n
}
