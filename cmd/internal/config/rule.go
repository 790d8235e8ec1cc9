package config

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"charactier-proxy/cmd/internal/spelling"
	"charactier-proxy/health"
	"charactier-proxy/switcher"
)

// rule says what a value may be. For a list it holds for each element.
type rule struct {
	allowed string // for people: follows "allowed: "
	check   func(v any) error
	// required keys may be left out only by the service that has a default.
	required bool
}

func required(r rule) rule {
	r.required = true
	return r
}

// anyValue is the rule of values whose type is all there is to say.
func anyValue(allowed string) rule {
	return rule{allowed: allowed, check: func(any) error { return nil }}
}

// healthRule lets package health judge one text of its own, put into a check
// that is right otherwise.
func healthRule(allowed string, put func(*health.Check, string)) rule {
	return textRule(allowed, func(s string) error {
		var check health.Check
		put(&check, s)
		var field *health.FieldError
		if errors.As(check.Validate(), &field) {
			return errors.New(field.Problem)
		}
		return nil
	})
}

// between is an inclusive range.
func between[T cmp.Ordered](low, high T) rule {
	allowed := fmt.Sprintf("%s to %s", plain(low), plain(high))
	return rule{allowed: allowed, check: func(v any) error {
		if n := v.(T); n < low || n > high {
			return fmt.Errorf("%s is out of range", plain(n))
		}
		return nil
	}}
}

func plain(v any) string {
	if d, ok := v.(time.Duration); ok {
		return short(d)
	}
	return fmt.Sprint(v)
}

// oneOf is a choice of words.
func oneOf(words ...string) rule {
	last := len(words) - 1
	allowed := strings.Join(words[:last], ", ") + " or " + words[last]
	return rule{allowed: allowed, check: func(v any) error {
		word := text(v)
		if slices.Contains(words, word) {
			return nil
		}
		if near := spelling.Nearest(word, words); near != "" {
			return fmt.Errorf("%q is unknown, did you mean %q?", word, near)
		}
		return fmt.Errorf("%q is unknown", word)
	}}
}

// text is the text of a value that is one.
func text(v any) string {
	if slot, ok := v.(switcher.Slot); ok {
		return string(slot)
	}
	return v.(string)
}

// pattern is a text that matches, or the empty one.
func pattern(allowed, expr string) rule {
	re := regexp.MustCompile(`^(` + expr + `)?$`)
	return rule{allowed: allowed, check: func(v any) error {
		if !re.MatchString(v.(string)) {
			return fmt.Errorf("%q is not allowed", v)
		}
		return nil
	}}
}

func textRule(allowed string, check func(string) error) rule {
	return rule{allowed: allowed, check: func(v any) error { return check(v.(string)) }}
}

var (
	listenAddress = required(textRule("IP:port such as 127.0.0.1:5080, or unix:/path", func(s string) error {
		return checkAddress(s, localHost, 0)
	}))
	slotAddress = required(textRule("host:port such as 127.0.0.1:5000, or unix:/path", func(s string) error {
		return checkAddress(s, remoteHost, 1)
	}))
	adminAddress = textRule(`IP:port such as 127.0.0.1:5081, or "" for none`, func(s string) error {
		if s == "" {
			return nil
		}
		if network, _ := Network(s); network != "tcp" {
			return fmt.Errorf("%q is not a TCP address", s)
		}
		return checkAddress(s, localHost, 0)
	})
	healthPath = healthRule("a path with its query, such as /up?deep=1", func(c *health.Check, s string) {
		// To health, no path means the default one.
		c.Path = cmp.Or(s, "?")
	})
	healthMethod = healthRule("an upper case method, such as GET or HEAD", func(c *health.Check, s string) {
		c.Method = cmp.Or(s, "?")
	})
	healthHost = healthRule(`a host, or ""`, func(c *health.Check, s string) { c.Host = s })
	unitName   = pattern(`the name of a systemd service such as charactier-backend-blue.service, or "" for none`, `[A-Za-z0-9:_.@\\-]{1,247}\.service`)
	groupName  = pattern(`the name of a group, or ""`, `[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}\$?`)
	filePath   = textRule(`an absolute path, or "" for stderr`, func(s string) error {
		if s != "" && !filepath.IsAbs(s) {
			return fmt.Errorf("%q does not begin with a slash", s)
		}
		return nil
	})
	upgradeToken = textRule("lower case names of protocols, but not h2c; [] for none", func(s string) error {
		if s == "h2c" {
			return errors.New("an upgrade to h2c would carry requests past every check")
		}
		if s == "" || strings.ContainsFunc(s, notTokenChar) {
			return fmt.Errorf("%q is not the lower case name of a protocol", s)
		}
		return nil
	})
)

// notTokenChar is RFC 9110, section 5.6.2, without the upper case, with the
// slash of "name/version" (section 7.8).
func notTokenChar(r rune) bool {
	return !('a' <= r && r <= 'z' || '0' <= r && r <= '9' || strings.ContainsRune("!#$%&'*+-.^_`|~/", r))
}
