package doctor

import (
	"fmt"
	"path"
	"strings"
)

// Directive is one directive of nginx's configuration.
type Directive struct {
	file  string
	line  int
	words []string
	block []Directive
	isSet bool // it has a block, be it empty
}

func (d *Directive) name() string { return d.words[0] }

// arg is the nth argument, empty where there is none.
func (d *Directive) arg(n int) string {
	if n+1 >= len(d.words) {
		return ""
	}
	return d.words[n+1]
}

func (d *Directive) at() string { return fmt.Sprintf("%s:%d", d.file, d.line) }

func (d *Directive) child(name string) *Directive {
	for i := range d.block {
		if d.block[i].name() == name {
			return &d.block[i]
		}
	}
	return nil
}

// ParseNginx reads what nginx -T prints: each file of the configuration after a
// line that names it. An include becomes what it includes.
func ParseNginx(dump string) []Directive {
	const mark = "# configuration file "
	var order []string
	files := map[string]string{}
	for _, part := range strings.Split("\n"+dump, "\n"+mark)[1:] {
		head, content, _ := strings.Cut(part, "\n")
		name := strings.TrimSuffix(strings.TrimSpace(head), ":")
		if _, twice := files[name]; !twice {
			order = append(order, name)
		}
		files[name] = content
	}
	if len(order) == 0 {
		return nil
	}
	r := nginxReader{files: files, order: order, prefix: path.Dir(order[0]), open: map[string]bool{}}
	return r.read(order[0])
}

// nginxReader follows includes.
type nginxReader struct {
	files  map[string]string
	order  []string
	prefix string
	open   map[string]bool
}

func (r *nginxReader) read(file string) []Directive {
	if r.open[file] {
		return nil // a circle, which nginx refuses
	}
	r.open[file] = true
	defer delete(r.open, file)
	t := &nginxTokens{text: r.files[file], file: file, line: 1}
	return r.directives(t)
}

// directives reads up to the end of the file or of the block.
func (r *nginxReader) directives(t *nginxTokens) []Directive {
	var all []Directive
	d := Directive{file: t.file}
	for {
		word, kind := t.next()
		if len(d.words) == 0 {
			d.line = t.begun
		}
		switch kind {
		case nginxWord:
			d.words = append(d.words, word)
			continue
		case nginxOpen:
			d.isSet = true
			d.block = r.directives(t)
		case nginxEnd, nginxClose:
			return all
		}
		if len(d.words) > 0 {
			all = append(all, r.included(d)...)
		}
		d = Directive{file: t.file}
	}
}

// included is the directive, or what it includes.
func (r *nginxReader) included(d Directive) []Directive {
	if d.name() != "include" {
		return []Directive{d}
	}
	pattern := d.arg(0)
	if !path.IsAbs(pattern) {
		pattern = path.Join(r.prefix, pattern)
	}
	var all []Directive
	for _, file := range r.order {
		if ok, err := path.Match(pattern, file); ok && err == nil {
			all = append(all, r.read(file)...)
		}
	}
	return all
}

type nginxKind int

const (
	nginxEnd nginxKind = iota
	nginxWord
	nginxOpen
	nginxClose
	nginxSemicolon
)

// nginxTokens cuts a file into words and marks.
type nginxTokens struct {
	text, file string
	line       int // at the begin of text
	begun      int // of the newest token
}

func (t *nginxTokens) next() (string, nginxKind) {
	t.skip()
	t.begun = t.line
	if t.text == "" {
		return "", nginxEnd
	}
	switch c := t.text[0]; c {
	case ';', '{', '}':
		t.text = t.text[1:]
		return "", map[byte]nginxKind{';': nginxSemicolon, '{': nginxOpen, '}': nginxClose}[c]
	case '"', '\'':
		return t.quoted(c), nginxWord
	}
	return t.plain(), nginxWord
}

// skip passes over spaces and comments.
func (t *nginxTokens) skip() {
	for t.text != "" {
		switch t.text[0] {
		case '\n':
			t.line++
		case ' ', '\t', '\r':
		case '#':
			end := strings.IndexByte(t.text, '\n')
			if end < 0 {
				end = len(t.text)
			}
			t.text = t.text[end:]
			continue
		default:
			return
		}
		t.text = t.text[1:]
	}
}

func (t *nginxTokens) quoted(quote byte) string {
	var b strings.Builder
	rest := t.text[1:]
	for i := 0; i < len(rest); i++ {
		switch c := rest[i]; {
		case c == '\\' && i+1 < len(rest):
			i++
			b.WriteByte(rest[i])
		case c == quote:
			t.text = rest[i+1:]
			return b.String()
		default:
			if c == '\n' {
				t.line++
			}
			b.WriteByte(c)
		}
	}
	t.text = ""
	return b.String()
}

// plain is a word without quotes. A brace after a dollar belongs to a variable.
func (t *nginxTokens) plain() string {
	for i := 0; i < len(t.text); i++ {
		switch t.text[i] {
		case '\\':
			i++
			continue
		case '$':
			if strings.HasPrefix(t.text[i:], "${") {
				if end := strings.IndexByte(t.text[i:], '}'); end > 0 {
					i += end
				}
			}
			continue
		case ' ', '\t', '\r', '\n', ';', '{':
			word := t.text[:i]
			t.text = t.text[i:]
			return word
		}
	}
	word := t.text
	t.text = ""
	return word
}
