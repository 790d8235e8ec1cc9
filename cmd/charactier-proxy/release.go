package main

import (
	"charactier-proxy/switcher"
	"charactier-proxy/switcher/deploy/release"
)

// releaseOf names the release that a slot's link leads to; empty where there is
// none to be told.
func (d *daemon) releaseOf(service string, slot switcher.Slot) string {
	s := d.config.current().Services[service]
	if s == nil || s.Slots[string(slot)].Link == "" {
		return ""
	}
	return release.ReleaseOfLink(s.Slots[string(slot)].Link)
}
