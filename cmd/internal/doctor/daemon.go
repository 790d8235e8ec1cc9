package doctor

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"charactier-proxy/cmd/internal/config"
	"charactier-proxy/switcher/control"
)

const (
	daemonUnit    = "charactier-proxy.service"
	trafficSocket = "charactier-proxy.socket"
	controlSocket = "charactier-proxy-control.socket"
	reconcileUnit = "charactier-proxy-reconcile.service"
	reconcilePath = "charactier-proxy-reconcile.path"
	reconcileTime = "charactier-proxy-reconcile.timer"
)

// ownUnits are the units that are installed with us.
func ownUnits() []string {
	return []string{daemonUnit, trafficSocket, controlSocket, reconcileUnit, reconcilePath, reconcileTime}
}

func daemonChecks() []Check {
	return []Check{
		{Name: "daemon", AllWell: "it answers on its control socket", Machine: checkDaemon},
		{Name: "control socket", AllWell: "its owner and group alone may use it", Machine: checkSocket},
		{Name: "configuration", AllWell: "it is valid, and nothing else runs", Machine: checkConfig},
		{Name: "trusted peers", AllWell: "only this machine and private networks are believed", Machine: checkTrust},
		{Name: "state", AllWell: "it says which slots are active", Machine: checkState},
		{Name: "own units", AllWell: "they are installed and enabled, and run", Machine: checkOwnUnits},
		{Name: "reconcile", AllWell: "systemd is kept in agreement with the state", Machine: checkReconcile},
	}
}

func checkDaemon(f *Facts) []Finding {
	var l found
	err := f.Daemon.Err
	if errors.Is(err, control.ErrUnreachable) {
		l.fail(cmp.Or(control.HintOf(err), "sudo systemctl start charactier-proxy"), "%v", err)
		return l
	}
	if err != nil {
		l.fail("journalctl -u charactier-proxy -n 50", "it gives no status: %v", err)
		return l
	}
	for _, w := range f.Daemon.Status.Warnings {
		// The rest is looked at by checks of their own.
		if strings.Contains(w, "the daemon is stopping") {
			l.warn("systemctl status charactier-proxy", "%s", w)
		}
	}
	return l
}

// checkSocket wants the modes of design: a directory that only the group
// enters, a socket that only the group writes to.
func checkSocket(f *Facts) []Finding {
	var l found
	switch {
	case f.Socket.Missing():
		return skip("there is no %s", f.Socket.Path)
	case f.Socket.Err != nil:
		return needRoot(f.Socket.Path)
	case f.Socket.Mode.Perm()&0o007 != 0:
		l.fail("sudo chmod o= "+f.Socket.Path, "everybody on this machine may use %s (mode %04o)", f.Socket.Path, f.Socket.Mode.Perm())
	}
	if f.RunDir.Err == nil && f.RunDir.Mode.Perm()&0o022 != 0 && f.RunDir.Mode&fs.ModeSticky == 0 {
		l.fail("sudo chmod 0750 "+f.RunDir.Path, "others may write to %s (mode %04o), and so put a socket of theirs in place of ours", f.RunDir.Path, f.RunDir.Mode.Perm())
	}
	return l
}

func checkConfig(f *Facts) []Finding {
	var l found
	check := "charactier-proxyctl config check"
	var problems config.Problems
	switch {
	case errors.As(f.ConfigErr, &problems):
		for _, p := range problems {
			l.fail(check, "%s:%d: %s: %s", p.File, p.Line, p.Key, p.Text)
		}
	case f.ConfigErr != nil:
		l.fail(check, "%v", f.ConfigErr)
	default:
		for _, w := range f.Config.Warnings() {
			if !strings.HasPrefix(w, "trusted_peers") {
				l.warn("sudo $EDITOR "+f.ConfigPath, "%s", w)
			}
		}
	}
	if f.Daemon.Err == nil {
		l = append(l, checkLoaded(f, f.Daemon.Status.Config)...)
	}
	return l
}

// checkLoaded compares the file with what the daemon runs.
func checkLoaded(f *Facts, runs control.ConfigStatus) []Finding {
	var l found
	if runs.Rejected != "" {
		l.fail("charactier-proxyctl config check", "the daemon did not take the newest file and runs the one before; a restart would fail: %s", firstLine(runs.Rejected))
	}
	if len(runs.NeedsRestart) > 0 && runs.Rejected == "" { // or the daemon would not come back
		l.warn("sudo systemctl restart charactier-proxy", "new values wait for a restart of the daemon: %s", strings.Join(runs.NeedsRestart, ", "))
	}
	there := f.ConfigFile.Err == nil
	switch {
	case there && runs.Path == "":
		l.fail("sudo charactier-proxyctl reload", "there is a %s, but the daemon runs its built-in configuration", f.ConfigPath)
	case there && runs.Path != f.ConfigPath:
		l.warn("charactier-proxyctl --config "+runs.Path+" doctor", "the daemon runs %s, and this is about %s", runs.Path, f.ConfigPath)
	case there && runs.Rejected == "" && f.ConfigFile.Changed.After(runs.Loaded.Add(loadSlack)):
		l.warn("sudo charactier-proxyctl reload", "%s is newer than what the daemon has loaded", f.ConfigPath)
	case f.ConfigFile.Missing() && runs.Path == f.ConfigPath:
		l.warn(lines("put "+f.ConfigPath+" back, or if that is what you want:", "sudo systemctl restart charactier-proxy"), "%s is gone; the daemon runs what it held, and after a restart its built-in configuration", f.ConfigPath)
	}
	return l
}

// loadSlack is how much later than the load a file may seem to have changed:
// the daemon waits a moment for a file that is being written.
const loadSlack = 5 * time.Second

// widestOwn is the length of the widest network that is nobody else's: 10/8,
// 127/8 and fc00::/7.
const widestOwn = 7

// checkTrust finds networks in which anybody may be: whoever is believed can
// claim any address as its client's.
func checkTrust(f *Facts) []Finding {
	var l found
	for _, n := range f.Config.TrustedPeers.Networks {
		a := n.Addr()
		own := a.IsLoopback() || a.IsPrivate() || a.IsLinkLocalUnicast()
		if own && n.Bits() >= widestOwn || n.IsSingleIP() {
			continue
		}
		level, who := Warn, "many strangers"
		if n.Bits() == 0 {
			level, who = Fail, "everybody"
		}
		l.add(level, "set trusted_peers in "+f.ConfigPath+" to the addresses of your own proxies",
			"trusted_peers holds %s: %s may claim any client address in X-Forwarded-For, and an app with \"trust proxy\" believes it", n, who)
	}
	if t := f.Config.TrustedPeers; len(t.Networks) == 0 && !t.Unix {
		l.warn("set trusted_peers in "+f.ConfigPath+" to the address of nginx", "nobody is trusted, so the app sees nginx as the client of every request")
	}
	return l
}

func checkState(f *Facts) []Finding {
	var l found
	dir := f.State.Dir
	if dir.Missing() && f.Daemon.Err != nil {
		return skip("there is no %s: nothing was ever switched", f.StateDir)
	}
	note := f.Daemon.Status.State.Note
	switch {
	case note != "" && !strings.HasPrefix(note, "first start"):
		l.warn("charactier-proxyctl status", "%s", note)
	case errors.Is(f.State.Err, fs.ErrPermission): // told of the directory
	case f.State.Err != nil:
		l.fail(assume(f), "%v", f.State.Err)
	}
	switch {
	case dir.Hidden():
		return append(l, needRoot(f.StateDir)...)
	case dir.Missing():
		l.fail(assume(f), "the state directory %s is gone: after a restart the traffic would be on the first slots", f.StateDir)
	case dir.Err == nil && dir.Mode.Perm()&0o022 != 0:
		l.fail("sudo chmod 0700 "+f.StateDir, "others may write to %s (mode %04o), and so decide which slot is active", f.StateDir, dir.Mode.Perm())
	}
	for _, name := range f.State.Damaged {
		l.warn("sudo rm "+filepath.Join(f.StateDir, name)+"  # once you have looked at it", "%s was found damaged and set aside", name)
	}
	return l
}

func checkOwnUnits(f *Facts) []Finding {
	if f.Systemd != nil {
		return skip("systemd cannot be asked: %v", f.Systemd)
	}
	var l found
	if u := f.Own[daemonUnit]; !u.Exists() {
		if f.Daemon.Err == nil {
			return skip("%s is not installed: the daemon was started in another way", daemonUnit)
		}
		l.fail("sudo make install && sudo systemctl daemon-reload", "%s is not installed", daemonUnit)
		return l
	}
	for _, name := range []string{daemonUnit, trafficSocket, controlSocket} {
		l = append(l, checkOwnUnit(f.Own[name], name)...)
	}
	return l
}

func checkOwnUnit(u Unit, name string) []Finding {
	var l found
	switch {
	case u.Load == "masked":
		l.fail("sudo systemctl unmask "+name, "%s is masked", name)
		return l
	case !u.Exists():
		l.warn("sudo make install && sudo systemctl daemon-reload", "%s is not installed, so connections are refused while the daemon restarts", name)
		return l
	case u.Active == "failed", u.Sub == "auto-restart":
		l.fail("journalctl -u "+name+" -n 50", "%s %s%s", name, condition(u), lastWords(u))
	case u.Active != "active" && u.Active != "activating":
		l.fail("sudo systemctl start "+name, "%s is %s", name, u.Active)
	}
	if u.Enabled == "disabled" {
		l.fail("sudo systemctl enable "+name, "%s is not enabled: after a reboot nothing answers", name)
	}
	return l
}

func checkReconcile(f *Facts) []Finding {
	if f.Systemd != nil {
		return skip("systemd cannot be asked: %v", f.Systemd)
	}
	if !f.Own[daemonUnit].Exists() {
		return skip("%s is not installed", daemonUnit)
	}
	var l found
	var idle []string
	for _, name := range []string{reconcilePath, reconcileTime} {
		u := f.Own[name]
		if !u.Exists() {
			l.warn("sudo make install && sudo systemctl daemon-reload && sudo systemctl enable --now "+name,
				"%s is not installed: nobody enables the active slot's unit after a switch, nor stops a standby in time", name)
		} else if u.Enabled == "disabled" || u.Active != "active" {
			idle = append(idle, name)
		}
	}
	if len(idle) > 0 {
		names := strings.Join(idle, " ")
		l.warn("sudo systemctl enable --now "+names, "%s: not enabled and running, so nobody enables the active slot's unit after a switch, nor stops a standby in time", names)
	}
	if u := f.Own[reconcileUnit]; u.Active == "failed" && f.Daemon.Err == nil {
		l.warn("journalctl -u "+reconcileUnit+" -n 20", "%s %s%s", reconcileUnit, condition(u), lastWords(u))
	}
	return l
}

// condition is how a unit does that does not run well.
func condition(u Unit) string {
	text := "has failed"
	if u.Sub == "auto-restart" {
		text = "exits and is started again"
	}
	if u.Restarts > 0 {
		text += fmt.Sprintf(" (%d restarts)", u.Restarts)
	}
	if u.Result != "" && u.Result != "success" {
		text += ", result " + u.Result
	}
	return text
}

// lastWords are the newest lines of a unit's journal.
func lastWords(u Unit) string {
	if len(u.Journal) == 0 {
		return ""
	}
	return "; its last words: " + strings.Join(u.Journal, " | ")
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}
