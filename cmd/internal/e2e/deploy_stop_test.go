package e2e

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"charactier-proxy/switcher"
	"charactier-proxy/switcher/deploy"
)

// A deploy is stopped at each of its steps, by abort from another process and
// by each signal. Hooks keep it there: before a step, it waits for a file to go.
const pausePath = "/run/pause-deploy-before-"

func pausing() settings {
	var hooks []string
	for _, step := range deploy.StepNames() {
		hooks = append(hooks, fmt.Sprintf("%q", "before "+step+": while test -e "+pausePath+step+"; do sleep 0.02; done"))
	}
	return settings{backend: quick, rest: "  hooks: [" + strings.Join(hooks, ", ") + "]\n"}
}

// paused is a deploy that has come to a step, and stays there until something
// ends the hook.
func (p *production) paused(step string, args ...string) *command {
	p.t.Helper()
	p.Write(pausePath+step, "")
	c := p.begin(append([]string{"deploy", "--cut-streams"}, args...)...)
	c.awaitSays(" " + step + ": doing")
	return c
}

func (p *production) goOn(step string) { p.Run("rm", "-f", pausePath+step) }

func stepIndex(step string) int { return slices.Index(deploy.StepNames(), step) }

// before says what a step comes before: the switch, the time when the deploy
// counts, or its end.
func moves(step string) bool  { return stepIndex(step) > stepIndex("switch") }
func counts(step string) bool { return stepIndex(step) >= stepIndex("enable") }

func TestSoakDeploysThatAreStopped(t *testing.T) {
	p := bootProduction(t, pausing())
	p.users()
	defer p.table.print(t)
	p.deployed("a good one first", p.repo.commit("good", good))
	p.deployed("and one more", p.repo.commit("good too", good))
	ways := []func(step string){
		p.abortAt,
		func(step string) { p.signalAt(step, "SIGINT", syscall.SIGINT, true) },
		p.killAt,
		func(step string) { p.signalAt(step, "SIGHUP", syscall.SIGHUP, false) },
		func(step string) { p.signalAt(step, "SIGTERM", syscall.SIGTERM, true) },
	}
	// All ways at all steps in the long form; in the short one each step has one,
	// another than its neighbours.
	few := int(size(t, "SOAK_STOPS", 1, int64(len(ways))))
	for n, step := range deploy.StepNames() {
		for k := range few {
			ways[(2*n+k)%len(ways)](step)
		}
	}
	p.twoAtOnce()
	p.unconfirmed()
	p.rolledBackWhileUnfinished()
	p.t.Log(p.usersLeave().Summary())
}

// abortAt stops a deploy from another process.
func (p *production) abortAt(step string) {
	p.t.Helper()
	revision := p.repo.commit("abort at "+step, good)
	code := map[bool]int{false: 1, true: 6}[moves(step)]
	if counts(step) {
		code = 0
	}
	c := p.try("abort in "+step, code, func() *command {
		c := p.paused(step, "--no-bake")
		p.ctl("abort").wants(0)
		if counts(step) {
			p.goOn(step)
			p.moved(revision)
		}
		return c.await()
	})
	p.goOn(step)
	if !counts(step) {
		c.wants(code, "aborted", "by root")
	}
}

// signalAt ends the command by a signal, as Ctrl-C or a lost ssh do. After the
// switch the deploy is finished by --resume, or undone by abort.
func (p *production) signalAt(step, name string, sig syscall.Signal, resume bool) {
	p.t.Helper()
	revision := p.repo.commit(name+" in "+step, good)
	stop := func() *command {
		c := p.paused(step, "--no-bake")
		began := time.Now()
		c.signal(sig)
		if counts(step) {
			p.goOn(step)
		}
		c.await()
		c.took = time.Since(began)
		p.goOn(step)
		return c
	}
	switch {
	case !moves(step):
		p.try(name+" in "+step, 1, stop).wants(1, "stopping", "aborted: ")
		return
	case counts(step):
		p.try(name+" in "+step, 0, func() *command { c := stop(); p.moved(revision); return c })
		return
	case resume:
		p.try(name+" in "+step+", then --resume", 0, func() *command {
			stop().wants(130, "deploy --resume")
			c := p.ctl("deploy", "--resume").wants(0)
			p.moved(revision)
			return c
		})
	default:
		p.try(name+" in "+step+", then abort", 0, func() *command {
			stop().wants(130, "deploy --resume")
			return p.ctl("abort").wants(0)
		})
	}
}

// twoAtOnce: the second is refused, and so is a switch.
func (p *production) twoAtOnce() {
	revision := p.repo.commit("two at once", good)
	p.try("two deploys at once", 0, func() *command {
		c := p.paused("gate", "--no-bake")
		p.ctl("deploy").wants(4, "by root")
		p.ctl("switch", "--yes").wants(4, "by root")
		p.ctl("rollback", "--yes").wants(4, "by root")
		p.goOn("gate")
		c.await()
		p.moved(revision)
		return c
	})
}

// unconfirmed leaves the decision to somebody with a terminal.
func (p *production) unconfirmed() {
	revision := p.repo.commit("to be confirmed", good)
	p.try("--confirm without a terminal, then --resume", 0, func() *command {
		p.ctl("deploy", "--cut-streams", "--no-bake", "--confirm").wants(130, "waits to be confirmed", "deploy --resume  # confirms it")
		p.ctl("deploy", "--cut-streams", "--no-bake").wants(130, "waits to be confirmed") // it is nobody's yes
		c := p.ctl("deploy", "--resume").wants(0)
		p.moved(revision)
		return c
	})
	p.repo.commit("not to be confirmed", good)
	p.try("--confirm without a terminal, then abort", 0, func() *command {
		p.ctl("deploy", "--cut-streams", "--no-bake", "--confirm").wants(130)
		return p.ctl("abort").wants(0, "undone")
	})
	p.ends(switcher.KindDeploy, switcher.Returned)
}

// killAt kills the command and resumes.
func (p *production) killAt(step string) {
	p.t.Helper()
	revision := p.repo.commit("killed in "+step, good)
	p.try("SIGKILL in "+step+", then --resume", 0, func() *command {
		c := p.paused(step, "--no-bake")
		c.signal(syscall.SIGKILL)
		c.await()
		p.goOn(step)
		next := p.ctl("deploy", "--resume").wants(0)
		p.moved(revision)
		return next
	})
}

// rolledBackWhileUnfinished is what an operator may do who lost the session
// after the switch. The next deploy clears up.
func (p *production) rolledBackWhileUnfinished() {
	p.repo.commit("left in its bake", good)
	p.try("SIGHUP in bake, rollback, the next deploy", 0, func() *command {
		c := p.paused("bake", "--no-bake")
		c.signal(syscall.SIGHUP)
		c.wants(130)
		p.goOn("bake")
		p.ctl("rollback").wants(0)
		next := p.repo.commit("the next", good)
		after := p.ctl("deploy", "--cut-streams", "--no-bake").wants(0, "found deploy", "it was undone")
		p.moved(next)
		return after
	})
}
