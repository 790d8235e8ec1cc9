package config

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"charactier-proxy/switcher/deploy"
)

var (
	absolutePath = textRule(`an absolute path without .., or ""`, func(s string) error {
		if s == "" {
			return nil
		}
		return checkAbsolute(s)
	})
	absoluteRoot = textRule("an absolute path without ..", checkAbsolute)
	relativePath = textRule("a path below it without .., such as backend or .next/cache", func(s string) error {
		if !filepath.IsLocal(s) || filepath.Clean(s) != s || strings.ContainsFunc(s, unicode.IsControl) {
			return fmt.Errorf("%q is not a plain path below it", s)
		}
		return nil
	})
	commandLine = textRule("a command line for /bin/sh", func(s string) error {
		if strings.ContainsRune(s, 0) {
			return errors.New("it holds a NUL")
		}
		return nil
	})
	environmentPair = textRule("NAME=value", func(s string) error {
		if name, _, ok := strings.Cut(s, "="); !ok || !environmentName.MatchString(name) {
			return fmt.Errorf("%q is not NAME=value", s)
		}
		return nil
	})
	userName   = pattern("the name of a user", `[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}\$?`)
	headerName = pattern(`the name of a header field, or ""`, "[A-Za-z0-9!#$%&'*+.^_`|~-]+")
	roleUnit   = pattern(`the name of a systemd service with {slot} in it, or ""`, `[A-Za-z0-9:_.@\\-]{0,200}\{slot\}[A-Za-z0-9:_.@\\-]{0,40}\.service`)
	rolePath   = textRule(`a path, or ""`, func(s string) error {
		if s == "" {
			return nil
		}
		return healthPath.check(s)
	})
	assetsPath = textRule(`a path that begins and ends with a slash, or ""`, func(s string) error {
		if s != "" && (!strings.HasPrefix(s, "/") || !strings.HasSuffix(s, "/") || s == "/" || strings.ContainsAny(s, "?#%")) {
			return fmt.Errorf("%q is not such a path", s)
		}
		return nil
	})
	smokeLine = textRule(`"PATH STATUS" or "PATH STATUS TEXT", such as "/api/v1/models 200 ready"`, func(s string) error {
		path, rest, _ := strings.Cut(s, " ")
		status, _, _ := strings.Cut(rest, " ")
		if err := healthPath.check(path); err != nil {
			return err
		}
		if n, err := strconv.Atoi(status); err != nil || n < 200 || n > 599 {
			return fmt.Errorf("%q is not a status within 200 to 599", status)
		}
		return nil
	})
	repository = textRule(`a path or a URL, or "" for none`, func(s string) error {
		if strings.HasPrefix(s, "-") || strings.ContainsFunc(s, unicode.IsControl) || strings.HasPrefix(s, "ext::") {
			return fmt.Errorf("%q is not a repository", s)
		}
		return nil
	})
	gitRef = textRule("a branch, a tag or a revision", func(s string) error {
		if s == "" || strings.HasPrefix(s, "-") || strings.Contains(s, "..") || strings.ContainsAny(s, " ~^:?*[\\") || strings.ContainsFunc(s, unicode.IsControl) {
			return fmt.Errorf("%q is not one", s)
		}
		return nil
	})
	hookLine = textRule(`"before STEP: COMMAND" or "after STEP: COMMAND"; the steps are `+strings.Join(deploy.StepNames(), ", "), func(s string) error {
		when, command, _ := strings.Cut(s, ":")
		word, step, _ := strings.Cut(when, " ")
		switch {
		case word != "before" && word != "after":
			return fmt.Errorf("%q begins with neither before nor after", s)
		case !slices.Contains(deploy.StepNames(), step):
			return fmt.Errorf("%q is not a step", step)
		case strings.TrimSpace(command) == "":
			return fmt.Errorf("%q has no command", s)
		}
		return nil
	})
	notifyURL = textRule(`an http or https URL, file:/PATH, or ""`, func(s string) error {
		if s == "" {
			return nil
		}
		if path, ok := strings.CutPrefix(s, "file:"); ok {
			return checkAbsolute(path)
		}
		if u, err := url.Parse(s); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return errors.New("that is not such a URL") // which is not repeated: it is a secret
		}
		return nil
	})
)

var environmentName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

func checkAbsolute(s string) error {
	if !filepath.IsAbs(s) || filepath.Clean(s) != s || s == "/" || strings.ContainsFunc(s, unicode.IsControl) {
		return fmt.Errorf("%q is not a plain absolute path", s)
	}
	return nil
}
