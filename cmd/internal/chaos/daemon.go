package chaos

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"text/template"
	"time"

	"charactier-proxy/switcher/control"
)

// stopTime is server.shutdown_timeout: longer than anything that visitors do.
const stopTime = 10 * time.Second

// holdTime is hold.time: shorter than a slot may be away, so that some wait in
// vain.
const holdTime = 3 * time.Second

// settings are what reloads change.
type settings struct {
	Services []serviceSettings
	FastLane bool
	Extra    string // the address of a service that comes and goes; empty: it is gone
	Broken   bool
	StopTime time.Duration
	HoldTime time.Duration
	// AccessLog is what the daemon has to say of each request.
	AccessLog string
}

type serviceSettings struct{ Name, Listen, Blue, Green string }

// configTemplate trusts 127.0.0.1 only, so that a client from 127.0.0.2 is a
// stranger.
var configTemplate = template.Must(template.New("config").Parse(`services:
{{- range .Services}}
  {{.Name}}:
    listen: {{.Listen}}
    slots:
      blue: {address: "{{.Blue}}", unit: ""}
      green: {address: "{{.Green}}", unit: ""}
    health: {interval: 200ms}
    timeouts: {connect: 2s, response_header: 20s}
    hold: {time: {{$.HoldTime}}}
    drain_timeout: 2s
{{- end}}
{{- with .Extra}}
  extra:
    listen: {{.}}
    slots:
      blue: {address: "127.0.0.1:1", unit: ""}
      green: {address: "127.0.0.1:2", unit: ""}
{{- end}}
server: {shutdown_timeout: {{.StopTime}}, fast_lane: {{.FastLane}}}
trusted_peers: [127.0.0.1/32]
admin: {listen: ""}
control: {group: ""}
log: {level: info, format: console}
access_log: {enabled: true, path: "{{.AccessLog}}"}
{{- if .Broken}}
service: [this is not a configuration
{{- end}}
`))

// daemon is the charactier-proxy under test. We hold its listeners, as systemd
// does, so that they outlive it.
type daemon struct {
	opts      *Options
	listeners []*net.TCPListener // in the order of the services
	names     []string
	api       *control.Client
	versions  int    // of the configuration
	begun     moment // its life
	*process
}

func newDaemon(o *Options, services []string) (*daemon, error) {
	d := &daemon{opts: o, names: services, api: &control.Client{Socket: filepath.Join(o.Dir, "control.sock")}}
	for range services {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, errors.Join(err, d.close())
		}
		d.listeners = append(d.listeners, l.(*net.TCPListener))
	}
	return d, nil
}

func (d *daemon) close() (err error) {
	for _, l := range d.listeners {
		err = errors.Join(err, l.Close())
	}
	return err
}

func (d *daemon) addr(service int) string { return d.listeners[service].Addr().String() }

func (d *daemon) stateDir() string   { return filepath.Join(d.opts.Dir, "state") }
func (d *daemon) configFile() string { return filepath.Join(d.opts.Dir, "config.yaml") }
func (d *daemon) accessLog() string  { return filepath.Join(d.opts.Dir, "access.log") }
func (d *daemon) log() string        { return filepath.Join(d.opts.Dir, "charactier-proxy.log") }

// start runs the next life and waits until it answers on its control socket.
// LISTEN_PID must be the daemon's own, which only a process that becomes it can
// know.
func (d *daemon) start(ctx context.Context) (err error) {
	script := fmt.Sprintf(`LISTEN_PID=$$ LISTEN_FDS=%d LISTEN_FDNAMES=%s exec "$0" "$@"`, len(d.names), strings.Join(d.names, ":"))
	cmd := exec.Command("/bin/sh", "-c", script, d.opts.Daemon,
		"--config", d.configFile(), "--state-dir", d.stateDir(), "--socket", d.api.Socket)
	for _, l := range d.listeners {
		file, err := l.File()
		if err != nil {
			return err
		}
		defer file.Close()
		cmd.ExtraFiles = append(cmd.ExtraFiles, file)
	}
	cmd.Env = append(os.Environ(), "GORACE=halt_on_error=1")
	d.begun = now()
	if d.process, err = spawn("charactier-proxy", d.log(), cmd); err != nil {
		return err
	}
	return d.awaitReady(ctx)
}

func (d *daemon) awaitReady(ctx context.Context) error {
	err := eventually(ctx, func() error {
		if d.ended() {
			return nil
		}
		_, err := d.api.Version(ctx)
		return err
	})
	if d.ended() {
		return fmt.Errorf("charactier-proxy has ended: %s", d.cmd.ProcessState)
	}
	return err
}

// configure writes a configuration, by a rename of the file itself or of a
// symbolic link to it.
func (d *daemon) configure(s settings, byLink bool) error {
	d.versions++
	version := filepath.Join(d.opts.Dir, fmt.Sprintf("config-%d.yaml", d.versions))
	f, err := os.OpenFile(version, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	s.StopTime, s.HoldTime, s.AccessLog = stopTime, holdTime, d.accessLog()
	if err := errors.Join(configTemplate.Execute(f, s), f.Close()); err != nil {
		return err
	}
	if byLink {
		target := version
		version += ".link"
		if err := os.Symlink(filepath.Base(target), version); err != nil {
			return err
		}
	}
	return os.Rename(version, d.configFile())
}

func (d *daemon) hangUp() { d.signal(syscall.SIGHUP) }
