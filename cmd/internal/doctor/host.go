package doctor

import (
	"fmt"
	"time"

	"charactier-proxy/switcher/deploy/release"
)

func hostChecks() []Check {
	return []Check{
		{Name: "disk", AllWell: "there is room for state, logs and releases", Machine: checkDisks},
		{Name: "clock", AllWell: "it is synchronised, and later than all that was recorded", Machine: checkClock},
	}
}

// fewInodes is as much as one small npm project needs.
const fewInodes = 20_000

func checkDisks(f *Facts) []Finding {
	var l found
	for _, d := range f.Disks {
		switch {
		case d.Err != nil:
			l.add(Skipped, "", "the disk below %s cannot be asked: %v", d.Path, d.Err)
		case d.Free < d.Need:
			l.fail("df -h "+d.Path+"; sudo journalctl --vacuum-size=200M", "%s, which holds %s, has %s free, and needs %s", d.Path, d.Holds, size(d.Free), size(d.Need))
		case d.Few && d.Inodes < fewInodes:
			l.fail("df -i "+d.Path, "%s, which holds %s, has only %d inodes left: no more files can be made", d.Path, d.Holds, d.Inodes)
		}
	}
	return l
}

// size is a number of bytes in its largest unit.
func size(n uint64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	v, u := float64(n), 0
	for v >= 1024 && u < len(units)-1 {
		v, u = v/1024, u+1
	}
	if v == float64(int64(v)) {
		return fmt.Sprintf("%.0f %s", v, units[u])
	}
	return fmt.Sprintf("%.1f %s", v, units[u])
}

// clockSlack is by how much two readings of one clock may differ when it is
// being adjusted.
const clockSlack = time.Minute

func checkClock(f *Facts) []Finding {
	var l found
	if newest, what := f.newest(); newest.After(f.Now.Add(clockSlack)) {
		l.fail("timedatectl status; sudo systemctl restart systemd-timesyncd",
			"it says %s, but %s was at %s: warm times, history and logs are wrong", f.Now.Local().Format(time.DateTime), what, newest.Local().Format(time.DateTime))
	}
	switch {
	case f.Clock.Err != nil:
		l.add(Skipped, "", "whether it is synchronised cannot be told: %v", f.Clock.Err)
	case !f.Clock.Synchronised:
		l.warn("sudo timedatectl set-ntp true", "it is not synchronised with a time server")
	}
	return l
}

// newest is the latest time that was ever recorded, and of what.
func (f *Facts) newest() (at time.Time, what string) {
	note := func(t time.Time, of string) {
		if t.After(at) {
			at, what = t, of
		}
	}
	for _, s := range f.Services {
		note(s.Since, "the newest switch of "+s.Name)
	}
	if last := f.Daemon.Status.Last; last != nil {
		note(last.Started, "the newest operation")
	}
	if last := f.State.Saved.Last; last != nil {
		note(last.Started, "the newest operation")
	}
	note(f.Daemon.Status.Started, "the daemon's start")
	return at, what
}

func deployChecks() []Check {
	return []Check{
		{Name: "deploy root", AllWell: "only root may put releases there", Machine: checkRoot},
		{Name: "repository", AllWell: "it can be reached", Machine: checkRepository},
		{Name: "build user", AllWell: "it exists", Service: checkBuildUser},
		{Name: "shared files", AllWell: "they are all there", Service: checkShared},
	}
}

func checkRoot(f *Facts) []Finding {
	root := f.Deploy
	switch {
	case root.Missing() && f.deploys():
		return one(Warn, "sudo install -d -m 755 "+root.Path, "deploy.root %s is not there yet", root.Path)
	case root.Missing():
		return skip("there is no %s: nothing was ever deployed", root.Path)
	case root.Err != nil:
		return needRoot(root.Path)
	case !root.Mode.IsDir():
		return one(Fail, "move it away: "+root.Path, "deploy.root %s is not a directory", root.Path)
	case root.UID != 0 && f.Root:
		return one(Fail, "sudo chown root "+root.Path, "deploy.root %s belongs to user %d, who may replace what the slots run", root.Path, root.UID)
	case root.Mode.Perm()&0o022 != 0:
		return one(Fail, "sudo chmod go-w "+root.Path, "others may write to deploy.root %s (mode %04o), and so replace what the slots run", root.Path, root.Mode.Perm())
	}
	return nil
}

func checkRepository(f *Facts) []Finding {
	d := f.Config.Deploy
	switch {
	case d.Repository == "":
		return skip("deploys are not set up (deploy.repository)")
	case !f.Deep:
		return one(Skipped, "charactier-proxyctl doctor --deep", "%s: asked only with --deep", release.Shown(d.Repository))
	case f.Repository.Err != nil:
		shown := release.Shown(d.Repository)
		return one(Fail, fmt.Sprintf("sudo git ls-remote %s %s", shown, d.Ref), "%s cannot be reached: %v", shown, f.Repository.Err)
	}
	return nil
}

// ourBuildUser is made by a file that is installed with us.
const ourBuildUser = "charactier-build"

func checkBuildUser(f *Facts, s *Service) []Finding {
	user := s.Config.Build.User
	if !f.deploys() {
		return skip("deploys are not set up (deploy.repository)")
	}
	if s.BuildUser == nil {
		return nil
	}
	mend := "sudo useradd --system --create-home --home-dir /var/cache/" + user + " --shell /usr/sbin/nologin " + user
	if user == ourBuildUser {
		mend = "sudo systemd-sysusers && sudo systemd-tmpfiles --create"
	}
	return one(Fail, mend, "the user %s that builds run as does not exist", user)
}

func checkShared(f *Facts, s *Service) []Finding {
	if !f.deploys() {
		return skip("deploys are not set up (deploy.repository)")
	}
	var l found
	for _, file := range s.Shared {
		switch {
		case file.Missing():
			l.fail("sudo install -D -m 640 YOUR_COPY "+file.Path, "%s is shared by all releases and not there: a deploy would fail", file.Path)
		case file.Err != nil:
			l = append(l, needRoot(file.Path)...)
		}
	}
	return l
}
