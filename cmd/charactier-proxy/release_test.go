package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"charactier-proxy/switcher/control"
)

func TestReleasesAreReadFromTheLinks(t *testing.T) {
	dir := shortDir(t)
	links := map[string]string{}
	for slot, release := range map[string]string{"blue": "20260101T000000Z-aaaaaaaaaaaa", "green": "20260202T000000Z-bbbbbbbbbbbb"} {
		links[slot] = filepath.Join(dir, slot)
		if err := os.Symlink(filepath.Join(dir, "releases", release, "backend"), links[slot]); err != nil {
			t.Fatal(err)
		}
	}
	yaml := service("backend", freeAddress(t), namedSlot(t, "blue"), namedSlot(t, "green"))
	for slot, link := range links {
		yaml = strings.Replace(yaml, slot+": {", fmt.Sprintf("%s: {link: %q, ", slot, link), 1)
	}
	w := newWorld(t, services(yaml))
	if _, err := w.client.Switch(t.Context(), control.SwitchRequest{}); err != nil {
		t.Fatal(err)
	}
	rec, err := w.client.Rollback(t.Context(), control.SwitchRequest{Reason: "slow"})
	if err != nil || rec.Moves[0].FromRelease != "20260202T000000Z-bbbbbbbbbbbb" || rec.Moves[0].ToRelease != "20260101T000000Z-aaaaaaaaaaaa" {
		t.Errorf("the rollback answered %+v, %v", rec, err)
	}
	s := w.status().Services[0]
	if len(s.BadReleases) != 1 || s.BadReleases[0].Release != "20260202T000000Z-bbbbbbbbbbbb" || s.BadReleases[0].Reason != "slow" {
		t.Errorf("bad releases: %+v", s.BadReleases)
	}
	if s.Slots[0].Release != "20260101T000000Z-aaaaaaaaaaaa" || s.Slots[1].Release != "20260202T000000Z-bbbbbbbbbbbb" {
		t.Errorf("the slots run %q and %q", s.Slots[0].Release, s.Slots[1].Release)
	}
	if rec, err := w.client.Switch(t.Context(), control.SwitchRequest{}); err != nil || !strings.Contains(rec.Warning, "release 20260202T000000Z-bbbbbbbbbbbb was rolled back from at ") {
		t.Errorf("a switch to it answered %+v, %v", rec, err)
	}
}
