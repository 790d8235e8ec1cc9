package doctor

import (
	"io/fs"
	"strings"
	"testing"

	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
	"charactier-proxy/switcher/deploy"
)

// mendOf is what mends the one fault that a check finds of a slot.
func mendOf(t *testing.T, f *Facts, check string, slot switcher.Slot) string {
	t.Helper()
	var mends []string
	for _, found := range Examine(f) {
		if found.Check == check && found.Slot == slot && (found.Level == Fail || found.Level == Warn) {
			mends = append(mends, found.Mend)
		}
	}
	if len(mends) == 0 {
		t.Fatalf("%s of %s finds nothing", check, slot)
	}
	return mends[len(mends)-1]
}

// Each is followed to the letter, at once, while blue has the traffic.
func TestMendsTakeTheStandbyFirst(t *testing.T) {
	const (
		link  = "/srv/charactier/backend/"
		noDir = "sudo mkdir -p /srv/charactier/backend && sudo ln -s "
	)
	byHand := func(f *Facts) {
		for _, s := range f.Services[0].Slots {
			s.Unit.Directory, s.Link.Target, s.Link.Real, s.Link.Err = "/opt/app", "", "", fs.ErrNotExist
		}
	}
	stranger := func(s *Slot, unit string) {
		s.Owner, s.Answer = Owner{Process: Process{PID: 812, Command: "node", Unit: unit}}, Answer{Asked: true, Status: 200, Healthy: true}
	}
	for name, c := range map[string]struct {
		fault       func(*Facts)
		check       string
		slot        switcher.Slot
		want, never string
	}{
		"the standby runs elsewhere": {byHand, "release", switcher.Green,
			deploy.MoveUnit(greenUnit, link+"green") + "\nsudo charactier-proxyctl deploy", "ln -s"},
		"the active slot runs elsewhere": {byHand, "release", switcher.Blue,
			"the standby's unit first, then:\nsudo charactier-proxyctl deploy\nor now:\n" + noDir + "/opt/app " + link + "blue && " + deploy.MoveUnit(blueUnit, link+"blue"), "restart"},
		"the active slot's link leads to where it runs": {func(f *Facts) {
			byHand(f)
			blue(f).Link = Link{Path: link + "blue", Target: "/opt/app", Real: "/opt/app"}
		}, "release", switcher.Blue, deploy.MoveUnit(blueUnit, link+"blue"), "deploy"},
		"the active slot's link leads elsewhere": {func(f *Facts) { blue(f).Unit.Directory = "/opt/app" }, "release", switcher.Blue,
			"the standby's unit first, then:\nsudo charactier-proxyctl deploy\nonce this slot is the standby:\n" + deploy.MoveUnit(blueUnit, link+"blue"), "ln -s"},
		"both share a directory": {byHand, "directories", "",
			deploy.MoveUnit(greenUnit, link+"green") + "\nsudo charactier-proxyctl deploy\nonce blue is the standby:\n" + deploy.MoveUnit(blueUnit, link+"blue"), ""},
		"the standby shares the active slot's directory": {func(f *Facts) { green(f).Unit.Directory = link + "blue" }, "directories", "",
			deploy.MoveUnit(greenUnit, link+"green") + "\nsudo charactier-proxyctl deploy", blueUnit},
		"both share a directory, and nobody knows which is active": {func(f *Facts) { byHand(f); f.Services[0].Active = "" }, "directories", "",
			"status  # says which slot is the standby", "systemctl"},
		"the active slot is down for want of its link": {func(f *Facts) {
			blue(f).Link.Target, blue(f).Link.Err, blue(f).Owner, blue(f).Unit.Active = "", fs.ErrNotExist, Owner{Nobody: true}, "inactive"
		}, "port", switcher.Blue, "sudo charactier-proxyctl deploy  # goes to the other slot\nor, for what ran here before:\n" + noDir + "DIRECTORY_OF_THE_APP " + link + "blue && sudo systemctl start " + blueUnit, ""},
		"the standby failed for want of its link": {func(f *Facts) {
			green(f).Link.Target, green(f).Link.Err, green(f).Unit.Active = "", fs.ErrNotExist, "failed"
		}, "unit", switcher.Green, "sudo charactier-proxyctl deploy  # makes " + link + "green", "start"},
		"the active slot's directory was removed, with its link": {func(f *Facts) {
			blue(f).Gone, blue(f).Link.Err, blue(f).Link.Real = "/srv/charactier/releases/0/backend", fs.ErrNotExist, ""
		}, "release", switcher.Blue, "sudo charactier-proxyctl deploy", "restart"},
		"a stranger from a shell answers the traffic": {func(f *Facts) { stranger(blue(f), "session-3.scope") }, "port", switcher.Blue,
			"move that first:\nsudo charactier-proxyctl deploy\nps -fp 812\nsudo kill 812", ""},
		"nginx still sends to the old unit": {func(f *Facts) {
			f.Services[0].Old = Unit{Name: "charactier-backend.service", Load: "loaded", Active: "active", Enabled: "enabled"}
			f.Nginx = nginxWith("server 127.0.0.1:5080;", "server 127.0.0.1:5000;")
			stranger(blue(f), "charactier-backend.service")
		}, "old unit", "", "move that first:\nsudo charactier-proxyctl migrate\nsudo charactier-proxyctl deploy\nsudo systemctl disable --now charactier-backend.service", ""},
		"nobody may see who the old unit is": {func(f *Facts) {
			f.Services[0].Old = Unit{Name: "charactier-backend.service", Load: "loaded", Active: "active", Enabled: "enabled"}
			stranger(blue(f), "")
			f.Root, blue(f).Unit.Active = false, "inactive"
		}, "old unit", "", "move that first:\nsudo charactier-proxyctl deploy\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := sound()
			c.fault(f)
			got := mendOf(t, f, c.check, c.slot)
			if !strings.Contains(got, c.want) || c.never != "" && strings.Contains(got, c.never) {
				t.Errorf("got  %s\nwant %s\nand never %q", got, c.want, c.never)
			}
		})
	}
}

func TestAMendOfTheDaemonKeepsWhatIsActive(t *testing.T) {
	for name, c := range map[string]struct {
		fault func(*Facts)
		check string
		want  string
	}{
		"the state directory is gone": {func(f *Facts) { f.State.Dir.Err = fs.ErrNotExist }, "state", "--assume-active backend=blue && sudo systemctl restart"},
		"the file is gone": {func(f *Facts) { f.ConfigFile.Err = fs.ErrNotExist }, "configuration",
			"put /etc/charactier-proxy/config.yaml back"},
		"values wait for a restart that would fail": {func(f *Facts) {
			f.Daemon.Status.Config.NeedsRestart, f.Daemon.Status.Config.Rejected = []string{"control.group"}, "config.yaml:3: no"
		}, "configuration", "config check"},
	} {
		f := sound()
		c.fault(f)
		if got := mendOf(t, f, c.check, ""); !strings.Contains(got, c.want) {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
	}
}

// Whatever is planted, nothing that is printed stops what has the traffic.
func TestNoMendEndsTheActiveSlot(t *testing.T) {
	for _, p := range plantings() {
		f := sound()
		f.Daemon.Status.Services = []control.ServiceStatus{{Name: "backend", Active: switcher.Blue}}
		p.fault(f)
		for _, found := range Examine(f) {
			for _, verb := range []string{"stop", "disable --now", "mask", "kill"} {
				if strings.Contains(found.Mend, verb+" "+blueUnit) {
					t.Errorf("%s: %s", p.name, found.Mend)
				}
			}
		}
	}
}
