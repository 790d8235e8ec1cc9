package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"charactier-proxy/cmd/internal/doctor"
	"charactier-proxy/switcher"
)

// examination is what doctor --json prints.
type examination struct {
	Findings []doctor.Finding     `json:"findings"`
	Counts   map[doctor.Level]int `json:"counts"`
}

// has says whether something of the kind was found.
func (e examination) has(level doctor.Level, check, says string) bool {
	for _, f := range e.Findings {
		if f.Level == level && f.Check == check && strings.Contains(f.Text, says) {
			return true
		}
	}
	return false
}

func (e examination) String() string {
	var b strings.Builder
	for _, f := range e.Findings {
		if f.Level != doctor.OK {
			fmt.Fprintf(&b, "%s %s %s %s: %s\n", f.Level, f.Service, f.Slot, f.Check, f.Text)
		}
	}
	return b.String()
}

// doctor runs the command, by another one if that is given.
func (s *server) doctor(by ...string) (e examination, failed bool) {
	s.t.Helper()
	cmd := s.Command(s.t.Context(), append(by, "charactier-proxyctl", "doctor", "--json")...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if jsonErr := json.Unmarshal(out, &e); jsonErr != nil {
		s.t.Fatalf("doctor: %v, %v: %s%s", err, jsonErr, out, &stderr)
	}
	return e, err != nil
}

// bootForDoctor is a machine on which nothing fails: blue is active, green is
// stopped, nginx sends to the proxy.
func bootForDoctor(t *testing.T) *server {
	t.Helper()
	program(t, "nginx", "nginx-light")
	s := bootServer(t)
	s.Run("systemctl", "disable", "--quiet", "--now", "charactier-backend-green")
	s.Run("systemctl", "enable", "--quiet", "--now", trafficSocket, controlSocket, proxyUnit)
	s.Run("mkdir", "-p", "/var/log/nginx", "/var/lib/nginx")
	s.Write("/etc/nginx/nginx.conf", "user root;\npid /run/nginx.pid;\nevents {}\nhttp {\n  include /etc/nginx/conf.d/*.conf;\n}\n")
	s.Write("/etc/nginx/conf.d/site.conf", `server {
  listen 127.0.0.1:8080;
  location /api/ {
    proxy_pass http://backend;
    proxy_http_version 1.1;
    proxy_set_header Connection 'upgrade';
    proxy_set_header X-Forwarded-For $remote_addr;
  }
}
`)
	s.upstream("server 127.0.0.1:5080; keepalive 32;")
	return s
}

const upstreamFile = "/etc/nginx/conf.d/charactier-backend-upstream.conf"

func (s *server) upstream(block string) {
	s.Write(upstreamFile, "upstream backend { "+block+" }\n")
}

// dropIn changes a unit until the returned function is called.
func (s *server) dropIn(unit, text string) (undo func()) {
	s.t.Helper()
	path := "/run/systemd/system/" + unit + ".d/planted.conf"
	s.Write(path, text)
	s.Run("systemctl", "daemon-reload")
	return func() {
		s.Run("rm", path)
		s.Run("systemctl", "daemon-reload")
		s.Command(s.t.Context(), "systemctl", "reset-failed", unit).Run() // it may not have failed
	}
}

const blueUnit, greenUnit = "charactier-backend-blue.service", "charactier-backend-green.service"

// answers waits until an address is listened on.
func (s *server) answers(address string) {
	s.t.Helper()
	s.Eventually(address+" is open", func() error {
		conn, err := s.Dial(s.t.Context(), "tcp", address)
		if err != nil {
			return err
		}
		return conn.Close()
	})
}

// listenOn is a program for node.
func listenOn(port, answer string) string {
	return "require('http').createServer((q, r) => {" + answer + "}).listen(" + port + ", '127.0.0.1')"
}

// Each fault is planted into a real machine and mended again, so that at the end
// nothing fails once more.
func TestTheDoctorFindsWhatIsPlanted(t *testing.T) {
	s := bootForDoctor(t)
	stop := func(unit string) func() { return func() { s.Run("systemctl", "stop", unit) } }
	for _, p := range []struct {
		name        string
		level       doctor.Level
		check, says string
		plant       func() (mend func())
	}{
		{"a stranger has the port", doctor.Fail, "port", "stranger: node (pid ", func() func() {
			s.Run("systemd-run", "--quiet", "--unit=stranger", "node", "-e", listenOn("5001", "r.end()"))
			s.answers("127.0.0.1:5001")
			return stop("stranger")
		}},
		{"the health route is missing", doctor.Warn, "health", "no such route", func() func() {
			undo := s.dropIn(greenUnit, "[Service]\nExecStart=\nExecStart=/usr/bin/node -e \""+listenOn("5001", "r.statusCode = 404; r.end()")+"\"\n")
			s.Run("systemctl", "start", greenUnit)
			s.answers("127.0.0.1:5001")
			return func() { stop(greenUnit)(); undo() }
		}},
		{"the file of variables has the wrong port", doctor.Fail, "environment", "/etc/charactier/wrong.env sets PORT=5000", func() func() {
			s.Write("/etc/charactier/wrong.env", "PORT=5000\n")
			return s.dropIn(greenUnit, "[Service]\nEnvironmentFile=/etc/charactier/wrong.env\n")
		}},
		{"the file of variables is missing", doctor.Fail, "environment", "/etc/charactier/none.env, which is not there", func() func() {
			return s.dropIn(greenUnit, "[Service]\nEnvironmentFile=/etc/charactier/none.env\n")
		}},
		{"the unit fails", doctor.Fail, "unit", "has failed, result exit-code; its last words: ", func() func() {
			undo := s.dropIn(greenUnit, "[Service]\nRestart=no\nExecStart=\nExecStart=/usr/bin/node /nowhere.js\n")
			s.Command(t.Context(), "systemctl", "start", greenUnit).Run() // it ends at once, or a little later
			s.Eventually("green has failed", func() error {
				if out, _ := s.Command(t.Context(), "systemctl", "is-failed", greenUnit).Output(); strings.TrimSpace(string(out)) != "failed" {
					return fmt.Errorf("it is %s", out)
				}
				return nil
			})
			return undo
		}},
		{"the unit is masked", doctor.Fail, "unit", "is masked", func() func() {
			path := "/etc/systemd/system/" + greenUnit
			s.Run("mv", path, "/var/tmp/kept")
			s.Run("systemctl", "mask", "--quiet", greenUnit)
			return func() {
				s.Run("systemctl", "unmask", "--quiet", greenUnit)
				s.Run("mv", "/var/tmp/kept", path)
				s.Run("systemctl", "daemon-reload")
			}
		}},
		{"both units are enabled", doctor.Warn, "enabled units", "both units are enabled", func() func() {
			s.Run("systemctl", "enable", "--quiet", greenUnit)
			return func() { s.Run("systemctl", "disable", "--quiet", greenUnit) }
		}},
		{"no unit is enabled", doctor.Fail, "enabled units", "after a reboot nothing answers", func() func() {
			s.Run("systemctl", "disable", "--quiet", blueUnit)
			return func() { s.Run("systemctl", "enable", "--quiet", blueUnit) }
		}},
		{"both units run from one directory", doctor.Fail, "directories", "both units run from /srv/charactier/backend/blue", func() func() {
			return s.dropIn(greenUnit, "[Service]\nWorkingDirectory=/srv/charactier/backend/blue\n")
		}},
		{"nginx still points at a slot", doctor.Fail, "nginx route", upstreamFile + ":1: the upstream still sends to 127.0.0.1:5001", func() func() {
			s.upstream("server 127.0.0.1:5001; # server 127.0.0.1:5000;\r\n")
			return func() { s.upstream("server 127.0.0.1:5080; keepalive 32;") }
		}},
		{"nginx keeps connections longer than we do", doctor.Fail, "nginx keep-alive", "for 5m0s, and the proxy closes them after 2m0s", func() func() {
			s.upstream("server 127.0.0.1:5080; keepalive 32; keepalive_timeout 300s;")
			return func() { s.upstream("server 127.0.0.1:5080; keepalive 32;") }
		}},
		{"nginx does not find its upstream", doctor.Fail, "nginx", "no such upstream", func() func() {
			s.Run("mv", upstreamFile, "/var/tmp/kept")
			return func() { s.Run("mv", "/var/tmp/kept", upstreamFile) }
		}},
		{"somebody goes past us", doctor.Fail, "bypass", " of charactier-frontend.service) is connected to 127.0.0.1:5000", func() func() {
			s.Run("systemd-run", "--quiet", "--unit=charactier-frontend", "node", "-e", "require('net').connect(5000, '127.0.0.1', () => console.log('connec' + 'ted')); setInterval(() => {}, 1000)")
			// systemd's own line repeats the command.
			s.Eventually("the frontend is connected", func() error {
				if !strings.Contains(s.Run("journalctl", "--unit=charactier-frontend", "--output=cat"), "connected") {
					return errors.New("not yet")
				}
				return nil
			})
			return stop("charactier-frontend")
		}},
		{"a unit names a slot", doctor.Warn, "address written down", "/etc/systemd/system/charactier-frontend.service:2: Environment BACKEND_URL names 127.0.0.1:5000", func() func() {
			s.Write("/etc/systemd/system/charactier-frontend.service", "[Service]\nEnvironment=BACKEND_URL=http://localhost:5000/api\nExecStart=/bin/true\n")
			return func() { s.Run("rm", "/etc/systemd/system/charactier-frontend.service") }
		}},
		{"the old single unit is enabled", doctor.Fail, "old unit", "charactier-backend.service, from before", func() func() {
			s.Write("/etc/systemd/system/charactier-backend.service", "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n")
			s.Run("systemctl", "enable", "--quiet", "charactier-backend")
			return func() {
				s.Run("systemctl", "disable", "--quiet", "charactier-backend")
				s.Run("rm", "/etc/systemd/system/charactier-backend.service")
				s.Run("systemctl", "daemon-reload")
			}
		}},
		{"the disk is full", doctor.Fail, "disk", "/var/lib/charactier-proxy, which holds the state, has ", func() func() {
			s.Run("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", "/var/lib/charactier-proxy")
			return func() { s.Run("umount", "/var/lib/charactier-proxy") }
		}},
		{"everybody is trusted", doctor.Fail, "trusted peers", "0.0.0.0/0: everybody", func() func() {
			s.Write(configPath, "trusted_peers: [0.0.0.0/0]\n")
			s.Run("charactier-proxyctl", "reload")
			return func() { s.Run("rm", configPath); s.Run("systemctl", "restart", proxyUnit) }
		}},
		{"the daemon refused a file", doctor.Fail, "configuration", "listne", func() func() {
			s.Write(configPath, "services: {backend: {listne: 1}}\n")
			s.Command(t.Context(), "charactier-proxyctl", "reload").Run() // which is refused
			return func() { s.Run("rm", configPath); s.Run("systemctl", "restart", proxyUnit) }
		}},
		{"the daemon is stopped", doctor.Fail, "daemon", "not reachable", func() func() {
			s.Run("systemctl", "stop", trafficSocket, controlSocket, proxyUnit)
			return func() { s.Run("systemctl", "start", trafficSocket, controlSocket, proxyUnit) }
		}},
	} {
		mend := p.plant()
		if got, failed := s.doctor(); !got.has(p.level, p.check, p.says) || failed != (got.Counts[doctor.Fail] > 0) {
			t.Errorf("%s: nothing of level %s says %q of %s (failed: %v); found:\n%s", p.name, p.level, p.says, p.check, failed, got)
		}
		mend()
	}
	if got, failed := s.doctor(); failed {
		t.Errorf("all is mended, and there is still:\n%s", got)
	}
}

func TestTheDoctorSeesAClockThatWentBack(t *testing.T) {
	s := bootForDoctor(t)
	s.Run("systemctl", "stop", trafficSocket, controlSocket, proxyUnit)
	dir := filepath.Join(t.TempDir(), "state")
	store, err := switcher.OpenFileStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	later := switcher.State{Generation: 9, Services: map[string]switcher.ServiceState{
		"backend": {Active: switcher.Blue, Since: time.Now().Add(48 * time.Hour), Generation: 9},
	}}
	if err := errors.Join(store.Save(later), store.Close()); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "state.json"))
	if err != nil {
		t.Fatal(err)
	}
	s.Write("/var/lib/charactier-proxy/state.json", string(text))
	s.Run("chown", "charactier-proxy:", "/var/lib/charactier-proxy/state.json")
	s.Run("chmod", "600", "/var/lib/charactier-proxy/state.json")
	for _, running := range []bool{false, true} {
		if running {
			s.Run("systemctl", "start", trafficSocket, controlSocket, proxyUnit)
		}
		if got, failed := s.doctor(); !failed || !got.has(doctor.Fail, "clock", "the newest switch of backend was at") {
			t.Errorf("with the daemon running (%v):\n%s", running, got)
		}
	}
}

func TestTheDoctorSaysWhatItCannotSee(t *testing.T) {
	s := bootForDoctor(t)
	got, _ := s.doctor("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups")
	for _, check := range []string{"port", "bypass", "nginx route", "state"} {
		if !got.has(doctor.Skipped, check, "") {
			t.Errorf("%s is not told as skipped", check)
		}
	}
	if !got.has(doctor.Fail, "daemon", "permission denied") {
		t.Errorf("who may not use the control socket is not told so:\n%s", got)
	}
	// For people: a heading, the mends, the count.
	out := s.Run("charactier-proxyctl", "doctor", "--all")
	for _, want := range []string{"machine\n", "\nbackend\n", "  ok   blue port: ", " fine"} {
		if !strings.Contains(out, want) {
			t.Errorf("doctor --all lacks %q:\n%s", want, out)
		}
	}
}
