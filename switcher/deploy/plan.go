package deploy

import (
	"context"
	"fmt"
	"path/filepath"

	"charactier-proxy/switcher"
	"charactier-proxy/switcher/deploy/release"
)

// Planned is what one step would do, as the commands that do the same by hand.
type Planned struct {
	Step  string   `json:"step"`
	Lines []string `json:"lines"`
}

// Plan says what a deploy would do, step by step, and changes nothing: the
// repository is not asked either, so that the revision is still open. It takes
// no lock.
func Plan(ctx context.Context, o Options, r Request) ([]Planned, error) {
	if err := checkRef(o, r.Source.Ref); err != nil {
		return nil, err
	}
	p := &Pipeline{opts: o}
	s := newStory("")
	s.request = r
	d := p.newDeploy(&journal{}, s)
	v, err := d.view(ctx)
	if err != nil {
		return nil, err
	}
	if err := d.findPlaces(v); err != nil {
		return nil, err
	}
	if err := d.each(func(s Service, p *place) error { return d.checkReady(ctx, s, s.Slots[p.New]) }); err != nil {
		return nil, err
	}
	texts := map[string]func() []string{
		"preflight": func() []string { return d.planPreflight(v) },
		"fetch":     d.planFetch,
		"build":     d.planBuild,
		"point":     d.planPoint,
		"start":     d.planned(func(s Service, p place) []string { return []string{"systemctl start " + s.Slots[p.New].Unit} }),
		"gate":      d.planned(planGate),
		"smoke":     d.planned(planSmoke),
		"warm-up":   d.planned(planWarmUp),
		"switch":    d.planSwitch,
		"drain": d.planned(func(s Service, p place) []string {
			return []string{fmt.Sprintf("wait at most %s for the requests on %s of %s", s.DrainTimeout, p.Old, s.Name)}
		}),
		"bake":    d.planBake,
		"confirm": d.planConfirm,
		"enable": d.planned(func(s Service, p place) []string {
			return []string{"systemctl disable " + s.Slots[p.Old].Unit}
		}),
		"retire": d.planned(planRetire),
		"prune": func() []string {
			return []string{fmt.Sprintf("keep %d releases besides those that slots use", o.Keep)}
		},
	}
	var all []Planned
	for _, s := range d.steps() {
		all = append(all, Planned{s.name, d.withHooks(s.name, texts[s.name]())})
	}
	return all, nil
}

// checkRef looks at a reference as far as that goes without the repository.
func checkRef(o Options, ref string) error {
	switch {
	case ref == "":
		return nil
	case o.Repository == "":
		return noRepository()
	}
	return release.CheckRef(ref)
}

// withHooks puts what is configured before and after a step around its lines.
func (d *deploy) withHooks(step string, lines []string) []string {
	var before, after []string
	for _, line := range d.opts.Hooks {
		switch at, command := cutHook(line); at {
		case "before " + step:
			before = append(before, "hook: "+command)
		case "after " + step:
			after = append(after, "hook: "+command)
		}
	}
	return append(append(before, lines...), after...)
}

// planned is a step that does the same for every service.
func (d *deploy) planned(text func(Service, place) []string) func() []string {
	return func() []string {
		var lines []string
		for _, s := range d.services {
			lines = append(lines, text(s, d.facts().Places[s.Name])...)
		}
		return lines
	}
}

func (d *deploy) planPreflight(v View) []string {
	lines := d.planned(func(s Service, p place) []string {
		at := s.Slots[p.New]
		slot := v.Services[s.Name].Slots[p.New]
		text := fmt.Sprintf("%s is on %s; %s is next: %s, %s", s.Name, p.Old, p.New, at.Address, at.Unit)
		if slot.InFlight+slot.Streams > 0 {
			text += fmt.Sprintf("; it still has %d requests and %d streams", slot.InFlight, slot.Streams)
		}
		return []string{text}
	})()
	if free, err := d.opts.Releases.Free(); err == nil {
		lines = append(lines, fmt.Sprintf("%d MiB are free below %s, %d are wanted", free>>20, d.opts.Root, d.opts.MinFree>>20))
	}
	return lines
}

func (d *deploy) planFetch() []string {
	source := d.request().Source
	switch {
	case source.Release != "":
		return []string{"nothing: release " + source.Release + " is kept"}
	case source.Artifact != "":
		return []string{fmt.Sprintf("copy %s to %s", source.Artifact, d.newRelease())}
	case d.request().Kind == switcher.KindRollback:
		return []string{"nothing: the standby slots have their release"}
	}
	return []string{
		fmt.Sprintf("git fetch %s into %s", d.opts.Repository, filepath.Join(d.opts.Root, "mirror.git")),
		fmt.Sprintf("git checkout %s to %s", source.Ref, d.newRelease()),
	}
}

// newRelease stands for the directory whose name is not known yet.
func (d *deploy) newRelease() string { return filepath.Join(d.opts.Root, "releases", "TIME-REVISION") }

func (d *deploy) planBuild() []string {
	source := d.request().Source
	if source.Release != "" || d.request().Kind == switcher.KindRollback {
		return []string{"nothing"}
	}
	lines := d.planned(func(s Service, _ place) []string {
		var lines []string
		for _, name := range s.Shared {
			lines = append(lines, fmt.Sprintf("ln -s %s %s", filepath.Join(d.opts.Root, "shared", s.Name, name), filepath.Join(d.newRelease(), s.Directory, name)))
		}
		if source.Artifact != "" {
			return lines
		}
		lines = append(lines, fmt.Sprintf("in %s, as %s, at most %s, %d MiB of memory, CPU weight %d, I/O weight %d, at most %d tasks:",
			filepath.Join(d.newRelease(), s.Directory), s.User, s.Timeout, s.MemoryMax>>20, s.CPUWeight, s.IOWeight, s.TasksMax))
		for _, command := range s.Commands {
			lines = append(lines, "  "+command)
		}
		return lines
	})()
	return append(lines, "chmod -R a-w "+d.newRelease())
}

func (d *deploy) planPoint() []string {
	return d.planned(func(s Service, p place) []string {
		at := s.Slots[p.New]
		lines := []string{"systemctl stop " + at.Unit}
		switch {
		case d.request().Source.Release != "":
			lines = append(lines, fmt.Sprintf("ln -sfn %s %s", filepath.Join(d.opts.Root, "releases", d.request().Source.Release, s.Directory), at.Link))
		case d.request().Kind != switcher.KindRollback:
			lines = append(lines, fmt.Sprintf("ln -sfn %s %s", filepath.Join(d.newRelease(), s.Directory), at.Link))
		}
		return lines
	})()
}

func planGate(s Service, p place) []string {
	at := s.Slots[p.New]
	lines := []string{fmt.Sprintf("ask %s for its health, at most %d times %s; give up at once if %s exits", at.Address, s.Tries, s.Interval, at.Unit)}
	if s.Identity {
		lines = append(lines, fmt.Sprintf("whoever listens on %s must belong to %s", at.Address, at.Unit))
	}
	if s.ReleaseHeader != "" {
		lines = append(lines, fmt.Sprintf("the answer's %s must name the release", s.ReleaseHeader))
	}
	return lines
}

func planSmoke(s Service, p place) []string {
	var lines []string
	for _, check := range s.Smoke {
		line := fmt.Sprintf("GET http://%s%s must answer %d", s.Slots[p.New].Address, check.Path, check.Status)
		if check.Text != "" {
			line += fmt.Sprintf(" with %q", check.Text)
		}
		lines = append(lines, line)
	}
	return lines
}

func planWarmUp(s Service, p place) []string {
	var lines []string
	for _, path := range s.WarmUp {
		lines = append(lines, fmt.Sprintf("GET http://%s%s", s.Slots[p.New].Address, path))
	}
	return lines
}

func (d *deploy) planSwitch() []string {
	lines := d.planned(func(s Service, p place) []string {
		return []string{"systemctl enable " + s.Slots[p.New].Unit}
	})()
	lines = append(lines, d.planned(func(s Service, p place) []string {
		return []string{fmt.Sprintf("%s: %s -> %s", s.Name, p.Old, p.New)}
	})()...)
	if len(d.services) > 1 {
		lines = append(lines, "in one instant")
	}
	return lines
}

func (d *deploy) planBake() []string {
	switch bake := d.request().Bake; {
	case bake == 0:
		return []string{"nothing"}
	case bake > 0:
		return []string{fmt.Sprintf("compare for %s with what the old slots did; return the traffic if it is worse", bake)}
	}
	return []string{"compare for each service's bake.time with what the old slots did; return the traffic if it is worse"}
}

func (d *deploy) planConfirm() []string {
	if !d.request().Confirm {
		return []string{"nothing"}
	}
	return []string{"ask whether to keep it; return the traffic if not"}
}

func planRetire(s Service, p place) []string {
	unit := s.Slots[p.Old].Unit
	if s.Warm > 0 {
		return []string{fmt.Sprintf("%s goes on for %s, for a warm rollback; then it is stopped", unit, s.Warm)}
	}
	return []string{"systemctl stop " + unit}
}
