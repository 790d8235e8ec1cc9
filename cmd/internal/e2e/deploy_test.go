package e2e

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"charactier-proxy/switcher"
	"charactier-proxy/switcher/deploy"
)

// These tests deploy as the team will: on a machine with a real systemd, nginx
// and git, from a backend that was built by hand to release after release, while
// users order, read event streams and keep WebSockets open.

// hasty gives a slot up soon.
var hasty = settings{backend: strings.Replace(quick, "tries: 30, interval: 2s", "tries: 40, interval: 100ms", 1)}

// deployed is a deploy that is expected to be done.
func (p *production) deployed(name, revision string, more ...string) *command {
	p.t.Helper()
	return p.try(name, 0, func() *command {
		c := p.ctl(append([]string{"deploy", "--no-bake", "--cut-streams"}, more...)...)
		p.moved(revision)
		return c
	})
}

// refuses is a deploy that leaves everything as it was.
func (p *production) refuses(name string, code int, with trouble, says ...string) *command {
	p.t.Helper()
	p.repo.commit(name, with)
	return p.try(name, code, func() *command {
		return p.ctl("deploy", "--no-bake", "--cut-streams")
	}).wants(code, says...)
}

// ends checks the history's newest record.
func (p *production) ends(kind switcher.Kind, outcome switcher.Outcome) {
	p.t.Helper()
	if r := p.lastRecord(); r.Kind != kind || r.Outcome != outcome {
		p.t.Errorf("the history ends with %s %s (%s), want %s %s", r.Kind, r.Outcome, r.Error, kind, outcome)
	}
}

func TestDeploysThatAreGood(t *testing.T) {
	p := bootProduction(t, settings{backend: quick})
	p.check("before the first deploy")
	p.users()
	defer p.table.print(t)

	p.deployed("the first deploy, from what was built by hand", p.repo.commit("one", good))
	two := p.repo.commit("two", good)
	p.deployed("a second revision", two)
	three := p.repo.commit("three", good)
	p.deployed("a third revision", three)
	p.ends(switcher.KindDeploy, switcher.Done)
	p.try("the same revision again", 0, func() *command { return p.ctl("deploy", "--cut-streams") }).wants(0, "is active already; nothing changed")
	p.ends(switcher.KindDeploy, switcher.Unchanged)
	p.warmRollbacks(two, three)
	p.figures()
	p.deployed("an older revision, named", two, two[:10], "--force")
	p.bakesWell()
	p.coldRollback()
	p.rollbackTo()
	p.artifacts()
	p.dryRun()
	p.hooks()
	p.restarts()
	p.foreigners()

	p.t.Log(p.usersLeave().Summary())
}

// bakesWell deploys with a bake.
func (p *production) bakesWell() {
	revision := p.repo.commit("bakes well", good)
	p.try("a bake that passes", 0, func() *command {
		c := p.ctl("deploy", "--cut-streams", "--json")
		p.moved(revision)
		var r deploy.Result
		c.decode(&r)
		if r.Outcome != switcher.Done || r.Revision != revision || r.OwnTime <= 0 || len(r.Moves) != 1 {
			p.t.Errorf("--json says %+v", r)
		}
		return c
	})
}

// warmRollbacks goes back and forth while both slots run, and tells how long it
// takes from the command's start until the old code answers.
func (p *production) warmRollbacks(old, new string) {
	p.try("rollback, warm", 0, func() *command {
		c := p.ctl("rollback")
		p.moved(old)
		return c
	})
	p.ends(switcher.KindRollback, switcher.Done)
	p.try("rollback of a rollback", 1, func() *command { return p.ctl("rollback") })
	p.try("deploy of what was rolled back from", 1, func() *command {
		return p.ctl("deploy", new, "--no-bake", "--cut-streams")
	}).wants(1, "was returned from before", "--force")
}

func (p *production) coldRollback() {
	p.Run("systemctl", "stop", unitOf(p.active.Other()))
	was := p.standby
	p.try("rollback, cold", 0, func() *command {
		c := p.ctl("rollback", "--reason", "checkout answers 500")
		p.moved(was)
		return c
	})
	p.ends(switcher.KindRollback, switcher.Done)
}

// rollbackTo returns to a release that no slot has any more.
func (p *production) rollbackTo() {
	target := p.repo.commit("to be returned to", good)
	p.deployed("a release to be returned to", target)
	p.deployed("one after it", p.repo.commit("one after it", good))
	p.deployed("and one more", p.repo.commit("and one more", good))
	p.try("rollback --to an older release", 0, func() *command {
		c := p.ctl("rollback", "--to", target[:12])
		p.moved(target)
		return c
	})
	p.try("rollback --to one that is not there", 1, func() *command { return p.ctl("rollback", "--to", "ffffffffffff") })
}

// artifacts are built elsewhere.
func (p *production) artifacts() {
	dir := "/root/artifact"
	p.Run("sh", "-c", "mkdir -p "+dir+" && cp -r /opt/charactier-ai/backend "+dir+" && cd "+dir+"/backend && rm -f release.json && cp -r /opt/sample-app/node_modules . && REVISION=elsewhere-1 node build.js")
	p.try("--artifact, a directory", 0, func() *command {
		c := p.ctl("deploy", "--artifact", dir, "--no-bake", "--cut-streams")
		p.moved("elsewhere-1")
		return c
	})
	p.Run("sh", "-c", "cd "+dir+"/backend && REVISION=elsewhere-2 node build.js && tar -C "+dir+" -czf /root/artifact.tar.gz backend")
	p.try("--artifact, a .tar.gz", 0, func() *command {
		c := p.ctl("deploy", "--artifact", "/root/artifact.tar.gz", "--no-bake", "--cut-streams")
		p.moved("elsewhere-2")
		return c
	})
	p.try("--artifact that is active already", 0, func() *command {
		return p.ctl("deploy", "--artifact", "/root/artifact.tar.gz", "--no-bake", "--cut-streams")
	}).wants(0, "nothing changed")
}

// dryRun changes nothing on disk and in systemd.
func (p *production) dryRun() {
	p.repo.commit("only planned", good)
	before := p.digest()
	p.try("--dry-run", 0, func() *command { return p.ctl("deploy", "--dry-run", "--cut-streams") }).
		wants(0, "nothing was changed", unitOf(p.active.Other()), "node build.js")
	c := p.ctl("deploy", "--dry-run", "--json")
	var plan []struct{ Step string }
	if err := json.Unmarshal([]byte(c.out.String()), &plan); err != nil || len(plan) != len(deploy.StepNames()) {
		p.t.Errorf("--dry-run --json: %v\n%s", err, c.said())
	}
	if after := p.digest(); after != before {
		p.t.Errorf("--dry-run changed something: before\n%s\nafter\n%s", before, after)
	}
}

// digest is all that a deploy may change.
func (p *production) digest() string {
	p.t.Helper()
	sum := sha256.New()
	root := p.Path(deployRoot)
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		target, _ := os.Readlink(path) // of links only
		size := info.Size()
		if e.IsDir() {
			size = 0
		}
		fmt.Fprintln(sum, strings.TrimPrefix(path, root), info.Mode(), size, info.ModTime(), target)
		return nil
	})
	if err != nil {
		p.t.Fatal(err)
	}
	units := p.Run("systemctl", "show", "--property=Id,ActiveState,UnitFileState,InvocationID", blueUnit, greenUnit)
	return fmt.Sprintf("%x\n%s\n%s", sum.Sum(nil), units, p.lastRecord().ID)
}

// hooks that fail before a step end the deploy, those after it warn.
func (p *production) hooks() {
	with := func(hook string) settings { return settings{backend: quick, rest: "  hooks: [\"" + hook + "\"]\n"} }
	p.configure(with("before switch: echo not on fridays; exit 7"))
	p.refuses("a hook before the switch fails", 1, good, "not on fridays", "exit status 7")
	p.ends(switcher.KindDeploy, switcher.Failed)
	p.configure(with("after gate: echo $RELEASE >/run/hooked; exit 7"))
	revision := p.repo.commit("a hook after the gate fails", good)
	p.deployed("a hook after the gate fails", revision).wants(0, "running the hook after gate")
	if got := strings.TrimSpace(p.Read("/run/hooked")); !isOf(got, revision) {
		p.t.Errorf("the hook was told of the release %q", got)
	}
	p.configure(settings{backend: quick})
}

// restarts restarts the live slot's unit, under a hold and without one.
func (p *production) restarts() {
	p.try("systemctl restart of the live slot, held", 0, func() *command {
		began := time.Now()
		p.ctl("hold", "--yes", "--reason", "restart").wants(0)
		p.Run("systemctl", "restart", unitOf(p.active))
		p.answers("127.0.0.1:" + map[switcher.Slot]string{switcher.Blue: "5000", switcher.Green: "5001"}[p.active])
		c := p.ctl("release-hold").wants(0)
		c.took = time.Since(began)
		return c
	})
}

// foreigners may not deploy.
func (p *production) foreigners() {
	p.try("deploy by somebody else than root", 2, func() *command {
		return p.beginAs("nobody", "deploy").await()
	}).wants(2, "it must be run by root", "sudo charactier-proxyctl")
	if got := p.ctl("deploy", "--list").wants(0).said(); strings.Count(got, "\n") < 3 {
		p.t.Errorf("--list says only:\n%s", got)
	}
}

func TestDeploysThatAreBad(t *testing.T) {
	p := bootProduction(t, settings{backend: quick})
	p.users()
	defer p.table.print(t)
	p.deployed("a good one first", p.repo.commit("good", good))
	p.deployed("and one more", p.repo.commit("good too", good))

	p.refuses("the build fails", 1, trouble{"BUILD_FAILS": "cannot find module 'left-pad'"}, "cannot find module 'left-pad'", "stays on")
	p.ends(switcher.KindDeploy, switcher.Failed)
	c := p.refuses("exits at its start", 3, trouble{"EXIT_CODE": "3"}, "cannot reach the database", "exit code 3", "stays on")
	if c.took > 20*time.Second {
		p.t.Errorf("that a slot exits was noticed after %s only", c.took)
	}
	p.ends(switcher.KindDeploy, switcher.Refused)
	p.refuses("its health lies", 3, trouble{"FAIL_SHARE": "1"}, "GET /api/v1/orders: 500 instead of 200")
	p.configure(hasty)
	p.refuses("never healthy", 3, trouble{"HEALTHY": "false"}, "503", "stays on", "logs --slot", "runs again with", "gate| ")
	p.refuses("listens on another port", 3, trouble{"PORT": "5999"}, "not healthy within")
	p.configure(settings{backend: quick})
	p.stranger()
	p.strangerAtTheGate()
	p.streamsOnStandby()
	p.elsewhere()
	p.otherFiles()
	p.missesShared()
	p.deployed("a good one after all that", p.repo.commit("good again", good))
	p.t.Log(p.usersLeave().Summary())
}

// stranger has the standby slot's port.
func (p *production) stranger() {
	standby := p.active.Other()
	port := map[switcher.Slot]string{switcher.Blue: "5000", switcher.Green: "5001"}[standby]
	p.Run("systemctl", "stop", unitOf(standby))
	p.Run("systemd-run", "--quiet", "--unit=stranger", "node", "-e", listenOn(port, "r.end()"))
	p.answers("127.0.0.1:" + port)
	p.refuses("a stranger has the port", 1, good, "is taken by", "node", "end that process")
	p.Run("systemctl", "stop", "stranger")
	p.Run("systemctl", "start", unitOf(standby))
}

// strangerAtTheGate takes the port once preflight has found it free, and answers
// every question well, while the slot's own process listens elsewhere.
func (p *production) strangerAtTheGate() {
	standby := p.active.Other()
	port := map[switcher.Slot]string{switcher.Blue: "5000", switcher.Green: "5001"}[standby]
	p.Write("/run/stranger.js", listenOn(port, "r.end()"))
	s := hasty
	s.rest = "  hooks: [\"before start: systemd-run --quiet --unit=stranger node /run/stranger.js\"]\n"
	p.configure(s)
	p.refuses("a stranger answers in its place", 3, trouble{"PORT": "5999"}, " of stranger.service (/usr/bin/node /run/stranger.js), which does not belong to "+unitOf(standby), "stays on")
	p.Run("systemctl", "stop", "stranger")
	p.configure(settings{backend: quick})
}

// elsewhere has the standby's unit run in another directory than its slot's link,
// until what the refusal says is pasted into a shell.
func (p *production) elsewhere() {
	unit := unitOf(p.active.Other())
	drop := "/etc/systemd/system/" + unit + ".d/10-planted.conf"
	p.Write(drop, "[Service]\nWorkingDirectory=/opt/sample-app\n")
	p.refuses("a unit's files have changed", 1, good, "sudo systemctl daemon-reload")
	p.Run("systemctl", "daemon-reload")
	p.refuses("a unit runs elsewhere", 1, good, "runs in /opt/sample-app, not in its slot's link")
	p.try("a plan says so too", 1, func() *command { return p.ctl("plan") }).wants(1, "runs in /opt/sample-app")
	p.Write(drop, "[Service]\nWorkingDirectory=\n")
	p.Run("systemctl", "daemon-reload")
	c := p.refuses("a unit has no directory", 1, good, "has no WorkingDirectory")
	_, paste, _ := strings.Cut(c.errs.String(), "hint: ")
	paste, _, _ = strings.Cut(paste, "\n")
	p.Run("sh", "-c", strings.ReplaceAll(paste, "sudo ", ""))
	p.deployed("the hint was pasted", p.repo.commit("the hint was pasted", good))
}

// otherFiles has the standby's unit run in its link and start files of another
// directory, by their names or after a change of directory.
func (p *production) otherFiles() {
	unit := unitOf(p.active.Other())
	drop := "/etc/systemd/system/" + unit + ".d/90-planted.conf"
	p.Run("sh", "-c", "mkdir -p /srv/old && cp -r /opt/sample-app/. /srv/old && cd /srv/old && node build.js")
	for what, start := range map[string]string{
		"a unit starts another directory's file": "/usr/bin/node /srv/old/dist/src/index.js",
		"a unit's script goes elsewhere":         "/bin/sh -c 'cd /srv/old && exec node dist/src/index.js'",
	} {
		p.Write(drop, "[Service]\nExecStart=\nExecStart="+start+"\n")
		p.Run("systemctl", "daemon-reload")
		p.refuses(what, 3, good, "answers from /srv/old", "stays on", "systemctl cat "+unit)
	}
	p.Run("rm", drop)
	p.Run("systemctl", "daemon-reload")
}

// missesShared is refused before anything is fetched.
func (p *production) missesShared() {
	path := deployRoot + "/shared/backend/.env"
	p.Run("mv", path, path+".away")
	c := p.refuses("a shared file is missing", 1, good, path, "put the shared file or directory there first")
	if strings.Contains(c.said(), "fetch") {
		p.t.Errorf("it was fetched before that was noticed:\n%s", c.said())
	}
	p.Run("mv", path+".away", path)
}

// streamsOnStandby refuses a deploy that would cut streams.
func (p *production) streamsOnStandby() {
	p.deployed("leaves streams on the old slot", p.repo.commit("leaves streams", good))
	p.try("streams are open on the standby slot", 1, func() *command {
		p.repo.commit("would cut streams", good)
		return p.ctl("deploy", "--no-bake")
	}).wants(1, "still in use", "--cut-streams")
}

// figures measures what has a goal: a deploy's own part, and a warm rollback
// from the command's start until the first answer of the old release.
func (p *production) figures() {
	p.t.Helper()
	p.usersLeave() // nothing is in flight
	var own, back []time.Duration
	for n := range 5 {
		old := p.revision
		revision := p.repo.commit(fmt.Sprint("to be measured ", n), good)
		var r deploy.Result
		p.ctl("deploy", "--no-bake", "--cut-streams", "--json").wants(0).decode(&r)
		own = append(own, r.OwnTime)
		back = append(back, p.timeRollback(old))
		p.moved(revision) // there
		p.moved(old)      // and back
	}
	slices.Sort(own)
	slices.Sort(back)
	p.t.Logf("a deploy's own part: median %s of %v; a warm rollback, from the command to the old release's answer: median %s of %v",
		own[2].Round(time.Millisecond), own, back[2].Round(100*time.Microsecond), back)
	p.users()
}

// timeRollback runs the command within the machine, and asks all the while.
func (p *production) timeRollback(old string) time.Duration {
	p.t.Helper()
	answered := make(chan time.Time, 1)
	ready := make(chan struct{})
	go func() {
		defer close(answered)
		client := &http.Client{Transport: &http.Transport{DialContext: p.Dial}}
		defer client.CloseIdleConnections()
		for first := true; ; first = false {
			resp, err := client.Get("http://" + siteAddr + "/api/v1/echo")
			if err != nil {
				return
			}
			var got struct{ Revision string }
			err = errors.Join(json.NewDecoder(resp.Body).Decode(&got), resp.Body.Close())
			if first {
				close(ready)
			}
			if err != nil || got.Revision == old {
				answered <- time.Now()
				return
			}
		}
	}()
	<-ready
	began := time.Now()
	p.ctl("rollback").wants(0)
	return (<-answered).Sub(began)
}
