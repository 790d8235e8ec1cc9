package deploy

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// UnitView is what a unit's files say of where it runs and what. All of it is
// empty where systemd does not say.
type UnitView struct {
	Directory, Root string
	Commands        []string // each with its arguments
	Environment     []string // NAME=value
	// Outdated says that systemd has read older files than there are.
	Outdated bool
}

// checkUnit refuses a unit that would not run the release: it would be healthy,
// and go on with the files of before. What goes back to the links as they are
// is not kept from it.
func (d *deploy) checkUnit(ctx context.Context, at SlotConfig) error {
	err := d.wouldRun(ctx, at)
	if err == nil || !d.keepsLinks() || ctx.Err() != nil {
		return err
	}
	if errors.Is(err, errOutdated) {
		d.warn("preflight", err)
	}
	return nil
}

var (
	errElsewhere = errors.New("a deploy would not change what it runs")
	errOutdated  = errors.New("systemd would start what they said before")
)

// wouldRun says why a start of the slot's unit is none of what its link leads to.
func (d *deploy) wouldRun(ctx context.Context, at SlotConfig) error {
	u, err := d.opts.Units.Files(ctx, at.Unit)
	switch {
	case err != nil:
		return err
	case u.Outdated:
		return hint(fmt.Errorf("the files of %s have changed: %w", at.Unit, errOutdated), "sudo systemctl daemon-reload")
	case u.RunsIn(at.Link):
		return nil
	case u.Directory == "":
		err = fmt.Errorf("%s has no WorkingDirectory, and what it starts is not in its slot's link %s: %w", at.Unit, at.Link, errElsewhere)
	default:
		err = fmt.Errorf("%s runs in %s, not in its slot's link %s: %w", at.Unit, u.Directory, at.Link, errElsewhere)
	}
	return hint(err, MoveUnit(at.Unit, at.Link))
}

// MoveUnit is the command that has a unit run in its slot's link. It works
// without an editor, and with a systemd that has no systemctl edit --stdin.
func MoveUnit(unit, link string) string {
	dir := "/etc/systemd/system/" + unit + ".d"
	return fmt.Sprintf(`sudo mkdir -p %[1]s && printf '[Service]\nWorkingDirectory=%%s\n' %[2]s | sudo tee %[1]s/release.conf && sudo systemctl daemon-reload`, dir, link)
}

// LinkInPlaceOf is the command that puts a link where a directory is, to that
// directory, so that whatever runs in it comes up again.
func LinkInPlaceOf(dir string) string {
	return fmt.Sprintf("sudo mv %[1]s %[1]s.before && sudo ln -s %[1]s.before %[1]s", dir)
}

// RunsIn says that the unit runs in the link or names it, or that nobody knows.
func (u UnitView) RunsIn(link string) bool {
	for _, dir := range []string{u.Directory, u.Root} {
		if dir != "" && (within(link, dir) || leadsInto(link, dir)) {
			return true
		}
	}
	named := func(text string) bool { return mentions(text, link) }
	if slices.ContainsFunc(u.Commands, named) || slices.ContainsFunc(u.Environment, named) {
		return true
	}
	return u.Directory == "" && len(u.Commands) == 0
}

// within says that path is dir or below it.
func within(dir, path string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rel)
}

// leadsInto says that dir is a link to the slot's link, by another name.
func leadsInto(link, dir string) bool {
	to, err := os.Readlink(dir)
	if err == nil && !filepath.IsAbs(to) {
		to = filepath.Join(filepath.Dir(dir), to)
	}
	return err == nil && within(link, to)
}

// mentions says that the path stands in the text, and not as the beginning of
// another name.
func mentions(text, path string) bool {
	for {
		_, after, found := strings.Cut(text, path)
		if !found {
			return false
		}
		if after == "" || !strings.ContainsAny(after[:1], "-._0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") {
			return true
		}
		text = after
	}
}
