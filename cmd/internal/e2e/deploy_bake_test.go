package e2e

import (
	"errors"
	"math"
	"syscall"
	"testing"
	"time"

	"charactier-proxy/cmd/internal/load"
	"charactier-proxy/switcher"
)

// A release that fails only under traffic is returned from by the daemon, with
// the command looking on and without it.
func TestABakeReturnsTheTraffic(t *testing.T) {
	p := bootProduction(t, settings{backend: quick})
	p.users()
	defer p.table.print(t)
	revision := p.repo.commit("good", good)
	p.try("a bake that passes", 0, func() *command {
		c := p.ctl("deploy", "--cut-streams", "--bake", "4s")
		p.moved(revision)
		return c
	}).wants(0, "backend: ")
	p.bakesBadly()
	p.bakesBadlyAlone()
	p.deployed("a good one after all that", p.repo.commit("good again", good))

	r := p.traffic.orders.Report()
	p.t.Log(p.usersLeave().Summary())
	if r.ByKind[load.BadStatus] != r.Failed {
		p.t.Errorf("requests failed in other ways than by the app's own fault:\n%s", r)
	}
}

var failing = trouble{"FAIL_SHARE": "0.2", "FAIL_AFTER": "60"}

// ofTheApp is how many requests may fail by the app's own fault until a bake has
// found it: as many as the machine sends. The end checks that no others did.
const ofTheApp = math.MaxInt64

// bakesBadly deploys what fails only under traffic.
func (p *production) bakesBadly() {
	p.repo.commit("fails under traffic", failing)
	p.tryWith("fails under traffic: the bake returns it", 6, ofTheApp, func() *command {
		return p.ctl("deploy", "--cut-streams", "--bake", "15s")
	}).wants(6, "back on "+string(p.active))
	p.ends(switcher.KindDeploy, switcher.Returned)
	p.try("what the bake returned is refused", 1, func() *command {
		return p.ctl("deploy", "--cut-streams")
	}).wants(1, "was returned from before")
}

// bakesBadlyAlone kills the command as soon as traffic has moved.
func (p *production) bakesBadlyAlone() {
	p.repo.commit("fails under traffic, nobody looks", failing)
	p.tryWith("the same, the command killed after the switch", 0, ofTheApp, func() *command {
		began := time.Now()
		c := p.begin("deploy", "--cut-streams", "--bake", "15s")
		c.awaitSays("traffic moved")
		c.signal(syscall.SIGKILL)
		c.await()
		p.Eventually("the daemon returns the traffic", func() error {
			if p.status().Services[0].Active != p.active {
				return errors.New("not yet")
			}
			return nil
		})
		took := time.Since(began)
		next := p.ctl("abort").wants(0, "undoing deploy")
		next.took = took
		return next
	})
}
