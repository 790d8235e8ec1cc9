package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
)

// These tests install the units as they are shipped into a machine with a real
// systemd, and drive them from outside.

func TestSystemdStartIsDoneWhenRequestsAreServed(t *testing.T) {
	s := bootServer(t)
	directories := map[string]string{
		"/run/charactier-proxy":              "750 charactier-proxy:charactier-proxy",
		"/run/charactier-proxy/control.sock": "660 charactier-proxy:charactier-proxy",
		"/etc/charactier-proxy":              "755 root:root",
	}
	s.Run("systemctl", "start", trafficSocket, controlSocket)
	s.checkOwners(directories)
	s.Run("systemctl", "enable", "--quiet", "--now", proxyUnit)
	// At once: nothing may be awaited after start has returned.
	if slot, err := s.ask(); slot != "blue" || err != nil {
		t.Errorf("the first request was answered by %q, %v; want blue", slot, err)
	}
	s.checkProperties(map[string]string{
		"ActiveState": "active", "StatusText": "backend on blue", "NRestarts": "0", "User": "charactier-proxy",
	})
	directories["/var/lib/charactier-proxy"] = "700 charactier-proxy:charactier-proxy"
	directories["/var/log/charactier-proxy"] = "750 charactier-proxy:charactier-proxy"
	s.checkOwners(directories)
	if out := s.Run("charactier-proxyctl", "status"); !strings.Contains(out, "blue") {
		t.Errorf("charactier-proxyctl status:\n%s", out)
	}
}

func TestSystemdStartFailsWhenAListenerCannotBeOpened(t *testing.T) {
	s := bootServer(t)
	s.Write(configPath, "services: {backend: {listen: ['127.0.0.1:5080', '192.0.2.1:5080']}}\n")
	if out, err := s.Command(t.Context(), "systemctl", "start", proxyUnit).CombinedOutput(); err == nil {
		t.Errorf("systemctl start succeeded: %s", out)
	}
}

func TestSystemdReloadWaitsForTheOutcome(t *testing.T) {
	s := bootServer(t)
	s.Run("systemctl", "start", proxyUnit)
	pid := s.property("MainPID")

	s.Write(configPath, "services: {backend: {listen: '127.0.0.1:5080', hold: {time: 7s}}}\n")
	s.Run("systemctl", "reload", proxyUnit)
	if got := s.status().Config; got.Path != configPath || got.Rejected != "" {
		t.Errorf("after a reload the configuration is %+v", got)
	}
	s.Write(configPath, "services: {backend: {listne: '127.0.0.1:5080'}}\n")
	if out, err := s.Command(t.Context(), "systemctl", "reload", proxyUnit).CombinedOutput(); err == nil {
		t.Errorf("reloading a bad configuration succeeded: %s", out)
	}
	if got := s.status().Config.Rejected; !strings.Contains(got, "listne") {
		t.Errorf("the status says of the bad configuration %q", got)
	}
	// The other way to ask for a reload must not end it either.
	s.Run("systemctl", "kill", "--kill-whom=main", "--signal=HUP", proxyUnit)
	if slot, err := s.ask(); slot != "blue" || err != nil {
		t.Errorf("after a bad reload a request was answered by %q, %v; want blue", slot, err)
	}
	s.checkProperties(map[string]string{"ActiveState": "active", "MainPID": pid, "NRestarts": "0"})
}

func TestSystemdWatchdogReplacesAHungDaemon(t *testing.T) {
	s := bootServer(t)
	// Ten seconds as shipped; the test has no time for that.
	s.Write("/run/systemd/system/"+proxyUnit+".d/watchdog.conf", "[Service]\nWatchdogSec=2s\n")
	s.Run("systemctl", "daemon-reload")
	s.Run("systemctl", "start", proxyUnit)
	s.Run("charactier-proxyctl", "switch", "green", "--yes")

	s.Run("systemctl", "kill", "--kill-whom=main", "--signal=STOP", proxyUnit)
	// It waits in the socket's queue, or in the stopped daemon's hands and is cut.
	if slot, err := s.ask(); slot != "green" && !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a request during the hang was answered by %q, %v; want green or a cut connection", slot, err)
	}
	s.Eventually("the daemon is replaced", func() error {
		if s.property("NRestarts") == "0" {
			return errors.New("no restart")
		}
		return nil
	})
	if slot, err := s.ask(); slot != "green" || err != nil {
		t.Errorf("after the restart a request was answered by %q, %v; want green", slot, err)
	}
	if log := s.Run("journalctl", "--unit="+proxyUnit, "--no-pager"); !strings.Contains(log, "goroutine ") {
		t.Error("the hung daemon's goroutines are not in the journal")
	}
}

func TestSystemdRestartLosesNoRequest(t *testing.T) {
	s := bootServer(t)
	s.Run("systemctl", "start", proxyUnit)
	v := s.visit(4)
	for range 5 {
		v.awaitMore(50)
		s.Run("systemctl", "restart", proxyUnit)
	}
	v.awaitMore(50)
	v.leave()
	if bad := v.failures(nil); len(bad) > 0 {
		t.Errorf("of %d requests over 5 restarts %d failed:\n%s", v.count(), len(bad), first(bad, 10))
	}
	// The control socket outlived its daemons too.
	if got := fmt.Sprint(s.status().PID); got != s.property("MainPID") {
		t.Errorf("the control socket leads to process %s, not to %s", got, s.property("MainPID"))
	}
	s.checkProperties(map[string]string{"ActiveState": "active", "NRestarts": "0", "Result": "success"})
}

func TestSystemdCrashRefusesNoConnection(t *testing.T) {
	s := bootServer(t)
	s.Run("systemctl", "start", proxyUnit)
	s.Run("charactier-proxyctl", "switch", "green", "--yes")
	const visitors, crashes = 4, 5
	v := s.visit(visitors)
	for n := range crashes {
		v.awaitMore(50)
		s.Run("systemctl", "kill", "--kill-whom=main", "--signal=KILL", proxyUnit)
		s.Eventually("the daemon is back", func() error {
			if got := s.property("NRestarts"); got != fmt.Sprint(n+1) {
				return fmt.Errorf("%s restarts, want %d", got, n+1)
			}
			return nil
		})
	}
	v.awaitMore(50)
	v.leave()
	// What a killed process held in its hands is lost; nothing else is.
	wasHeld := func(err error) bool {
		return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) ||
			strings.Contains(err.Error(), "server closed idle connection") // it ended before the request was written
	}
	if bad := v.failures(wasHeld); len(bad) > 0 {
		t.Errorf("of %d requests over %d crashes %d failed that no process had accepted:\n%s", v.count(), crashes, len(bad), first(bad, 10))
	}
	if cut := len(v.failures(nil)); cut > visitors*crashes {
		t.Errorf("%d crashes cut %d of %d visitors' requests", crashes, cut, visitors)
	}
	if others := v.answersBut("green"); others > 0 {
		t.Errorf("%d requests were not answered by the active slot", others)
	}
}

func TestSystemdStopDrains(t *testing.T) {
	s := bootServer(t)
	s.Run("systemctl", "start", proxyUnit)
	answered := make(chan error, 1)
	go func() {
		_, err := s.get("http://" + serviceAddr + "/api/v1/slow?ms=1500")
		answered <- err
	}()
	s.Eventually("the slow request is in flight", func() error {
		if n := s.status().Services[0].Slots[0].InFlight; n != 1 {
			return fmt.Errorf("%d requests in flight", n)
		}
		return nil
	})
	// The sockets, or the next connection starts the daemon again.
	s.Run("systemctl", "stop", trafficSocket, controlSocket)
	select {
	case err := <-answered:
		if err != nil {
			t.Errorf("the request in flight ended with %v", err)
		}
	default:
		t.Error("systemctl stop returned before the request in flight was answered")
	}
	if _, err := s.ask(); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("after the stop a request ended with %v, want refused", err)
	}
	s.checkProperties(map[string]string{"ActiveState": "inactive", "Result": "success"})
}

func TestSystemdNeverGivesUpOnADaemonThatCannotStart(t *testing.T) {
	s := bootServer(t)
	s.Run("systemctl", "start", proxyUnit)
	s.Write(configPath, "services: {}\n")
	s.Run("systemctl", "restart", "--no-block", proxyUnit)
	answered := make(chan error, 1)
	go func() {
		_, err := s.ask()
		answered <- err
	}()
	s.Eventually("the daemon has failed often", func() error {
		if n := s.property("NRestarts"); len(n) < 2 { // ten or more
			return fmt.Errorf("%s restarts", n)
		}
		return nil
	})
	if state := s.Run("systemctl", "is-active", trafficSocket, controlSocket); state != "active\nactive" {
		t.Errorf("the sockets are %q, want them active", state)
	}
	s.Run("rm", configPath)
	if err := <-answered; err != nil {
		t.Errorf("a request that waited for a daemon that could start ended with %v", err)
	}
}

func TestSystemdPowerCutKeepsTheActiveSlot(t *testing.T) {
	s := bootServer(t)
	s.Run("systemctl", "enable", "--quiet", "--now", proxyUnit)
	s.Run("charactier-proxyctl", "switch", "green", "--yes", "--reason=a new release")
	s.Crash()
	s.Up()
	s.Eventually("green answers", func() error {
		slot, err := s.ask()
		if err == nil && slot != "green" {
			t.Fatalf("after a power cut %s answers, want green", slot)
		}
		return err
	})
	if got := s.status().Services[0]; got.Active != switcher.Green || got.Previous != switcher.Blue {
		t.Errorf("after a power cut %s is active, before it %s", got.Active, got.Previous)
	}
}

func first(list []error, n int) string {
	var lines []string
	for _, err := range list[:min(n, len(list))] {
		lines = append(lines, err.Error())
	}
	return strings.Join(lines, "\n")
}

func (s *server) status() control.Status {
	s.t.Helper()
	client := control.Client{Socket: s.Path("/run/charactier-proxy/control.sock")}
	status, err := client.Status(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return status
}

// property is what systemctl show says of the daemon's unit.
func (s *server) property(name string) string {
	s.t.Helper()
	return s.Run("systemctl", "show", "--value", "--property="+name, proxyUnit)
}

// checkOwners compares paths with "mode user:group".
func (s *server) checkOwners(want map[string]string) {
	s.t.Helper()
	for path, want := range want {
		if got := s.Run("stat", "--format=%a %U:%G", path); got != want {
			s.t.Errorf("%s is %s, want %s", path, got, want)
		}
	}
}

func (s *server) checkProperties(want map[string]string) {
	s.t.Helper()
	for name, want := range want {
		if got := s.property(name); got != want {
			s.t.Errorf("%s of %s is %q, want %q", name, proxyUnit, got, want)
		}
	}
}

// ask sends one request through the proxy, by a connection of its own, and
// returns the slot that answered.
func (s *server) ask() (slot string, err error) {
	req, err := http.NewRequestWithContext(context.Background(), "POST", "http://"+serviceAddr+"/api/v1/echo", strings.NewReader("{}"))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/json")
	return s.do(req)
}

func (s *server) get(url string) (slot string, err error) {
	req, err := http.NewRequestWithContext(context.Background(), "GET", url, nil)
	if err != nil {
		return "", err
	}
	return s.do(req)
}

func (s *server) do(req *http.Request) (slot string, err error) {
	resp, err := s.client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, body)
	}
	return resp.Header.Get("X-Slot"), err
}

// slotRelease is what the example units run: dist/src/index.js, which says who
// it is and starts the sample app.
func slotRelease(t *testing.T, slot string) string {
	t.Helper()
	dir := t.TempDir()
	index := fmt.Sprintf("process.env.SLOT = '%s';\nimport('/opt/sample-app/server.js');\n", slot)
	err := errors.Join(os.MkdirAll(filepath.Join(dir, "dist/src"), 0o755),
		os.WriteFile(filepath.Join(dir, "dist/src/index.js"), []byte(index), 0o644))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}
