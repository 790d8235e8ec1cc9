package nginx

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
)

// Edit puts Text in the place of the bytes from Start to just before End.
type Edit struct {
	Start, End int
	Text       string
}

// Apply makes edits; their order does not matter. What is put where another
// edit takes bytes away stands behind these.
func Apply(src []byte, edits []Edit) []byte {
	sorted := slices.SortedStableFunc(slices.Values(edits), func(a, b Edit) int {
		return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.End, b.End))
	})
	var out bytes.Buffer
	at := 0
	for _, e := range sorted {
		out.Write(src[at:max(at, e.Start)])
		out.WriteString(e.Text)
		at = max(at, e.End)
	}
	out.Write(src[at:])
	return out.Bytes()
}

// PointTo makes address the upstream's only server: the first one that serves
// is turned into it, all others go. Comments stay, and so does everything that
// is not a server. nginx treats an only server apart from several: it never
// takes it for dead, so that none may be left beside it, not even one that is
// down.
func (u Upstream) PointTo(address string, keepalive bool) []Edit {
	serving := u.Serving()
	if len(serving) == 0 {
		return nil
	}
	kept := serving[0].d
	edits := kept.turnInto(address)
	for _, s := range u.Servers {
		if s.d != kept {
			edits = append(edits, s.d.removal())
		}
	}
	if keepalive && u.find("keepalive") == nil {
		edits = append(edits, u.addition(kept, "keepalive 32;"))
	}
	return edits
}

// turnInto gives a server another address and takes its parameters away: they
// were about the old one.
func (d *Directive) turnInto(address string) []Edit {
	old := d.token(1)
	edits := []Edit{{old.Start, old.End, address}}
	for i := 2; i < len(d.words); i++ {
		t := d.token(i)
		start := t.Start
		// A comment must keep the line end behind it.
		if n := d.words[i]; d.c.tokens[n-1].Kind == Space && d.c.tokens[n-2].Kind == Word {
			start = d.c.tokens[n-1].Start
		}
		edits = append(edits, Edit{start, t.End, ""})
	}
	return edits
}

// removal takes a directive away together with its line, if it is alone on
// it, or else with the blanks before it. Comments within it stay.
func (d *Directive) removal() Edit {
	start, end := d.Start, d.End
	src := d.c.src
	for start > 0 && isBlank(src[start-1]) {
		start--
	}
	if behind := skip(src, end, isBlankOrCR); (start == 0 || src[start-1] == '\n') && !d.commented() && behind < len(src) {
		if src[behind] == '\n' {
			return Edit{start, behind + 1, ""}
		}
		return Edit{d.Start, behind, ""} // what follows takes its place
	}
	return Edit{start, end, d.comments()}
}

func isBlank(c byte) bool     { return c == ' ' || c == '\t' }
func isBlankOrCR(c byte) bool { return isBlank(c) || c == '\r' }

func (d *Directive) commented() bool { return d.comments() != "" }

// comments are those between a directive's words, each with the end of its line.
func (d *Directive) comments() string {
	var b strings.Builder
	for _, t := range d.c.tokens[d.words[0]:] {
		if t.Start >= d.End {
			break
		}
		if t.Kind == Comment {
			b.WriteString(" " + d.c.text(t) + "\n")
		}
	}
	return b.String()
}

// addition puts a directive at the block's end: nginx wants keepalive behind
// the directive that chooses how servers are balanced. It stands on a line of
// its own, indented like the one before, unless kept's line has others too.
func (u Upstream) addition(kept *Directive, text string) Edit {
	last := kept
	for i := range u.d.Body {
		if d := &u.d.Body[i]; d.Name() != "server" && d.Start > last.Start {
			last = d
		}
	}
	src := u.d.c.src
	line := bytes.LastIndexByte(src[:last.Start], '\n') + 1
	indent := src[line:skip(src, line, isBlank)]
	if line+len(indent) != last.Start {
		return Edit{last.End, last.End, " " + text}
	}
	end := lineEnd(src, last.End)
	if end > u.d.End {
		return Edit{last.End, last.End, " " + text} // the brace is on the same line
	}
	return Edit{end, end, string(indent) + text + newline(src, end)}
}

// lineEnd returns where the next line begins; len(src)+1 if there is none.
func lineEnd(src []byte, at int) int {
	if n := bytes.IndexByte(src[at:], '\n'); n >= 0 {
		return at + n + 1
	}
	return len(src) + 1
}

// newline is the line end before at.
func newline(src []byte, at int) string {
	if at >= 2 && src[at-2] == '\r' {
		return "\r\n"
	}
	return "\n"
}

// Exchange swaps two addresses wherever the block names one as a server's,
// also in servers that are commented out, as the scripts did that switched by
// comments.
func (u Upstream) Exchange(a, b string) []Edit {
	var edits []Edit
	swap := func(start, end int) {
		switch old := unquote(u.d.c.Text(start, end)); {
		case SameAddress(old, a):
			edits = append(edits, Edit{start, end, exchange(old, a, b)})
		case SameAddress(old, b):
			edits = append(edits, Edit{start, end, exchange(old, b, a)})
		}
	}
	for _, s := range u.Servers {
		swap(s.d.token(1).Start, s.d.token(1).End)
	}
	for _, t := range u.d.c.tokens {
		if t.Kind == Comment && t.Start > u.d.Start && t.End < u.d.End {
			commentedServers(u.d.c.src[t.Start:t.End], func(start, end int) { swap(t.Start+start, t.Start+end) })
		}
	}
	return edits
}

// commentedServers finds the addresses of the server directives that a comment
// holds.
func commentedServers(comment []byte, found func(start, end int)) {
	from := skip(comment, 0, func(c byte) bool { return c == '#' })
	var words []Token
	for _, t := range Tokens(comment[from:]) {
		if t.Kind == Word {
			words = append(words, t)
		}
	}
	for i := 1; i < len(words); i++ {
		if before := words[i-1]; string(comment[from+before.Start:from+before.End]) == "server" {
			found(from+words[i].Start, from+words[i].End)
		}
	}
}
