package deploy

import (
	"context"
	"fmt"
	"path/filepath"
)

// fetch brings the files of the release.
func (d *deploy) fetch(ctx context.Context) error {
	o := d.facts().Origin
	sealed, err := d.sealed()
	if err != nil || sealed {
		return skipIf(sealed, err)
	}
	if err := d.stopBuilds(ctx); err != nil {
		return err
	}
	return d.opts.Releases.Fetch(ctx, o, o.Release, d.services)
}

// sealed reports whether there is nothing left to be made.
func (d *deploy) sealed() (bool, error) {
	if d.keepsLinks() {
		return true, nil
	}
	return d.opts.Releases.Sealed(d.facts().Origin.Release)
}

// build makes the release of what was fetched.
func (d *deploy) build(ctx context.Context) error {
	o := d.facts().Origin
	sealed, err := d.sealed()
	if err != nil || sealed {
		return skipIf(sealed, err)
	}
	for _, s := range d.services {
		if o.Built {
			s.Commands = nil
		}
		over := d.waiting()
		log := filepath.Join(d.journal.dir, "build-"+s.Name+".log")
		err := d.opts.Releases.Build(ctx, o.Release, s, log, func(line string) { d.line("build", s.Name, line) })
		over()
		if err != nil {
			return fmt.Errorf("building %s: %w", s.Name, err)
		}
	}
	return d.opts.Releases.Seal(ctx, o.Release)
}

// discard removes what is not a release yet. A sealed one stays: it can be
// deployed by name, and prune takes it when its time has come.
func (d *deploy) discard(ctx context.Context) error {
	if err := d.stopBuilds(ctx); err != nil {
		return err
	}
	return d.opts.Releases.Discard(d.facts().Origin.Release)
}

// stopBuilds ends what a command that was killed left running: it would go on to
// write what is removed now.
func (d *deploy) stopBuilds(ctx context.Context) error {
	if !d.resumed {
		return nil
	}
	return d.each(func(s Service, _ *place) error {
		for n := range s.Commands {
			if err := d.stopUnit(ctx, buildUnit(s.Name, n)); err != nil {
				return fmt.Errorf("stopping a build that was left: %w", err)
			}
		}
		return nil
	})
}
