package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"charactier-proxy/switcher"
	"charactier-proxy/switcher/deploy"
)

// killer chooses when something is killed: at a random moment of a deploy, or
// right when its journal says that a step begins or is done.
type killer struct {
	*rand.Rand
	took time.Duration // of a deploy that nobody kills
	at   map[string]int
}

func (p *production) newKiller() *killer {
	seed := rand.Uint64()
	if text := os.Getenv("SOAK_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			p.t.Fatal(err)
		}
	}
	p.t.Logf("repeat with SOAK_SEED=%d", seed)
	p.deployed("a good one first", p.repo.commit("good", good))
	c := p.deployed("and one more", p.repo.commit("good too", good))
	return &killer{rand.New(rand.NewPCG(seed, 0)), c.took, map[string]int{}}
}

// moment waits for one, or for the command's end.
func (k *killer) moment(p *production, c *command) {
	if k.IntN(2) == 0 {
		timer := time.NewTimer(time.Duration(k.Int64N(int64(k.took))))
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-c.done:
		}
		return
	}
	steps := deploy.StepNames()
	phase, step := []string{"doing", "done"}[k.IntN(2)], steps[k.IntN(len(steps))]
	journal := p.newestJournal(c)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !p.journalSays(journal(), phase, step) {
		select {
		case <-tick.C:
		case <-c.done:
			return
		}
	}
}

// newestJournal finds the journal of a deploy that has just begun.
func (p *production) newestJournal(c *command) func() string {
	known, _ := filepath.Glob(p.Path(deployRoot + "/deploys/*/journal.jsonl"))
	found := ""
	return func() string {
		if found == "" {
			all, _ := filepath.Glob(p.Path(deployRoot + "/deploys/*/journal.jsonl"))
			if len(all) > 0 && (len(all) > len(known) || all[len(all)-1] != last(known)) {
				found = all[len(all)-1]
			}
		}
		return found
	}
}

func last(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[len(list)-1]
}

func (p *production) journalSays(path, phase, step string) bool {
	if path == "" {
		return false
	}
	text, _ := os.ReadFile(path) // it may just be made
	for line := range strings.Lines(string(text)) {
		var e struct{ Phase, Step string }
		if json.Unmarshal([]byte(line), &e) == nil && e.Phase == phase && e.Step == step {
			return true
		}
	}
	return false
}

// found is where the unfinished deploy was, for the tally.
func (p *production) found(k *killer) *deploy.Found {
	p.t.Helper()
	f, err := deploy.Unfinished(p.Path(deployRoot))
	if err != nil {
		p.t.Fatal(err)
	}
	at := "not begun, or its end"
	if f != nil {
		at = f.At
	}
	k.at[at]++
	return f
}

func (k *killer) print(t *testing.T, what string) {
	t.Helper()
	var b strings.Builder
	for _, at := range slices.Sorted(maps.Keys(k.at)) {
		fmt.Fprintf(&b, "\n%5d  %s", k.at[at], at)
	}
	t.Logf("%s, the deploy was in:%s", what, b.String())
}

// consistentNow checks, without giving it any time, that the active slot serves,
// and returns whether traffic has moved to the revision.
func (p *production) consistentNow(revision string) (moved bool) {
	p.t.Helper()
	active := p.status().Services[0].Active
	slot, got, err := p.whoAnswers()
	if err != nil || slot != string(active) {
		p.t.Fatalf("right after a kill %q answers (%v), and the daemon says %s", slot, err, active)
	}
	if out := p.Run("systemctl", "is-active", unitOf(active)); out != "active" {
		p.t.Fatalf("right after a kill the unit of the active slot is %s", out)
	}
	want := p.revision
	if moved = active != p.active; moved {
		want = revision
	}
	if got != want {
		p.t.Fatalf("right after a kill %s answers, want %s", got, want)
	}
	return moved
}

// TestSoakKilledDeploys kills the command at any point of a deploy, and has the
// next command find and end what was begun.
func TestSoakKilledDeploys(t *testing.T) {
	p := bootProduction(t, settings{backend: quick})
	p.users()
	k := p.newKiller()
	kills := size(t, "SOAK_DEPLOY_KILLS", 8, 120)
	for n := range kills {
		p.killedOnce(k, int(n))
	}
	k.print(t, fmt.Sprintf("%d kills of the command", kills))
	r := p.usersLeave()
	t.Log(r.Summary())
	if r.Failed > 0 {
		t.Errorf("requests failed:\n%s", r)
	}
}

func (p *production) killedOnce(k *killer, n int) {
	p.t.Helper()
	revision := p.repo.commit(fmt.Sprint("kill ", n), good)
	c := p.begin("deploy", "--no-bake", "--cut-streams")
	k.moment(p, c)
	c.signal(syscall.SIGKILL)
	c.await()
	found := p.found(k)
	if moved := p.consistentNow(revision); moved {
		p.moved(revision)
	}
	p.recovers(k, found, revision)
	p.check(fmt.Sprintf("kill %d, in %s", n, at(found)))
}

func at(f *deploy.Found) string {
	if f == nil {
		return "nothing"
	}
	return f.At
}

// recovers has the next command find what there is and end it: any of those that
// an operator may think of.
func (p *production) recovers(k *killer, found *deploy.Found, revision string) {
	p.t.Helper()
	moved := p.revision == revision
	switch k.IntN(3) {
	case 0: // another deploy
		next := p.repo.commit("after a kill", good)
		says := []string{}
		if found != nil {
			says = append(says, "found deploy", map[bool]string{true: "so it was finished", false: "it was undone"}[moved])
		}
		p.ctl("deploy", "--no-bake", "--cut-streams").wants(0, says...)
		p.moved(next)
	case 1:
		if found == nil {
			p.ctl("abort").wants(1)
			return
		}
		p.ctl("abort").wants(0, "undoing deploy")
		if moved {
			p.active, p.revision, p.standby = p.active.Other(), p.standby, p.before(found)
		}
	default:
		if found == nil {
			p.ctl("deploy", "--resume").wants(1, "no deploy is unfinished")
			return
		}
		p.ctl("deploy", "--resume").wants(0)
		if !moved {
			p.moved(revision)
		}
	}
}

// before is the revision that the standby slot had before a deploy, as its
// journal says.
func (p *production) before(found *deploy.Found) string {
	p.t.Helper()
	text := p.Read(filepath.Join(deployRoot, "deploys", found.ID, "journal.jsonl"))
	before := ""
	for line := range strings.Lines(text) {
		var e struct {
			Facts struct {
				Places map[string]struct {
					NewBefore string `json:"new_before"`
				} `json:"places"`
			} `json:"facts"`
		}
		if json.Unmarshal([]byte(line), &e) == nil && e.Facts.Places["backend"].NewBefore != "" {
			before = e.Facts.Places["backend"].NewBefore
		}
	}
	return p.revisionOf(before)
}

// revisionOf is that of a link's target.
func (p *production) revisionOf(target string) string {
	p.t.Helper()
	if target == "" || strings.HasPrefix(target, "/opt/legacy") {
		return byHand
	}
	_, short, _ := strings.Cut(filepath.Base(filepath.Dir(target)), "-")
	return p.repo.git("rev-parse", short)
}

// TestSoakKilledDaemons kills the daemon at any point of a deploy: the command
// goes on with the next one.
func TestSoakKilledDaemons(t *testing.T) {
	p := bootProduction(t, settings{backend: quick})
	p.users()
	k := p.newKiller()
	kills := size(t, "SOAK_DAEMON_KILLS", 4, 60)
	for n := range kills {
		revision := p.repo.commit(fmt.Sprint("daemon kill ", n), good)
		// What the daemon had in its hands is lost, and nothing else.
		p.tryWith(fmt.Sprint("the daemon killed, ", n), 0, trafficClients, func() *command {
			c := p.begin("deploy", "--no-bake", "--cut-streams")
			k.moment(p, c)
			p.found(k)
			p.Run("systemctl", "kill", "--kill-whom=main", "--signal=KILL", proxyUnit)
			c.await()
			p.moved(revision)
			return c
		})
	}
	k.print(t, fmt.Sprintf("%d kills of the daemon", kills))
	r := p.traffic.orders.Report()
	p.traffic.forgive("502")
	t.Log(p.usersLeave().Summary())
	if r.Failed > kills*trafficClients {
		t.Errorf("%d requests failed in %d kills:\n%s", r.Failed, kills, r)
	}
}

// TestSoakPowerCuts cuts the power at any point of a deploy. After the boot
// exactly the active slot runs, and the next command ends what was begun.
func TestSoakPowerCuts(t *testing.T) {
	p := bootProduction(t, settings{backend: quick})
	k := p.newKiller()
	cuts := size(t, "SOAK_POWER_CUTS", 3, 40)
	for n := range cuts {
		revision := p.repo.commit(fmt.Sprint("power cut ", n), good)
		c := p.begin("deploy", "--no-bake", "--cut-streams")
		k.moment(p, c)
		p.Crash()
		c.await()
		p.Up()
		began := time.Now()
		p.Eventually("the site answers after the boot", func() error { _, _, err := p.whoAnswers(); return err })
		found := p.found(k)
		p.t.Logf("power cut %d, in %s: the site answered %s after the boot", n, at(found), time.Since(began).Round(time.Millisecond))
		if found == nil || !strings.HasPrefix(found.At, "switch") && !moves(strings.Fields(found.At)[0]) {
			p.booted()
		} // or what was to be enabled may not be yet, and the old slot runs too, as it does while it is warm
		if moved := p.consistentNow(revision); moved {
			p.moved(revision)
		}
		p.recovers(k, found, revision)
		p.check(fmt.Sprintf("power cut %d, in %s", n, at(found)))
	}
	k.print(t, fmt.Sprintf("%d power cuts", cuts))
}

// booted waits until the site answers, and checks that only the active slot's
// unit runs.
func (p *production) booted() {
	p.t.Helper()
	p.Eventually("the site answers after the boot", func() error { _, _, err := p.whoAnswers(); return err })
	p.Eventually("only the active slot runs", func() error {
		active := p.status().Services[0].Active
		for _, slot := range []switcher.Slot{switcher.Blue, switcher.Green} {
			out, _ := p.Command(p.t.Context(), "systemctl", "is-active", p.unitOf(slot)).Output() // 3 says inactive
			if runs := strings.TrimSpace(string(out)) == "active"; runs != (slot == active) {
				return fmt.Errorf("%s is active, and the unit of %s is %s", active, slot, out)
			}
		}
		return nil
	})
}

// TestAMachineBootsTheActiveSlot halts and crashes machines with green active.
func TestAMachineBootsTheActiveSlot(t *testing.T) {
	p := bootProduction(t, pausing())
	defer p.table.print(t)
	p.deployed("green is active", p.repo.commit("green", good))
	for name, reboot := range map[string]func(){"a reboot": p.Reboot, "a power cut": func() { p.Crash(); p.Up() }} {
		p.try(name+" with green active", 0, func() *command {
			began := time.Now()
			reboot()
			p.booted()
			c := p.ctl("status").wants(0)
			c.took = time.Since(began)
			return c
		})
	}
	p.cutInBake()
	p.try("rollback after the boot: the other slot is started", 0, func() *command {
		c := p.ctl("rollback")
		p.moved(p.standby)
		return c
	})
}

// cutInBake cuts the power while a new release is watched: the slot that has the
// traffic is started by the boot itself.
func (p *production) cutInBake() {
	revision := p.repo.commit("the power is cut in its bake", good)
	p.try("a power cut in the bake, then --resume", 0, func() *command {
		c := p.paused("bake", "--no-bake")
		if out := p.Run("systemctl", "is-enabled", blueUnit, greenUnit); out != "enabled\nenabled" {
			p.t.Errorf("while it bakes the units are %q, want both enabled", out)
		}
		began := time.Now()
		p.Crash()
		c.await()
		p.Up()
		p.Eventually("the new release answers", func() error {
			_, got, err := p.whoAnswers()
			if err == nil && got != revision {
				err = fmt.Errorf("%s answers", got)
			}
			return err
		})
		took := time.Since(began)
		next := p.ctl("deploy", "--resume").wants(0)
		next.took = took
		p.moved(revision)
		return next
	})
	p.Run("systemctl", "stop", unitOf(p.active.Other()))
}
