package nginx

import (
	"bytes"
	"fmt"
)

// maxDepth is ten times what a configuration nests.
const maxDepth = 100

// Config is one file.
type Config struct {
	src    []byte
	tokens []Token
	// Directives are those outside of all blocks, in their order.
	Directives []Directive
}

// Directive is one with its words, and its block if it opens one.
type Directive struct {
	c     *Config
	words []int // tokens: the name and the arguments
	// Start and End are its first byte and the one behind its semicolon or brace.
	Start, End int
	// Block says whether it has a body.
	Block bool
	Body  []Directive
}

// Parse reads a file. It refuses only what cannot be divided into directives;
// what they mean is left to nginx.
func Parse(src []byte) (*Config, error) {
	c := &Config{src: src, tokens: Tokens(src)}
	p := parser{c: c}
	directives, err := p.directives(0)
	if err != nil {
		return nil, fmt.Errorf("line %d: %w", c.Line(p.offset()), err)
	}
	c.Directives = directives
	return c, nil
}

// Line returns the number of the line that the byte at offset is in.
func (c *Config) Line(offset int) int {
	return 1 + bytes.Count(c.src[:min(offset, len(c.src))], []byte("\n"))
}

func (c *Config) text(t Token) string { return string(c.src[t.Start:t.End]) }

// Text returns the bytes from start to just before end.
func (c *Config) Text(start, end int) string { return string(c.src[start:end]) }

// Walk calls visit with every directive and those that it is in, outermost
// first.
func (c *Config) Walk(visit func(d *Directive, in []*Directive)) {
	walk(c.Directives, nil, visit)
}

func walk(list []Directive, in []*Directive, visit func(*Directive, []*Directive)) {
	for i := range list {
		d := &list[i]
		visit(d, in)
		walk(d.Body, append(in[:len(in):len(in)], d), visit)
	}
}

// Name is the directive's first word.
func (d *Directive) Name() string { return d.word(0) }

// Args are its other words, without their quotes.
func (d *Directive) Args() []string {
	var args []string
	for i := 1; i < len(d.words); i++ {
		args = append(args, d.word(i))
	}
	return args
}

// Line is the number of the line on which it begins.
func (d *Directive) Line() int { return d.c.Line(d.Start) }

func (d *Directive) word(i int) string { return unquote(d.c.text(d.token(i))) }

func (d *Directive) token(i int) Token { return d.c.tokens[d.words[i]] }

// parser goes through the tokens once.
type parser struct {
	c  *Config
	at int
}

func (p *parser) offset() int {
	if p.at < len(p.c.tokens) {
		return p.c.tokens[p.at].Start
	}
	return len(p.c.src)
}

// directives reads up to the brace that closes the block, which it leaves, or
// outside of all blocks to the file's end.
func (p *parser) directives(depth int) ([]Directive, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("more than %d blocks are nested", maxDepth)
	}
	var list []Directive
	for {
		p.skipBlank()
		switch {
		case p.at == len(p.c.tokens) && depth > 0:
			return nil, fmt.Errorf("the file ends within a block")
		case p.at == len(p.c.tokens):
			return list, nil
		case p.kind() == Close && depth > 0:
			return list, nil
		case p.kind() != Word:
			return nil, fmt.Errorf("%q where a directive should begin", p.c.text(p.c.tokens[p.at]))
		}
		d, err := p.directive(depth)
		if err != nil {
			return nil, err
		}
		list = append(list, d)
	}
}

func (p *parser) directive(depth int) (Directive, error) {
	d := Directive{c: p.c, Start: p.offset()}
	for {
		p.skipBlank()
		if p.at == len(p.c.tokens) {
			return d, fmt.Errorf("the file ends within the directive %s", d.Name())
		}
		switch p.kind() {
		case Word:
			d.words = append(d.words, p.at)
		case Semicolon:
			d.End = p.c.tokens[p.at].End
			p.at++
			return d, nil
		case Open:
			return d, p.block(&d, depth)
		default:
			return d, fmt.Errorf("%q within the directive %s", p.c.text(p.c.tokens[p.at]), d.Name())
		}
		p.at++
	}
}

// block reads the body of d, whose opening brace is next.
func (p *parser) block(d *Directive, depth int) error {
	p.at++
	body, err := p.directives(depth + 1)
	if err != nil {
		return err
	}
	d.Block, d.Body, d.End = true, body, p.c.tokens[p.at].End
	p.at++
	return nil
}

func (p *parser) kind() Kind { return p.c.tokens[p.at].Kind }

func (p *parser) skipBlank() {
	for p.at < len(p.c.tokens) && (p.kind() == Space || p.kind() == Comment) {
		p.at++
	}
}
