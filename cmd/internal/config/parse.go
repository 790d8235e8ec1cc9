package config

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// maxNesting is far beyond what any key needs. The YAML parser recurses, and a
// goroutine whose stack is exhausted takes the whole daemon with it.
const maxNesting = 20

// Parse reads a configuration; file is its name for messages. Keys that are
// left out have their defaults, but no data at all are refused: a file that was
// emptied, or is about to be written, is no wish for [Default], which would
// remove every other service. The error is of type [Problems].
func Parse(file string, data []byte) (*Config, error) {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	r := &reader{file: file, lines: strings.Split(string(data), "\n"), at: map[string]position{}}
	body := r.document(data)
	if len(r.problems) == 0 && isNull(body) {
		r.report(position{}, "", "the file is empty: for the built-in defaults write `services: {"+BuiltinService+": {}}`, or remove the file before a start")
	}
	return r.parse(body)
}

// parse makes a configuration of a document without problems; nil is the
// document in which every key is left out.
func (r *reader) parse(body ast.Node) (*Config, error) {
	c := &Config{Services: map[string]*Service{}}
	if len(r.problems) == 0 {
		r.config(c, body)
		r.check(c)
	}
	if len(r.problems) > 0 {
		return nil, r.problems.sorted()
	}
	return c, nil
}

// document returns the mapping that the data hold, or nil if they hold none.
func (r *reader) document(data []byte) ast.Node {
	if at := invalidText(data); at >= 0 {
		r.report(r.offset(data, at), "", "the file is not text in UTF-8")
		return nil
	}
	tokens := lexer.Tokenize(string(data))
	if t := tooDeep(tokens); t != nil {
		r.report(where(t), "", fmt.Sprintf("brackets or dashes are nested more than %d deep", maxNesting))
		return nil
	}
	parsed, err := parseTokens(tokens)
	if err != nil {
		r.syntax(err)
		return nil
	}
	var body ast.Node
	for _, doc := range parsed.Docs {
		switch {
		case doc.Body == nil:
		case body == nil:
			body = doc.Body
		default:
			r.report(where(firstToken(doc.Body)), "", "a second document begins here; a file holds one")
		}
	}
	return body
}

// parseTokens turns a panic of the YAML library into an error: a bad file may
// not end a daemon that carries traffic.
func parseTokens(tokens token.Tokens) (_ *ast.File, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("the YAML library gave up: %v", v)
		}
	}()
	// Keys given twice are reported by the reader, which knows where both are.
	return parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
}

// syntax reports why the file is not YAML. Tabs are the most frequent reason
// and the parser's message for them the least helpful, so they go first.
func (r *reader) syntax(err error) {
	for i, line := range r.lines {
		indent := line[:len(line)-len(strings.TrimLeft(line, " \t"))]
		if tab := strings.IndexByte(indent, '\t'); tab >= 0 && len(indent) < len(line) {
			r.report(position{i + 1, tab + 1}, "", "a tab in the indentation; YAML allows spaces only")
		}
	}
	if len(r.problems) > 0 {
		return
	}
	var at position
	text := err.Error()
	var reason yaml.Error
	if errors.As(err, &reason) {
		at, text = where(reason.GetToken()), reason.GetMessage()
	}
	if at.line > 0 && at.line <= len(r.lines) {
		if address := bareIPv6.FindString(r.lines[at.line-1]); address != "" {
			text += fmt.Sprintf("; an address in brackets needs quotes: %q", address)
		}
	}
	r.report(at, "", "not YAML: "+text)
}

// bareIPv6 is an address whose brackets YAML takes for a list.
var bareIPv6 = regexp.MustCompile(`\[[0-9a-fA-F.]*:[0-9a-fA-F:.]*\]:[0-9]+`)

// tooDeep returns the first token beyond maxNesting. Block mappings need no
// count: each level of theirs has its own, longer indentation.
func tooDeep(tokens token.Tokens) *token.Token {
	flow, inLine, line := 0, 0, 0
	for _, t := range tokens {
		if t.Position.Line != line {
			inLine, line = 0, t.Position.Line
		}
		switch t.Type {
		case token.MappingStartType, token.SequenceStartType:
			flow++
		case token.MappingEndType, token.SequenceEndType:
			flow--
		case token.SequenceEntryType, token.MappingKeyType, token.AnchorType, token.TagType:
			inLine++
		}
		if flow > maxNesting || inLine > maxNesting {
			return t
		}
	}
	return nil
}

// invalidText returns where the data stop being text, or -1.
func invalidText(data []byte) int {
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && size == 1 || r == 0 {
			return i
		}
		i += size
	}
	return -1
}

// position counts from 1, columns in characters.
type position struct{ line, column int }

func where(t *token.Token) position {
	if t == nil || t.Position == nil {
		return position{}
	}
	return position{t.Position.Line, t.Position.Column}
}

func (r *reader) offset(data []byte, at int) position {
	before := data[:at]
	start := bytes.LastIndexByte(before, '\n') + 1
	return position{bytes.Count(before, []byte("\n")) + 1, utf8.RuneCount(before[start:]) + 1}
}
