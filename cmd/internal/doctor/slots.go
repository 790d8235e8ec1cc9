package doctor

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"charactier-proxy/cmd/internal/reconcile"
)

func slotChecks() []Check {
	return []Check{
		{Name: "unit", AllWell: "systemd has it, and it does what it should", Slot: checkUnit},
		{Name: "port", AllWell: "no stranger has its address", Slot: checkPort},
		{Name: "environment", AllWell: "its variables are there and name its own port", Slot: checkEnvironment},
		{Name: "health", AllWell: "it answers as the configuration wants", Slot: checkHealth},
		{Name: "keep-alive", AllWell: "its connections can be used again", Slot: checkKeepAlive},
		{Name: "stop", AllWell: "it has time to end by itself", Slot: checkStop},
		{Name: "warm time", AllWell: "it does not run longer than it should", Slot: checkWarm},
		{Name: "release", AllWell: "it runs from a release of its own", Slot: checkRelease},
		{Name: "bypass", AllWell: "nobody goes past the proxy", Slot: checkBypass},
		{Name: "address written down", AllWell: "no unit file and no file of variables names its address", Slot: checkMentions},
	}
}

// wanted says that the slot has to run: it is active, or somebody started it.
func (s *Slot) wanted() bool { return s.Active || s.Unit.Runs() }

// unitOr is how the operator finds the slot's process.
func (s *Slot) unitOr() string {
	if s.Unit.Name != "" {
		return "journalctl -u " + s.Unit.Name + " -n 100"
	}
	return "ss -ltnp 'sport = :" + port(s.Address) + "'"
}

func checkUnit(f *Facts, _ *Service, s *Slot) []Finding {
	u := s.Unit
	switch {
	case u.Name == "":
		return skip("no unit is configured for it")
	case f.Systemd != nil:
		return skip("systemd cannot be asked: %v", f.Systemd)
	case u.Err != nil:
		return skip("%s: %v", u.Name, u.Err)
	case u.Load == "masked":
		return one(Fail, "sudo systemctl unmask "+u.Name, "%s is masked: nothing can start it", u.Name)
	case !u.Exists():
		return one(Fail, lines("install it below /etc/systemd/system, then:", "sudo systemctl daemon-reload"), "there is no unit %s", u.Name)
	case u.Load != "loaded":
		return one(Fail, "systemd-analyze verify "+u.Name, "systemd cannot use %s (%s)", u.Name, u.Load)
	case u.Active == "failed" && exitedBySignal(u):
		return one(Warn, "sudo systemctl edit "+u.Name+"  # [Service] SuccessExitStatus=143",
			"%s ended with %d, as Node does on SIGTERM, and systemd takes that for a failure", u.Name, u.Status)
	case (u.Active == "failed" || u.Sub == "auto-restart") && s.waitsForLink():
		return one(Fail, startOf(s), "%s %s: it runs in %s, which is not there", u.Name, condition(u), s.Link.Path)
	case u.Active == "failed", u.Sub == "auto-restart":
		return one(Fail, "journalctl -u "+u.Name+" -n 100", "%s %s%s", u.Name, condition(u), lastWords(u))
	case s.Active && !u.Runs():
		return one(Fail, startOf(s), "the slot is active, but %s is %s", u.Name, u.Active)
	}
	return nil
}

// exitedBySignal says that the process ended by itself after SIGTERM with the
// status that a shell gives for it.
func exitedBySignal(u Unit) bool {
	const exited, status = 1, 128 + int32(syscall.SIGTERM) // CLD_EXITED
	return u.Result == "exit-code" && u.ExitCode == exited && u.Status == status
}

func checkPort(f *Facts, _ *Service, s *Slot) []Finding {
	o, u := s.Owner, s.Unit
	switch {
	case o.Nobody && s.wanted() && u.Active == "active":
		return one(Fail, s.unitOr(), "%s runs, but nobody listens on %s: does it take its port from PORT?", u.Name, s.Address)
	case o.Nobody && s.Active:
		return one(Fail, startOf(s), "nobody listens on %s, and the slot is active", s.Address)
	case o.Nobody:
		return nil
	case o.Err != nil:
		return skip("who listens on %s cannot be told: %v", s.Address, o.Err)
	case o.Shared != "":
		return one(Fail, "ss -ltnp 'sport = :"+port(s.Address)+"'", "%s", o.Shared)
	case u.Name == "" || o.Unit == u.Name:
		return nil
	case o.PID == 0 || o.Unit == "" && !f.Root:
		return needRoot("who listens on " + s.Address)
	}
	return one(Fail, s.unlessServing(f, o.Unit, evict(o.Process)), "%s belongs to a stranger: %s, not to %s", s.Address, o.Process, u.Name)
}

// evict ends a process in the way it was started.
func evict(p Process) string {
	if strings.HasSuffix(p.Unit, ".service") && !strings.HasPrefix(p.Unit, "user@") {
		return "sudo systemctl disable --now " + p.Unit
	}
	return fmt.Sprintf("ps -fp %d\nsudo kill %d", p.PID, p.PID)
}

func checkHealth(f *Facts, svc *Service, s *Slot) []Finding {
	a, route := s.Answer, svc.Config.Health.Method+" "+svc.Config.Health.Path
	mend := fmt.Sprintf("curl -i http://%s%s", s.Address, svc.Config.Health.Path)
	level := Warn
	if s.Active {
		level = Fail
	}
	switch {
	case !a.Asked || a.Refused && !s.Active:
		return skip("it does not run")
	case a.Healthy, a.Refused: // nobody listens: that is told with the port
		return nil
	case a.Silent:
		return one(level, "sudo nft list ruleset; sudo iptables -S", "connections to %s are not even refused: a firewall drops them, or the process hangs", s.Address)
	case a.Err != nil:
		return one(level, s.unitOr(), "%s: %v", route, a.Err)
	case a.OtherHost != "":
		return one(level, fmt.Sprintf("set services.%s.health.host: %s in %s", svc.Name, a.OtherHost, f.ConfigPath),
			"%s is answered %d with the Host that is configured, and as wanted with Host: %s", route, a.Status, a.OtherHost)
	case a.Status == http.StatusNotFound:
		return one(level, fmt.Sprintf("add the route to the app, or set services.%s.health.path in %s", svc.Name, f.ConfigPath),
			"%s is answered 404: the app has no such route", route)
	case a.Location != "":
		return one(level, fmt.Sprintf("set services.%s.health.path in %s to where the app answers itself", svc.Name, f.ConfigPath),
			"%s is answered %d, a redirect to %s, and redirects are not followed", route, a.Status, a.Location)
	case a.Status == http.StatusUnauthorized, a.Status == http.StatusForbidden:
		return one(level, "let the app answer the route without credentials", "%s is answered %d: it wants to know who asks", route, a.Status)
	}
	return one(level, mend, "%s is answered %d, which is not healthy: %s", route, a.Status, cmp.Or(firstLine(a.Excerpt), "no body"))
}

// shortestIdle is the shortest keep-alive time of a slot at which its
// connections are used again: a second of it is kept as a distance.
const shortestIdle = 2 * time.Second

// checkKeepAlive compares how long the app keeps idle connections with how long
// we use them.
func checkKeepAlive(f *Facts, svc *Service, s *Slot) []Finding {
	a, ours := s.Answer, svc.Config.Timeouts.SlotIdle
	switch {
	case !a.Asked || a.Err != nil:
		return skip("it does not answer")
	case a.KeepIdle == 0 && ours >= nodeIdle:
		return one(Fail, fmt.Sprintf("set services.%s.timeouts.slot_idle below 5s in %s", svc.Name, f.ConfigPath),
			"the app does not say how long it keeps idle connections, Node closes them after 5s, and timeouts.slot_idle is %v: a request may meet a connection that is closing", ours)
	case a.KeepIdle > 0 && a.KeepIdle < shortestIdle:
		return one(Warn, "set server.keepAliveTimeout in the app to 5000 or more",
			"the app closes idle connections after %v, so every request needs a new one", a.KeepIdle)
	}
	return nil
}

const nodeIdle = 5 * time.Second

// leastStop is what an app with open streams should have to end by itself.
const leastStop = 10 * time.Second

func checkStop(_ *Facts, _ *Service, s *Slot) []Finding {
	u := s.Unit
	var l found
	if !u.Exists() {
		return skip("there is no unit")
	}
	if u.Result == "timeout" {
		l.warn("raise TimeoutStopSec= of "+u.Name+", and end event streams in the app on SIGTERM", "%s did not end in time and was killed at its last stop", u.Name)
	}
	if u.StopTimeout > 0 && u.StopTimeout < leastStop {
		l.warn("sudo systemctl edit "+u.Name+"  # [Service] TimeoutStopSec=35s", "%s is killed %v after it was told to stop: event streams are cut in the middle", u.Name, u.StopTimeout)
	}
	return l
}

// warmSlack is how much later than the warm time a standby may end: reconcile
// comes every minute.
const warmSlack = 3 * time.Minute

func checkWarm(f *Facts, svc *Service, s *Slot) []Finding {
	if svc.Active == "" {
		return skip("which slot is active is not known")
	}
	if s.Active || !s.Unit.Exists() || s.Unit.Active != "active" || f.Daemon.Status.Reservation != nil {
		return nil
	}
	over := reconcile.Overdue(f.Now, svc.Since, s.Unit.Since, svc.Config.Warm)
	if over < warmSlack {
		return nil
	}
	if s.Busy {
		return one(Warn, "charactier-proxyctl status", "it is standby and should have stopped %v ago; requests or streams are still open on it", over.Round(time.Minute))
	}
	return one(Warn, "sudo systemctl stop "+s.Unit.Name, "it is standby and should have stopped %v ago (services.%s.warm is %v)", over.Round(time.Minute), svc.Name, svc.Config.Warm)
}

// checkRelease wants WorkingDirectory= to be the slot's link and that to lead
// to a release.
func checkRelease(f *Facts, svc *Service, s *Slot) []Finding {
	var l found
	if s.Gone != "" {
		l.fail(wakeElsewhere(s), "it runs in %s, which was removed: files it has not read yet are lost", s.Gone)
	}
	releases := filepath.Join(f.Config.Deploy.Root, "releases")
	switch link := s.Link; {
	case link.Path == "":
		return append(l, skip("deploys leave it alone (no link)")...)
	case !f.deploys():
		return append(l, skip("deploys are not set up (deploy.repository)")...)
	case errors.Is(link.Err, fs.ErrPermission):
		return append(l, needRoot(link.Path)...)
	case link.missing():
		l.add(levelOf(s, Fail, Skipped), "sudo charactier-proxyctl deploy", "there is no %s yet: a deploy to this slot makes it", link.Path)
	case link.Err != nil && link.Target == "":
		l.fail(linkInPlaceOf(link.Path), "%s is not a symbolic link: %v", link.Path, link.Err)
	case link.Err != nil:
		l.fail("sudo charactier-proxyctl deploy", "%s leads to %s, which is not there", link.Path, link.Target)
	case !within(releases, link.Real):
		l.warn("sudo charactier-proxyctl deploy", "%s leads to %s, which is not a release below %s", link.Path, link.Real, releases)
	}
	if s.Unit.Exists() && !s.Unit.runsIn(s.Link.Path) {
		l.fail(intoLink(s), "%s runs in %s, not in the slot's link %s: a deploy would not change what it runs", s.Unit.Name, cmp.Or(s.Unit.Directory, "/"), s.Link.Path)
	}
	if s.strays(releases) {
		l.fail(leadBack(s, releases), "it runs in %s, and %s leads to %s: status and deploys take it for that", s.Runs, s.Link.Path, s.Link.Real)
	}
	return l
}

// strays says that the slot's process, of a unit that is in its link, runs in
// another directory than the link's release.
func (s *Slot) strays(releases string) bool {
	return s.Runs != "" && s.Owner.Unit == s.Unit.Name && s.Link.Err == nil && within(releases, s.Link.Real) &&
		s.Unit.Directory != "" && within(s.Link.Path, s.Unit.Directory) && releaseOf(releases, s.Runs) != releaseOf(releases, s.Link.Real)
}

// releaseOf is the name of the release that a path is in; "" if in none.
func releaseOf(releases, path string) string {
	if !within(releases, path) {
		return ""
	}
	rel, _ := filepath.Rel(releases, path)
	name, _, _ := strings.Cut(rel, "/")
	return name
}

func levelOf(s *Slot, wanted, otherwise Level) Level {
	if s.wanted() {
		return wanted
	}
	return otherwise
}

// deploys says that deploys were set up, or that one was made.
func (f *Facts) deploys() bool {
	return f.Config.Deploy.Repository != "" || f.Releases.Err == nil && f.Releases.Path != ""
}

// within says that path is dir or below it.
func within(dir, path string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rel)
}

// checkBypass finds who would fail at the next switch: who is connected to the
// slot itself. The daemon and nginx's own checks apart, nobody should.
func checkBypass(f *Facts, svc *Service, s *Slot) []Finding {
	if s.PeersErr != nil {
		return skip("who is connected to %s cannot be told: %v", s.Address, s.PeersErr)
	}
	var l found
	seen := map[string]bool{}
	for _, p := range s.Peers {
		ours := p.PID == f.Daemon.Status.PID || p.Unit == daemonUnit || p.Command == "charactier-proxy"
		if ours || seen[p.String()] || p.Unit == s.Unit.Name && p.Unit != "" {
			continue
		}
		seen[p.String()] = true
		mend := fmt.Sprintf("let it call http://%s instead, which is right whichever slot is active", door(svc))
		if p.Command == "nginx" {
			mend = "sudo charactier-proxyctl migrate"
		}
		l.fail(mend,
			"%s is connected to %s directly: it fails whenever the %s slot is not active", p, s.Address, s.Name)
	}
	if len(l) == 0 && !f.Root {
		return needRoot("whose connections lead to " + s.Address)
	}
	return l
}

// door is the service's own address.
func door(svc *Service) string {
	if len(svc.Config.Listen) == 0 {
		return "the service's listener"
	}
	return svc.Config.Listen[0]
}

// port is that of an address; empty for a unix socket.
func port(address string) string {
	i := strings.LastIndexByte(address, ':')
	if _, err := strconv.ParseUint(address[i+1:], 10, 16); err != nil {
		return ""
	}
	return address[i+1:]
}
