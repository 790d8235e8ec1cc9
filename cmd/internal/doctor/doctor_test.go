package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"charactier-proxy/cmd/internal/config"
	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
)

const (
	blueUnit  = "charactier-backend-blue.service"
	greenUnit = "charactier-backend-green.service"
)

// sound is a machine on which all is well: blue is active, green is stopped.
func sound() *Facts {
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	cfg := config.Default()
	cfg.Deploy.Repository = "/srv/git/app.git"
	svc := &Service{
		Name: "backend", Config: cfg.Services["backend"], Active: switcher.Blue, Since: now.Add(-24 * time.Hour),
		Door: Answer{Asked: true, Status: 200}, Old: Unit{Name: "charactier-backend.service", Load: "not-found"}, Shared: []File{{Path: "/srv/charactier/shared/backend/.env"}},
	}
	for _, name := range []switcher.Slot{switcher.Blue, switcher.Green} {
		place := svc.Config.Slots[string(name)]
		unit := Unit{
			Name: place.Unit, Load: "loaded", Active: "inactive", Sub: "dead", Result: "success", Enabled: "disabled", Since: now.Add(-24 * time.Hour),
			Environment: []string{"NODE_ENV=production", "PORT=" + port(place.Address)},
			Variables:   []EnvironmentFile{{Path: "/etc/charactier/backend.env", Text: Text{Path: "/etc/charactier/backend.env", Unit: place.Unit, Content: "# secrets\nMONGO_URL=mongodb://localhost:27017\n"}}},
			Directory:   place.Link, StopTimeout: 35 * time.Second,
			Files: []Text{{"/etc/systemd/system/" + place.Unit, place.Unit, "# a comment of its own" + strings.Repeat("!", len(name)) + "\n[Service]\nWorkingDirectory=" + place.Link + "\nEnvironment=PORT=" + port(place.Address) + "\n"}},
		}
		svc.Slots = append(svc.Slots, &Slot{
			Name: name, Address: place.Address, Unit: unit, Owner: Owner{Nobody: true},
			Link: Link{Path: place.Link, Target: "/srv/charactier/releases/1/backend", Real: "/srv/charactier/releases/1/backend"},
		})
	}
	start(svc.Slots[0])
	svc.Slots[0].Active, svc.Slots[0].Unit.Enabled = true, "enabled"
	own := map[string]Unit{}
	for _, name := range ownUnits() {
		own[name] = Unit{Name: name, Load: "loaded", Active: "active", Enabled: "enabled"}
	}
	own[reconcileUnit] = Unit{Name: reconcileUnit, Load: "loaded", Active: "inactive", Enabled: "static"}
	return &Facts{
		Now: now, Root: true, ConfigPath: "/etc/charactier-proxy/config.yaml", Config: cfg,
		ConfigFile: File{Path: "/etc/charactier-proxy/config.yaml", Mode: 0o644, Changed: now.Add(-48 * time.Hour)},
		Daemon: Daemon{Status: control.Status{
			PID: 77, Started: now.Add(-25 * time.Hour), Config: control.ConfigStatus{Path: "/etc/charactier-proxy/config.yaml", Loaded: now.Add(-25 * time.Hour)},
		}},
		StateDir: "/var/lib/charactier-proxy", State: State{Dir: File{Path: "/var/lib/charactier-proxy", Mode: fs.ModeDir | 0o700}},
		Socket: File{Path: "/run/charactier-proxy/control.sock", Mode: fs.ModeSocket | 0o660}, RunDir: File{Path: "/run/charactier-proxy", Mode: fs.ModeDir | 0o750},
		Own: own, Services: []*Service{svc}, Nginx: Nginx{Directives: ParseNginx(soundNginx)},
		Disks: []Disk{{Path: "/var/lib/charactier-proxy", Holds: "the state", Free: 1 << 30, Need: stateNeeds, Inodes: 1 << 20}},
		Clock: Clock{Synchronised: true}, Deploy: File{Path: "/srv/charactier", Mode: fs.ModeDir | 0o755}, Deep: true,
	}
}

// start makes a slot run well.
func start(s *Slot) {
	s.Unit.Active, s.Unit.Sub, s.Unit.PID = "active", "running", 500
	s.Owner = Owner{Process: Process{500, "node", s.Unit.Name}}
	s.Answer = Answer{Asked: true, Status: 200, Healthy: true, KeepIdle: 5 * time.Second}
}

const soundNginx = `# configuration file /etc/nginx/nginx.conf:
http {
    proxy_http_version 1.1;
    include conf.d/*.conf;
}
# configuration file /etc/nginx/conf.d/charactier-backend-upstream.conf:
upstream backend { server 127.0.0.1:5080; keepalive 32; }
# configuration file /etc/nginx/conf.d/site.conf:
server {
    server_name example.jp;
    location /api/ {
        proxy_pass http://backend; # a comment; with { marks
        proxy_set_header Connection 'upgrade';
        proxy_set_header X-Forwarded-For $remote_addr;
    }
}
`

// nginxWith is the sound configuration with one text replaced.
func nginxWith(old, by string) Nginx {
	return Nginx{Directives: ParseNginx(strings.Replace(soundNginx, old, by, 1))}
}

func TestASoundMachineHasNoFindings(t *testing.T) {
	for _, f := range Examine(sound()) {
		if f.Level == Warn || f.Level == Fail {
			t.Errorf("%+v", f)
		}
		if f.Text == "" || f.Check == "" {
			t.Errorf("a finding without words: %+v", f)
		}
	}
}

func blue(f *Facts) *Slot  { return f.Services[0].Slots[0] }
func green(f *Facts) *Slot { return f.Services[0].Slots[1] }

func unreachable(why string) error { return fmt.Errorf("%w: %s", control.ErrUnreachable, why) }

func TestEachPlantedFaultIsFound(t *testing.T) {
	for _, p := range plantings() {
		t.Run(p.name, func(t *testing.T) {
			f := sound()
			p.fault(f)
			var others []string
			for _, got := range Examine(f) {
				if got.Level != p.level || got.Check != p.check {
					others = append(others, fmt.Sprintf("%s %s: %s (%s)", got.Level, got.Check, got.Text, got.Mend))
					continue
				}
				if strings.Contains(got.Text, p.says) && strings.Contains(got.Mend, p.mend) {
					return
				}
				others = append(others, fmt.Sprintf("%s %s: %s (%s)", got.Level, got.Check, got.Text, got.Mend))
			}
			t.Errorf("nothing of level %s says %q with a mend of %q; found:\n%s", p.level, p.says, p.mend, strings.Join(others, "\n"))
		})
	}
}

func TestEachCheckHasAPlanting(t *testing.T) {
	for _, c := range Checks() {
		if !slices.ContainsFunc(plantings(), func(p planting) bool { return p.check == c.Name }) {
			t.Errorf("no fault is planted for the check %q", c.Name)
		}
	}
}

// What looks like a fault and is none.
func TestWhatIsAllRightIsLeftAlone(t *testing.T) {
	for name, change := range map[string]func(*Facts){
		"a first start": func(f *Facts) { f.Daemon.Status.State.Note = "first start: backend is on blue" },
		"a standby that somebody is about to use": func(f *Facts) {
			start(green(f))
			f.Services[0].Config.Warm, green(f).Unit.Since = time.Minute, f.Now.Add(-6*time.Minute) // reconcile leaves it alone too
		},
		"a standby that is warm":                    func(f *Facts) { start(green(f)); f.Services[0].Since = f.Now.Add(-5 * time.Minute) },
		"a standby that reconcile is about to stop": func(f *Facts) { start(green(f)); f.Services[0].Since = f.Now.Add(-11 * time.Minute) },
		"a standby that was just started":           func(f *Facts) { start(green(f)); green(f).Unit.Since = f.Now.Add(-time.Minute) },
		"a standby during a deploy":                 func(f *Facts) { start(green(f)); f.Daemon.Status.Reservation = &switcher.Operation{} },
		"an optional file that is missing":          func(f *Facts) { v := &blue(f).Unit.Variables[0]; v.Err, v.Optional = fs.ErrNotExist, true },
		"a slot that talks to itself":               func(f *Facts) { blue(f).Peers = []Process{{500, "node", blueUnit}} },
		"a unit that names its own address": func(f *Facts) {
			f.Texts = []Text{{blue(f).Unit.Files[0].Path, blueUnit, "ExecStart=x --listen 127.0.0.1:5000\n"}}
		},
		"a commented address": func(f *Facts) {
			f.Texts = []Text{{"/x.env", "x.service", "# URL=http://localhost:5000\n; http://localhost:5001\n"}}
		},
		"an address of another port": func(f *Facts) { f.Texts = []Text{{"/x.env", "x.service", "URL=http://localhost:50001\n"}} },
		"a server that is down":      func(f *Facts) { f.Nginx = nginxWith("keepalive 32;", "server 127.0.0.1:5000 down; keepalive 32;") },
	} {
		t.Run(name, func(t *testing.T) {
			f := sound()
			f.Services[0].Config.Role.Path = "/role"
			change(f)
			for _, got := range Examine(f) {
				if got.Level == Fail || got.Level == Warn {
					t.Errorf("%+v", got)
				}
			}
		})
	}
}

func TestEachFaultHasItsMend(t *testing.T) {
	for _, p := range plantings() {
		f := sound()
		p.fault(f)
		for _, got := range Examine(f) {
			if (got.Level == Fail || got.Level == Warn) && (got.Mend == "" || strings.Contains(got.Text, "%!") || strings.Contains(got.Mend, "%!")) {
				t.Errorf("%s: %+v", p.name, got)
			}
		}
	}
}

// Secrets stand beside what is looked for.
func TestNoFindingShowsTheValueOfAVariable(t *testing.T) {
	f := sound()
	f.Texts = []Text{{"/etc/app.env", "app.service", "TOKEN=hunter2 URL=http://localhost:5000/?key=hunter2\nexport hunter2\n"}}
	blue(f).Unit.Variables[0].Text.Content = "export TOKEN=hunter2\n"
	green(f).Unit.Files[0].Content += "Environment=TOKEN=hunter2\n"
	found := 0
	for _, got := range Examine(f) {
		if got.Level == Warn {
			found++
		}
		if strings.Contains(got.Text+got.Mend, "hunter2") {
			t.Errorf("%+v", got)
		}
	}
	if found < 3 {
		t.Errorf("only %d warnings", found)
	}
}

func TestWithoutRootChecksAreSkippedAndSaySo(t *testing.T) {
	f := sound()
	f.Root = false
	f.Socket.Err, f.State.Dir.Err, f.State.Err, f.Deploy.Err = fs.ErrPermission, fs.ErrPermission, fs.ErrPermission, fs.ErrPermission
	f.Nginx = Nginx{Err: errors.New("nginx -T: exit status 1")}
	blue(f).Owner = Owner{Err: fs.ErrPermission}
	blue(f).PeersErr = fs.ErrPermission
	skipped := map[string]bool{}
	for _, got := range Examine(f) {
		switch got.Level {
		case Fail, Warn:
			t.Errorf("without rights: %+v", got)
		case Skipped:
			skipped[got.Check] = true
		}
	}
	for _, check := range []string{"control socket", "state", "nginx", "nginx route", "port", "bypass", "deploy root"} {
		if !skipped[check] {
			t.Errorf("%s is not told as skipped", check)
		}
	}
}

func TestARepositorysCredentialsAreNotShown(t *testing.T) {
	f := sound()
	f.Config.Deploy.Repository = "https://ops:s3cret@git.example.org/app.git"
	f.Deep, f.Repository.Err = true, errors.New("no answer within 10s")
	for _, found := range checkRepository(f) {
		if text := found.Text + found.Mend; strings.Contains(text, "s3cret") || !strings.Contains(text, "https://git.example.org/app.git") {
			t.Errorf("told is %q", text)
		}
	}
}

// A deploy takes such a unit, so that the doctor must not complain of it.
func TestAUnitMayRunWhatItsLinkLeadsToWithoutItsDirectory(t *testing.T) {
	f := sound()
	blue(f).Unit.Directory, blue(f).Unit.Commands = "", []string{"/usr/bin/node /srv/charactier/backend/blue/dist/index.js"}
	for _, found := range Examine(f) {
		if found.Level == Fail {
			t.Errorf("%s: %s", found.Check, found.Text)
		}
	}
}
