package doctor

import (
	"charactier-proxy/switcher"
)

// Level is how bad a finding is.
type Level string

// The levels.
const (
	OK      Level = "ok"
	Warn    Level = "warn"    // works now, and will hurt some day
	Fail    Level = "fail"    // does not work, or fails requests at the next switch, stop or reboot
	Skipped Level = "skipped" // could not be looked at
)

// Finding is what one check has to say about one thing.
type Finding struct {
	Level   Level         `json:"level"`
	Check   string        `json:"check"`
	Service string        `json:"service,omitempty"` // empty: the machine
	Slot    switcher.Slot `json:"slot,omitempty"`
	Text    string        `json:"text"`
	Mend    string        `json:"mend,omitempty"` // commands, one in a line, or what to write where
}

// Check looks for one kind of fault. It returns what it found, without the
// names of check, service and slot; nothing means that all is well.
type Check struct {
	Name    string
	AllWell string // what is so where nothing was found
	// One of these, by what it is asked for.
	Machine func(*Facts) []Finding
	Service func(*Facts, *Service) []Finding
	Slot    func(*Facts, *Service, *Slot) []Finding
}

// Checks are all of them, in the order in which an operator wants to read.
func Checks() []Check {
	var all []Check
	for _, group := range [][]Check{daemonChecks(), serviceChecks(), slotChecks(), nginxChecks(), hostChecks(), deployChecks()} {
		all = append(all, group...)
	}
	return all
}

// Examine judges the facts: first what is about the machine, then service by
// service, each with its slots after it.
func Examine(f *Facts) []Finding {
	var all []Finding
	checks := Checks()
	for _, c := range checks {
		if c.Machine != nil {
			all = append(all, c.stamp(c.Machine(f), "", "")...)
		}
	}
	for _, s := range f.Services {
		for _, c := range checks {
			if c.Service != nil {
				all = append(all, c.stamp(c.Service(f, s), s.Name, "")...)
			}
		}
		for _, slot := range s.Slots {
			for _, c := range checks {
				if c.Slot != nil {
					all = append(all, c.stamp(c.Slot(f, s, slot), s.Name, slot.Name)...)
				}
			}
		}
	}
	return all
}

// stamp says where the findings of a check belong.
func (c Check) stamp(found []Finding, service string, slot switcher.Slot) []Finding {
	if len(found) == 0 {
		found = []Finding{{Level: OK, Text: c.AllWell}}
	}
	for i := range found {
		found[i].Check, found[i].Service, found[i].Slot = c.Name, service, slot
	}
	return found
}

// Count is how many findings have the level.
func Count(all []Finding, level Level) (n int) {
	for _, f := range all {
		if f.Level == level {
			n++
		}
	}
	return n
}
