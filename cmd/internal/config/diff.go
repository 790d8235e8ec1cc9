package config

import (
	"maps"
	"reflect"
	"slices"
	"strings"
)

// Changes are the differences between two configurations. All lists are
// sorted.
type Changes struct {
	// Added, Removed and Altered are services, by name.
	Added, Removed, Altered []string
	// Opened and Closed are the addresses that services listen on. One that moves
	// from a service to another is in neither.
	Opened, Closed []string
	// Keys are the full names of all keys with another value, those of added and
	// removed services not counted.
	Keys []string
	// NeedsRestart are those of Keys that only a new start makes hold.
	NeedsRestart []string
}

// Diff says what has to change for next to hold instead of old. To know all
// that waits for a restart, compare with what the daemon was started with.
func Diff(old, next *Config) Changes {
	var c Changes
	c.Added = without(next.names(), old.names())
	c.Removed = without(old.names(), next.names())
	c.Opened = without(next.addresses(), old.addresses())
	c.Closed = without(old.addresses(), next.addresses())
	before := map[string]any{}
	for _, f := range old.fields() {
		before[f.name] = f.at
	}
	altered := map[string]bool{}
	for _, f := range next.fields() {
		was, ok := before[f.name]
		if !ok || reflect.DeepEqual(was, f.at) {
			continue
		}
		c.Keys = append(c.Keys, f.name)
		if f.change == restart {
			c.NeedsRestart = append(c.NeedsRestart, f.name)
		}
		if f.service != "" {
			altered[f.service] = true
		}
	}
	slices.Sort(c.Keys)
	slices.Sort(c.NeedsRestart)
	c.Altered = slices.Sorted(maps.Keys(altered))
	return c
}

// None says that nothing differs.
func (c Changes) None() bool { return len(c.Added)+len(c.Removed)+len(c.Keys) == 0 }

// String is one line for logs: "added service frontend; changed log.level".
func (c Changes) String() string {
	var parts []string
	list := func(what string, names []string) {
		if len(names) > 0 {
			parts = append(parts, what+" "+strings.Join(names, ", "))
		}
	}
	list("added service", c.Added)
	list("removed service", c.Removed)
	list("changed", without(c.Keys, c.NeedsRestart))
	list("waiting for a restart", c.NeedsRestart)
	if len(parts) == 0 {
		return "no changes"
	}
	return strings.Join(parts, "; ")
}

// names are those of the services, sorted.
func (c *Config) names() []string { return slices.Sorted(maps.Keys(c.Services)) }

// addresses are all that services listen on, sorted.
func (c *Config) addresses() []string {
	var all []string
	for _, s := range c.Services {
		all = append(all, s.Listen...)
	}
	slices.Sort(all)
	return all
}

// without returns the elements of a that are not in b.
func without(a, b []string) []string {
	var left []string
	for _, s := range a {
		if !slices.Contains(b, s) {
			left = append(left, s)
		}
	}
	return left
}
