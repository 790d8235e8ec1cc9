package main

import (
	"fmt"
	"strings"
	"unicode"
)

// say is a result for people; with --json there are none.
func (m *migration) say(format string, args ...any) {
	if !m.f.json {
		m.printf(format, args...)
	}
}

// showChanges shows what becomes of which file.
func (m *migration) showChanges(changes []change) {
	for _, e := range changed(changes) {
		diff := unifiedDiff(e.file.path, e.file.path, string(e.file.src), string(e.after))
		m.result.Files = append(m.result.Files, migratedFile{File: e.file.path, Diff: diff})
		m.printDiff(diff)
	}
}

// printDiff prints a difference in colours; to people only, and beside the
// question if the result is for a program.
func (m *migration) printDiff(diff string) {
	out, colour := m.stdout, m.colour
	if m.f.json {
		if !m.canAsk || m.f.yes {
			return
		}
		out, colour = m.stderr, m.errColour
	}
	for line := range strings.Lines(diff) {
		text := printable(line)
		switch {
		case strings.HasPrefix(line, "---"), strings.HasPrefix(line, "+++"):
			text = paint(colour, bold, text)
		case strings.HasPrefix(line, "-"):
			text = paint(colour, red, text)
		case strings.HasPrefix(line, "+"):
			text = paint(colour, green, text)
		}
		fmt.Fprintln(out, text)
	}
}

// printable is a line without what could drive a terminal, tabs kept.
func printable(line string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' || unicode.IsPrint(r) {
			return r
		}
		return -1
	}, line)
}

// afterMigration says what an operator may want next.
func (m *migration) afterMigration(server *nginxServer) {
	for _, u := range m.result.Upstreams {
		m.say("nginx sends %s to %s now (upstream %s in %s)\n", clean(u.Service), u.Server, clean(u.Name), u.File)
	}
	for _, f := range m.result.Files {
		m.say("backup: %s\n", f.Backup)
	}
	if n := server.leaving(); n > 0 {
		m.notef("%s still %s: stop no slot until then", plural(n, "old worker of nginx", "old workers of nginx"),
			map[bool]string{true: "ends its requests", false: "end their requests"}[n == 1])
	}
	if m.f.undo {
		m.say("switch moves nothing in nginx any more; to return: sudo %s migrate\n", m.self())
		return
	}
	m.say("next: sudo %[1]s doctor\n      sudo %[1]s deploy\n", m.self())
	m.say("do not run the old scripts any more\n")
	m.say("to undo: sudo %s migrate --undo\n", m.self())
}
