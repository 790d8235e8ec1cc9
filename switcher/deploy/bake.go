package deploy

import (
	"context"
	"fmt"
	"strings"
	"time"

	"charactier-proxy/switcher"
)

// awaitBake waits for the daemon's verdict on every service.
func (d *deploy) awaitBake(ctx context.Context) error {
	if d.request().Bake == 0 {
		return errSkipped
	}
	defer d.waiting()()
	for {
		v, err := d.view(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return d.left(ctx)
			}
			return err
		}
		running, err := d.verdicts(v)
		if err != nil || !running {
			return err
		}
		if err := sleep(ctx, lookEvery); err != nil {
			return d.left(ctx)
		}
	}
}

// verdicts reads how the bakes stand. The error is that of traffic which was
// returned.
func (d *deploy) verdicts(v View) (running bool, err error) {
	var texts []string
	var kept []error
	var longest, passed time.Duration
	for _, s := range d.services {
		now := v.Services[s.Name]
		if now.Active != d.facts().Places[s.Name].New {
			return false, d.returned(now)
		}
		if now.Bake == nil {
			continue
		}
		texts = append(texts, s.Name+": "+now.Bake.Text)
		switch now.Bake.Verdict {
		case switcher.BakeFailed:
			kept = append(kept, d.notReturned(s, now))
		case switcher.Inconclusive:
			kept = append(kept, d.undecided(s, now))
		case switcher.Baking:
			running = true
			longest = max(longest, now.Bake.Until.Sub(now.Bake.Since))
			passed = max(passed, time.Since(now.Bake.Since))
		}
	}
	d.bake = strings.Join(texts, "; ")
	if running {
		d.report(Report{Step: "bake", State: StateDoing, Text: d.bake, Done: int64(passed), Total: int64(longest)})
		return true, nil
	}
	d.say("bake", "", "%s", d.bake)
	d.bakeFailed = len(kept) > 0
	for _, err := range kept {
		d.warn("bake", err)
	}
	return false, nil
}

// notReturned is for traffic that the daemon wanted to return and could not, for
// the old slot is worse still: undoing the deploy would not help either.
func (d *deploy) notReturned(s Service, now ServiceView) error {
	return hint(fmt.Errorf("the bake of %s failed and the traffic stays on %s, it could not be returned", s.Name, now.Active),
		hints("charactier-proxyctl status  # says why", "charactier-proxyctl rollback --service "+s.Name+"  # once the old slot is mended"))
}

// undecided is for traffic that stays although nothing proved that it may.
func (d *deploy) undecided(s Service, now ServiceView) error {
	return hint(fmt.Errorf("the bake of %s has no verdict and the traffic stays on %s", s.Name, now.Active),
		hints("see how "+s.Name+" does, or return it:", "charactier-proxyctl rollback --service "+s.Name))
}

func (d *deploy) returned(now ServiceView) error {
	d.facts().Returned = true
	text := "somebody moved it back"
	if now.Bake != nil && now.Bake.Returned != "" {
		text = now.Bake.Text
	}
	return fmt.Errorf("%w: %s", ErrUnhealthy, text)
}
