package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"charactier-proxy/cmd/internal/load"
	"charactier-proxy/switcher"
	"charactier-proxy/switcher/deploy"
)

// try goes through one case: what do runs must end with the exit code, no
// request may fail, and all must be as p expects it by then.
func (p *production) try(name string, code int, do func() *command) *command {
	p.t.Helper()
	return p.tryWith(name, code, 0, do)
}

// tryWith allows some requests to fail: by the app's own fault, or because a
// process was killed that had them in its hands.
func (p *production) tryWith(name string, code int, mayFail int64, do func() *command) *command {
	p.t.Helper()
	began, before := time.Now(), p.requests()
	c := do()
	if c.await(); c.code != code {
		p.t.Errorf("%s: %s: exit %d, want %d:\n%s", name, c, c.code, code, c.said())
	}
	p.check(name)
	after := p.requests()
	failed := after.Failed - before.Failed
	p.table.rows = append(p.table.rows, caseRow{name, after.Sent - before.Sent, failed, c.took, c.code})
	if failed > mayFail {
		p.t.Errorf("%s: %d requests failed:\n%s", name, failed, failuresSince(began, after))
	}
	p.t.Logf("%s: done, exit %d after %s", name, c.code, c.took.Round(time.Millisecond))
	return c
}

// failuresSince are those that were kept, at most.
func failuresSince(began time.Time, r load.Report) string {
	var lines []string
	for _, f := range r.Failures {
		if f.Ended.After(began) {
			lines = append(lines, f.String())
		}
	}
	return strings.Join(lines[:min(len(lines), 5)], "\n")
}

func (p *production) requests() load.Report {
	if p.traffic == nil {
		return load.Report{}
	}
	return p.traffic.orders.Report()
}

// moved says that traffic is expected to be on the other slot, which has the
// revision.
func (p *production) moved(revision string) {
	p.active, p.standby, p.revision = p.active.Other(), p.revision, revision
}

// check compares the machine with what is expected. What follows a machine that
// is otherwise would mean nothing.
func (p *production) check(name string) {
	p.t.Helper()
	right := true
	for what, look := range map[string]func() error{
		"status": p.checkStatus, "answers": p.checkAnswers, "units": p.checkUnits, "releases": p.checkReleases, "journals": p.checkJournals,
	} {
		if err := p.soon(look); err != nil {
			p.t.Errorf("%s: %s: %v", name, what, err)
			right = false
		}
	}
	if !right {
		p.table.print(p.t)
		p.t.FailNow()
	}
}

// soon gives the machine a moment: a unit is enabled a little after a switch.
func (p *production) soon(look func() error) error {
	deadline := time.Now().Add(5 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := look()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		<-tick.C
	}
}

func (p *production) checkStatus() error {
	s := p.status()
	if s.Reservation != nil || s.Operation != nil {
		return fmt.Errorf("somebody is still at work: %+v %+v", s.Reservation, s.Operation)
	}
	backend := s.Services[0]
	if backend.Active != p.active || backend.Held != nil {
		return fmt.Errorf("%s is active, want %s; held %v", backend.Active, p.active, backend.Held)
	}
	for _, slot := range backend.Slots {
		want := p.standby
		if slot.Name == p.active {
			want = p.revision
		}
		if !isOf(slot.Release, want) {
			return fmt.Errorf("%s has release %q, want one of %q", slot.Name, slot.Release, want)
		}
		target, err := os.Readlink(p.Path("/srv/charactier/backend/" + string(slot.Name)))
		if err != nil && want != "" || want != "" && !isOf(filepath.Base(filepath.Dir(target)), want) {
			return fmt.Errorf("the link of %s leads to %q (%v), want a release of %q", slot.Name, target, err, want)
		}
	}
	return nil
}

// isOf says whether a release is one of the revision; what was built by hand is
// in no release, and unknown matches nothing of ours.
func isOf(release, revision string) bool {
	if revision == byHand || revision == "" {
		return release == "" || release == "legacy"
	}
	if strings.HasPrefix(revision, "elsewhere") {
		return release != "" // its name has the archive's checksum
	}
	return strings.HasSuffix(release, "-"+revision[:12])
}

// checkAnswers asks as a user does.
func (p *production) checkAnswers() error {
	for range 3 {
		slot, revision, err := p.whoAnswers()
		if err != nil {
			return err
		}
		if slot != string(p.active) || revision != p.revision {
			return fmt.Errorf("%s with revision %s answers, want %s with %s", slot, revision, p.active, p.revision)
		}
	}
	return nil
}

func (p *production) whoAnswers() (slot, revision string, err error) {
	resp, err := p.client.Get("http://" + siteAddr + "/api/v1/echo")
	if err != nil {
		return "", "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, body)
	}
	if err != nil {
		return "", "", err
	}
	var got struct{ Slot, Revision string }
	err = json.Unmarshal(body, &got)
	return got.Slot, got.Revision, err
}

func unitOf(slot switcher.Slot) string { return "charactier-backend-" + string(slot) + ".service" }

// instanceOf is the slot's unit where one template has both.
func instanceOf(slot switcher.Slot) string { return "charactier-backend@" + string(slot) + ".service" }

func (p *production) checkUnits() error {
	for _, slot := range []switcher.Slot{switcher.Blue, switcher.Green} {
		unit := p.unitOf(slot)
		out, err := p.Command(p.t.Context(), "systemctl", "show", "--property=ActiveState,UnitFileState", "--value", unit).Output()
		if err != nil {
			return err
		}
		state := strings.Fields(string(out))
		switch {
		case len(state) != 2:
			return fmt.Errorf("%s is %q", unit, out)
		case slot == p.active && (state[0] != "active" || state[1] != "enabled"):
			return fmt.Errorf("%s, which is active, is %v", unit, state)
		case slot != p.active && state[1] != "disabled":
			return fmt.Errorf("%s, which is standby, is %v", unit, state)
		}
	}
	return nil
}

// checkReleases looks for what is half made.
func (p *production) checkReleases() error {
	drafts, err := os.ReadDir(p.Path(deployRoot + "/drafts"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if len(drafts) > 0 {
		return fmt.Errorf("%s is left in drafts", drafts[0].Name())
	}
	releases, err := os.ReadDir(p.Path(deployRoot + "/releases"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, r := range releases {
		if _, err := os.Stat(p.Path(filepath.Join(deployRoot, "releases", r.Name(), ".release.json"))); err != nil {
			return err
		}
	}
	return nil
}

func (p *production) checkJournals() error {
	found, err := deploy.Unfinished(p.Path(deployRoot))
	if err == nil && found != nil {
		err = fmt.Errorf("deploy %s of %s is unfinished, in %s", found.ID, found.Release, found.At)
	}
	return err
}

// lastRecord is the history's newest.
func (p *production) lastRecord() switcher.Record {
	p.t.Helper()
	var records []switcher.Record
	out := p.Run("charactier-proxyctl", "history", "-n", "1", "--json")
	if err := json.Unmarshal([]byte(out), &records); err != nil || len(records) != 1 {
		p.t.Fatalf("history: %v in %s", err, out)
	}
	return records[0]
}
