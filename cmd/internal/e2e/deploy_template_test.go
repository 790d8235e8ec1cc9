package e2e

import (
	"errors"
	"os"
	"strings"
	"testing"

	"charactier-proxy/switcher"
)

// TestDeploysThroughTheTemplateUnit goes through a slot's life with the template
// that is shipped instead of the two plain units.
func TestDeploysThroughTheTemplateUnit(t *testing.T) {
	p := bootProduction(t, settings{backend: quick, template: true})
	p.users()
	defer p.table.print(t)
	one := p.repo.commit("one", good)
	p.deployed("the first deploy, to an instance", one)
	p.instancesRunTheirLinks()
	two := p.repo.commit("two", good)
	p.deployed("the second, to the other instance", two)
	p.instancesRunTheirLinks()
	p.refuses("exits at its start", 3, trouble{"EXIT_CODE": "3"}, "exit code 3", "stays on", instanceOf(p.active.Other()))
	p.try("rollback, warm", 0, func() *command { c := p.ctl("rollback"); p.moved(one); return c })
	p.withoutItsPort()
	t.Log(p.usersLeave().Summary())

	p.try("a reboot", 0, func() *command {
		p.Reboot()
		p.booted()
		return p.ctl("status")
	})
	three := p.repo.commit("three", good)
	p.deployed("a deploy after the reboot", three)
	p.Run("systemctl", "stop", p.unitOf(p.active.Other()))
	p.try("rollback, cold", 0, func() *command { c := p.ctl("rollback"); p.moved(one); return c })
	p.instancesRunTheirLinks()
	p.ends(switcher.KindRollback, switcher.Done)
	p.plainUnitsRest()
}

// instancesRunTheirLinks checks where the processes are: not where the links
// lead by now.
func (p *production) instancesRunTheirLinks() {
	p.t.Helper()
	for _, slot := range []switcher.Slot{switcher.Blue, switcher.Green} {
		link, err := os.Readlink(p.Path("/srv/charactier/backend/" + string(slot)))
		if errors.Is(err, os.ErrNotExist) {
			continue // nothing was deployed there
		}
		cwd := p.Run("sh", "-c", "readlink /proc/$(systemctl show --property=MainPID --value "+p.unitOf(slot)+")/cwd")
		if err != nil || !strings.HasSuffix(cwd, link) {
			p.t.Errorf("%s runs in %s, and its link leads to %s (%v)", p.unitOf(slot), cwd, link, err)
		}
	}
}

// withoutItsPort takes the file away that tells an instance its port: it must
// not start at all, rather than on whichever port the app thinks of.
func (p *production) withoutItsPort() {
	path := "/etc/charactier/backend-" + string(p.active.Other()) + ".env"
	text := p.Read(path)
	p.Run("rm", path)
	p.refuses("an instance without its port", 3, good, p.unitOf(p.active.Other()), "stays on")
	p.Write(path, text)
}

// plainUnitsRest makes sure that nobody thought of the units that are there for
// those who have no template.
func (p *production) plainUnitsRest() {
	out, err := p.Command(p.t.Context(), "systemctl", "is-active", blueUnit, greenUnit).Output()
	if got := strings.Fields(string(out)); err == nil || len(got) != 2 || got[0] != "inactive" || got[1] != "inactive" {
		p.t.Errorf("the plain units are %q, %v", got, err)
	}
	if out := p.Run("sh", "-c", "systemctl is-enabled "+blueUnit+" "+greenUnit+" || true"); out != "disabled\ndisabled" {
		p.t.Errorf("the plain units are %q", out)
	}
}
