package release

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

const (
	nameTime = "20060102T150405Z"
	// shortRevision is how much of a revision a name has: enough to be unique,
	// and to be typed.
	shortRevision = 12
	sha256Prefix  = "sha256:"
	// maxText bounds what a commit says of itself.
	maxText = 200
)

var (
	namePattern    = regexp.MustCompile(`^[0-9]{8}T[0-9]{6}Z-[0-9a-z]{4,64}$`)
	servicePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
	hashPattern    = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)
)

// NameOf is the name of a release of this revision that is made at this time.
func NameOf(at time.Time, revision string) string {
	short := strings.TrimPrefix(revision, sha256Prefix)
	return at.UTC().Format(nameTime) + "-" + short[:min(len(short), shortRevision)]
}

// checkName accepts what [NameOf] makes, and any other short word instead of
// the revision.
func checkName(name string) error {
	if !namePattern.MatchString(name) {
		return fmt.Errorf("%q is not the name of a release, such as 20261124T081500Z-1a2b3c4d5e6f", name)
	}
	if _, err := time.Parse(nameTime, name[:len(nameTime)]); err != nil {
		return fmt.Errorf("%q is not the name of a release: it does not begin with a time", name)
	}
	return nil
}

// checkParts accepts plain directories below a release, each of a service.
func checkParts(parts map[string]string) error {
	if len(parts) == 0 {
		return fmt.Errorf("%w: a release without parts", ErrUnsupported)
	}
	for service, directory := range parts {
		if !servicePattern.MatchString(service) {
			return fmt.Errorf("%w: %q is not the name of a service", ErrUnsafe, service)
		}
		if err := checkLocal(directory); err != nil {
			return fmt.Errorf("the directory of %s: %w", service, err)
		}
	}
	return nil
}

// checkLocal accepts a clean path that stays below where it begins.
func checkLocal(path string) error {
	if !filepath.IsLocal(path) || filepath.Clean(path) != path || !printable(path) {
		return fmt.Errorf("%w: %q is not a plain path below it", ErrUnsafe, path)
	}
	return nil
}

// printable says no to what could lie to a terminal or split a line of a log.
func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029'
	})
}

// tidy makes text that somebody else wrote fit for one line of so many bytes.
func tidy(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if r == '\t' {
			return ' '
		}
		if !printable(string(r)) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	s = strings.TrimSpace(s)
	for len(s) > most {
		_, size := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-size]
	}
	return s
}
