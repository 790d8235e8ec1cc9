package doctor

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"charactier-proxy/switcher"
)

func serviceChecks() []Check {
	return []Check{
		{Name: "listener", AllWell: "requests come through", Service: checkDoor},
		{Name: "hold", AllWell: "requests are not held", Service: checkHold},
		{Name: "enabled units", AllWell: "a reboot starts the active slot, and only that", Service: checkEnabled},
		{Name: "old unit", AllWell: "the single unit of before is gone", Service: checkOldUnit},
		{Name: "twins", AllWell: "both units are the same but for name, port and directory", Service: checkTwins},
		{Name: "directories", AllWell: "the slots run from directories of their own", Service: checkDirectories},
		{Name: "roles", AllWell: "cron jobs and queue workers run once", Service: checkRoles},
	}
}

func checkDoor(f *Facts, s *Service) []Finding {
	a, at := s.Door, door(s)
	switch {
	case !a.Asked:
		return skip("it has no listener")
	case a.Refused:
		return one(Fail, "sudo systemctl start charactier-proxy.socket charactier-proxy", "nobody listens on %s", at)
	case a.Silent:
		return one(Fail, lines("systemctl status charactier-proxy", "sudo nft list ruleset"), "connections to %s are not taken: the daemon hangs, or a firewall drops them", at)
	case a.Ours != "":
		return one(Fail, "charactier-proxyctl status", "%s answers %d by itself: %s", at, a.Status, a.Ours)
	case a.Err != nil:
		return one(Fail, "charactier-proxyctl status", "%s: %v", at, a.Err)
	}
	return nil
}

// longHold is how long a restart in place may take.
const longHold = time.Minute

func checkHold(f *Facts, s *Service) []Finding {
	if s.Held == nil {
		return nil
	}
	level, mend := Warn, "charactier-proxyctl release-hold --service "+s.Name
	if f.Now.Sub(s.Held.Since) > longHold {
		level = Fail
	}
	return one(level, mend, "its requests are held since %s by %s: %s", s.Held.Since.Local().Format(time.DateTime), s.Held.Actor, cmp.Or(s.Held.Reason, "no reason given"))
}

// checkEnabled compares what systemd starts after a reboot with what is active.
func checkEnabled(f *Facts, s *Service) []Finding {
	active, standby := s.units()
	switch {
	case f.Systemd != nil:
		return skip("systemd cannot be asked: %v", f.Systemd)
	case s.Active == "":
		return skip("which slot is active is not known")
	case f.Daemon.Status.Reservation != nil:
		return skip("a deploy is under way")
	case !active.Exists():
		return skip("the active slot has no unit")
	case active.Enabled == "static":
		return one(Fail, "add [Install] WantedBy=multi-user.target to "+active.Name, "%s cannot be enabled: after a reboot nothing answers", active.Name)
	}
	enable, disable := "sudo systemctl enable "+active.Name, "sudo systemctl disable "+standby.Name
	switch on, other := starts(active), standby.Exists() && starts(standby); {
	case !on && other:
		return one(Fail, enable+" && "+disable, "%s, the standby's, is enabled, and %s, the active one's, is not: after a reboot nothing answers", standby.Name, active.Name)
	case !on:
		return one(Fail, enable, "%s, the active slot's, is %s: after a reboot nothing answers", active.Name, active.Enabled)
	case other:
		return one(Warn, disable, "both units are enabled: after a reboot the standby runs too, and its cron jobs with it")
	}
	return nil
}

// starts says that a reboot starts the unit.
func starts(u Unit) bool { return u.Enabled == "enabled" || u.Enabled == "alias" }

// units are those of the active slot and of the standby.
func (s *Service) units() (active, standby Unit) {
	for _, slot := range s.Slots {
		if slot.Name == s.Active {
			active = slot.Unit
		} else {
			standby = slot.Unit
		}
	}
	return active, standby
}

func checkOldUnit(f *Facts, s *Service) []Finding {
	u := s.Old
	if u.Name == "" || u.Err != nil {
		return skip("what its name was is not known, or systemd cannot be asked")
	}
	if !u.Exists() || u.Load == "masked" || !starts(u) && !u.Runs() {
		return nil
	}
	state := "is enabled and will take its port after a reboot"
	if u.Runs() {
		state = "runs beside the two slots"
	}
	mend := "sudo systemctl disable --now " + u.Name
	for _, slot := range s.Slots {
		mend = slot.unlessServing(f, u.Name, mend)
	}
	return one(Fail, mend, "%s, from before there were two slots, %s", u.Name, state)
}

// checkTwins finds a setting that somebody changed in one unit only, which
// shows when the other slot is switched to.
func checkTwins(f *Facts, s *Service) []Finding {
	blue, green := s.Slots[0], s.Slots[1]
	if !blue.Unit.Exists() || !green.Unit.Exists() {
		return skip("there are not two units")
	}
	only := func(a, b []string) (keys []string) {
		for _, line := range a {
			if !slices.Contains(b, line) {
				key, _, _ := strings.Cut(line, "=")
				keys = append(keys, key+"=")
			}
		}
		return keys
	}
	a, b := plainLines(blue), plainLines(green)
	keys := append(only(a, b), only(b, a)...)
	if len(keys) == 0 {
		return nil
	}
	slices.Sort(keys)
	return one(Warn, fmt.Sprintf("systemctl cat %s %s", blue.Unit.Name, green.Unit.Name),
		"%s and %s differ in more than name, port and directory: %s", blue.Unit.Name, green.Unit.Name, strings.Join(slices.Compact(keys), ", "))
}

// plainLines are the settings of a slot's unit with all that may differ taken
// out.
func plainLines(s *Slot) []string {
	same := strings.NewReplacer(
		string(s.Name), "{slot}", title(s.Name), "{slot}", strings.ToUpper(string(s.Name)), "{slot}",
		cmp.Or(port(s.Address), s.Address), "{port}",
	)
	var lines []string
	for _, file := range s.Unit.Files {
		for line := range strings.Lines(file.Content) {
			line = strings.TrimSpace(line)
			if line == "" || line[0] == '#' || line[0] == ';' || strings.HasPrefix(line, "WorkingDirectory=") {
				continue
			}
			lines = append(lines, same.Replace(line))
		}
	}
	return lines
}

func title(s switcher.Slot) string { return strings.ToUpper(string(s[:1])) + string(s[1:]) }

func checkDirectories(_ *Facts, s *Service) []Finding {
	blue, green := s.Slots[0].Unit, s.Slots[1].Unit
	if !blue.Exists() || !green.Exists() {
		return skip("there are not two units")
	}
	if blue.Directory == "" || blue.Directory != green.Directory {
		return nil
	}
	return one(Fail, apart(s), "both units run from %s: a build changes the files of the slot that serves, and a rollback starts the new code again", blue.Directory)
}

// checkRoles finds cron jobs that may run twice: they do so in each process
// that is not told whether it is active.
func checkRoles(_ *Facts, s *Service) []Finding {
	r := s.Config.Role
	if r.Path != "" || r.Command != "" || r.Unit != "" {
		return nil
	}
	for _, slot := range s.Slots {
		if !slot.Answer.Healthy {
			return nil
		}
	}
	return one(Warn, fmt.Sprintf("set services.%s.role.path and let the app follow it, or stop the standby", s.Name),
		"both slots run and neither is told whether it is active: cron jobs and queue workers in the app run twice")
}
