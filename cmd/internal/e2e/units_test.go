package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"charactier-proxy/systemd"
)

// failure is the UnitError that an error is.
func failure(t *testing.T, err error) *systemd.UnitError {
	t.Helper()
	var failed *systemd.UnitError
	if !errors.As(err, &failed) {
		t.Fatalf("the error is %v, want one of a unit", err)
	}
	return failed
}

func TestUnitsStart(t *testing.T) {
	inside(t, func(t *testing.T) {
		u := connectUnits(t)
		writeUnits(t, u, map[string]string{
			"good.service":    "[Service]\nType=exec\nExecStart=/bin/sleep 1000\n",
			"loud.service":    "[Service]\nType=exec\nExecStart=/bin/sh -c 'echo no database; echo is it up? >&2; exit 3'\n",
			"killed.service":  "[Service]\nType=exec\nExecStart=/bin/sh -c 'kill -SEGV $$$$'\n",
			"again.service":   "[Service]\nType=exec\nRestart=always\nRestartSec=100s\nExecStart=/bin/sh -c 'exit 4'\n",
			"never.service":   "[Service]\nType=notify\nTimeoutStartSec=500ms\nExecStart=/bin/sleep 1000\n",
			"early.service":   "[Service]\nType=notify\nExecStart=/bin/sh -c 'echo bye; exit 1'\n",
			"nodir.service":   "[Service]\nType=exec\nWorkingDirectory=/nowhere\nExecStart=/bin/sleep 1000\n",
			"noprog.service":  "[Service]\nType=exec\nRestart=always\nExecStart=/nowhere/node\n",
			"nouser.service":  "[Service]\nType=exec\nUser=nobody-there\nExecStart=/bin/sleep 1000\n",
			"noenv.service":   "[Service]\nType=exec\nEnvironmentFile=/nowhere.env\nExecStart=/bin/sleep 1000\n",
			"needs.service":   "[Unit]\nRequires=early.service\nAfter=early.service\n[Service]\nExecStart=/bin/sleep 1000\n",
			"unmet.service":   "[Unit]\nConditionPathExists=/nowhere\n[Service]\nType=exec\nExecStart=/bin/sleep 1000\n",
			"once.service":    "[Service]\nType=oneshot\nExecStart=/bin/true\n",
			"brief.service":   "[Service]\nType=exec\nExecStart=/bin/true\n",
			"bad.service":     "[Service]\nType=exec\n",
			"queued.service":  "[Unit]\nJobTimeoutSec=300ms\n[Service]\nType=notify\nExecStart=/bin/sleep 1000\n",
			"limited.service": "[Unit]\nStartLimitBurst=1\n[Service]\nType=oneshot\nExecStart=/bin/true\n",
		})

		t.Run("one that is good runs", func(t *testing.T) {
			for range 2 { // the second finds it running
				if err := u.Start(t.Context(), "good.service"); err != nil {
					t.Fatal(err)
				}
			}
			s, err := u.State(t.Context(), "good.service")
			if err != nil || s.ActiveState != "active" || s.SubState != "running" || s.MainPID == 0 || len(s.InvocationID) != 32 ||
				s.ControlGroup != "/system.slice/good.service" || time.Since(s.ActiveSince) > time.Minute {
				t.Errorf("its state is %+v, %v", s, err)
			}
		})
		t.Run("one whose main process ends at once is told by AwaitExit at the latest", func(t *testing.T) {
			err := u.Start(t.Context(), "loud.service")
			if err == nil {
				err = u.AwaitExit(t.Context(), "loud.service")
			}
			if want := "loud.service ended with exit code 3 (result exit-code)"; err == nil || err.Error() != want {
				t.Errorf("the error is %q, want %q", err, want)
			}
			journal := strings.Join(failure(t, err).Journal, "\n")
			for _, want := range []string{"no database", "is it up?", "Main process exited"} {
				if !strings.Contains(journal, want) {
					t.Errorf("the journal lacks %q:\n%s", want, journal)
				}
			}
		})
		t.Run("a oneshot that has done its work is no error, nor is it against a limit", func(t *testing.T) {
			for range 3 {
				if err := u.Start(t.Context(), "limited.service"); err != nil {
					t.Fatal(err)
				}
			}
		})

		tests := map[string]struct{ unit, want string }{
			"ended well, but ended":     {"brief.service", "brief.service ended with exit code 0"},
			"killed by a signal":        {"killed.service", "killed.service ended by SIGSEGV"},
			"restarted by systemd":      {"again.service", "again.service ended with exit code 4 (result exit-code)"},
			"never ready":               {"never.service", "never.service was not ready in time (result timeout)"},
			"ended before it was ready": {"early.service", "early.service ended with exit code 1 (result exit-code)"},
			"without its directory":     {"nodir.service", "nodir.service ended with exit code 200: its working directory cannot be entered (result exit-code)"},
			"without its program":       {"noprog.service", "noprog.service ended with exit code 203: its program cannot be run (result exit-code)"},
			"without its user":          {"nouser.service", "nouser.service ended with exit code 217: its user does not exist (result exit-code)"},
			"without its environment":   {"noenv.service", "noenv.service could not be set up, as with an EnvironmentFile= that is missing (result resources)"},
			"without what it needs":     {"needs.service", "needs.service was not started, for a unit that it requires has failed: systemctl list-dependencies --state=failed needs.service"},
			"its condition not met":     {"unmet.service", "unmet.service was not started, for its condition does not hold: ConditionPathExists=/nowhere"},
			"without a program at all":  {"bad.service", "bad.service cannot be loaded (bad-setting): systemd-analyze verify bad.service"},
			"queued for too long":       {"queued.service", "queued.service was not done within its JobTimeoutSec"},
			"not there":                 {"nobody.service", "nobody.service does not exist: install its file, then systemctl daemon-reload"},
		}
		for name, tt := range tests {
			t.Run(name, func(t *testing.T) {
				err := u.Start(t.Context(), tt.unit)
				if err == nil {
					err = u.AwaitExit(t.Context(), tt.unit)
				}
				if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
					t.Errorf("the error is\n%v, want\n%s", err, tt.want)
				}
				failure(t, err)
				if err := u.Stop(t.Context(), tt.unit); err != nil {
					t.Error(err)
				}
			})
		}

		t.Run("a failed one is forgotten and started", func(t *testing.T) {
			writeUnits(t, u, map[string]string{"noprog.service": "[Service]\nType=exec\nExecStart=/bin/sleep 1000\n"})
			if err := u.Start(t.Context(), "noprog.service"); err != nil {
				t.Error(err)
			}
		})
		t.Run("one that waits for its restart is started at once", func(t *testing.T) {
			if err := u.Start(t.Context(), "again.service"); err == nil {
				err = u.AwaitExit(t.Context(), "again.service")
				failure(t, err)
			}
			writeUnits(t, u, map[string]string{"again.service": "[Service]\nType=exec\nRestart=always\nRestartSec=100s\nExecStart=/bin/sleep 1000\n"})
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Second)
			defer cancel()
			if err := u.Start(ctx, "again.service"); err != nil {
				t.Error(err)
			}
		})
	})
}

func TestUnitsStop(t *testing.T) {
	inside(t, func(t *testing.T) {
		u := connectUnits(t)
		writeUnits(t, u, map[string]string{
			"slow.service":     "[Service]\nType=exec\nExecStart=/bin/sh -c 'trap \"sleep 1; exit 0\" TERM; while :; do sleep 0.1; done'\n",
			"stubborn.service": "[Service]\nType=exec\nTimeoutStopSec=500ms\nExecStart=/bin/sh -c 'trap \"\" TERM; while :; do sleep 0.1; done'\n",
			"idle.service":     "[Service]\nExecStart=/bin/sleep 1000\n",
		})
		for _, unit := range []string{"slow.service", "stubborn.service"} {
			if err := u.Start(t.Context(), unit); err != nil {
				t.Fatal(err)
			}
		}
		for unit, want := range map[string]string{
			"slow.service":     "inactive",
			"stubborn.service": "failed", // it was killed
			"idle.service":     "inactive",
			"nobody.service":   "inactive",
		} {
			if err := u.Stop(t.Context(), unit); err != nil {
				t.Errorf("stopping %s: %v", unit, err)
			}
			if s, err := u.State(t.Context(), unit); s.ActiveState != want || err != nil {
				t.Errorf("after Stop %s is %s, %v; want %s", unit, s.ActiveState, err, want)
			}
		}
	})
}

func TestUnitsFollowSeesACrashAndTheRestart(t *testing.T) {
	inside(t, func(t *testing.T) {
		u := connectUnits(t)
		writeUnits(t, u, map[string]string{
			"slot.service": "[Service]\nType=exec\nRestart=always\nRestartSec=300ms\nExecStart=/bin/sleep 1000\n",
		})
		if err := u.Start(t.Context(), "slot.service"); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- u.AwaitExit(t.Context(), "slot.service") }()
		var seen []string
		first := systemd.UnitState{}
		err := u.Follow(t.Context(), "slot.service", func(s systemd.UnitState) bool {
			seen = append(seen, fmt.Sprintf("%s/%s %d", s.ActiveState, s.SubState, s.NRestarts))
			if first.Name == "" {
				first = s
				run(t, "kill", "-KILL", fmt.Sprint(s.MainPID))
			}
			return s.InvocationID == first.InvocationID || s.ActiveState != "active"
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(seen, ", "); !strings.HasPrefix(got, "active/running 0") || !strings.Contains(got, "auto-restart 0") || !strings.HasSuffix(got, "active/running 1") {
			t.Errorf("it was seen as %s", got)
		}
		if err := <-ended; err == nil || err.Error() != "slot.service ended by SIGKILL (result signal)" {
			t.Errorf("AwaitExit says %v", err)
		}
	})
}

func TestUnitsFollowIsToldByItsEnds(t *testing.T) {
	inside(t, func(t *testing.T) {
		u := connectUnits(t)
		writeUnits(t, u, map[string]string{"slot.service": "[Service]\nExecStart=/bin/sleep 1000\n[Install]\nAlias=other.service\n"})
		t.Run("its context's", func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			err := u.Follow(ctx, "nobody.service", func(s systemd.UnitState) bool {
				if s.LoadState != "not-found" {
					t.Errorf("a unit that is not there is %+v", s)
				}
				cancel()
				return true
			})
			if !errors.Is(err, context.Canceled) {
				t.Errorf("Follow = %v", err)
			}
		})
		t.Run("the connection's", func(t *testing.T) {
			lost := connectUnits(t)
			err := lost.Follow(t.Context(), "slot.service", func(systemd.UnitState) bool {
				go lost.Close()
				return true
			})
			if !errors.Is(err, systemd.ErrDisconnected) {
				t.Errorf("Follow = %v", err)
			}
			if err := lost.Start(t.Context(), "slot.service"); !errors.Is(err, systemd.ErrDisconnected) {
				t.Errorf("Start = %v", err)
			}
		})
		t.Run("by an alias", func(t *testing.T) {
			run(t, "ln", "-s", "slot.service", "/run/systemd/system/other.service")
			if err := u.Reload(t.Context()); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second) // less than the poll's
			defer cancel()
			err := u.Follow(ctx, "other.service", func(s systemd.UnitState) bool {
				if s.ActiveState == "inactive" {
					go u.Start(ctx, "slot.service")
				}
				return s.ActiveState != "active"
			})
			if err != nil {
				t.Error(err)
			}
		})
	})
}

// Every change is told by a signal, none by the poll: it would take longer than
// this test gives it.
func TestUnitsFollowLosesNoWakeup(t *testing.T) {
	inside(t, func(t *testing.T) {
		u := connectUnits(t)
		writeUnits(t, u, map[string]string{"slot.service": "[Service]\nType=exec\nExecStart=/bin/sleep 1000\n"})
		began := time.Now()
		const rounds = 40
		for range rounds {
			for _, want := range []string{"active", "inactive"} {
				go func() {
					if want == "active" {
						u.Start(t.Context(), "slot.service")
					} else {
						u.Stop(t.Context(), "slot.service")
					}
				}()
				err := u.Follow(t.Context(), "slot.service", func(s systemd.UnitState) bool { return s.ActiveState != want })
				if err != nil {
					t.Fatal(err)
				}
			}
		}
		if took := time.Since(began); took > rounds*time.Second {
			t.Errorf("%d starts and stops were followed in %v", rounds, took)
		}
	})
}

// That somebody enabled or disabled a unit is told at once too: by the poll it
// would take longer than this test gives it.
func TestUnitsFollowSeesAUnitBeEnabledAndDisabled(t *testing.T) {
	inside(t, func(t *testing.T) {
		u, other := connectUnits(t), connectUnits(t)
		writeUnits(t, u, map[string]string{"slot.service": "[Service]\nType=exec\nExecStart=/bin/sleep 1000\n[Install]\nWantedBy=multi-user.target\n"})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		changes := 0
		err := u.Follow(ctx, "slot.service", func(s systemd.UnitState) bool {
			change := other.Enable
			if s.UnitFileState == "enabled" {
				change = other.Disable
			}
			changes++
			go change(ctx, "slot.service")
			return changes < 10
		})
		if err != nil {
			t.Errorf("after %d changes: %v", changes, err)
		}
	})
}

func TestUnitsJobsDoNotMixUp(t *testing.T) {
	inside(t, func(t *testing.T) {
		u := connectUnits(t)
		const n = 50
		units := map[string]string{}
		for i := range n {
			text := "[Service]\nType=exec\nExecStart=/bin/sleep 1000\n"
			if i%3 == 0 {
				text = fmt.Sprintf("[Service]\nType=notify\nExecStart=/bin/sh -c 'exit %d'\n", i+1)
			}
			units[fmt.Sprintf("job-%d.service", i)] = text
		}
		writeUnits(t, u, units)
		var all sync.WaitGroup
		defer all.Wait()
		for i := range n {
			all.Go(func() {
				unit := fmt.Sprintf("job-%d.service", i)
				err := u.Start(t.Context(), unit)
				want := ""
				if i%3 == 0 {
					want = fmt.Sprintf("%s ended with exit code %d (result exit-code)", unit, i+1)
				}
				if (err == nil) != (want == "") || err != nil && err.Error() != want {
					t.Errorf("starting %s: %v; want %q", unit, err, want)
				}
				if i%7 == 0 { // jobs outlive a reload
					if err := u.Reload(t.Context()); err != nil {
						t.Error(err)
					}
				}
				if err := u.Stop(t.Context(), unit); err != nil {
					t.Errorf("stopping %s: %v", unit, err)
				}
				if s, err := u.State(t.Context(), unit); s.Runs() || err != nil {
					t.Errorf("after its stop %s is %s, %v", unit, s.ActiveState, err)
				}
			})
		}
	})
}

func TestUnitsOverTheDirectSocket(t *testing.T) {
	inside(t, func(t *testing.T) {
		run(t, "systemctl", "stop", "dbus.socket", "dbus.service")
		u := connectUnits(t)
		writeUnits(t, u, map[string]string{"slot.service": "[Service]\nType=exec\nExecStart=/bin/sleep 1000\n"})
		if err := u.Start(t.Context(), "slot.service"); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second) // less than the poll's
		defer cancel()
		err := u.Follow(ctx, "slot.service", func(s systemd.UnitState) bool {
			if s.ActiveState == "active" {
				go u.Stop(ctx, "slot.service")
			}
			return s.ActiveState != "inactive"
		})
		if err != nil {
			t.Error(err)
		}
		if err := u.Run(t.Context(), systemd.Command{Unit: "charactier-build-x.service", Argv: []string{"/bin/true"}}); err != nil {
			t.Error(err)
		}
	})
}

func TestUnitsOutliveSystemdsOwnRestart(t *testing.T) {
	inside(t, func(t *testing.T) {
		u := connectUnits(t)
		writeUnits(t, u, map[string]string{"slot.service": "[Service]\nType=exec\nExecStart=/bin/sleep 1000\n"})
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second) // less than the poll's
		defer cancel()
		var once sync.Once
		started := make(chan error, 1)
		err := u.Follow(ctx, "slot.service", func(s systemd.UnitState) bool {
			once.Do(func() {
				run(t, "systemctl", "daemon-reexec")
				go func() { started <- u.Start(ctx, "slot.service") }()
			})
			return s.ActiveState != "active"
		})
		if err := errors.Join(err, <-started); err != nil {
			t.Error(err)
		}
		if err := u.Stop(t.Context(), "slot.service"); err != nil {
			t.Error(err)
		}
	})
}

func TestUnitsEnabledStartAtBoot(t *testing.T) {
	const blue, green = "charactier-backend-blue.service", "charactier-backend-green.service"
	unit := "[Service]\nType=exec\nExecStart=/bin/sleep 1000\n[Install]\nWantedBy=multi-user.target\n"
	if part() == outside {
		box := bootForParts(t, map[string]string{
			"/etc/systemd/system/" + blue: unit, "/etc/systemd/system/" + green: unit,
			"/etc/systemd/system/plain.service": "[Service]\nExecStart=/bin/true\n",
			// The template, as the instances of one are enabled by name too.
			"/etc/systemd/system/charactier-backend@.service": unit,
		})
		runPart(t, box, "enable")
		box.Reboot()
		runPart(t, box, "rebooted")
		return
	}
	u := connectUnits(t)
	states := func(want map[string]string) {
		t.Helper()
		for unit, want := range want {
			s, err := u.State(t.Context(), unit)
			if got := s.UnitFileState + " " + s.ActiveState; got != want || err != nil {
				t.Errorf("%s is %s, %v; want %s", unit, got, err, want)
			}
		}
	}
	if part() == "rebooted" {
		states(map[string]string{blue: "disabled inactive", green: "enabled active", "charactier-backend@green.service": "enabled active"})
		return
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		must(u.Enable(t.Context(), blue, green, "charactier-backend@green.service"))
		states(map[string]string{blue: "enabled inactive", green: "enabled inactive"})
		must(u.Disable(t.Context(), blue))
		states(map[string]string{blue: "disabled inactive", green: "enabled inactive"})
	}
	must(u.Disable(t.Context(), blue))
	// Somebody else is killed between the change and the reload.
	manager := []string{"busctl", "call", "--quiet", "org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"}
	run(t, append(manager, "DisableUnitFiles", "asb", "1", green, "false")...)
	must(u.Disable(t.Context(), green))
	states(map[string]string{green: "disabled inactive"})
	run(t, append(manager, "EnableUnitFiles", "asbb", "1", green, "false", "false")...)
	must(u.Enable(t.Context(), green))
	states(map[string]string{green: "enabled inactive"})
	run(t, "systemctl", "mask", "--quiet", "masked.service")
	for unit, want := range map[string]string{
		"masked.service": "masked.service is masked: systemctl unmask masked.service",
		"nobody.service": "nobody.service does not exist: install its file, then systemctl daemon-reload",
		"plain.service":  `enabling plain.service: a unit file without an [Install] section cannot be enabled`,
	} {
		if err := u.Enable(t.Context(), unit); err == nil || err.Error() != want {
			t.Errorf("enabling %s: %v, want %s", unit, err, want)
		}
	}
	if err := u.Start(t.Context(), "masked.service"); err == nil || err.Error() != "masked.service is masked: systemctl unmask masked.service" {
		t.Errorf("starting a masked unit: %v", err)
	}
}
