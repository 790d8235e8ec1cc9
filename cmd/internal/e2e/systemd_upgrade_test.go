package e2e

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"charactier-proxy/cmd/internal/load"
	"charactier-proxy/switcher"
)

const installedProgram = "/var/opt/charactier/charactier-proxy"

// installProgram puts the daemon where it may be replaced, as a package would.
func (s *server) installProgram() {
	s.t.Helper()
	s.Write("/run/systemd/system/"+proxyUnit+".d/program.conf", "[Service]\nExecStart=\nExecStart="+installedProgram+"\n")
	s.replaceProgram("cat /usr/local/bin/charactier-proxy")
	s.Run("systemctl", "daemon-reload")
}

// replaceProgram installs what a command prints, atomically.
func (s *server) replaceProgram(command string) {
	s.t.Helper()
	s.Run("sh", "-c", fmt.Sprintf("mkdir -p $(dirname %[1]s) && %[2]s >%[1]s.new && chmod 755 %[1]s.new && mv %[1]s.new %[1]s", installedProgram, command))
}

// loaded keeps clients with keep-alive connections busy, as underLoad does.
func (s *server) loaded(clients int) (stop func() load.Report) {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	g := load.New(load.Options{Addr: serviceAddr, Clients: clients, GetEvery: 4, Think: 5 * time.Millisecond, Dial: s.Dial})
	result := make(chan load.Report, 1)
	go func() { result <- g.Run(ctx) }()
	s.t.Cleanup(cancel)
	return func() load.Report {
		cancel()
		return <-result
	}
}

// follows waits until systemd and the control socket name the same process, and
// returns it.
func (s *server) follows() (pid string) {
	s.t.Helper()
	s.Eventually("systemd follows", func() error {
		pid = s.property("MainPID")
		if got := fmt.Sprint(s.status().PID); got != pid {
			return fmt.Errorf("the control socket leads to %s, systemd's main process is %s", got, pid)
		}
		return nil
	})
	return pid
}

func TestSoakSystemdFollowsUpgrades(t *testing.T) {
	s := bootServer(t)
	s.installProgram()
	s.Run("systemctl", "start", proxyUnit)
	first := s.property("MainPID")
	stop := s.loaded(16)
	v := s.visit(2)
	for range size(t, "SOAK_SYSTEMD_UPGRADES", 10, 100) {
		v.awaitMore(10)
		s.Run("charactier-proxyctl", "upgrade")
		s.follows()
	}
	s.Run("charactier-proxyctl", "switch", "green", "--yes")
	v.awaitMore(10)
	v.leave()
	r := stop()
	t.Log(r.Summary())
	if bad := v.failures(nil); len(bad) > 0 || r.Failed > 0 {
		t.Errorf("%d of %d visitors' requests failed:\n%s\n%s", len(bad), v.count(), first3(bad), r)
	}
	last := s.follows()
	if last == first {
		t.Error("the first process is still in charge")
	}
	s.checkProperties(map[string]string{"ActiveState": "active", "NRestarts": "0"})
	if strings.Contains(s.Run("journalctl", "--unit="+proxyUnit, "--no-pager"), "not our child") {
		t.Error("systemd would not notice the end of its main process")
	}

	// What is there to do afterwards still works.
	s.Run("systemctl", "reload", proxyUnit)
	s.Run("systemctl", "kill", "--kill-whom=main", "--signal=KILL", proxyUnit)
	s.Eventually("the daemon is back after a crash", func() error {
		if s.property("NRestarts") == "0" {
			return errors.New("no restart")
		}
		return nil
	})
	if slot, err := s.ask(); slot != "green" || err != nil {
		t.Errorf("after a crash a request was answered by %q, %v; want green", slot, err)
	}
	s.Run("charactier-proxyctl", "upgrade")
	s.Run("systemctl", "restart", proxyUnit)
	if slot, err := s.ask(); slot != "green" || err != nil {
		t.Errorf("after a restart a request was answered by %q, %v; want green", slot, err)
	}
	if state := s.Run("systemctl", "is-active", trafficSocket, controlSocket); state != "active\nactive" {
		t.Errorf("the sockets are %q, want them active", state)
	}
	s.Run("systemctl", "stop", trafficSocket, controlSocket, proxyUnit)
	s.checkProperties(map[string]string{"ActiveState": "inactive", "Result": "success"})
}

func first3(errs []error) error { return errors.Join(errs[:min(3, len(errs))]...) }

func TestSystemdAFailedUpgradeChangesNothing(t *testing.T) {
	s := bootServer(t)
	s.installProgram()
	s.Run("systemctl", "start", proxyUnit)
	first := s.property("MainPID")
	v := s.visit(2)
	s.replaceProgram("printf '#!/bin/sh\\necho no luck >&2\\nexit 7\\n'")
	out, err := s.Command(t.Context(), "charactier-proxyctl", "upgrade").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "no luck") || !strings.Contains(string(out), "the traffic is where it was") {
		t.Errorf("upgrade to a program that fails: %v\n%s", err, out)
	}
	v.awaitMore(10)
	v.leave()
	if bad := v.failures(nil); len(bad) > 0 {
		t.Errorf("%d of %d requests failed: %s", len(bad), v.count(), first3(bad))
	}
	s.checkProperties(map[string]string{"ActiveState": "active", "MainPID": first, "NRestarts": "0"})
	// Its watchdog goes on as well.
	s.Run("charactier-proxyctl", "switch", "green", "--yes")
	if got := s.status().Services[0].Active; got != switcher.Green {
		t.Errorf("active is %s", got)
	}
}

func TestSystemdWatchdogCatchesASuccessorThatHangs(t *testing.T) {
	s := bootServer(t)
	s.installProgram()
	s.Write("/run/systemd/system/"+proxyUnit+".d/watchdog.conf", "[Service]\nWatchdogSec=2s\n")
	s.Run("systemctl", "daemon-reload")
	s.Run("systemctl", "start", proxyUnit)
	s.Run("charactier-proxyctl", "switch", "green", "--yes")
	s.Run("charactier-proxyctl", "upgrade")
	pid := s.follows()
	s.Run("systemctl", "kill", "--kill-whom=main", "--signal=STOP", proxyUnit)
	s.Eventually("the successor is replaced", func() error {
		if now := s.property("MainPID"); now == pid || now == "0" {
			return errors.New("no restart")
		}
		return nil
	})
	s.Eventually("green answers", func() error {
		slot, err := s.ask()
		if err == nil && slot != "green" {
			err = fmt.Errorf("it is %s", slot)
		}
		return err
	})
}

// TestSystemdAKillDuringAnUpgradeLeavesOneInCharge kills either process at many
// moments of an upgrade. What a killed process held is lost; nothing is refused,
// and in the end one process is in charge of the slot that was active.
func TestSystemdAKillDuringAnUpgradeLeavesOneInCharge(t *testing.T) {
	s := bootServer(t)
	s.installProgram()
	s.Run("systemctl", "start", proxyUnit)
	s.Run("charactier-proxyctl", "switch", "green", "--yes")
	kills := size(t, "SOAK_UPGRADE_KILLS", 12, 100)
	for n := range kills {
		who := "$old"
		if n%2 == 1 {
			who = "$(pgrep -n -x charactier-prox)"
		}
		delay := strconv.FormatFloat(float64(n)/float64(kills)*0.15, 'f', 3, 64)
		s.Run("sh", "-c", fmt.Sprintf(`old=$(systemctl show --value --property=MainPID %s)
			charactier-proxyctl upgrade >/dev/null 2>&1 & sleep %s; kill -9 %s; wait; true`, proxyUnit, delay, who))
		s.Eventually("one process is in charge", func() error {
			slot, err := s.ask()
			if err == nil && slot != "green" {
				t.Fatalf("%s answers", slot)
			}
			return err
		})
		s.Eventually("nobody else is left", func() error {
			if out := s.Run("sh", "-c", "pgrep -c -x charactier-prox || true"); out != "1" {
				return fmt.Errorf("%s processes", out)
			}
			return nil
		})
		s.follows()
	}
	s.Run("charactier-proxyctl", "upgrade")
	s.follows()
	s.Run("charactier-proxyctl", "switch", "blue", "--yes")
}
