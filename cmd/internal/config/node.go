package config

import (
	"fmt"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// entry is one key of a section with its value.
type entry struct {
	name  string
	at    position
	value ast.Node
}

// entries returns the entries of the section at path and remembers where they
// stand. A section without content has none. Whatever cannot be an entry is
// reported.
func (r *reader) entries(path string, n ast.Node) []entry {
	var pairs []*ast.MappingValueNode
	switch v := n.(type) {
	case *ast.MappingNode:
		pairs = v.Values
	case *ast.MappingValueNode:
		pairs = []*ast.MappingValueNode{v}
	default:
		if !isNull(n) {
			r.report(r.nodeAt(path, n), path, describe(n)+"; allowed: a section with keys")
		}
		return nil
	}
	var entries []entry
	for _, pair := range pairs {
		e := entry{keyName(pair.Key), where(pair.Key.GetToken()), pair.Value}
		key := join(path, e.name)
		if _, plain := pair.Key.(*ast.StringNode); !plain {
			r.report(e.at, path, "among its keys, "+describe(pair.Key)+"; allowed: plain words")
			continue
		}
		if first, twice := r.at[key]; twice {
			r.report(e.at, key, fmt.Sprintf("is there twice, first in line %d", first.line))
			continue
		}
		r.at[key] = e.at
		entries = append(entries, e)
	}
	return entries
}

// value reads a scalar or a list. A single value counts as a list of one.
func (r *reader) value(path string, e entry, f field) {
	reset(f.at)
	if !isList(f.at) {
		r.scalar(path, e.value, f)
		return
	}
	elements := []ast.Node{e.value}
	if list, ok := e.value.(*ast.SequenceNode); ok {
		elements = list.Values
	}
	if len(elements) == 0 && f.allowed.required {
		r.reportKey(path, "is empty; allowed: "+f.allowed.allowed)
	}
	for i, n := range elements {
		r.scalar(fmt.Sprintf("%s[%d]", path, i), n, f)
	}
}

// scalar reads a single value and holds it against the key's rule.
func (r *reader) scalar(path string, n ast.Node, f field) {
	at := r.nodeAt(path, n)
	r.at[path] = at
	s, ok := asScalar(n)
	if !ok {
		r.report(at, path, describe(n)+"; allowed: "+f.allowed.allowed)
		return
	}
	v, err := set(f.at, s)
	if err == nil {
		err = f.allowed.check(v)
	}
	if err != nil {
		r.report(at, path, err.Error()+"; allowed: "+f.allowed.allowed)
	}
}

// nodeAt is where a node begins; one without content stands where its key does.
func (r *reader) nodeAt(path string, n ast.Node) position {
	if !isNull(n) {
		if at := where(firstToken(n)); at.line > 0 {
			return at
		}
	}
	return r.find(path)
}

// asScalar returns the text of a scalar and what YAML takes it for.
func asScalar(n ast.Node) (scalar, bool) {
	switch v := n.(type) {
	case *ast.StringNode:
		return scalar{v.Value, kindText}, true
	case *ast.LiteralNode:
		return scalar{v.Value.Value, kindText}, true
	case *ast.BoolNode:
		return scalar{v.Token.Value, kindBool}, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return scalar{n.GetToken().Value, kindNumber}, true
	case *ast.MappingNode:
		return glued(v)
	}
	return scalar{}, false
}

// glued mends what goccy/go-yaml 1.19 makes of host:port in a list between
// braces: a mapping, although no space follows the colon (YAML 1.2, section
// 7.4.2).
func glued(n *ast.MappingNode) (scalar, bool) {
	if n.IsFlowStyle || len(n.Values) != 1 {
		return scalar{}, false
	}
	colon, value := n.Values[0].Start, n.Values[0].Value.GetToken()
	if _, ok := asScalar(n.Values[0].Value); !ok || where(value) != (position{colon.Position.Line, colon.Position.Column + 1}) {
		return scalar{}, false
	}
	return scalar{n.Values[0].Key.GetToken().Value + ":" + value.Value, kindText}, true
}

func isNull(n ast.Node) bool {
	_, null := n.(*ast.NullNode)
	return n == nil || null
}

// describe says what is wrong with a node in this place, by its kind. Anchors,
// aliases and tags are wrong in every place: they save little in a file as short
// as this, and hide from its reader what a key's value is.
func describe(n ast.Node) string {
	switch n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "is a section"
	case *ast.SequenceNode:
		return "is a list"
	case *ast.AnchorNode:
		return "an anchor (&) is not supported, write the value out"
	case *ast.AliasNode:
		return "an alias (*) is not supported, write the value out"
	case *ast.MergeKeyNode:
		return "a merge (<<) is not supported, write the keys out"
	case *ast.TagNode:
		return "a tag (!) is not supported"
	}
	if isNull(n) {
		return "has no value"
	}
	if s, ok := asScalar(n); ok {
		return fmt.Sprintf("%q is %s", s.text, s.kind)
	}
	return "is not understood"
}

// firstToken is where a person would say that the node begins: YAML's parser
// names the colon of a block mapping's first entry.
func firstToken(n ast.Node) *token.Token {
	switch v := n.(type) {
	case nil:
		return nil
	case *ast.MappingNode:
		if !v.IsFlowStyle && len(v.Values) > 0 {
			return firstToken(v.Values[0])
		}
	case *ast.MappingValueNode:
		return firstToken(v.Key)
	}
	return n.GetToken()
}

func keyName(n ast.MapKeyNode) string {
	if s, ok := n.(*ast.StringNode); ok {
		return s.Value
	}
	return ""
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
