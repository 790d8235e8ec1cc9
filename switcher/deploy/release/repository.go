package release

import (
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

var (
	helperPattern = regexp.MustCompile(`^[A-Za-z0-9+.-]*::`)
	scpPattern    = regexp.MustCompile(`^([A-Za-z0-9._][A-Za-z0-9._-]*@)?[A-Za-z0-9._][A-Za-z0-9._-]*:[^:]`)
)

// repository is where revisions come from: what git is given, and what may be
// shown of it.
type repository struct {
	url    string
	source string // without credentials
	hide   *strings.Replacer
}

// schemes are the transports that git may use.
func schemes() []string { return []string{"https", "http", "ssh", "git", "file"} }

// parseRepository accepts an absolute path, a URL of one of the schemes, and
// user@host:path. What git would take for an option or for a program to run is
// refused.
func parseRepository(s string) (repository, error) {
	refused := func(why string) (repository, error) {
		return repository{}, fmt.Errorf("%w: the repository %s", ErrUnsafe, why)
	}
	switch {
	case s == "":
		return repository{}, fmt.Errorf("%w: no repository is configured: set deploy.repository", ErrUnsupported)
	case strings.HasPrefix(s, "-"):
		return refused("begins with a dash")
	case !printable(s):
		return refused("has characters that are not to be printed")
	case helperPattern.MatchString(s):
		return refused("names a program that git would run")
	case filepath.IsAbs(s):
		return newRepository(s, s), nil
	case strings.Contains(s, "://"):
		return parseURL(s)
	case scpPattern.MatchString(s):
		return newRepository(s, s), nil
	}
	return refused(fmt.Sprintf("%q is neither an absolute path nor a URL nor user@host:path", s))
}

// parseURL must not repeat what it refuses, because there may be a password in
// it.
func parseURL(s string) (repository, error) {
	u, err := url.Parse(s)
	if err != nil {
		return repository{}, fmt.Errorf("%w: the repository is not a URL", ErrUnsafe)
	}
	switch {
	case !slices.Contains(schemes(), u.Scheme):
		return repository{}, fmt.Errorf("%w: the repository's URL must be one of %s", ErrUnsafe, strings.Join(schemes(), ", "))
	case u.Scheme == "file" && (u.Host != "" || u.User != nil || !filepath.IsAbs(u.Path)):
		return repository{}, fmt.Errorf("%w: the repository's URL must be file:///PATH", ErrUnsafe)
	case u.Scheme != "file" && (u.Host == "" || strings.HasPrefix(u.Host, "-")):
		return repository{}, fmt.Errorf("%w: the repository's URL must name a host", ErrUnsafe)
	}
	shown := *u
	switch {
	case u.User == nil:
	case u.Scheme == "ssh": // its user is no secret
		shown.User = url.User(u.User.Username())
	default:
		shown.User = nil
	}
	shown.RawQuery, shown.ForceQuery, shown.Fragment = "", false, ""
	r := newRepository(s, shown.String())
	r.hide = strings.NewReplacer(append([]string{s, r.source}, secrets(s, u)...)...)
	return r, nil
}

// secrets are the parts of a URL that git may show alone, and what is to be
// shown instead.
func secrets(raw string, u *url.URL) []string {
	var pairs []string
	if before, _, ok := strings.Cut(strings.TrimPrefix(raw, u.Scheme+"://"), "@"); ok && u.Scheme != "ssh" {
		pairs = append(pairs, before+"@", "")
	}
	if password, ok := u.User.Password(); ok && password != "" {
		pairs = append(pairs, ":"+password+"@", "@")
	}
	if u.RawQuery != "" {
		pairs = append(pairs, "?"+u.RawQuery, "")
	}
	return pairs
}

func newRepository(s, source string) repository {
	return repository{url: s, source: source, hide: strings.NewReplacer(s, source)}
}

var refRefused = regexp.MustCompile(`\.\.|@\{|//|[ ~^:?*\[\\]|^[-/.]|/\.|/$|\.$|\.lock(/|$)|^@$`)

// CheckRef accepts what git accepts as the name of a branch, a tag or a
// revision, and no expression.
func CheckRef(ref string) error {
	if ref == "" || len(ref) > 250 || !printable(ref) || refRefused.MatchString(ref) {
		return fmt.Errorf("%w: %q is not the name of a branch, a tag or a revision", ErrNoSuchRef, ref)
	}
	return nil
}
