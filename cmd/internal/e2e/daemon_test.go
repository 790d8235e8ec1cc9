package e2e

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
)

// daemon is one charactier-proxy with a service "backend" on two slots.
type daemon struct {
	*process
	t      *testing.T
	dir    string // config file, state, control socket
	addr   string // of the service
	admin  string
	socket string
	api    *control.Client
	// passed is a listener that outlives the process, as systemd's does; nil: the
	// daemon opens its own.
	passed  *net.TCPListener
	program string // where the daemon is installed; empty: where it was built
	// by is what starts the program and becomes it: a command and its arguments.
	by []string
}

// startDaemon runs the daemon before two addresses; more is YAML of the
// service, in a line of its own each.
func startDaemon(t *testing.T, blue, green string, more ...string) *daemon {
	t.Helper()
	d := newDaemon(t, freeAddr(t), blue, green, more...)
	d.start()
	return d
}

// newDaemon writes the configuration and starts nothing yet.
func newDaemon(t *testing.T, listen, blue, green string, more ...string) *daemon {
	t.Helper()
	dir := shortDir(t)
	d := &daemon{
		t: t, dir: dir, addr: listen, admin: freeAddr(t), socket: filepath.Join(dir, "control.sock"),
		api: &control.Client{Socket: filepath.Join(dir, "control.sock")},
	}
	service := ""
	for _, line := range more {
		service += "    " + line + "\n"
	}
	d.configure(fmt.Sprintf(`services:
  backend:
    listen: %s
    slots:
      blue: {address: "%s", unit: ""}
      green: {address: "%s", unit: ""}
    health: {interval: 200ms}
%sadmin: {listen: %s}
control: {group: ""}
`, d.addr, blue, green, service, d.admin))
	return d
}

func (d *daemon) configure(yaml string) {
	d.t.Helper()
	if err := os.WriteFile(d.configFile(), []byte(yaml), 0o600); err != nil {
		d.t.Fatal(err)
	}
}

func (d *daemon) configFile() string { return filepath.Join(d.dir, "config.yaml") }

// start runs the daemon, for the first time or again, and waits until it is
// ready.
func (d *daemon) start() {
	d.t.Helper()
	d.launch()
	d.awaitReady()
}

func (d *daemon) launch() {
	d.t.Helper()
	args := []string{"--config", d.configFile(), "--state-dir", filepath.Join(d.dir, "state"), "--socket", d.socket}
	cmd := exec.Command(cmp.Or(d.program, built.daemon), args...)
	if d.passed != nil {
		cmd = d.activated(args)
	}
	if d.by != nil {
		cmd = exec.Command(d.by[0], slices.Concat(d.by[1:], []string{built.daemon}, args)...)
	}
	cmd.Env = append(cmd.Environ(), "GORACE=halt_on_error=1")
	p := start(d.t, "charactier-proxy", cmd)
	d.t.Cleanup(func() {
		if strings.Contains(p.tail(), "WARNING: DATA RACE") {
			d.t.Error("the race detector found something in charactier-proxy")
		}
	})
	d.process = p
}

// activated passes the listener in the manner of systemd. LISTEN_PID must be
// the daemon's own, which only a process that becomes it can know.
func (d *daemon) activated(args []string) *exec.Cmd {
	d.t.Helper()
	file, err := d.passed.File()
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { file.Close() })
	script := `LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=backend exec "$0" "$@"`
	cmd := exec.Command("/bin/sh", append([]string{"-c", script, built.daemon}, args...)...)
	cmd.ExtraFiles = []*os.File{file}
	return cmd
}

func (d *daemon) awaitReady() {
	d.t.Helper()
	eventually(d.t, "the daemon is ready and both slots are probed", func() error {
		if d.ended() {
			d.t.Fatalf("charactier-proxy has ended: %s\n%s", d.cmd.ProcessState, d.tail())
		}
		if err := ready(d.admin); err != nil {
			return err
		}
		for name, s := range d.slots() {
			if s.Health.State == "unknown" {
				return fmt.Errorf("%s is not probed yet", name)
			}
		}
		return nil
	})
}

func ready(admin string) error {
	resp, err := http.Get("http://" + admin + "/readyz")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, err := io.ReadAll(resp.Body)
		return errors.Join(fmt.Errorf("readyz: %s: %s", resp.Status, text), err)
	}
	return nil
}

// awaitHealth waits until the daemon thinks so of the slot.
func (d *daemon) awaitHealth(slot switcher.Slot, state string) {
	d.t.Helper()
	eventually(d.t, string(slot)+" is "+state, func() error {
		if got := d.slots()[slot].Health; got.State != state {
			return fmt.Errorf("it is %s: %s", got.State, got.Error)
		}
		return nil
	})
}

func (d *daemon) status() control.ServiceStatus {
	d.t.Helper()
	s, err := d.api.Status(d.t.Context())
	if err != nil {
		d.t.Fatal(err)
	}
	return s.Services[0]
}

func (d *daemon) slots() map[switcher.Slot]control.SlotStatus {
	d.t.Helper()
	slots := map[switcher.Slot]control.SlotStatus{}
	for _, s := range d.status().Slots {
		slots[s.Name] = s
	}
	return slots
}

// switchTo moves the traffic by the control socket.
func (d *daemon) switchTo(to switcher.Slot, drain time.Duration) switcher.Record {
	d.t.Helper()
	r, err := d.api.Switch(context.Background(), control.SwitchRequest{To: to, Wait: patience, Drain: drain})
	if err != nil {
		d.t.Fatalf("switching to %s: %v", to, err)
	}
	return r
}

// ctl runs charactier-proxyctl and returns its outputs and exit code.
func (d *daemon) ctl(args ...string) (stdout, stderr string, code int) {
	d.t.Helper()
	cmd := exec.Command(built.ctl, append([]string{"--socket", d.socket}, args...)...)
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		d.t.Fatalf("running charactier-proxyctl %s: %v", strings.Join(args, " "), err)
	}
	return out.String(), problems.String(), cmd.ProcessState.ExitCode()
}

// shortDir is a directory whose name is short enough for a unix socket in it
// (107 bytes), which t.TempDir's need not be.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "cp-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
