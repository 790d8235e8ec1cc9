package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
)

// reader walks a document along the tables of keys and collects what is wrong.
type reader struct {
	file     string
	lines    []string
	at       map[string]position // where each value of the file stands, or its key if it is a section
	problems Problems
}

// report adds a problem at a place.
func (r *reader) report(at position, key, text string) {
	if last := len(r.lines); at.line > last { // the parser's way to say: the end
		at = position{last, utf8.RuneCountInString(r.lines[last-1]) + 1}
	}
	p := Problem{
		File: r.file, Line: at.line, Column: at.column,
		Key: strings.Map(printable, key), Text: strings.Map(printable, text),
	}
	if 0 < at.line && at.line <= len(r.lines) {
		p.Source = strings.TrimSuffix(r.lines[at.line-1], "\r")
	}
	r.problems = append(r.problems, p)
}

// reportKey adds a problem where the key stands, or else the nearest section
// around it.
func (r *reader) reportKey(key, text string) { r.report(r.find(key), key, text) }

func (r *reader) find(key string) position {
	for {
		if at, ok := r.at[key]; ok {
			return at
		}
		cut := strings.LastIndexAny(key, ".[")
		if cut < 0 {
			return position{}
		}
		key = key[:cut]
	}
}

// config reads the whole document.
func (r *reader) config(c *Config, body ast.Node) {
	fields := fieldsOf(globalKeys(), c)
	r.presets(fields)
	var services ast.Node
	for _, e := range r.entries("", body) {
		if e.name == "services" {
			services = e.value
			continue
		}
		r.entry("", "", e, fields)
	}
	r.services(c, services)
}

var serviceName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$`)

// services reads the services of the file, or makes the built-in one if the
// file has none.
func (r *reader) services(c *Config, n ast.Node) {
	if isNull(n) {
		r.service(c, entry{name: BuiltinService})
		return
	}
	entries := r.entries("services", n)
	if len(entries) == 0 && len(r.problems) == 0 {
		r.reportKey("services", "there is no service; name one, or remove the key for the built-in one")
	}
	for _, e := range entries {
		if !serviceName.MatchString(e.name) {
			r.report(e.at, "services."+e.name, fmt.Sprintf("%q is not a name for a service; allowed: 1 to 32 of a-z, 0-9 and -, no - at the ends", e.name))
			continue
		}
		r.service(c, e)
	}
}

func (r *reader) service(c *Config, e entry) {
	s := newService(e.name)
	c.Services[e.name] = s
	fields := s.fields()
	r.presets(fields)
	base := s.path() + "."
	for _, e := range r.entries(s.path(), e.value) {
		r.entry(base, "", e, fields)
	}
	for _, f := range fields {
		if _, given := r.at[base+f.name]; f.allowed.required && f.preset == "" && !given {
			r.reportKey(base+f.name, "is missing; allowed: "+f.allowed.allowed)
		}
	}
}

// presets gives each field its default. Defaults are written in YAML and read
// like the file.
func (r *reader) presets(fields []field) {
	for _, f := range fields {
		reset(f.at)
		if f.preset == "" {
			continue
		}
		preset := &reader{file: "default of " + f.name, at: map[string]position{}}
		preset.value(f.name, entry{value: preset.document([]byte(f.preset))}, f)
		r.problems = append(r.problems, preset.problems...)
	}
}

// entry reads one entry of a section. base is the path of the section that the
// fields belong to, sub the path from there to the entry's own section, both
// with their final dots.
func (r *reader) entry(base, sub string, e entry, fields []field) {
	name := sub + e.name
	if i := slices.IndexFunc(fields, func(f field) bool { return f.name == name }); i >= 0 {
		r.value(base+name, e, fields[i])
		return
	}
	if !slices.ContainsFunc(fields, func(f field) bool { return strings.HasPrefix(f.name, name+".") }) {
		r.report(e.at, base+name, unknownKey(base, sub, e.name, fields))
		return
	}
	for _, inner := range r.entries(base+name, e.value) {
		r.entry(base, name+".", inner, fields)
	}
}
