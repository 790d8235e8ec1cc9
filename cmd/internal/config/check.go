package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"charactier-proxy/health"
)

// check reports what is wrong between keys, each of which is right alone.
func (r *reader) check(c *Config) {
	if len(c.Services) == 0 {
		return
	}
	for _, name := range c.names() {
		r.checkHealth(c, name)
		r.checkSlots(c.Services[name])
	}
	listeners := c.listeners()
	r.checkListeners(listeners)
	r.checkLoops(c, listeners)
}

// checkHealth lets package health judge the check as a whole. While a key's
// own rule is broken, it would only say the same again.
func (r *reader) checkHealth(c *Config, service string) {
	section := c.Services[service].path() + ".health."
	if slices.ContainsFunc(r.problems, func(p Problem) bool { return strings.HasPrefix(p.Key, section) }) {
		return
	}
	for _, err := range unjoin(c.HealthCheck(service).Validate()) {
		var field *health.FieldError
		if errors.As(err, &field) {
			r.reportKey(section+strings.ToLower(field.Field), field.Problem)
			continue
		}
		r.reportKey(section, err.Error())
	}
}

func unjoin(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	if err != nil {
		return []error{err}
	}
	return nil
}

// checkSlots refuses two slots in one place: a switch between them would
// change nothing, and stopping the old one would stop the new one too.
func (r *reader) checkSlots(s *Service) {
	key := s.path() + ".slots.green."
	if a := s.Slots[blue].Address; a != "" && overlap(a, s.Slots[green].Address) {
		r.reportKey(key+"address", fmt.Sprintf("%s is the blue slot's address too; each slot needs its own", s.Slots[green].Address))
	}
	if u := s.Slots[blue].Unit; u != "" && u == s.Slots[green].Unit {
		r.reportKey(key+"unit", fmt.Sprintf("%s is the blue slot's unit too; each slot needs its own", u))
	}
	if l := s.Slots[blue].Link; l != "" && l == s.Slots[green].Link {
		r.reportKey(key+"link", fmt.Sprintf("%s is the blue slot's link too; each slot needs its own", l))
	}
}

// listener is one address that the daemon listens on, and the key that says so.
type listener struct{ address, key string }

func (c *Config) listeners() []listener {
	var all []listener
	for _, name := range c.names() {
		s := c.Services[name]
		for i, address := range s.Listen {
			all = append(all, listener{address, fmt.Sprintf("%s.listen[%d]", s.path(), i)})
		}
	}
	if c.Admin.Listen != "" {
		all = append(all, listener{c.Admin.Listen, "admin.listen"})
	}
	return all
}

// checkListeners refuses two listeners on one address. The one to mend is the
// later one in the file; a default is not in the file.
func (r *reader) checkListeners(all []listener) {
	for i, b := range all {
		for _, a := range all[:i] {
			if !overlap(a.address, b.address) {
				continue
			}
			first, second := a, b
			if before(r.at[b.key], r.at[a.key]) {
				first, second = b, a
			}
			r.reportKey(second.key, fmt.Sprintf("%s is taken by %s%s", second.address, r.named(first), sameAs(first.address, second.address)))
		}
	}
}

// checkLoops refuses slots that are listeners of ours: requests would go round
// until every connection is used up.
func (r *reader) checkLoops(c *Config, listeners []listener) {
	for _, name := range c.names() {
		s := c.Services[name]
		for _, slot := range []string{blue, green} {
			address := s.Slots[slot].Address
			for _, l := range listeners {
				if overlap(address, l.address) {
					r.reportKey(s.path()+".slots."+slot+".address",
						fmt.Sprintf("%s is where we listen ourselves: %s%s; requests would go round in a circle", address, r.named(l), sameAs(l.address, address)))
				}
			}
		}
	}
}

// named is a listener's key with the line it stands in.
func (r *reader) named(l listener) string {
	if at, ok := r.at[l.key]; ok {
		return fmt.Sprintf("%s in line %d", l.key, at.line)
	}
	return l.key + ", by default"
}

// sameAs explains why two different addresses are in each other's way.
func sameAs(a, b string) string {
	if a == b {
		return ""
	}
	return fmt.Sprintf(" (%s)", a)
}

func before(a, b position) bool {
	return a.line < b.line || a.line == b.line && a.column < b.column
}
