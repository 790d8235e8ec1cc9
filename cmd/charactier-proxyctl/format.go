package main

import (
	"fmt"
	"strings"
	"time"
)

// dur is a measured time in at most three digits and one unit: 41 µs, 3 ms,
// 1.2 s, 2 min 5 s.
func (e *env) dur(d time.Duration) string {
	switch {
	case d < 0:
		return "0 s"
	case d < time.Microsecond:
		return fmt.Sprintf("%d ns", d.Nanoseconds())
	case d < time.Millisecond:
		return fmt.Sprintf("%d %s", d.Microseconds(), e.glyph("µs", "us"))
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return span(d)
}

// brief is a long time in its largest unit: 12 min.
func brief(d time.Duration) string {
	words := strings.SplitN(span(d), " ", 3)
	return words[0] + " " + words[1]
}

// span is a long time in its two largest units: 42 s, 5 min 3 s, 2 h 5 min,
// 3 d 4 h.
func span(d time.Duration) string {
	d = max(d, 0).Truncate(time.Second)
	units := []struct {
		name string
		size time.Duration
	}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"min", time.Minute}, {"s", time.Second}}
	for i, u := range units {
		if d < u.size {
			continue
		}
		text := fmt.Sprintf("%d %s", d/u.size, u.name)
		if rest := d % u.size; i+1 < len(units) && rest >= units[i+1].size {
			text += fmt.Sprintf(" %d %s", rest/units[i+1].size, units[i+1].name)
		}
		return text
	}
	return "0 s"
}

// ago is how long before now t was.
func (e *env) ago(t time.Time) string { return span(e.now().Sub(t)) }

// clock is t as an operator reads it beside a journal.
func clock(t time.Time) string { return t.Local().Format(time.DateTime) }

// count is a number in at most five characters: 999, 12.3k, 4.5M.
func count(n float64) string {
	switch {
	case n >= 1e6:
		return fmt.Sprintf("%.1fM", n/1e6)
	case n >= 1e4:
		return fmt.Sprintf("%.1fk", n/1e3)
	case n > 0 && n < 10 && n != float64(int(n)):
		return fmt.Sprintf("%.1f", n)
	}
	return fmt.Sprintf("%.0f", n)
}

// list joins what others named.
func list(items []string) string { return clean(strings.Join(items, ", ")) }
