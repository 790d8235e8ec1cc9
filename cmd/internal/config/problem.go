package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// Problem is one thing that is wrong with a file.
type Problem struct {
	File         string
	Line, Column int    // from 1, in characters; 0: the file as a whole
	Key          string // with the names of its sections, joined by dots; may be empty
	Text         string // what is wrong; what is allowed
	Source       string // the line itself
}

// Problems are all that is wrong with a file, in the order of its lines. It is
// the error of [Load] and [Parse] for a file that was read but not understood.
type Problems []Problem

// Error gives each problem its own lines, with the place in the source.
func (p Problems) Error() string {
	var b strings.Builder
	for i, problem := range p {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(problem.String())
		b.WriteString(problem.excerpt())
	}
	return b.String()
}

// Summary is one line, for logs and status.
func (p Problems) Summary() string {
	switch len(p) {
	case 0:
		return "no problems"
	case 1:
		return p[0].String()
	}
	return fmt.Sprintf("%s (and %d more)", p[0], len(p)-1)
}

// String is one line: "config.yaml:3:9: admin.listen: ...".
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", p.Line, p.Column)
	}
	b.WriteString(": ")
	if p.Key != "" {
		b.WriteString(p.Key + ": ")
	}
	b.WriteString(p.Text)
	return b.String()
}

// excerptWidth is how many characters of a long line are shown.
const excerptWidth = 100

// excerpt shows the source line with a caret below the column.
func (p Problem) excerpt() string {
	if p.Line == 0 {
		return ""
	}
	line := []rune(strings.Map(printable, p.Source))
	column := min(max(p.Column-1, 0), len(line))
	if start := column - excerptWidth/2; start > 0 && len(line) > excerptWidth {
		line, column = line[start:], column-start
	}
	line = line[:min(len(line), excerptWidth)]
	number := fmt.Sprintf("%4d", p.Line)
	return fmt.Sprintf("\n%s | %s\n%*s | %*s", number, string(line), len(number), "", column+1, "^")
}

// printable keeps a hostile file from steering the terminal; a tab becomes one
// column, so that the caret stays where it belongs.
func printable(r rune) rune {
	switch {
	case r == '\t':
		return ' '
	case unicode.IsPrint(r):
		return r
	}
	return '?'
}

func (p Problems) sorted() Problems {
	slices.SortStableFunc(p, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Key, b.Key))
	})
	return p
}
