package e2e

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"charactier-proxy/systemd"
)

// sleeper is a service that runs and may be enabled.
const sleeper = "[Service]\nType=exec\nExecStart=/bin/sleep 1000\n[Install]\nWantedBy=multi-user.target\n"

func TestTheDaemonsUserMayMoveOnlyWorkers(t *testing.T) {
	workers := []string{"charactier-worker-blue.service", "charactier-mail-worker-green.service", "charactier-worker@blue.service", "charactier-mail-worker@green.service"}
	others := []string{
		"charactier-backend-green.service", "charactier-worker-red.service", "charactier-worker-blue-2.service", "worker-blue.service",
		"xcharactier-worker-blue.service", "charactier-proxy-reconcile.service", `charactier-\x2d-worker-blue.service`,
	}
	if part() == outside {
		program(t, "pkcheck", "polkitd")
		files := shippedUnits(t)
		for _, unit := range append(workers, others...) {
			files["/etc/systemd/system/"+unit] = sleeper
		}
		files["/etc/systemd/system/masked.service"] = sleeper
		// What the daemon's hardening leaves it: the bus, and polkit's consent.
		files["/etc/systemd/system/hardened.service"] = hardenedAsTheDaemon(t, "/bin/systemctl --no-ask-password start "+workers[0])
		box := bootForParts(t, files)
		runPart(t, box, "as the daemon", "charactier-proxy")
		box.Run("systemctl", "start", "hardened.service")
		box.Run("systemctl", "is-active", "--quiet", workers[0])
		return
	}
	u := connectUnits(t)
	for _, unit := range workers {
		if err := errors.Join(u.Start(t.Context(), unit), u.Stop(t.Context(), unit)); err != nil {
			t.Error(err)
		}
		if s, err := u.State(t.Context(), unit); s.ActiveState != "inactive" || err != nil {
			t.Errorf("%s is %s, %v", unit, s.ActiveState, err)
		}
	}
	denied := func(what string, err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), "may not do it: run it as root, or let polkit allow it") {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, unit := range others {
		denied("starting "+unit, u.Start(t.Context(), unit))
		denied("stopping "+unit, u.Stop(t.Context(), unit))
	}
	denied("enabling a worker", u.Enable(t.Context(), workers[0]))
	denied("disabling a slot", u.Disable(t.Context(), others[0]))
	denied("a reload", u.Reload(t.Context()))
	// Of its own making and as root: that must never be a worker.
	denied("a command", u.Run(t.Context(), systemd.Command{Unit: "charactier-evil-worker-blue.service", Argv: []string{"/bin/true"}}))
}

// hardenedAsTheDaemon is the daemon's unit with another program.
func hardenedAsTheDaemon(t *testing.T, command string) string {
	t.Helper()
	var lines []string
	for line := range strings.Lines(shippedUnits(t)["/etc/systemd/system/"+proxyUnit]) {
		key, _, _ := strings.Cut(line, "=")
		switch key {
		case "Requires", "Sockets", "ExecStart", "ExecReload", "Type", "NotifyAccess", "Restart", "WatchdogSec", "Also":
		default:
			lines = append(lines, line)
		}
	}
	text := strings.Join(lines, "")
	return strings.Replace(text, "[Service]\n", "[Service]\nType=oneshot\nExecStart="+command+"\n", 1)
}

func TestTheReconcileUnitFollowsTheState(t *testing.T) {
	files := shippedUnits(t)
	files["/etc/systemd/system/charactier-backend-blue.service"] = sleeper
	files["/etc/systemd/system/charactier-backend-green.service"] = sleeper
	// What the verb does, as far as the unit's hardening has to allow it: read the
	// state and the control socket's directory, change units, and no more.
	files["/etc/systemd/system/charactier-proxy-reconcile.service.d/test.conf"] = `
[Service]
ExecStart=
ExecStart=/bin/sh -ec 'slot=$(cat /var/lib/charactier-proxy/state.json); \
	test -x /run/charactier-proxy; curl --silent --fail --unix-socket /run/charactier-proxy/control.sock http://localhost/ >/dev/null; \
	if touch /var/lib/charactier-proxy/x /run/x /etc/x /tmp/../root/x; then exit 9; fi; \
	systemctl disable --quiet charactier-backend-blue.service charactier-backend-green.service; \
	systemctl enable --quiet charactier-backend-$slot.service; systemctl stop charactier-worker-blue.service'
`
	// Once a minute as shipped; the test has no time for that.
	files["/etc/systemd/system/charactier-proxy-reconcile.timer.d/test.conf"] = "[Timer]\nOnUnitActiveSec=2s\nAccuracySec=100ms\n"
	socket := "/etc/systemd/system/" + controlSocket
	files[socket] = strings.Replace(files[socket], "Service="+proxyUnit, "Accept=yes", 1)
	files["/etc/systemd/system/charactier-proxy-control@.service"] = `
[Service]
StandardInput=socket
ExecStart=/bin/sh -c 'sed /^.$$/q >/dev/null; printf "HTTP/1.0 200 OK\\r\\n\\r\\n"'
`
	files["/etc/systemd/system/charactier-worker-blue.service"] = sleeper
	box := bootForParts(t, files)
	box.Run("install", "-d", "-o", "charactier-proxy", "-m", "0700", "/var/lib/charactier-proxy")
	box.Run("systemctl", "enable", "--quiet", "charactier-proxy-reconcile.path") // and the timer with it
	box.Run("systemctl", "start", "charactier-proxy-control.socket", "charactier-proxy-reconcile.path")

	// As the daemon writes it: beside, and then over the old one.
	write := func(slot string) {
		box.Write("/var/lib/charactier-proxy/state.json.new", slot)
		box.Run("mv", "/var/lib/charactier-proxy/state.json.new", "/var/lib/charactier-proxy/state.json")
	}
	enabled := func(slot string) {
		t.Helper()
		box.Eventually(slot+" is enabled", func() error {
			out, _ := box.Command(t.Context(), "systemctl", "is-enabled", "charactier-backend-blue", "charactier-backend-green").Output()
			if want := map[string]string{"blue": "enabled\ndisabled\n", "green": "disabled\nenabled\n"}[slot]; string(out) != want {
				return fmt.Errorf("they are %q", out)
			}
			return nil
		})
	}
	for range 2 {
		for _, slot := range []string{"green", "blue"} {
			write(slot)
			enabled(slot)
			box.Eventually("the service has ended", func() error {
				if state, err := box.Command(t.Context(), "systemctl", "is-active", "charactier-proxy-reconcile").Output(); err == nil || string(state) != "inactive\n" {
					return fmt.Errorf("it is %s", state)
				}
				return nil
			})
		}
	}
	// Faster than it can follow, so that changes are missed; the last one counts.
	box.Run("systemctl", "start", "charactier-proxy-reconcile.timer")
	for range 15 {
		write("blue")
		write("green")
	}
	enabled("green")
	box.Reboot()
	box.Run("systemctl", "is-active", "charactier-proxy-reconcile.path", "charactier-proxy-reconcile.timer", "charactier-backend-green")
}
