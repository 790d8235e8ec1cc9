package deploy

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"charactier-proxy/switcher"
)

// bothDown is a machine whose users get 502: traffic is on blue, and neither slot
// runs.
func (w *world) bothDown() {
	w.warmStandby()
	for _, s := range w.services() {
		w.previous[s.Name] = green
		w.units[s.Slots[blue].Unit].running, w.units[s.Slots[green].Unit].running = false, false
	}
}

// runUnwritten runs a request for which no journal can be begun.
func (w *world) runUnwritten(r Request) (Result, error) {
	res, err, _ := w.run(func(p *Pipeline) (Result, error) {
		if err := os.RemoveAll(Dir(w.root)); err != nil {
			w.t.Fatal(err)
		}
		return p.Run(w.t.Context(), r)
	})
	return res, err
}

func TestAReturnThatMakesNoFilesNeedsNoJournal(t *testing.T) {
	for _, force := range []bool{false, true} {
		w := newWorld(t)
		w.bothDown()
		r := rollbackRequest()
		r.Force = force
		res, err := w.runUnwritten(r)
		if err != nil || res.Outcome != switcher.Done || res.Log != "" || w.active["backend"] != green {
			t.Errorf("rollback = %+v, %v, with backend on %s", res, err, w.active["backend"])
		}
		if said := strings.Join(res.Warnings, "; "); !strings.Contains(said, "this rollback leaves no journal; if the command is killed, charactier-proxyctl status tells where traffic is") {
			t.Errorf("the warnings are %q", said)
		}
		if err := w.check(); err != nil {
			t.Error(err)
		}
	}
}

func TestWhatMakesFilesNeedsAJournal(t *testing.T) {
	to := rollbackRequest()
	to.Source.Release = "r0-000000000000"
	for name, r := range map[string]Request{"deploy": request(), "rollback to a named release": to} {
		w := newWorld(t)
		w.bothDown()
		if _, err := w.runUnwritten(r); err == nil || !strings.Contains(hintOf(err), "nothing was begun") {
			t.Errorf("%s = %v, want it refused", name, err)
		}
		if w.active["backend"] != blue || w.units["backend-green.service"].running {
			t.Errorf("%s did something", name)
		}
	}
}

// A journal that ends in the middle would have the next command go on with what
// is over.
func TestADiskThatFillsUpKeepsNoReturn(t *testing.T) {
	w := newWorld(t)
	w.bothDown()
	if _, err := w.deploy(t.Context(), rollbackRequest()); err != nil {
		t.Fatal(err)
	}
	last := 1 + slices.Index(w.log, "prune") // after which only the end is written
	for n := 2; n <= w.calls; n++ {
		w := newWorld(t)
		w.bothDown()
		w.fault = func(i int, _ string, _ func()) error {
			if i == n {
				w.fillDisk()
			}
			return nil
		}
		res, err := w.deploy(t.Context(), rollbackRequest())
		w.fault = nil
		if err != nil || res.Outcome != switcher.Done {
			t.Errorf("full in %q: rollback = %s, %v", w.log[n-1], res.Outcome, err)
		}
		if said := strings.Join(res.Warnings, "; "); !strings.Contains(said, "the disk is full") && n <= last {
			t.Errorf("full in %q: the warnings are %q", w.log[n-1], said)
		}
		if err := w.checkSettled(nil, nil); err != nil {
			t.Errorf("full in %q: %v", w.log[n-1], err)
		}
	}
}

func TestAReturnThatIsStuckWithoutAJournalNamesWhatHelps(t *testing.T) {
	w := newWorld(t)
	w.bothDown()
	w.sick["r0-000000000000"] = "503"
	w.fault = func(_ int, call string, _ func()) error {
		if call == "step undoing start" {
			w.fault = func(_ int, call string, _ func()) error {
				if strings.HasPrefix(call, "stop ") {
					return errBroken
				}
				return nil
			}
		}
		return nil
	}
	_, err := w.runUnwritten(rollbackRequest())
	if !errors.Is(err, ErrStuck) || strings.Contains(hintOf(err), "--resume") || !strings.Contains(hintOf(err), "charactier-proxyctl status") {
		t.Errorf("rollback = %v, hint %q", err, hintOf(err))
	}
}
