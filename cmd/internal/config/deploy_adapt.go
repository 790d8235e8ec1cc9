package config

import (
	"strconv"
	"strings"

	"charactier-proxy/switcher"
	"charactier-proxy/switcher/deploy"
)

// DeployServices describes the services to a deploy, sorted by name.
func (c *Config) DeployServices() []deploy.Service {
	var all []deploy.Service
	for _, name := range c.names() {
		all = append(all, c.Services[name].deployService())
	}
	return all
}

func (s *Service) deployService() deploy.Service {
	d := deploy.Service{
		Name: s.Name, Slots: map[switcher.Slot]deploy.SlotConfig{},

		Directory: s.Build.Directory, Commands: s.Build.Commands, Environment: s.Build.Environment,
		User: s.Build.User, Timeout: s.Build.Timeout, MemoryMax: uint64(s.Build.MemoryMax),
		CPUWeight: uint64(s.Build.CPUWeight), IOWeight: uint64(s.Build.IOWeight), TasksMax: uint64(s.Build.TasksMax),
		Reuse: s.Build.Reuse, Shared: s.Shared,

		Tries: s.Gate.Tries, Interval: s.Gate.Interval, Identity: s.Gate.Identity,
		ReleaseHeader: s.Gate.ReleaseHeader, WarmUp: s.Gate.WarmUp,

		DrainTimeout: s.DrainTimeout, StreamsTime: s.Streams.Spread + s.Streams.Bound, Warm: s.Warm,
		RoleRequired: s.Role.Required, RoleTimeout: s.Role.Timeout, RoleWays: s.Role.ways(),
	}
	for name, at := range s.Slots {
		d.Slots[switcher.Slot(name)] = deploy.SlotConfig{Address: at.Address, Unit: at.Unit, Link: at.Link}
	}
	for _, line := range s.Gate.Smoke {
		d.Smoke = append(d.Smoke, parseSmoke(line))
	}
	return d
}

// ways counts on how many ways a slot is told.
func (r Role) ways() int {
	n := 0
	for _, way := range []string{r.Path, r.Command, r.Unit} {
		if way != "" {
			n++
		}
	}
	return n
}

// parseSmoke reads what [smokeLine] allowed.
func parseSmoke(line string) deploy.Smoke {
	path, rest, _ := strings.Cut(line, " ")
	status, text, _ := strings.Cut(rest, " ")
	code, _ := strconv.Atoi(status)
	return deploy.Smoke{Path: path, Status: code, Text: text}
}
