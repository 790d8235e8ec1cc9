package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"charactier-proxy/switcher"
)

// releaseOf names the release that a slot's link leads to; empty where there is
// none to be told.
func (d *daemon) releaseOf(service string, slot switcher.Slot) string {
	s := d.config.current().Services[service]
	if s == nil || s.Slots[string(slot)].Link == "" {
		return ""
	}
	target, err := os.Readlink(s.Slots[string(slot)].Link)
	if err != nil {
		return ""
	}
	return releaseIn(target)
}

// releaseIn is the element after "releases" in a path.
func releaseIn(path string) string {
	elements := strings.Split(filepath.Clean(path), "/")
	if i := slices.Index(elements, "releases"); i >= 0 && i+1 < len(elements) {
		return elements[i+1]
	}
	return ""
}
