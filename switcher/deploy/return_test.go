package deploy

import (
	"context"
	"errors"
	"strings"
	"testing"

	"charactier-proxy/switcher"
)

func rollbackRequest() Request {
	r := request()
	r.Kind, r.Source, r.Bake = switcher.KindRollback, Source{}, 0
	return r
}

// The unit of the guide: it runs in a directory of its own, and its slot has no
// link before a release was deployed there.
func TestAReturnGoesToWhatRanBeforeThereWereReleases(t *testing.T) {
	for dir, refused := range map[string]bool{"/home/ops/app": false, "/backend/green": true} {
		w := newWorld(t)
		w.previous["backend"], w.previous["frontend"] = green, green
		w.units["frontend-green.service"].files.Directory = "/home/ops/app"
		w.units["backend-green.service"].files.Directory = dir
		r, err := w.deploy(t.Context(), rollbackRequest())
		if refused {
			if !errors.Is(err, switcher.ErrNothingToRollBack) || !strings.Contains(err.Error(), "/backend/green, which leads nowhere") {
				t.Errorf("a unit that runs in a link that leads nowhere: %v", err)
			}
			continue
		}
		if err != nil || r.Outcome != switcher.Done || w.active["backend"] != green {
			t.Errorf("rollback = %s, %v, with backend on %s", r.Outcome, err, w.active["backend"])
		}
		if err := w.checkSettled(nil, nil); err != nil {
			t.Error(err)
		}
	}
}

func TestEachServiceReturnsToItsOwnRelease(t *testing.T) {
	for _, bad := range []string{"", "r0-000000000000", "r9-999999999999"} {
		w := newWorld(t)
		w.revision["r0-000000000000"], w.revision["r9-999999999999"] = "0000000000000000", "9999999999999999"
		w.links["/backend/green"], w.links["/frontend/green"] = "r0-000000000000", "r9-999999999999"
		w.previous["backend"], w.previous["frontend"] = green, green
		// Bad for the one that does not go there, it keeps nobody.
		w.bad["backend"] = []switcher.BadRelease{{Release: "r9-999999999999"}}
		if bad != "" {
			w.bad["backend"], w.bad["frontend"] = nil, []switcher.BadRelease{{Release: bad}}
		}
		r, err := w.deploy(t.Context(), rollbackRequest())
		if refused := bad == "r9-999999999999"; errors.Is(err, ErrBadRelease) != refused || err != nil && !refused {
			t.Errorf("with %q bad for the frontend: %v", bad, err)
		}
		if len(r.Moves) != 2 || r.Moves[0].ToRelease != "r0-000000000000" || r.Moves[1].ToRelease != "r9-999999999999" {
			t.Errorf("the moves are %+v", r.Moves)
		}
	}
}

func TestABadReleaseThatIsForcedAndKeptIsGoodAgain(t *testing.T) {
	for name, c := range map[string]struct {
		bakeFail string
		left     bool
	}{"kept": {"", false}, "returned": {"5 % errors", true}} {
		w := newWorld(t)
		w.bad["backend"] = []switcher.BadRelease{{Release: "r0-222222222222"}, {Release: "r0-333333333333"}}
		w.bakeFail = c.bakeFail
		r := request()
		r.Force = true
		w.deploy(t.Context(), r)
		left := strings.Contains(badNames(w, "backend"), "r0-222222222222")
		if left != c.left || !strings.Contains(badNames(w, "backend"), "r0-333333333333") {
			t.Errorf("%s: bad are %s", name, badNames(w, "backend"))
		}
	}
}

func badNames(w *world, service string) string {
	var names []string
	for _, b := range w.bad[service] {
		names = append(names, b.Release)
	}
	return strings.Join(names, " ")
}

// Who aborts may just be late for lunch. A no to the question whether to keep a
// release is about the release.
func TestAnAbortJudgesNoRelease(t *testing.T) {
	for name, c := range map[string]struct {
		confirm func(*world) (bool, error)
		judged  bool
	}{
		"abort": {func(w *world) (bool, error) { w.reserved.asked <- "somebody"; return true, nil }, false},
		"no":    {func(*world) (bool, error) { return false, nil }, true},
	} {
		w := newWorld(t)
		links, ran := w.warmStandby()
		r := request()
		r.Confirm = true
		_, err, _ := w.run(func(p *Pipeline) (Result, error) {
			p.opts.Confirm = func(ctx context.Context, _ string) (bool, error) {
				yes, err := c.confirm(w)
				if name == "abort" {
					<-ctx.Done()
				}
				return yes, err
			}
			return p.Run(t.Context(), r)
		})
		if !errors.Is(err, ErrReturned) || !errors.Is(err, switcher.ErrAborted) {
			t.Errorf("%s: deploy = %v", name, err)
		}
		if judged := len(w.bad["backend"]) > 0; judged != c.judged {
			t.Errorf("%s: bad are %q", name, badNames(w, "backend"))
		}
		if err := w.checkSettled(links, ran); err != nil {
			t.Error(err)
		}
	}
}

func TestAnAbortAfterThePruneFindsTheReleaseOfBefore(t *testing.T) {
	w := newWorld(t)
	links, ran := w.warmStandby()
	w.fault = func(_ int, call string, _ func()) error {
		if call == "end" {
			panic(killed{})
		}
		return nil
	}
	_, _, dead := w.run(func(p *Pipeline) (Result, error) { p.opts.Keep = 0; return p.Run(t.Context(), request()) })
	if !dead {
		t.Fatal("it was not killed")
	}
	w.fault = nil
	if _, err, _ := w.run(func(p *Pipeline) (Result, error) { return p.Abort(t.Context()) }); !errors.Is(err, ErrReturned) {
		t.Errorf("abort = %v", err)
	}
	if err := w.checkSettled(links, ran); err != nil {
		t.Error(err)
	}
	if w.revision["r0-000000000000"] == "" {
		t.Error("the standby's link leads to a release that was removed")
	}
}

// The daemon restarted, somebody was let in and switched, and it ended again.
func TestNoUnitIsStoppedWithoutKnowingWhereTrafficIs(t *testing.T) {
	for name, c := range map[string]struct {
		forgotten, moved bool
		stuck            bool
	}{
		"the state file says that it is the standby": {false, false, false},
		"it says that it has the traffic":            {false, true, true},
		"it cannot be read":                          {true, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			links, ran := w.warmStandby()
			w.sick["r2-222222222222"] = "503"
			gone := false
			w.fault = func(_ int, call string, _ func()) error {
				switch {
				case call == "step undoing start":
					w.lose()
					gone = true
					if c.moved {
						w.moveAll(green)
					}
				case gone && (call == "view" || call == "reserve" || call == "end"), c.forgotten && call == "saved":
					return errBroken
				case gone && c.stuck && strings.HasPrefix(call, "stop "):
					t.Error(call)
				}
				return nil
			}
			_, err := w.deploy(t.Context(), request())
			if errors.Is(err, ErrStuck) != c.stuck {
				t.Errorf("deploy = %v", err)
			}
			if len(w.stopped) > 0 {
				t.Errorf("stopped while they had the traffic: %q", w.stopped)
			}
			if c.stuck {
				return
			}
			if err := w.checkSettled(links, ran); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestWhatTheStandbyIsAfterAFailureIsSaid(t *testing.T) {
	for name, c := range map[string]struct {
		plant func(*world)
		want  string
	}{
		"it ran":                {func(w *world) { w.warmStandby() }, "backend-green.service runs again with r0-000000000000, as before"},
		"it did not run":        {func(*world) {}, "no warm rollback now: backend-green.service is stopped, as it was before"},
		"it does not run again": {func(w *world) { w.warmStandby(); w.units["backend-green.service"].dies = true }, "no warm rollback now: backend-green.service is stopped"},
	} {
		w := newWorld(t)
		w.sick["r2-222222222222"] = "503"
		c.plant(w)
		r, err := w.deploy(t.Context(), request())
		if err == nil || len(r.Standby) != 2 || r.Standby[0] != c.want {
			t.Errorf("%s: %v, standby %q, want %q", name, err, r.Standby, c.want)
		}
	}
}

func TestTheDaemonMayNeedATimeoutForEachWay(t *testing.T) {
	for ways, want := range map[int]int{0: 3, 1: 3, 2: 5, 3: 7} {
		if got := (Service{RoleTimeout: 1, RoleWays: ways}).rolePatience(); int(got) != want {
			t.Errorf("%d ways: %d timeouts, want %d", ways, got, want)
		}
	}
}
