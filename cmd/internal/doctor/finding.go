package doctor

import "fmt"

// found collects what a check found.
type found []Finding

func (l *found) fail(mend, format string, args ...any) { l.add(Fail, mend, format, args...) }
func (l *found) warn(mend, format string, args ...any) { l.add(Warn, mend, format, args...) }

func (l *found) add(level Level, mend, format string, args ...any) {
	*l = append(*l, Finding{Level: level, Text: fmt.Sprintf(format, args...), Mend: mend})
}

// one is a check that found one thing.
func one(level Level, mend, format string, args ...any) []Finding {
	var l found
	l.add(level, mend, format, args...)
	return l
}

// skip is a check that could not look.
func skip(format string, args ...any) []Finding { return one(Skipped, "", format, args...) }

// needRoot is a check that needs more rights than we have.
func needRoot(what string) []Finding {
	return one(Skipped, "sudo charactier-proxyctl doctor", "%s: only root can see that", what)
}
