package doctor

import (
	"errors"
	"io/fs"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"charactier-proxy/cmd/internal/config"
	"charactier-proxy/switcher"
)

// planting is one fault, and what has to be said of it.
type planting struct {
	name  string
	fault func(*Facts)
	level Level
	check string
	says  string // in the text
	mend  string // in the command
}

func plantings() []planting {
	return slices.Concat(daemonPlantings(), unitPlantings(), answerPlantings(), placePlantings(), nginxPlantings(), machinePlantings())
}

func daemonPlantings() []planting {
	own := func(name string, change func(*Unit)) func(*Facts) {
		return func(f *Facts) { u := f.Own[name]; change(&u); f.Own[name] = u }
	}
	return []planting{
		{"the daemon is down", func(f *Facts) { f.Daemon = Daemon{Err: unreachable("nobody listens")} },
			Fail, "daemon", "nobody listens", "systemctl"},
		{"the daemon gives no status", func(f *Facts) { f.Daemon = Daemon{Err: errors.New("it is no JSON")} },
			Fail, "daemon", "no JSON", "journalctl"},
		{"the daemon is stopping", func(f *Facts) { f.Daemon.Status.Warnings = []string{"the daemon is stopping: it waits"} },
			Warn, "daemon", "stopping", "systemctl status"},
		{"everybody may use the control socket", func(f *Facts) { f.Socket.Mode |= 0o006 },
			Fail, "control socket", "everybody", "chmod o="},
		{"the socket's directory is open", func(f *Facts) { f.RunDir.Mode |= 0o022 },
			Fail, "control socket", "others may write", "chmod 0750"},
		{"the configuration has a mistake", func(f *Facts) {
			f.ConfigErr = config.Problems{{File: "config.yaml", Line: 3, Key: "services.backend.listne", Text: "there is no such key"}}
		}, Fail, "configuration", "config.yaml:3: services.backend.listne", "config check"},
		{"others may write the configuration", func(f *Facts) { f.ConfigErr = errors.New("reading: may be written by others") },
			Fail, "configuration", "may be written by others", "config check"},
		{"the daemon refused the newest file", func(f *Facts) { f.Daemon.Status.Config.Rejected = "line 3: no such key\nmore" },
			Fail, "configuration", "line 3", "config check"},
		{"a value waits for a restart", func(f *Facts) { f.Daemon.Status.Config.NeedsRestart = []string{"admin.listen"} },
			Warn, "configuration", "admin.listen", "restart"},
		{"the daemon runs another file", func(f *Facts) { f.Daemon.Status.Config.Path = "/etc/other.yaml" },
			Warn, "configuration", "/etc/other.yaml", "--config"},
		{"the daemon knows no file", func(f *Facts) { f.Daemon.Status.Config.Path = "" },
			Fail, "configuration", "built-in", "reload"},
		{"the file is newer than what runs", func(f *Facts) { f.ConfigFile.Changed = f.Now },
			Warn, "configuration", "newer", "reload"},
		{"the file is gone", func(f *Facts) { f.ConfigFile.Err = fs.ErrNotExist },
			Warn, "configuration", "is gone", "restart"},
		{"the configuration has a doubtful value", func(f *Facts) { f.Config.Server.IdleTimeout = 30 * time.Second },
			Warn, "configuration", "server.idle_timeout", "config.yaml"},
		{"everybody is trusted", func(f *Facts) { f.Config.TrustedPeers.Networks = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")} },
			Fail, "trusted peers", "everybody may claim", "trusted_peers"},
		{"a whole provider is trusted", func(f *Facts) { f.Config.TrustedPeers.Networks = []netip.Prefix{netip.MustParsePrefix("52.0.0.0/8")} },
			Warn, "trusted peers", "strangers may claim", "trusted_peers"},
		{"nobody is trusted", func(f *Facts) { f.Config.TrustedPeers = config.Peers{} },
			Warn, "trusted peers", "nginx as the client", "trusted_peers"},
		{"the state was restored", func(f *Facts) { f.Daemon.Status.State.Note = "state.json is missing: restored" },
			Warn, "state", "restored", "status"},
		{"the state cannot be told", func(f *Facts) { f.State.Err = switcher.ErrStateUnknown },
			Fail, "state", switcher.ErrStateUnknown.Error(), "--assume-active"},
		{"the state directory is gone", func(f *Facts) { f.State.Dir.Err = fs.ErrNotExist },
			Fail, "state", "is gone", "restart"},
		{"others may write the state", func(f *Facts) { f.State.Dir.Mode = fs.ModeDir | 0o777 },
			Fail, "state", "others may write", "chmod 0700"},
		{"a state was damaged", func(f *Facts) { f.State.Damaged = []string{"state.json.damaged-1"} },
			Warn, "state", "damaged-1", "rm /var/lib/charactier-proxy/state.json.damaged-1"},
		{"the daemon's unit is not installed", func(f *Facts) { f.Own = map[string]Unit{}; f.Daemon.Err = unreachable("no socket") },
			Fail, "own units", "not installed", "make install"},
		{"the daemon's unit is masked", own(daemonUnit, func(u *Unit) { u.Load = "masked" }),
			Fail, "own units", "masked", "unmask"},
		{"the daemon restarts again and again", own(daemonUnit, func(u *Unit) {
			u.Active, u.Sub, u.Restarts, u.Journal = "activating", "auto-restart", 12, []string{"config.yaml:3: no such key"}
		}), Fail, "own units", "12 restarts); its last words: config.yaml:3", "journalctl -u charactier-proxy.service"},
		{"the traffic socket is stopped", own(trafficSocket, func(u *Unit) { u.Active = "inactive" }),
			Fail, "own units", "is inactive", "start charactier-proxy.socket"},
		{"the traffic socket is not installed", own(trafficSocket, func(u *Unit) { u.Load = "not-found" }),
			Warn, "own units", "not installed", "make install"},
		{"the daemon is not enabled", own(daemonUnit, func(u *Unit) { u.Enabled = "disabled" }),
			Fail, "own units", "after a reboot nothing answers", "enable charactier-proxy.service"},
		{"reconcile is not installed", own(reconcilePath, func(u *Unit) { u.Load = "not-found" }),
			Warn, "reconcile", "not installed", "enable --now charactier-proxy-reconcile.path"},
		{"reconcile is not enabled", own(reconcileTime, func(u *Unit) { u.Enabled = "disabled" }),
			Warn, "reconcile", "not enabled", "enable --now charactier-proxy-reconcile.timer"},
		{"reconcile fails", own(reconcileUnit, func(u *Unit) { u.Active, u.Result = "failed", "exit-code" }),
			Warn, "reconcile", "result exit-code", "journalctl"},
	}
}

func unitPlantings() []planting {
	return []planting{
		{"the unit is masked", func(f *Facts) { green(f).Unit.Load = "masked" },
			Fail, "unit", "masked", "unmask " + greenUnit},
		{"there is no unit", func(f *Facts) { green(f).Unit.Load = "not-found" },
			Fail, "unit", "no unit " + greenUnit, "daemon-reload"},
		{"the unit file has a mistake", func(f *Facts) { green(f).Unit.Load = "bad-setting" },
			Fail, "unit", "bad-setting", "systemd-analyze verify"},
		{"the unit has failed", func(f *Facts) {
			u := &green(f).Unit
			u.Active, u.Result, u.Journal = "failed", "exit-code", []string{"Error: Cannot find module 'express'"}
			u.ExitCode, u.Status = 1, 1
		}, Fail, "unit", "last words: Error: Cannot find module", "journalctl -u " + greenUnit},
		{"the unit restarts again and again", func(f *Facts) {
			u := &blue(f).Unit
			u.Active, u.Sub, u.Restarts = "activating", "auto-restart", 7
		}, Fail, "unit", "7 restarts", "journalctl -u " + blueUnit},
		{"an orderly stop counts as a failure", func(f *Facts) {
			u := &green(f).Unit
			u.Active, u.Result, u.ExitCode, u.Status = "failed", "exit-code", 1, 143
		}, Warn, "unit", "143", "SuccessExitStatus=143"},
		{"the active slot's unit is stopped", func(f *Facts) { blue(f).Unit.Active = "inactive" },
			Fail, "unit", "the slot is active, but", "start " + blueUnit},
		{"only the standby is enabled", func(f *Facts) { blue(f).Unit.Enabled, green(f).Unit.Enabled = "disabled", "enabled" },
			Fail, "enabled units", "after a reboot nothing answers", "enable " + blueUnit + " && sudo systemctl disable " + greenUnit},
		{"no unit is enabled", func(f *Facts) { blue(f).Unit.Enabled = "disabled" },
			Fail, "enabled units", "after a reboot nothing answers", "enable " + blueUnit},
		{"both units are enabled", func(f *Facts) { green(f).Unit.Enabled = "enabled" },
			Warn, "enabled units", "both units are enabled", "disable " + greenUnit},
		{"the unit cannot be enabled", func(f *Facts) { blue(f).Unit.Enabled = "static" },
			Fail, "enabled units", "cannot be enabled", "[Install]"},
		{"the old single unit is enabled", func(f *Facts) {
			f.Services[0].Old = Unit{Name: "charactier-backend.service", Load: "loaded", Active: "inactive", Enabled: "enabled"}
		},
			Fail, "old unit", "after a reboot", "disable --now charactier-backend.service"},
		{"the old single unit runs", func(f *Facts) {
			f.Services[0].Old = Unit{Name: "charactier-backend.service", Load: "loaded", Active: "active", Enabled: "disabled"}
		},
			Fail, "old unit", "runs beside", "disable --now charactier-backend.service"},
		{"the old single unit has the traffic", func(f *Facts) {
			f.Services[0].Old = Unit{Name: "charactier-backend.service", Load: "loaded", Active: "active", Enabled: "enabled"}
			blue(f).Owner = Owner{Process: Process{811, "node", "charactier-backend.service"}}
		},
			Fail, "old unit", "runs beside", "move that first:\nsudo charactier-proxyctl deploy\nsudo systemctl disable --now charactier-backend.service"},
		{"the two units differ", func(f *Facts) { green(f).Unit.Files[0].Content += "Environment=TOKEN=secret\nLimitNOFILE=1024\n" },
			Warn, "twins", "Environment=, LimitNOFILE=", "systemctl cat"},
		{"the unit kills at once", func(f *Facts) { blue(f).Unit.StopTimeout = 5 * time.Second },
			Warn, "stop", "killed 5s after", "TimeoutStopSec=35s"},
		{"the last stop was a kill", func(f *Facts) { green(f).Unit.Result = "timeout" },
			Warn, "stop", "was killed at its last stop", "TimeoutStopSec"},
		{"the standby runs too long", func(f *Facts) { start(green(f)); f.Services[0].Config.Role.Path = "/role" },
			Warn, "warm time", "should have stopped", "stop " + greenUnit},
		{"the standby has streams open", func(f *Facts) { start(green(f)); green(f).Busy = true },
			Warn, "warm time", "streams are still open", "status"},
		{"cron jobs run twice", func(f *Facts) { start(green(f)) },
			Warn, "roles", "run twice", "role.path"},
		{"the service is held", func(f *Facts) {
			f.Services[0].Held = &switcher.Held{Since: f.Now.Add(-time.Hour), Reason: "restart", Actor: switcher.Actor{User: "taro"}}
		}, Fail, "hold", "by taro: restart", "release-hold --service backend"},
	}
}

func answerPlantings() []planting {
	answers := func(a Answer) func(*Facts) { return func(f *Facts) { a.Asked = true; blue(f).Answer = a } }
	return []planting{
		{"a stranger has the port", func(f *Facts) { blue(f).Owner = Owner{Process: Process{812, "python3", "jupyter.service"}} },
			Fail, "port", "stranger: python3 (pid 812 of jupyter.service)", "disable --now jupyter.service"},
		{"a stranger has the port and the traffic", func(f *Facts) { blue(f).Owner = Owner{Process: Process{812, "node", "old.service"}} },
			Fail, "port", "stranger: node (pid 812 of old.service)", "move that first:\nsudo charactier-proxyctl deploy\nsudo systemctl disable --now old.service"},
		{"a stranger without a unit has the port", func(f *Facts) { green(f).Owner = Owner{Process: Process{813, "node", "session-3.scope"}} },
			Fail, "port", "node (pid 813 of session-3.scope)", "kill 813"},
		{"two units share the port", func(f *Facts) { blue(f).Owner.Shared = "several units listen on 127.0.0.1:5000" },
			Fail, "port", "several units listen", "ss -ltnp"},
		{"nobody listens although the unit runs", func(f *Facts) { blue(f).Owner = Owner{Nobody: true} },
			Fail, "port", "nobody listens on 127.0.0.1:5000", "journalctl -u " + blueUnit},
		{"nobody listens", func(f *Facts) { blue(f).Owner = Owner{Nobody: true}; blue(f).Unit.Active = "inactive" },
			Fail, "port", "nobody listens", "start " + blueUnit},
		{"the health route is missing", answers(Answer{Status: 404}),
			Fail, "health", "no such route", "services.backend.health.path"},
		{"the health route redirects", answers(Answer{Status: 301, Location: "https://example.jp/"}),
			Fail, "health", "redirect to https://example.jp/", "health.path"},
		{"the health route wants another host", answers(Answer{Status: 404, OtherHost: "example.jp"}),
			Fail, "health", "Host: example.jp", "services.backend.health.host: example.jp"},
		{"the health route wants credentials", answers(Answer{Status: 401}),
			Fail, "health", "who asks", "credentials"},
		{"it answers and is not healthy", answers(Answer{Status: 503, Excerpt: `{"mongo":"down"}`}),
			Fail, "health", `503, which is not healthy: {"mongo":"down"}`, "curl -i http://127.0.0.1:5000/api/v1/health"},
		{"it does not answer", answers(Answer{Err: errors.New("no answer in time")}),
			Fail, "health", "no answer in time", "journalctl"},
		{"a firewall is in the way", answers(Answer{Err: errors.New("no answer in time"), Silent: true}),
			Fail, "health", "firewall", "nft list ruleset"},
		{"it closes connections before we do", func(f *Facts) {
			blue(f).Answer.KeepIdle, f.Services[0].Config.Timeouts.SlotIdle = 0, 10*time.Second
		}, Fail, "keep-alive", "Node closes them after 5s", "slot_idle"},
		{"it keeps no connection", func(f *Facts) { blue(f).Answer.KeepIdle = time.Second },
			Warn, "keep-alive", "every request needs a new one", "keepAliveTimeout"},
		{"our listener is closed", func(f *Facts) { f.Services[0].Door = Answer{Asked: true, Refused: true, Err: syscall.ECONNREFUSED} },
			Fail, "listener", "nobody listens on 127.0.0.1:5080", "charactier-proxy.socket"},
		{"our listener hangs", func(f *Facts) { f.Services[0].Door = Answer{Asked: true, Silent: true, Err: syscall.ETIMEDOUT} },
			Fail, "listener", "are not taken", "systemctl status"},
		{"our listener answers by itself", func(f *Facts) { f.Services[0].Door = Answer{Asked: true, Status: 502, Ours: "slot-connect-refused"} },
			Fail, "listener", "502 by itself: slot-connect-refused", "status"},
		{"our listener breaks off", func(f *Facts) { f.Services[0].Door = Answer{Asked: true, Err: errors.New("no answer in time")} },
			Fail, "listener", "no answer in time", "status"},
	}
}

func placePlantings() []planting {
	variables := func(change func(*EnvironmentFile)) func(*Facts) {
		return func(f *Facts) { change(&blue(f).Unit.Variables[0]) }
	}
	link := func(l Link) func(*Facts) {
		return func(f *Facts) { l.Path = blue(f).Link.Path; blue(f).Link = l }
	}
	return []planting{
		{"the file of variables is missing", variables(func(e *EnvironmentFile) { e.Err = fs.ErrNotExist }),
			Fail, "environment", "is not there: it cannot start", "/etc/charactier/backend.env"},
		{"an optional file of variables is missing and the slot is ill", func(f *Facts) {
			v := &blue(f).Unit.Variables[0]
			v.Err, v.Optional, blue(f).Answer.Healthy = fs.ErrNotExist, true, false
		}, Warn, "environment", "does without", "/etc/charactier/backend.env"},
		{"the file of variables is a directory", variables(func(e *EnvironmentFile) { e.Err = syscall.EISDIR }),
			Fail, "environment", "cannot be read", "/etc/charactier/backend.env"},
		{"the file of variables has a shell's words", variables(func(e *EnvironmentFile) { e.Text.Content = "A=1\nexport B=2\n" }),
			Warn, "environment", "backend.env:2 is no assignment", "EDITOR"},
		{"the unit has the other port", func(f *Facts) { blue(f).Unit.Environment = []string{"PORT=5001"} },
			Fail, "environment", "sets PORT=5001, but the slot's address is 127.0.0.1:5000", "Environment=PORT=5000"},
		{"the file of variables has one port for both", variables(func(e *EnvironmentFile) { e.Text.Content = "PORT=\"3000\"\n" }),
			Fail, "environment", "/etc/charactier/backend.env sets PORT=3000", "remove PORT from"},
		{"both slots run from one directory", func(f *Facts) {
			blue(f).Unit.Directory, green(f).Unit.Directory = "/var/www/app/backend", "/var/www/app/backend"
		},
			Fail, "directories", "both units run from /var/www/app/backend", "/srv/charactier/backend/blue | sudo tee "},
		{"the unit names its link nowhere", func(f *Facts) {
			blue(f).Unit.Directory, blue(f).Unit.Commands = "", []string{"/usr/bin/node /opt/app/index.js"}
		},
			Fail, "release", "runs in /, not in the slot's link", "/srv/charactier/backend/blue | sudo tee "},
		{"the unit does not run in its link", func(f *Facts) { blue(f).Unit.Directory = "/opt/app" },
			Fail, "release", "not in the slot's link", "/srv/charactier/backend/blue | sudo tee "},
		{"the link is missing", link(Link{Err: fs.ErrNotExist}),
			Fail, "release", "there is no /srv/charactier/backend/blue", "deploy"},
		{"the link dangles", link(Link{Target: "/srv/charactier/releases/0/backend", Err: fs.ErrNotExist}),
			Fail, "release", "which is not there", "deploy"},
		{"the link is no link", link(Link{Err: syscall.EINVAL}),
			Fail, "release", "not a symbolic link", "sudo mv /srv/charactier/backend/blue /srv/charactier/backend/blue.before && sudo ln -s /srv/charactier/backend/blue.before /srv/charactier/backend/blue"},
		{"the link does not lead to a release", link(Link{Target: "/var/www/app", Real: "/var/www/app"}),
			Warn, "release", "not a release below", "deploy"},
		{"the release in use was removed", func(f *Facts) { blue(f).Gone = "/srv/charactier/releases/0/backend" },
			Fail, "release", "which was removed", "restart " + blueUnit},
		{"the link was led to another release", func(f *Facts) { blue(f).Runs = "/srv/charactier/releases/0/backend/dist" },
			Fail, "release", "it runs in /srv/charactier/releases/0/backend/dist, and /srv/charactier/backend/blue leads to", "sudo ln -sfn /srv/charactier/releases/0/backend /srv/charactier/backend/blue"},
		{"what the unit starts goes elsewhere", func(f *Facts) { blue(f).Runs = "/home/ops/app" },
			Fail, "release", "it runs in /home/ops/app", "systemctl cat " + blueUnit},
		{"somebody is connected to the slot", func(f *Facts) {
			blue(f).Peers = []Process{{77, "charactier-proxy", daemonUnit}, {901, "node", "charactier-frontend.service"}}
		},
			Fail, "bypass", "node (pid 901 of charactier-frontend.service) is connected to 127.0.0.1:5000", "http://127.0.0.1:5080"},
		{"nginx is connected to the slot", func(f *Facts) { green(f).Peers = []Process{{902, "nginx", "nginx.service"}} },
			Fail, "bypass", "nginx (pid 902", "migrate"},
		{"a unit names the slot", func(f *Facts) {
			f.Texts = []Text{{"/etc/systemd/system/charactier-frontend.service", "charactier-frontend.service", "[Service]\nEnvironment=A=1 \"BACKEND_URL=http://localhost:5000/api\"\n"}}
		}, Warn, "address written down", "charactier-frontend.service:2: BACKEND_URL names 127.0.0.1:5000", "http://127.0.0.1:5080"},
		{"a file of variables names the slot", func(f *Facts) {
			f.Texts = []Text{{"/var/www/app/.env", "charactier-frontend.service", "#BACKEND=http://localhost:5001\nBACKEND=http://127.0.0.1:5001\n"}}
		}, Warn, "address written down", "/var/www/app/.env:2: BACKEND names 127.0.0.1:5001", "restart charactier-frontend.service"},
	}
}

func nginxPlantings() []planting {
	with := func(old, by string) func(*Facts) { return func(f *Facts) { f.Nginx = nginxWith(old, by) } }
	return []planting{
		{"nginx refuses its configuration", func(f *Facts) { f.Nginx = Nginx{Refused: `unknown directive "upstrem" in /etc/nginx/conf.d/x.conf:1`} },
			Fail, "nginx", "upstrem", "nginx -t"},
		{"nginx finds no upstream", func(f *Facts) {
			f.Nginx = Nginx{Refused: `host not found in upstream "backend" in /etc/nginx/conf.d/site.conf:4`}
		},
			Fail, "nginx", "no such upstream", "conf.d"},
		{"nginx may not read a file", func(f *Facts) {
			f.Nginx = Nginx{Refused: `open() "/etc/nginx/conf.d/x.conf" failed (13: Permission denied)`}
		},
			Fail, "nginx", "may not read", "owner and mode"},
		{"the upstream still has a slot", with("server 127.0.0.1:5080;", "server 127.0.0.1:5000; # server 127.0.0.1:5001;\r\n"),
			Fail, "nginx route", "upstream.conf:1: the upstream still sends to 127.0.0.1:5000", "migrate"},
		{"a location has a slot", with("proxy_pass http://backend;", "proxy_pass http://localhost:5001/;"),
			Fail, "nginx route", "site.conf:4: proxy_pass sends to 127.0.0.1:5001", "proxy_pass http://backend"},
		{"a location has a slot, and no upstream leads to us", func(f *Facts) {
			f.Nginx = nginxWith("proxy_pass http://backend;", "proxy_pass http://localhost:5001/;")
			f.Services[0].Config.Listen = []string{"127.0.0.1:3080"}
		},
			Fail, "nginx route", "proxy_pass sends to 127.0.0.1:5001", "upstream backend { server 127.0.0.1:3080; keepalive 32; }"},
		{"nginx sends nothing to us", with("server 127.0.0.1:5080;", "server 10.0.0.7:80;"),
			Warn, "nginx route", "sends nothing to 127.0.0.1:5080", "migrate"},
		{"the upstream has no keepalive", with("keepalive 32;", ""),
			Warn, "nginx keep-alive", "lacks keepalive", "keepalive 32;"},
		{"a location names us without an upstream", with("http://backend", "http://127.0.0.1:5080"),
			Warn, "nginx keep-alive", "a new connection for each request", "upstream"},
		{"nginx keeps connections longer than we do", with("keepalive 32;", "keepalive 32; keepalive_timeout 5m;"),
			Fail, "nginx keep-alive", "for 5m0s, and the proxy closes them after 2m0s", "keepalive_timeout 60s"},
		{"nginx speaks HTTP/1.0", with("proxy_http_version 1.1;", ""),
			Warn, "nginx protocol", "proxy_http_version 1.1 is missing", "proxy_http_version 1.1;"},
		{"nginx closes each connection", with("proxy_set_header Connection 'upgrade';", ""),
			Warn, "nginx protocol", "Connection: close", "proxy_set_header Connection"},
		{"nginx passes on what the client claims", with("$remote_addr", "$proxy_add_x_forwarded_for"),
			Warn, "client address", "anybody can pretend", "$remote_addr"},
		{"nginx says nothing of the client", with("proxy_set_header X-Forwarded-For $remote_addr;", ""),
			Warn, "client address", "adds nothing", "$remote_addr"},
	}
}

func machinePlantings() []planting {
	return []planting{
		{"the disk is full", func(f *Facts) { f.Disks[0].Free = 1 << 10 },
			Fail, "disk", "has 1 KiB free, and needs 32 MiB", "df -h"},
		{"there are no inodes", func(f *Facts) { f.Disks[0].Inodes, f.Disks[0].Few = 5, true },
			Fail, "disk", "only 5 inodes", "df -i"},
		{"the clock went back", func(f *Facts) { f.Now = f.Now.AddDate(-1, 0, 0) },
			Fail, "clock", "was at", "timedatectl"},
		{"the clock is not synchronised", func(f *Facts) { f.Clock.Synchronised = false },
			Warn, "clock", "not synchronised", "set-ntp true"},
		{"deploy.root is missing", func(f *Facts) { f.Deploy.Err = fs.ErrNotExist },
			Warn, "deploy root", "is not there yet", "install -d"},
		{"others may write to deploy.root", func(f *Facts) { f.Deploy.Mode = fs.ModeDir | 0o777 },
			Fail, "deploy root", "others may write", "chmod go-w"},
		{"deploy.root is somebody's", func(f *Facts) { f.Deploy.UID = 1000 },
			Fail, "deploy root", "belongs to user 1000", "chown root"},
		{"deploy.root is a file", func(f *Facts) { f.Deploy.Mode = 0o644 },
			Fail, "deploy root", "not a directory", "move it away"},
		{"the repository is away", func(f *Facts) { f.Repository.Err = errors.New("no answer within 10s") },
			Fail, "repository", "no answer within 10s", "git ls-remote"},
		{"there is no user for builds", func(f *Facts) { f.Services[0].BuildUser = errors.New("unknown user") },
			Fail, "build user", "charactier-build", "systemd-sysusers"},
		{"there is no user of somebody's own for builds", func(f *Facts) {
			f.Services[0].BuildUser, f.Services[0].Config.Build.User = errors.New("unknown user"), "builder"
		}, Fail, "build user", "builder", "useradd"},
		{"a shared file is missing", func(f *Facts) { f.Services[0].Shared[0].Err = fs.ErrNotExist },
			Fail, "shared files", "/srv/charactier/shared/backend/.env", "install -D"},
	}
}
