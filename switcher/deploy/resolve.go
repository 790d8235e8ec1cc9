package deploy

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"charactier-proxy/switcher"
)

// resolve finds out which release it will be, and whether it is active already.
func (d *deploy) resolve(ctx context.Context, v View) error {
	if d.facts().Origin.Release == "" {
		origin, err := d.resolveSource(ctx)
		if err != nil {
			return err
		}
		d.facts().Origin = origin
	}
	active := true
	d.facts().BadForced = nil
	err := d.each(func(s Service, p *place) error {
		aim, err := d.opts.Releases.Pointed(s.Slots[p.Old].Link)
		if err != nil {
			return err
		}
		p.OldRelease = aim.Release
		active = active && d.isActive(aim, *p)
		return d.checkBad(*p, v.Services[s.Name].Bad)
	})
	if err != nil {
		return err
	}
	o := d.facts().Origin
	if active && !d.request().Force {
		return d.unchanged(ctx)
	}
	if o.Release == "" {
		d.say("preflight", "", "the standby slots have what was there before the first release")
		return nil
	}
	d.say("preflight", "", "release %s%s", o.Release, parenthesis(o.Subject))
	return nil
}

// unchanged ends a deploy of what is active by the links, and says so if the
// units do not follow them.
func (d *deploy) unchanged(ctx context.Context) error {
	o := &d.facts().Origin
	o.Release = d.facts().Places[d.services[0].Name].OldRelease
	d.say("preflight", "", "revision %s is active already, as release %s; --force deploys it again", short(o.Revision), o.Release)
	for _, s := range d.services {
		at := s.Slots[d.facts().Places[s.Name].Old]
		if at.Unit == "" {
			continue
		}
		if err := d.wouldRun(ctx, at); errors.Is(err, errElsewhere) || errors.Is(err, errOutdated) {
			d.warn("preflight", fmt.Errorf("%s may run something else than release %s: %w", s.Name, o.Release, err))
		}
	}
	return errUnchanged
}

// resolveSource turns what was asked for into a release. A return without a
// release named takes what the standby slots have.
func (d *deploy) resolveSource(ctx context.Context) (Origin, error) {
	source := d.request().Source
	if !d.keepsLinks() {
		return d.opts.Releases.Resolve(ctx, source)
	}
	origin := Origin{Source: source, Built: true}
	err := d.each(func(s Service, p *place) error {
		aim, err := d.opts.Releases.Pointed(s.Slots[p.New].Link)
		if err == nil && aim.Target == "" {
			err = d.checkBefore(ctx, s, s.Slots[p.New])
		}
		p.NewRelease = aim.Release
		if origin.Release == "" {
			origin.Release, origin.Revision = aim.Release, aim.Revision
		}
		return err
	})
	return origin, err
}

// checkBefore lets a return go to what ran before there were releases: a unit
// that does not run in its slot's link.
func (d *deploy) checkBefore(ctx context.Context, s Service, at SlotConfig) error {
	err := d.wouldRun(ctx, at)
	if errors.Is(err, errElsewhere) {
		d.say("preflight", s.Name, "%s runs what was there before the first release", at.Unit)
		return nil
	}
	if err != nil {
		return err
	}
	return hint(fmt.Errorf("%w: %s runs in %s, which leads nowhere", switcher.ErrNothingToRollBack, at.Unit, at.Link),
		hints("charactier-proxyctl deploy --list  # shows the releases, and charactier-proxyctl rollback --to goes to one",
			"for what ran before there were releases lead the link there, then:", "charactier-proxyctl rollback"))
}

func (d *deploy) keepsLinks() bool { return d.request().keepsLinks() }

func (d *deploy) isActive(aim Aim, p place) bool {
	o := d.facts().Origin
	if d.keepsLinks() {
		return aim.Release == p.NewRelease && aim.Release != ""
	}
	if o.Source.Release != "" || d.request().Kind == switcher.KindRollback {
		return aim.Release == o.Release && o.Release != ""
	}
	return aim.Revision != "" && aim.Revision == o.Revision
}

// checkBad refuses what was returned from before. A deploy looks at the
// revision, which would be built anew; a rollback at the release itself, as the
// daemon does: another of its revision may have served well since.
func (d *deploy) checkBad(p place, bad []switcher.BadRelease) error {
	o := d.facts().Origin
	if d.keepsLinks() {
		o.Release = p.NewRelease // each slot has its own
	}
	if o.Release == "" {
		return nil
	}
	back := d.request().Kind == switcher.KindRollback
	for _, b := range bad {
		if b.Release != o.Release && (back || revisionIn(b.Release) != revisionIn(o.Release)) {
			continue
		}
		if d.request().Force {
			d.facts().BadForced = append(d.facts().BadForced, b.Release)
			continue
		}
		name, advice := b.Release, "deploy a revision that mends it, or insist with --force"
		if o.Built && o.Release != name {
			name += ", of the same revision as " + o.Release
		}
		if back {
			advice = hints("charactier-proxyctl deploy --list  # shows the others", fmt.Sprintf("charactier-proxyctl rollback --to %s --force  # goes there anyway", o.Release))
		}
		return hint(fmt.Errorf("%w: %s, at %s%s", ErrBadRelease, name, b.Since.Format("2006-01-02 15:04:05 MST"), parenthesis(b.Reason)), advice)
	}
	return nil
}

// revisionIn is what a release's name says of its revision.
func revisionIn(release string) string {
	_, revision, _ := strings.Cut(release, "-")
	return revision
}

// short is a revision as people write it.
func short(revision string) string { return revision[:min(12, len(revision))] }

func parenthesis(text string) string {
	if text == "" {
		return ""
	}
	return " (" + text + ")"
}
