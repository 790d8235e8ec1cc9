package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"charactier-proxy/cmd/internal/load"
	"charactier-proxy/switcher"
)

// loadSlots drives keep-alive clients through the proxy until stop, which returns
// what came of it.
func (s *server) loadSlots() (g *load.Generator, stop func() load.Report) {
	g = load.New(load.Options{Addr: serviceAddr, Clients: 32, GetEvery: 4, Dial: s.Dial})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan load.Report, 1)
	go func() { done <- g.Run(ctx) }()
	s.t.Cleanup(cancel)
	return g, func() load.Report { cancel(); return <-done }
}

// A restart of the live unit, as the shipped units have it, costs nobody a request:
// its stop is announced, what it has got is answered, what comes waits.
func TestSystemdRestartOfTheLiveSlotLosesNoRequest(t *testing.T) {
	times := int(size(t, "SOAK_RESTARTS", 3, 50))
	s := bootServer(t)
	s.Run("systemctl", "start", proxyUnit)
	g, stop := s.loadSlots()
	for range times {
		more(t, g, 300)
		s.Run("systemctl", "restart", blueUnit)
	}
	more(t, g, 300)
	r := stop()
	t.Logf("%d restarts: %s", times, r.Summary())
	if r.Failed > 0 {
		t.Errorf("%s", r)
	}
	if slots := r.BySlot; slots["green"] > 0 {
		t.Errorf("answers by slot %v: the traffic was to stay on blue", slots)
	}
	log := s.Run("journalctl", "--unit="+proxyUnit, "--no-pager")
	if began, ended := strings.Count(log, "takes no connections, so requests wait"), strings.Count(log, "takes connections again"); began != times || ended != times {
		t.Errorf("%d restarts: the log tells of %d begins and %d ends", times, began, ended)
	}
}

// After a crash with the team's RestartSec=10 requests wait as long as that takes.
// Only those are lost that the process had got when it was killed.
func TestSystemdCrashOfTheLiveSlotIsWaitedOut(t *testing.T) {
	const clients = 32
	s := bootServer(t)
	s.Write("/run/systemd/system/"+blueUnit+".d/restart.conf", "[Service]\nRestart=on-failure\nRestartSec=10\n")
	s.Run("systemctl", "daemon-reload")
	s.Run("systemctl", "start", proxyUnit)
	g, stop := s.loadSlots()
	more(t, g, 300)
	killed := time.Now()
	s.Run("systemctl", "kill", "--kill-whom=main", "--signal=KILL", blueUnit)
	s.Eventually("requests wait", func() error {
		o := s.status().Services[0].Outage
		if o == nil || o.Slot != switcher.Blue || o.Waited == 0 {
			return fmt.Errorf("%+v", o)
		}
		return nil
	})
	if out := s.Run("charactier-proxyctl", "status"); !strings.Contains(out, "takes no connections since") {
		t.Errorf("the screen does not say that requests wait:\n%s", out)
	}
	more(t, g, clients+300)
	took := time.Since(killed)
	r := stop()
	t.Logf("RestartSec=10: back after %s: %s", took.Round(time.Millisecond), r.Summary())
	if took < 10*time.Second || r.Failed > clients {
		t.Errorf("took %s\n%s", took, r)
	}
	for cause, n := range s.status().Services[0].Slots[0].ByCause {
		if cause != "slot-reset" && cause != "slot-closed-early" {
			t.Errorf("%d requests failed as %s, which no process had got", n, cause)
		}
	}
	if s.status().Services[0].Outage != nil {
		t.Error("the outage goes on")
	}
}

// With failover the traffic leaves a dead slot instead, once, and says so.
func TestSystemdFailoverLeavesADeadSlot(t *testing.T) {
	s := bootServer(t)
	s.Write(configPath, "services: {backend: {listen: '127.0.0.1:5080', health: {interval: 1s}, failover: {enabled: true, after: 2s}}}\n")
	s.Run("systemctl", "start", proxyUnit)
	s.Eventually("both slots are healthy", func() error {
		for _, slot := range s.status().Services[0].Slots {
			if slot.Health.State != "healthy" || time.Since(slot.Health.Since) < 2*time.Second {
				return errors.New(string(slot.Name) + " is " + slot.Health.State)
			}
		}
		return nil
	})
	g, stop := s.loadSlots()
	more(t, g, 300)
	s.Run("systemctl", "stop", blueUnit)
	more(t, g, 600)
	r := stop()
	t.Log(r.Summary())
	if r.Failed > 0 || r.BySlot["green"] == 0 {
		t.Errorf("%s", r)
	}
	st := s.status()
	if last := st.Last; last == nil || last.Kind != switcher.KindFailover || last.Outcome != switcher.Done {
		t.Errorf("the last operation is %+v", last)
	}
	if !strings.Contains(strings.Join(st.Warnings, "\n"), "took over by itself") {
		t.Errorf("the status warns of %q", st.Warnings)
	}
	if out := s.Run("charactier-proxyctl", "history"); !strings.Contains(out, "failover") {
		t.Errorf("the history is\n%s", out)
	}
	if log := s.Run("journalctl", "--unit="+proxyUnit, "--no-pager"); !strings.Contains(log, "failover") {
		t.Error("the log does not tell of it")
	}
}
