package doctor

import (
	"cmp"
	"fmt"
	"path/filepath"
	"strings"

	"charactier-proxy/switcher"
	"charactier-proxy/switcher/deploy"
)

// What mends a fault is followed at three in the morning, at once, and for both
// slots. So it never takes the slot down that has the traffic: the standby comes
// first, then a deploy, then the other slot; and a unit is led to a link only
// where that leads to what the unit runs now, or it would not come up again.

const deployNow = "sudo charactier-proxyctl deploy"

// lines puts commands below each other, one in a line, so that each can be
// pasted.
func lines(commands ...string) string { return strings.Join(commands, "\n") }

// waitsForLink says that the unit cannot start for want of its slot's link.
func (s *Slot) waitsForLink() bool {
	return s.Link.Path != "" && s.Link.missing() && within(s.Link.Path, s.Unit.Directory)
}

// startOf is how a slot comes up.
func startOf(s *Slot) string {
	start := "sudo systemctl start " + s.Unit.Name
	switch {
	case s.Unit.Name == "":
		return "start the process of the slot"
	case s.waitsForLink() && s.Active:
		return lines(deployNow+"  # goes to the other slot", "or, for what ran here before:", linkTo(s, "DIRECTORY_OF_THE_APP")+" && "+start)
	case s.waitsForLink():
		return deployNow + "  # makes " + s.Link.Path
	}
	return start
}

// linkTo makes the slot's link to what is no release yet.
func linkTo(s *Slot, dir string) string {
	return fmt.Sprintf("sudo mkdir -p %s && sudo ln -s %s %s", filepath.Dir(s.Link.Path), dir, s.Link.Path)
}

// intoLink has the unit run in its slot's link.
func intoLink(s *Slot) string {
	move := deploy.MoveUnit(s.Unit.Name, s.Link.Path)
	switch {
	case !s.Active:
		return lines(move, deployNow)
	case s.Link.missing() && s.Unit.Directory != "":
		return lines("the standby's unit first, then:", deployNow, "or now:", linkTo(s, s.Unit.Directory)+" && "+move)
	case s.Link.Err == nil && s.Link.Real == s.Unit.Directory:
		return move
	}
	return lines("the standby's unit first, then:", deployNow, "once this slot is the standby:", move)
}

// leadBack has the link lead to the release that runs. What runs in none is
// where the unit's command goes, or was started before the unit was changed.
func leadBack(s *Slot, releases string) string {
	name := releaseOf(releases, s.Runs)
	if name == "" {
		return "systemctl cat " + s.Unit.Name + "  # what ExecStart= runs must not name or enter another directory; then: " + deployNow
	}
	rel, _ := filepath.Rel(filepath.Join(releases, releaseOf(releases, s.Link.Real)), s.Link.Real)
	return fmt.Sprintf("sudo ln -sfn %s %s", filepath.Join(releases, name, rel), s.Link.Path)
}

// apart gives two units that share a directory one each.
func apart(s *Service) string {
	standby, active := s.Slots[0], s.Slots[1]
	if s.Active == standby.Name {
		standby, active = active, standby
	}
	switch {
	case standby.Link.Path == "" || active.Link.Path == "":
		return fmt.Sprintf("set services.%s.slots.blue.link and green's; then lead the standby's unit there, deploy, and then the other", s.Name)
	case s.Active == "":
		return lines("charactier-proxyctl status  # says which slot is the standby", "its unit first gets WorkingDirectory= with its link; then deploy, then the other")
	}
	var steps []string
	if standby.Unit.Directory != standby.Link.Path {
		steps = append(steps, deploy.MoveUnit(standby.Unit.Name, standby.Link.Path))
	}
	steps = append(steps, deployNow)
	if active.Unit.Directory != active.Link.Path {
		steps = append(steps, "once "+string(active.Name)+" is the standby:", deploy.MoveUnit(active.Unit.Name, active.Link.Path))
	}
	return lines(steps...)
}

// linkInPlaceOf puts a link where a directory is, so that whatever runs in it
// comes up again.
func linkInPlaceOf(link string) string {
	return deploy.LinkInPlaceOf(link) + "  # the next deploy leads it to a release"
}

// wakeElsewhere is for a process whose directory was removed.
func wakeElsewhere(s *Slot) string {
	restart := "sudo systemctl restart " + cmp.Or(s.Unit.Name, "the slot")
	switch {
	case s.Link.Path == "":
		return lines("put "+s.Gone+" back, then:", restart)
	case s.Link.Err == nil && within(s.Link.Path, s.Unit.Directory):
		return restart
	}
	return deployNow
}

// unlessServing keeps a command that ends somebody's process from ending the
// traffic that he answers in place of the slot's own.
func (s *Slot) unlessServing(f *Facts, unit, command string) string {
	known := s.Owner.Unit != ""
	if !s.Answer.Healthy || known && s.Owner.Unit != unit || !known && s.Unit.Runs() && unit != "" {
		return command
	}
	var first []string
	if len(f.Nginx.upstreamServers(s.Address))+len(f.Nginx.passes(s.Address)) > 0 {
		first = append(first, "sudo charactier-proxyctl migrate")
	}
	if s.Active {
		first = append(first, deployNow)
	}
	if len(first) == 0 {
		return command
	}
	return lines("it answers the traffic now, so move that first:", lines(first...), command)
}

// assume records which slots are active where the state is gone: a start without
// it would begin with blue.
func assume(f *Facts) string {
	var places []string
	for _, s := range f.Services {
		slot := s.Active
		if slot == "" {
			slot = switcher.Slot("SLOT")
		}
		places = append(places, s.Name+"="+string(slot))
	}
	return "sudo charactier-proxy --assume-active " + strings.Join(places, ",") + " && sudo systemctl restart charactier-proxy"
}
