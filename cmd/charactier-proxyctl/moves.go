package main

import (
	"fmt"
	"slices"
	"strings"

	"charactier-proxy/switcher"
)

// slot is a slot's name in its own colour.
func (e *env) slot(s switcher.Slot) string {
	switch s {
	case switcher.Blue:
		return e.paint(blue, string(s))
	case switcher.Green:
		return e.paint(green, string(s))
	}
	return clean(string(s))
}

// moveLine is one service's part of a switch in one line.
func (e *env) moveLine(r switcher.Record, m switcher.Move) string {
	var facts []string
	switch {
	case r.Forced:
		facts = append(facts, e.paint(yellow, "forced, not probed"))
	case r.Probing > 0:
		facts = append(facts, "probed in "+e.dur(r.Probing))
	}
	facts = append(facts, "swapped in "+e.dur(r.Swap), e.drainText(r, m))
	return fmt.Sprintf("%s: %s -> %s  (%s)", e.paint(bold, clean(m.Service)), e.slot(m.From), e.slot(m.To), strings.Join(facts, ", "))
}

// drainText says what became of the requests that were under way.
func (e *env) drainText(r switcher.Record, m switcher.Move) string {
	for _, d := range r.Drain {
		if d.Service != m.Service || d.Slot != m.From {
			continue
		}
		if d.Moved == 0 {
			return "nothing was in flight"
		}
		text := fmt.Sprintf("%s in flight", plural(d.Moved, "request was", "requests were"))
		ended := d.Moved - d.OpenRequests - d.OpenStreams
		parts := []string{fmt.Sprintf("%d drained in %s", max(ended, 0), e.dur(d.Took))}
		if open := openText(d); open != "" {
			if !d.StreamsUntil.IsZero() {
				open += fmt.Sprintf(" still open, and ended in %s", brief(d.StreamsUntil.Sub(e.now())))
			} else {
				open += " still open"
			}
			parts = append(parts, open)
		}
		return text + ": " + strings.Join(parts, ", ")
	}
	return "not waited for the requests on " + string(m.From)
}

// openText counts what is left on a slot; empty if nothing is.
func openText(d switcher.DrainCount) string {
	var parts []string
	if d.OpenRequests > 0 {
		parts = append(parts, plural(d.OpenRequests, "request", "requests"))
	}
	if d.OpenStreams > 0 {
		parts = append(parts, plural(d.OpenStreams, "stream", "streams"))
	}
	return strings.Join(parts, " and ")
}

// movesText is what an operation did or wanted, for lists.
func (e *env) movesText(moves []switcher.Move, services []string) string {
	var parts []string
	for _, m := range moves {
		part := fmt.Sprintf("%s %s -> %s", clean(m.Service), e.slot(m.From), e.slot(m.To))
		if m.From == m.To || m.From == "" {
			part = fmt.Sprintf("%s on %s", clean(m.Service), e.slot(m.To))
		}
		parts = append(parts, part)
	}
	for _, s := range slices.Sorted(slices.Values(services)) {
		if !slices.ContainsFunc(moves, func(m switcher.Move) bool { return m.Service == s }) {
			parts = append(parts, clean(s))
		}
	}
	return strings.Join(parts, ", ")
}

func plural[N int | int64 | uint64](n N, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
