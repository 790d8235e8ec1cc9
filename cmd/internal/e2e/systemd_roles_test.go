package e2e

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
)

// slot is what the daemon says of one.
func (s *server) slot(name switcher.Slot) control.SlotStatus {
	s.t.Helper()
	for _, slot := range s.status().Services[0].Slots {
		if slot.Name == name {
			return slot
		}
	}
	s.t.Fatalf("the status knows no slot %s", name)
	return control.SlotStatus{}
}

// awaitDrift waits for a sentence, or with "" for none at all.
func (s *server) awaitDrift(text string) {
	s.t.Helper()
	s.Eventually(fmt.Sprintf("the drift is %q", text), func() error {
		drift := s.status().Drift
		if text == "" && len(drift) == 0 || text != "" && slices.ContainsFunc(drift, func(d string) bool { return strings.Contains(d, text) }) {
			return nil
		}
		return fmt.Errorf("it is %q", drift)
	})
}

// The daemon's own user, in its hardened unit, sees what root does to the units.
func TestSystemdDriftIsSeenAndItsCommandsMendIt(t *testing.T) {
	s := bootServer(t) // which enables both units
	s.Run("systemctl", "start", proxyUnit)
	s.awaitDrift("a reboot would start both slots: systemctl disable charactier-backend-green.service")
	s.Run("systemctl", "disable", "--quiet", "charactier-backend-green.service")
	s.awaitDrift("")
	if got := s.slot(switcher.Blue).Runs; got == nil || got.Active != "active" || got.Enabled != "enabled" {
		t.Errorf("blue's unit: %+v", got)
	}

	s.Run("charactier-proxyctl", "switch", "green", "--yes")
	s.awaitDrift("a reboot would start the standby slot blue instead of green")
	s.Run("systemctl", "enable", "--quiet", "charactier-backend-green.service")
	s.Run("systemctl", "disable", "--quiet", "charactier-backend-blue.service")
	s.awaitDrift("")

	t.Log("the bus is restarted")
	s.Run("systemctl", "restart", "dbus.service")
	s.Run("systemctl", "disable", "--quiet", "charactier-backend-green.service")
	s.awaitDrift("a reboot would not start the active slot green")
	s.Run("systemctl", "enable", "--quiet", "charactier-backend-green.service")
	s.awaitDrift("")

	t.Log("a stranger takes the standby's port")
	s.Run("systemctl", "stop", "charactier-backend-blue.service")
	s.Run("systemd-run", "--quiet", "--unit=stranger", "--property=WorkingDirectory=/opt/sample-app",
		"--setenv=PORT=5000", "--setenv=SLOT=stranger", "/usr/bin/node", "server.js")
	s.awaitDrift("127.0.0.1:5000 answers, but charactier-backend-blue.service is inactive")
	if out := s.Run("charactier-proxyctl", "status"); !strings.Contains(out, "drift: backend/blue") {
		t.Errorf("charactier-proxyctl status:\n%s", out)
	}
}

func TestSystemdAUnitThatEndsIsNoticedAtOnce(t *testing.T) {
	s := bootServer(t)
	// No probe would notice it within the test's time.
	s.Write(configPath, "services: {backend: {health: {path: /api/v1/health, interval: 10m, rise: 1}}}\n")
	s.Run("systemctl", "start", proxyUnit)
	s.Eventually("blue is healthy and its unit known", func() error {
		if b := s.slot(switcher.Blue); b.Health.State != "healthy" || b.Runs == nil {
			return fmt.Errorf("%+v", b)
		}
		return nil
	})
	s.Run("systemctl", "stop", "charactier-backend-blue.service")
	s.Eventually("blue is unhealthy", func() error {
		if b := s.slot(switcher.Blue); b.Health.State != "unhealthy" {
			return errors.New(b.Health.State)
		}
		return nil
	})
	s.awaitDrift("it is the active slot, but charactier-backend-blue.service is inactive: systemctl start charactier-backend-blue.service")
}

// A queue worker is a unit of its own, which polkit lets the daemon's user start
// and stop.
func TestSystemdAWorkerRunsBesideTheActiveSlotOnly(t *testing.T) {
	program(t, "pkcheck", "polkitd")
	s := bootServer(t)
	for _, slot := range []string{"blue", "green"} {
		s.Write("/etc/systemd/system/charactier-worker-"+slot+".service", sleeper)
	}
	s.Run("systemctl", "daemon-reload")
	s.Write(configPath, "services: {backend: {role: {unit: 'charactier-worker-{slot}.service', path: /internal/role, refresh: 1s}}}\n")
	s.Run("systemctl", "start", proxyUnit)
	only := func(active, standby switcher.Slot) {
		t.Helper()
		s.Eventually(fmt.Sprintf("%s works and %s does not", active, standby), func() error {
			for _, slot := range []switcher.Slot{active, standby} {
				if r := s.slot(slot).Role; r == nil || r.Told != r.Wanted || r.Error != "" {
					return fmt.Errorf("%s: %+v", slot, r)
				}
			}
			for slot, want := range map[switcher.Slot]string{active: "active", standby: "inactive"} {
				if got := s.Run("systemctl", "show", "--property=ActiveState", "--value", fmt.Sprintf("charactier-worker-%s.service", slot)); got != want {
					return fmt.Errorf("the worker of %s is %s", slot, got)
				}
			}
			return nil
		})
	}
	only(switcher.Blue, switcher.Green)
	s.Run("charactier-proxyctl", "switch", "green", "--yes")
	only(switcher.Green, switcher.Blue)

	t.Log("the standby is stopped, and its worker started by mistake")
	s.Run("systemctl", "stop", "charactier-backend-blue.service")
	s.Run("systemctl", "start", "--no-block", "charactier-worker-blue.service")
	s.Eventually("the worker is stopped again", func() error {
		if got := s.Run("systemctl", "show", "--property=ActiveState", "--value", "charactier-worker-blue.service"); got != "inactive" {
			return errors.New(got)
		}
		return nil
	})

	t.Log("the active slot is restarted: its new process is told at once")
	before := s.slot(switcher.Green).Role.Since
	s.Run("systemctl", "restart", "charactier-backend-green.service")
	s.Eventually("green is active again", func() error {
		if r := s.slot(switcher.Green).Role; r.Told != "active" || !r.Since.After(before) {
			return fmt.Errorf("%+v", r)
		}
		return nil
	})
}
