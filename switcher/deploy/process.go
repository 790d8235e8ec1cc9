package deploy

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Process is where a process runs, and with what arguments.
type Process struct {
	Directory string
	Arguments []string
}

// checkProcess refuses a slot that answers with other files than its release's.
// The unit's directory alone does not tell: what it starts may change to another
// one, or name a file of the directory of before. What goes back to the links as
// they are is not kept from it.
func (d *deploy) checkProcess(ctx context.Context, s Service, at SlotConfig) error {
	release, err := filepath.EvalSymlinks(at.Link)
	if err != nil || !s.Identity || d.keepsLinks() {
		return nil
	}
	u, err := d.opts.Units.Files(ctx, at.Unit)
	if err != nil || u.Root != "" { // its paths are not ours
		return err
	}
	processes, err := d.opts.Units.Serving(at.Address)
	if err != nil {
		return fmt.Errorf("looking who listens on %s: %w", at.Address, err)
	}
	aim, err := d.opts.Releases.Pointed(at.Link)
	if err != nil {
		return err
	}
	for _, p := range processes {
		if other := p.elsewhere(u, at.Link, whole(release, aim.Release)); other != "" {
			err := fmt.Errorf("%w: on %s %s answers from %s, not from the release that %s leads to: %w", ErrUnhealthy, at.Address, at.Unit, other, at.Link, errElsewhere)
			return hint(err, fmt.Sprintf("systemctl cat %s  # what ExecStart= runs must not name or enter another directory", at.Unit))
		}
	}
	return nil
}

// whole is the directory of the release that a service's is in: a process may
// run in one of its others.
func whole(service, release string) string {
	before, _, found := strings.Cut(service+"/", "/"+release+"/")
	if release == "" || !found {
		return service
	}
	return before + "/" + release
}

// elsewhere is what the process runs that is not of the release; "" if it seems
// to run that. A unit whose own command or environment names the link is
// believed to know why its process is somewhere else, unless it runs a file there.
func (p Process) elsewhere(u UnitView, link, release string) string {
	named := func(text string) bool { return mentions(text, link) || mentions(text, release) }
	switch {
	case slices.ContainsFunc(p.Arguments, named):
		return ""
	case !within(release, p.Directory):
		trusted := slices.ContainsFunc(u.Commands, named) || slices.ContainsFunc(u.Environment, named)
		if trusted && !slices.ContainsFunc(p.Arguments, p.has) {
			return ""
		}
		return p.Directory
	case slices.ContainsFunc(p.Arguments, p.has):
		return ""
	}
	if i := slices.IndexFunc(p.Arguments, p.twin); i >= 0 {
		return p.Arguments[i]
	}
	return ""
}

// has says that the argument is a file of the directory that the process is in.
func (p Process) has(arg string) bool {
	return filepath.IsLocal(arg) && isFile(filepath.Join(p.Directory, arg))
}

// twin says that the argument is a file elsewhere by the name of one here, such
// as /home/ops/app/dist/index.js where there is a dist/index.js.
func (p Process) twin(arg string) bool {
	if !filepath.IsAbs(arg) || within("/usr", arg) || within("/etc", arg) || !isFile(arg) {
		return false
	}
	for rest := arg; rest != ""; _, rest, _ = strings.Cut(rest, "/") {
		own, err := filepath.EvalSymlinks(filepath.Join(p.Directory, rest))
		if err == nil && within(p.Directory, own) && isFile(own) {
			same, err := filepath.EvalSymlinks(arg)
			return err != nil || same != own
		}
	}
	return false
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.IsDir()
}
