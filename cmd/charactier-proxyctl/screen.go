package main

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"charactier-proxy/cmd/internal/spelling"
	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
)

// healthy is the health state of a slot that may get traffic.
const healthy = "healthy"

// chosen narrows the services to those named.
func chosen(all []control.ServiceStatus, names []string) ([]control.ServiceStatus, error) {
	if len(names) == 0 {
		return all, nil
	}
	var some []control.ServiceStatus
	for _, name := range names {
		i := slices.IndexFunc(all, func(s control.ServiceStatus) bool { return s.Name == name })
		if i < 0 {
			return nil, unknownService(name, all)
		}
		some = append(some, all[i])
	}
	return some, nil
}

// unknownService is a mistake on the command line, so it is said as one.
func unknownService(name string, all []control.ServiceStatus) error {
	var names []string
	for _, s := range all {
		names = append(names, s.Name)
	}
	hint := "there is " + list(names)
	if near := spelling.Nearest(name, names); near != "" {
		hint = "did you mean " + clean(near) + "?"
	}
	return usagef(hint, "unknown service %q", name)
}

// statusText is the status on one screen, made for 80 columns.
func (e *env) statusText(s control.Status) string {
	var b strings.Builder
	e.writeLine(&b, "%s  %s, up %s, %s", e.paint(bold, "charactier-proxy"), clean(s.Version), e.ago(s.Started), configName(s.Config.Path))
	for _, service := range s.Services {
		b.WriteByte('\n')
		e.writeService(&b, service)
	}
	if notes := e.statusNotes(s); len(notes) > 0 {
		b.WriteByte('\n')
		for _, n := range notes {
			e.writeText(&b, "%s", n)
		}
	}
	return b.String()
}

// configName is a configuration's path, or what runs without one.
func configName(path string) string {
	if path == "" {
		return "built-in configuration"
	}
	return clean(path)
}

// The table of slots is 79 columns wide: an arrow, the name, its health, and
// the numbers, which are right-aligned.
const (
	slotFormat  = "%s %s %s %8s %7s %7s %7s %7s %6s"
	nameWidth   = 6
	healthWidth = 20
	underName   = "           " // where the lines below a slot begin
)

func (e *env) writeService(b *strings.Builder, s control.ServiceStatus) {
	line := fmt.Sprintf("%s  on %s", e.paint(bold, clean(s.Name)), e.slot(s.Active))
	if !s.Since.IsZero() {
		line += " for " + e.ago(s.Since)
	}
	switch {
	case s.RolledBack:
		line += fmt.Sprintf(", rolled back from %s", e.slot(s.Previous))
	case s.Previous != "":
		line += fmt.Sprintf(", %s before", e.slot(s.Previous))
	}
	e.writeLine(b, "%s, listens on %s", line, list(s.Listen))
	e.writeLine(b, "%s", e.paint(dim, fmt.Sprintf(slotFormat, "   ", e.pad("SLOT", nameWidth), e.pad("HEALTH", healthWidth),
		"REQUESTS", "STREAMS", "RATE", "P50", "P99", "ERRORS")))
	for _, slot := range s.Slots {
		e.writeSlot(b, slot)
	}
	if s.Held != nil {
		e.writeText(b, "    %s", e.heldText(s))
	}
	if s.Outage != nil {
		e.writeText(b, "    %s", e.outageText(*s.Outage, s.Waiting))
	}
	if s.Queued > 0 {
		e.writeText(b, "    %s: %s for one of those under way to end (in_flight.requests)", e.paint(yellow, "FULL"), plural(s.Queued, "request waits", "requests wait"))
	}
	if s.Bake != nil {
		e.writeText(b, "    %s", e.bakeText(*s.Bake))
	}
	if len(s.BadReleases) > 0 {
		told := ""
		if s.Bake != nil {
			told = clean(s.Bake.Text)
		}
		e.writeText(b, "    %s", e.badText(s.BadReleases, told))
	}
}

func (e *env) heldText(s control.ServiceStatus) string {
	text := fmt.Sprintf("%s for %s by %s", e.paint(yellow, "HELD"), e.ago(s.Held.Since), clean(s.Held.Actor.User))
	if s.Held.Reason != "" {
		text += ": " + clean(s.Held.Reason)
	}
	return text + "; " + plural(s.Waiting, "request waits", "requests wait")
}

// outageText is a hold that nobody asked for.
func (e *env) outageText(o control.OutageStatus, waiting int64) string {
	text := fmt.Sprintf("%s for %s: %s takes no connections since %s; %s, each at most %s", e.paint(red, "WAITING"), e.ago(o.Since), e.slot(o.Slot),
		clock(o.Since), plural(waiting, "request waits", "requests wait"), span(o.MaxWait))
	if o.TurnedAway > 0 {
		text += fmt.Sprintf("; %d of %d were turned away (503)", o.TurnedAway, max(o.Waited, o.TurnedAway))
	}
	return text + ": " + clean(o.Error)
}

// bakeText is how the bake of the active slot stands.
func (e *env) bakeText(b switcher.BakeResult) string {
	colour := green
	switch b.Verdict {
	case switcher.Baking, switcher.Inconclusive, switcher.BakeEnded:
		colour = yellow
	case switcher.BakeFailed:
		colour = red
	}
	text := "bake: " + e.paint(colour, clean(string(b.Verdict)))
	if left := b.Until.Sub(e.now()); b.Verdict == switcher.Baking && left > 0 {
		text += ", " + span(left) + " left"
	}
	if b.Text != "" {
		text += ": " + clean(b.Text)
	}
	if b.Returned != "" {
		text += "; the traffic was returned"
	}
	return text
}

// shownBad is how many bad releases fit on a screen.
const shownBad = 3

// badText names the newest releases that traffic was returned from. What the
// bake said was told above.
func (e *env) badText(all []switcher.BadRelease, told string) string {
	var parts []string
	for _, bad := range all[:min(len(all), shownBad)] {
		part := clean(bad.Release)
		if reason := clean(bad.Reason); strings.Contains(reason, told) && told != "" {
			part += " (its bake)"
		} else if reason != "" {
			part += " (" + reason + ")"
		}
		parts = append(parts, part)
	}
	if more := len(all) - shownBad; more > 0 {
		parts = append(parts, fmt.Sprintf("and %d more", more))
	}
	return e.paint(yellow, "not offered again:") + " " + strings.Join(parts, ", ")
}

// nowText is what is under way: "now: deploy backend blue -> green by bob: gate
// for 12 s".
func (e *env) nowText(op switcher.Operation) string {
	what := clean(string(op.Kind))
	if moves := e.movesText(op.Moves, nil); moves != "" {
		what += " " + moves
	}
	return fmt.Sprintf("%s %s by %s: %s for %s", e.paint(yellow, "now:"), what, clean(op.Actor.User), clean(op.Step), e.ago(op.Started))
}

// statusNotes are the lines below the services.
func (e *env) statusNotes(s control.Status) []string {
	said := saidOf(s.Services)
	var notes []string
	for _, op := range []*switcher.Operation{s.Reservation, s.Operation} {
		if op != nil {
			notes = append(notes, e.nowText(*op))
		}
	}
	if s.Config.Rejected != "" {
		notes = append(notes, fmt.Sprintf("%s the newest file was not taken, %s ago: %s", e.paint(red, "config:"),
			e.ago(s.Config.RejectedAt), clean(s.Config.Rejected)))
	}
	if len(s.Config.NeedsRestart) > 0 {
		notes = append(notes, e.paint(yellow, "config:")+" waits for a restart: "+list(s.Config.NeedsRestart))
	}
	once := func(lead, text string) {
		if text = said.shorten(clean(text)); text != "" {
			notes = append(notes, e.paint(yellow, lead)+" "+text)
		}
	}
	if s.State.Note != "" && !outlived(s) {
		once("state:", s.State.Note)
	}
	for _, d := range s.Drift {
		once("drift:", d)
	}
	for _, w := range s.Warnings {
		once("warning:", w)
	}
	if s.Last != nil {
		notes = append(notes, fmt.Sprintf("last: %s ago, %s: %s", e.ago(s.Last.Started), s.Last.Outcome, e.recordLine(*s.Last)))
	}
	return notes
}

// outlived says that the note tells of a first start after which traffic was
// moved: where that start put it would be taken for where it is.
func outlived(s control.Status) bool {
	moved := func(s control.ServiceStatus) bool { return s.Previous != "" }
	return strings.HasPrefix(s.State.Note, "first start") && slices.ContainsFunc(s.Services, moved)
}

// writeText writes one line, which the terminal may break.
func (e *env) writeText(b *strings.Builder, format string, args ...any) {
	fmt.Fprintf(b, format+"\n", args...)
}

// writeLine writes one line of a table, cut at the terminal's edge; elsewhere
// nothing is cut.
func (e *env) writeLine(b *strings.Builder, format string, args ...any) {
	line := strings.TrimRight(fmt.Sprintf(format, args...), " ")
	if e.isTerminal {
		line = cut(line, e.width(), e.glyph("…", "~"))
	}
	b.WriteString(line + "\n")
}

// pad fills text up to width columns, not counting colours.
func (e *env) pad(text string, width int) string {
	return text + strings.Repeat(" ", max(0, width-visible(text)))
}

// visible counts the columns of text; all that we print is one column wide.
func visible(text string) int {
	n, escape := 0, false
	for _, r := range text {
		switch {
		case r == '\x1b':
			escape = true
		case !escape:
			n++
		case r == 'm':
			escape = false
		}
	}
	return n
}

// cut shortens text to width columns and closes the colour it may have cut.
func cut(text string, width int, mark string) string {
	if visible(text) <= width {
		return text
	}
	n, escape := 0, false
	for i, r := range text {
		switch {
		case r == '\x1b':
			escape = true
		case !escape:
			if n++; n == width-utf8.RuneCountInString(mark)+1 {
				return text[:i] + mark + reset(text)
			}
		case r == 'm':
			escape = false
		}
	}
	return text
}

func reset(text string) string {
	if strings.Contains(text, "\x1b") {
		return "\x1b[0m"
	}
	return ""
}
