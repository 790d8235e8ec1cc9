package config

import (
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/token"

	"charactier-proxy/health"
	"charactier-proxy/switcher"
)

// scalar is a single value as it stands in the file.
type scalar struct {
	text string
	kind string // what YAML takes it for
}

// The kinds of scalars.
const (
	kindText   = "a text"
	kindNumber = "a number"
	kindBool   = "a bool"
)

// typeName is how the reference calls the type of a value.
func typeName(at any) string {
	switch at.(type) {
	case *bool:
		return "bool"
	case *int:
		return "number"
	case *Bytes:
		return "size"
	case *time.Duration:
		return "duration"
	case *[]string, *[]health.StatusRange, *Peers:
		return "list"
	}
	return "text"
}

// isList says whether a value is read element by element.
func isList(at any) bool { return typeName(at) == "list" }

// reset makes a value empty, so that elements may be appended to it.
func reset(at any) {
	switch p := at.(type) {
	case *[]string:
		*p = []string{}
	case *[]health.StatusRange:
		*p = []health.StatusRange{}
	case *Peers:
		*p = Peers{}
	case *string:
		*p = ""
	}
}

// set reads a scalar into a value, or appends it to a list, and returns what
// the key's rule has to look at.
func set(at any, s scalar) (any, error) {
	switch p := at.(type) {
	case *bool:
		return assign(p, s, parseBool)
	case *int:
		return assign(p, s, parseInt)
	case *Bytes:
		return assign(p, s, parseBytes)
	case *time.Duration:
		return assign(p, s, parseDuration)
	case *string:
		return assign(p, s, s.asText)
	case *switcher.Slot:
		v, err := s.asText("")
		*p = switcher.Slot(v)
		return v, err
	case *[]string:
		return push(p, s, s.asText)
	case *[]health.StatusRange:
		return push(p, s, health.ParseStatus)
	case *Peers:
		return s.text, p.add(s.text)
	}
	panic(fmt.Sprintf("no way to read a %T", at))
}

func assign[T any](p *T, s scalar, parse func(string) (T, error)) (any, error) {
	v, err := parse(s.text)
	if err == nil {
		*p = v
	}
	return v, err
}

func push[T any](p *[]T, s scalar, parse func(string) (T, error)) (any, error) {
	v, err := parse(s.text)
	if err == nil {
		*p = append(*p, v)
	}
	return v, err
}

// asText refuses what YAML reads as something else: whoever writes 0123 or
// true where a text is wanted may not get the text they see.
func (s scalar) asText(string) (string, error) {
	if s.kind != kindText {
		return "", fmt.Errorf("YAML reads %s as %s; for a text write %q", s.text, s.kind, s.text)
	}
	return s.text, nil
}

func parseBool(text string) (bool, error) {
	if text != "true" && text != "false" {
		return false, fmt.Errorf("%q is neither true nor false", text)
	}
	return text == "true", nil
}

func parseInt(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, fmt.Errorf("%q is not a whole number", text)
	}
	return n, nil
}

// add reads a network, an address or "unix".
func (p *Peers) add(text string) error {
	if text == "unix" {
		p.Unix = true
		return nil
	}
	if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" {
		p.Networks = append(p.Networks, netip.PrefixFrom(addr, addr.BitLen()))
		return nil
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return fmt.Errorf("%q is not a network", text)
	}
	if prefix != prefix.Masked() {
		return fmt.Errorf("%q has bits beyond its mask, did you mean %q?", text, prefix.Masked())
	}
	p.Networks = append(p.Networks, prefix)
	return nil
}

func (p Peers) strings() []string {
	var all []string
	for _, n := range p.Networks {
		if n.IsSingleIP() {
			all = append(all, n.Addr().String())
			continue
		}
		all = append(all, n.String())
	}
	if p.Unix {
		all = append(all, "unix")
	}
	return all
}

// format writes a value as YAML that set reads back.
func format(at any) string {
	switch p := at.(type) {
	case *bool:
		return strconv.FormatBool(*p)
	case *int:
		return strconv.Itoa(*p)
	case *Bytes:
		return p.String()
	case *time.Duration:
		return short(*p)
	case *string:
		return quote(*p)
	case *switcher.Slot:
		return quote(string(*p))
	case *[]string:
		return formatList(*p)
	case *[]health.StatusRange:
		all := make([]string, len(*p))
		for i, r := range *p {
			all[i] = r.String()
		}
		return "[" + strings.Join(all, ", ") + "]"
	case *Peers:
		return formatList(p.strings())
	}
	panic(fmt.Sprintf("no way to write a %T", at))
}

func formatList(elements []string) string {
	quoted := make([]string, len(elements))
	for i, e := range elements {
		quoted[i] = quote(e)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// plainWord is what YAML takes for a text in block and in flow style, if it is
// not one of its reserved words or a number.
var plainWord = regexp.MustCompile(`^[A-Za-z0-9/][A-Za-z0-9/._:@-]*$`)

// quote leaves plain words plain. JSON's strings are YAML's double-quoted ones
// (YAML 1.2, section 1.2), and Go's differ from them only in escapes that both
// know.
func quote(text string) string {
	if plainWord.MatchString(text) && !token.IsNeedQuoted(text) {
		return text
	}
	return strconv.Quote(text)
}
