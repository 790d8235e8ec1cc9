package e2e

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

const (
	reconcilePath  = "charactier-proxy-reconcile.path"
	reconcileTimer = "charactier-proxy-reconcile.timer"
)

// reconcile runs the command by hand and returns what it said.
func (s *server) reconcile() string {
	s.t.Helper()
	return s.Run("charactier-proxyctl", "reconcile")
}

// is waits for what systemctl says of a unit: is-enabled or is-active.
func (s *server) is(question, unit, want string) {
	s.t.Helper()
	s.Eventually(unit+" "+question, func() error {
		out, _ := s.Command(s.t.Context(), "systemctl", question, unit).Output() // it fails unless the answer is yes
		if got := strings.TrimSpace(string(out)); got != want {
			return fmt.Errorf("it is %s, want %s", got, want)
		}
		return nil
	})
}

func TestReconcileMakesSystemdAgree(t *testing.T) {
	s := bootServer(t)
	s.Write(configPath, "services: {backend: {listen: '127.0.0.1:5080', warm: 1s}}\n")
	s.Run("systemctl", "enable", "--quiet", "--now", trafficSocket, controlSocket, proxyUnit)
	s.Run("charactier-proxyctl", "switch", "green", "--yes")

	// Both are enabled and run, and blue was started before the switch.
	s.Eventually("blue is stopped", func() error {
		said := s.reconcile()
		if strings.Contains(said, "stopped "+blueUnit+": blue is the standby of backend, and its warm time of 1s is over") {
			return nil
		}
		return fmt.Errorf("it said %q", said)
	})
	s.is("is-enabled", blueUnit, "disabled")
	s.is("is-enabled", greenUnit, "enabled")
	s.is("is-active", blueUnit, "inactive")
	if said := s.reconcile(); said != "" {
		t.Errorf("with nothing to do it said %q", said)
	}

	// A standby that somebody just started is for something.
	s.Run("systemctl", "start", blueUnit)
	if said := s.reconcile(); said != "" {
		t.Errorf("of a standby that was just started it said %q", said)
	}
	// The active slot's unit was stopped by mistake: it is started again.
	s.Run("systemctl", "stop", greenUnit)
	if said := s.reconcile(); !strings.Contains(said, "started "+greenUnit) {
		t.Errorf("of the active slot, stopped, it said %q", said)
	}
	// But not in somebody's hold, which is for a restart.
	s.Run("charactier-proxyctl", "hold", "--yes")
	s.Run("systemctl", "stop", greenUnit)
	if said := s.reconcile(); said != "" {
		t.Errorf("during a hold it said %q", said)
	}
	s.Run("systemctl", "start", greenUnit)
	s.answers("127.0.0.1:5001")
	s.Run("charactier-proxyctl", "release-hold")
}

func TestReconcileFollowsEachSwitchAndAReboot(t *testing.T) {
	s := bootServer(t)
	s.Run("systemctl", "enable", "--quiet", "--now", trafficSocket, controlSocket, proxyUnit)
	s.Run("systemctl", "enable", "--quiet", "--now", reconcilePath, reconcileTimer)
	for _, active := range []string{"green", "blue", "green"} {
		s.Run("charactier-proxyctl", "switch", active, "--yes")
		for _, slot := range []string{"blue", "green"} {
			want := "disabled"
			if slot == active {
				want = "enabled"
			}
			s.is("is-enabled", "charactier-backend-"+slot+".service", want)
		}
	}
	s.Reboot()
	s.Eventually("green answers", func() error {
		slot, err := s.ask()
		if err == nil && slot != "green" {
			t.Fatalf("after a reboot %s answers, want green", slot)
		}
		return err
	})
	s.is("is-active", blueUnit, "inactive")
	if got, err := s.Command(t.Context(), "systemctl", "is-failed", "charactier-proxy-reconcile.service").Output(); err == nil {
		t.Errorf("the reconciling unit is %s", got)
	}
}

// A switch that comes while the reconciling unit runs triggers nothing.
func TestReconcileFollowsSwitchesInQuickSuccession(t *testing.T) {
	s := bootServer(t)
	s.Run("systemctl", "enable", "--quiet", "--now", trafficSocket, controlSocket, proxyUnit)
	s.Run("systemctl", "start", reconcilePath)
	for n := range 10 {
		s.Run("sh", "-c", fmt.Sprintf("charactier-proxyctl switch green --yes && sleep 0.0%d && charactier-proxyctl switch blue --yes", n))
		s.is("is-enabled", blueUnit, "enabled")
		s.is("is-enabled", greenUnit, "disabled")
	}
}

// A deploy bakes for minutes: whatever cuts the power meanwhile, the machine must
// come back with the slot that has the traffic.
func TestReconcileEnablesWhatADeployHasSwitchedTo(t *testing.T) {
	s := bootServer(t)
	s.Write(configPath, "services: {backend: {listen: '127.0.0.1:5080', warm: 1s}}\n")
	s.Run("systemctl", "start", trafficSocket, controlSocket, proxyUnit)
	s.answers("127.0.0.1:5001")
	const curl = "curl -sS --no-buffer --unix-socket /run/charactier-proxy/control.sock -H 'Content-Type: application/json' "
	s.Write("/run/reservation", "")
	s.Run("systemd-run", "--quiet", "--unit=deploying", "sh", "-c", curl+`-d '{"kind":"deploy"}' http://localhost/v1/reserve >>/run/reservation`)
	var id string
	s.Eventually("it is reserved", func() error {
		id = s.Run("sh", "-c", `sed -n 's/.*"id": *"\([^"]*\)".*/\1/p' /run/reservation`)
		if id == "" {
			return errors.New("not yet")
		}
		return nil
	})
	s.Run("sh", "-c", curl+`--fail -d '{"to":"green","within":"`+id+`"}' http://localhost/v1/switch`)
	s.reconcile()
	s.is("is-enabled", greenUnit, "enabled")
	// The traffic may be returned at any moment.
	s.is("is-enabled", blueUnit, "enabled")
	// What runs is the deploy's.
	s.is("is-active", blueUnit, "active")
}

func TestReconcileGoesByTheStateWhileTheDaemonIsAway(t *testing.T) {
	s := bootServer(t)
	s.Run("systemctl", "start", trafficSocket, controlSocket, proxyUnit)
	s.Run("charactier-proxyctl", "switch", "green", "--yes")
	s.Run("systemctl", "stop", trafficSocket, controlSocket, proxyUnit)
	s.Run("systemctl", "disable", "--quiet", greenUnit)
	s.Run("systemctl", "stop", greenUnit)
	out, err := s.Command(t.Context(), "charactier-proxyctl", "reconcile").Output()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 5 {
		t.Errorf("it ended with %v, want 5", err)
	}
	if want := "enabled " + greenUnit + ": green is the active slot of backend\ndisabled " + blueUnit + ": blue is the standby of backend\n"; string(out) != want {
		t.Errorf("it said %q", out)
	}
	// What runs is left as it is.
	s.is("is-active", greenUnit, "inactive")
	s.is("is-active", blueUnit, "active")
}

// A reconcile that has read where traffic is before a deploy begins must not
// disable what that deploy enables: it is held in between.
func TestReconcileSeesADeployThatBeganSinceItLooked(t *testing.T) {
	s := bootServer(t)
	s.Run("systemctl", "enable", "--quiet", blueUnit, greenUnit)
	s.Run("systemctl", "start", trafficSocket, controlSocket, proxyUnit)
	s.Run("install", "-d", "-m", "0700", "/run/charactier-proxy-reconcile")
	hold := func() {
		s.Run("systemd-run", "--quiet", "--unit=held", "flock", "/run/charactier-proxy-reconcile", "sleep", "infinity")
	}
	begin := func() {
		s.Run("systemd-run", "--quiet", "--unit=looks", "--service-type=exec", "--property=RemainAfterExit=yes", "charactier-proxyctl", "reconcile")
		s.Eventually("it waits for the lock", func() error {
			out, err := s.Command(t.Context(), "sh", "-c", "ls -l /proc/$(systemctl show looks --property=MainPID --value)/fd").Output()
			if err == nil && !strings.Contains(string(out), "/run/charactier-proxy-reconcile") {
				err = errors.New("not yet")
			}
			return err
		})
	}
	end := func() {
		s.Run("systemctl", "stop", "held")
		s.Eventually("it has ended", func() error {
			if out := s.Run("systemctl", "show", "looks", "--property=SubState", "--value"); out != "exited" {
				return errors.New(out)
			}
			return nil
		})
		s.Run("systemctl", "stop", "looks")
	}
	hold()
	begin()
	s.Write("/srv/charactier/deploys/20260101T000000.000Z-aaaaaa/journal.jsonl", `{"time":"2026-01-01T00:00:00Z","phase":"begin","request":{"kind":"deploy"}}`+"\n")
	end()
	s.is("is-enabled", greenUnit, "enabled")

	// The same without a deploy: it does disable, so that it was the deploy.
	s.Run("rm", "-r", "/srv/charactier/deploys")
	hold()
	begin()
	s.is("is-enabled", greenUnit, "enabled")
	end()
	s.is("is-enabled", greenUnit, "disabled")
	s.is("is-enabled", blueUnit, "enabled")
}

// A plain switch enables nothing itself: where the power is cut before the
// reconciling unit has run, that starts the active slot after the boot.
func TestAPowerCutRightAfterASwitchBootsTheActiveSlot(t *testing.T) {
	s := bootServer(t)
	s.Run("systemctl", "enable", "--quiet", trafficSocket, controlSocket, proxyUnit, reconcileTimer)
	s.Run("systemctl", "stop", reconcilePath, reconcileTimer)
	s.Run("systemctl", "enable", "--quiet", blueUnit)
	s.Run("systemctl", "disable", "--quiet", greenUnit)
	s.Run("systemctl", "start", trafficSocket, controlSocket, proxyUnit, greenUnit)
	s.Run("charactier-proxyctl", "switch", "green", "--wait", "10s", "--yes")
	s.is("is-enabled", greenUnit, "disabled")
	s.Reboot()
	s.Eventually("green answers", func() error {
		slot, err := s.ask()
		if err == nil && slot != "green" {
			t.Fatalf("after the boot %s answers, want green", slot)
		}
		return err
	})
	s.is("is-enabled", greenUnit, "enabled")
	s.is("is-enabled", blueUnit, "disabled")
}
