package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
)

func (e *env) writeSlot(b *strings.Builder, s control.SlotStatus) {
	arrow := "   "
	if s.Active {
		arrow = " " + e.glyph("→ ", "->")
	}
	e.writeLine(b, slotFormat, arrow, e.pad(e.slot(s.Name), nameWidth), e.pad(e.healthText(s.Health), healthWidth),
		count(float64(s.InFlight)), count(float64(s.Streams)), e.rate(s), e.latency(s, s.P50), e.latency(s, s.P99),
		count(float64(s.Errors)))
	e.writeLine(b, underName+"%s", e.placeText(s))
	if line := e.releaseText(s); line != "" {
		e.writeLine(b, underName+"%s", line)
	}
	if s.Role != nil && s.Role.Error != "" && s.Role.Told != s.Role.Wanted {
		e.writeText(b, underName+"%s", e.paint(yellow, clean(s.Role.Error)))
	}
	if s.Health.Error != "" && s.Health.State != healthy {
		e.writeText(b, underName+"%s", e.paint(red, clean(s.Health.Error)))
	}
	if s.Draining && !s.Active {
		left := openText(switcher.DrainCount{OpenRequests: s.InFlight, OpenStreams: s.Streams})
		what := "; do not stop it yet"
		switch {
		case s.InFlight > 0:
		case s.StreamsUntil.After(e.now()):
			what = ", which are ended in " + brief(s.StreamsUntil.Sub(e.now()))
		default:
			what = ", which are being ended"
		}
		e.writeText(b, underName+"%s", e.paint(yellow, "draining: "+left+" left"+what))
	}
	if causes := causesText(s.ByCause); causes != "" {
		e.writeText(b, underName+"%s", e.paint(dim, causes))
	}
}

// placeText is where a slot is, and what systemd says of its unit.
func (e *env) placeText(s control.SlotStatus) string {
	text := e.paint(dim, clean(s.Address))
	if s.Unit != "" {
		text += "  " + e.paint(dim, clean(s.Unit))
	}
	if s.Runs != nil {
		text += e.paint(dim, ", ") + e.unitText(*s.Runs)
	}
	return text
}

// unitText is a unit's state in a few words: "active, enabled".
func (e *env) unitText(u control.UnitStatus) string {
	colour, state := dim, clean(u.Active)
	if u.Active == "failed" {
		colour = red
	}
	if u.Active == "failed" && u.Result != "" {
		state += " (" + clean(u.Result) + ")"
	}
	if u.Enabled != "" {
		state += ", " + clean(u.Enabled)
	}
	if u.Restarts > 0 {
		state += ", " + plural(int64(u.Restarts), "restart", "restarts")
	}
	return e.paint(colour, state)
}

// standby is the role of the slot that is not active.
const standby = "standby"

// releaseText is what runs in a slot and what that was told to be; empty where
// neither is known.
func (e *env) releaseText(s control.SlotStatus) string {
	var parts []string
	if s.Release != "" {
		parts = append(parts, e.paint(dim, "release "+clean(s.Release)))
	}
	switch r := s.Role; {
	case r == nil, r.Told == "" && r.Wanted == standby: // which a process is until it is told
	case r.Told == r.Wanted:
		parts = append(parts, e.paint(dim, "told that it is "+clean(r.Told)))
	default:
		parts = append(parts, e.paint(yellow, "not told that it is "+clean(r.Wanted)))
	}
	return strings.Join(parts, e.paint(dim, ", "))
}

// healthText is a slot's health in words and with a sign.
func (e *env) healthText(h control.HealthStatus) string {
	sign, colour := e.glyph("✗", "x"), red
	switch h.State {
	case healthy:
		sign, colour = e.glyph("✓", "+"), green
	case "unknown", "":
		return e.paint(yellow, "? not probed yet")
	}
	text := e.paint(colour, sign+" "+clean(h.State))
	switch {
	case h.State != healthy && !h.Since.IsZero():
		text += ", " + brief(e.now().Sub(h.Since))
	case h.State == healthy && !h.Probed.IsZero():
		text += ", " + brief(e.now().Sub(h.Probed)) + " ago"
	}
	return text
}

func (e *env) rate(s control.SlotStatus) string {
	if s.Rate == 0 {
		return "-"
	}
	return count(s.Rate) + "/s"
}

func (e *env) latency(s control.SlotStatus, d time.Duration) string {
	if s.Rate == 0 || d == 0 {
		return "-"
	}
	return e.dur(d)
}

// causesText lists the errors that we answered for the slot.
func causesText(byCause map[string]uint64) string {
	var parts []string
	for _, cause := range slices.Sorted(maps.Keys(byCause)) {
		parts = append(parts, fmt.Sprintf("%s %d", clean(cause), byCause[cause]))
	}
	if len(parts) == 0 {
		return ""
	}
	return "errors answered for it: " + strings.Join(parts, ", ")
}
