package deploy

import (
	"context"
	"fmt"

	"charactier-proxy/switcher"
)

// confirm asks a person whether the deploy counts.
func (d *deploy) confirm(ctx context.Context) error {
	if !d.request().Confirm {
		return errSkipped
	}
	if d.opts.Confirm == nil {
		return d.unconfirmed("nobody can be asked here")
	}
	defer d.waiting()()
	yes, err := d.opts.Confirm(ctx, fmt.Sprintf("%s with release %s: keep it?", d.places(), d.facts().Origin.Release))
	switch {
	case ctx.Err() != nil:
		return d.left(ctx)
	case err != nil:
		return d.unconfirmed("nobody answers: " + err.Error())
	case !yes:
		return errUnkept
	}
	return d.stillMoved(ctx)
}

// stillMoved makes sure that a yes is about what has the traffic: a person may
// take hours, and a daemon that restarts meanwhile lets others move it.
func (d *deploy) stillMoved(ctx context.Context) error {
	v, err := d.view(ctx)
	if err != nil {
		return err
	}
	for _, s := range d.services {
		if now := v.Services[s.Name]; now.Active != d.facts().Places[s.Name].New {
			return d.returned(now)
		}
	}
	return nil
}

// unconfirmed leaves the deploy to whoever can answer.
func (d *deploy) unconfirmed(why string) error {
	return hint(fmt.Errorf("%w: it waits to be confirmed, and %s; %s", ErrDetached, why, d.places()),
		hints("charactier-proxyctl deploy --resume  # confirms it", "charactier-proxyctl abort            # returns the traffic"))
}

// errUnkept is a person's no.
var errUnkept = fmt.Errorf("%w: it was not confirmed", switcher.ErrAborted)
