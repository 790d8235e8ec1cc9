package deploy

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"charactier-proxy/switcher"
)

// Life is what systemd says of a unit's run.
type Life struct {
	Up       bool   `json:"up,omitempty"` // it runs, and does not wait for its next restart
	Run      string `json:"run,omitempty"`
	Restarts uint32 `json:"restarts,omitempty"` // by systemd alone, since it was started
}

// lastLookTime is how long systemd and its journal may take over that.
const lastLookTime = 10 * time.Second

// lastLook finds out before the deploy is called done what became of the new
// slots' units under traffic: without a bake nobody else has looked. The error
// is that of slots that are down.
func (d *deploy) lastLook(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastLookTime)
	defer cancel()
	var down []Service
	for _, s := range d.services {
		p := d.facts().Places[s.Name]
		now, err := d.opts.Units.Life(ctx, s.Slots[p.New].Unit)
		switch {
		case err != nil: // the daemon knows whether the slot answers
		case !now.Up:
			down = append(down, s)
		case p.Proven.Run != "" && now.Restarts > p.Proven.Restarts:
			d.restarted(ctx, s, p, now)
		}
	}
	if len(down) == 0 {
		return nil
	}
	return d.down(ctx, down)
}

// restarted warns of a slot that ended under traffic and is up again.
func (d *deploy) restarted(ctx context.Context, s Service, p place, now Life) {
	unit := s.Slots[p.New].Unit
	err := fmt.Errorf("%s of %s has the traffic and has ended since it was proven: systemd has restarted %s %d times",
		p.New, s.Name, unit, now.Restarts-p.Proven.Restarts)
	d.showOutput("switch", outputError{err, d.opts.Units.Tail(ctx, unit, p.Proven.Run)})
	d.warn("switch", hint(err, d.wayBack([]Service{s})))
}

// down is the failure of a deploy whose slots do not run.
func (d *deploy) down(ctx context.Context, all []Service) error {
	var texts []string
	for _, s := range all {
		p := d.facts().Places[s.Name]
		unit := s.Slots[p.New].Unit
		texts = append(texts, fmt.Sprintf("%s of %s, whose %s has ended since it was proven", p.New, s.Name, unit))
		d.showOutput("switch", outputError{errors.New(unit), d.opts.Units.Tail(ctx, unit, "")})
	}
	err := fmt.Errorf("%w: %s", ErrDown, strings.Join(texts, "; "))
	d.report(Report{Step: "switch", State: StateWarning, Text: err.Error()})
	return hint(err, d.wayBack(all))
}

// wayBack is what to do about slots that do not stand the traffic. What was
// rolled back from is no way back.
func (d *deploy) wayBack(all []Service) string {
	text, units := "charactier-proxyctl rollback", "systemctl status --full --lines=100"
	for _, s := range all {
		text += " --service " + s.Name
		units += " " + s.Slots[d.facts().Places[s.Name].New].Unit
	}
	if d.request().Kind == switcher.KindRollback {
		return units
	}
	return text
}
