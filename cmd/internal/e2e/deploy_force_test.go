package e2e

import (
	"strings"
	"testing"

	"charactier-proxy/switcher"
)

// No command may send traffic to a slot whose unit is stopped, but a switch that
// root insists on.
func TestAForcedRollbackStartsTheSlotThatIsDown(t *testing.T) {
	p := bootProduction(t, settings{backend: quick})
	p.users()
	defer p.table.print(t)
	old := p.repo.commit("old", good)
	p.deployed("a good one first", old)
	p.deployed("and one more", p.repo.commit("new", good))
	p.forcedBack("what was there before")
	p.forcedBack("what was just returned from")

	p.refuses("exits at its start", 3, trouble{"EXIT_CODE": "3"}, "stays on", "systemctl status --full --lines=100 "+unitOf(p.active.Other()))
	p.ctl("deploy", "--list").wants(0, "active: "+string(p.active)+" of backend", "standby: ", "its gate failed at ", "ended with exit code 3")
	p.foreignersLook()
	p.t.Log(p.usersLeave().Summary())
	p.backOnAFullDisk()
	p.endsUnderTraffic()
}

func (p *production) forcedBack(name string) {
	p.t.Helper()
	p.Run("systemctl", "stop", unitOf(p.active.Other()))
	was := p.standby
	p.try("rollback --force to "+name+", stopped", 0, func() *command {
		c := p.ctl("rollback", "--force", "--yes")
		p.moved(was)
		return c
	}).wants(0, "does not run: starting it")
}

// backOnAFullDisk has both slots down and no room for a journal's directory, but
// for the lock of deploys.
func (p *production) backOnAFullDisk() {
	p.t.Helper()
	p.Run("mount", "-t", "tmpfs", "-o", "nr_inodes=2,size=1m", "tmpfs", deployRoot+"/deploys")
	was := p.standby
	p.ctl("deploy", "--force").wants(1, "no space left", "nothing was begun")
	p.Run("systemctl", "stop", unitOf(switcher.Blue), unitOf(switcher.Green))
	p.ctl("rollback", "--force", "--yes").wants(0, "the disk is full: this rollback leaves no journal", "rollback done")
	p.isAnsweredBy(was)
	p.Run("umount", deployRoot+"/deploys")
	p.moved(was)
	p.deployed("with room again", p.repo.commit("newer", good))
}

// endsUnderTraffic has the new slot end right after the switch, while nobody
// watches it: once so that systemd restarts it, and once so that it does not.
func (p *production) endsUnderTraffic() {
	p.t.Helper()
	killed := "systemctl kill --signal=KILL UNIT; until [ $(systemctl show -P NRestarts UNIT) -gt 0 ] && systemctl is-active UNIT; do sleep .1; done"
	p.endsBy(killed, 0, "systemd has restarted UNIT 1 times", "charactier-proxyctl rollback --service backend", "switch| ")
	p.endsBy("systemctl stop UNIT", 1, "traffic is on a slot that does not answer", "charactier-proxyctl rollback --service backend", "backend is on SLOT")
}

func (p *production) endsBy(hook string, code int, says ...string) {
	p.t.Helper()
	standby := p.active.Other()
	here := strings.NewReplacer("UNIT", unitOf(standby), "SLOT", string(standby))
	for i := range says {
		says[i] = here.Replace(says[i])
	}
	p.configure(settings{backend: quick, rest: "  hooks: [\"after switch: " + here.Replace(hook) + "\"]\n"})
	p.repo.commit(hook, good)
	p.ctl("deploy", "--no-bake", "--cut-streams").wants(code, says...)
	p.active = standby
}

// foreignersLook is what somebody may see who has no rights at all.
func (p *production) foreignersLook() {
	before := p.digest()
	p.beginAs("nobody", "deploy", "--list").await().wants(0, " of backend", "is not known")
	p.beginAs("nobody", "plan").await().wants(5, "sudo charactier-proxyctl plan")
	if after := p.digest(); after != before {
		p.t.Errorf("looking changed something: before\n%s\nafter\n%s", before, after)
	}
}
