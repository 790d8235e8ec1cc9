package doctor

import (
	"cmp"
	"errors"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// variable is one assignment of a unit or of a file of variables.
type variable struct {
	name, value string
	line        int
}

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// variables reads a file as EnvironmentFile= has it (systemd.exec(5)), and
// returns the numbers of the lines that are no assignment: systemd passes over
// them, with a line in the journal that nobody reads.
func variables(content string) (all []variable, bad []int) {
	for i, line := range strings.Split(content, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || line[0] == ';' {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		if name = strings.TrimSpace(name); !ok || !variableName.MatchString(name) {
			bad = append(bad, i+1)
			continue
		}
		all = append(all, variable{name, strings.Trim(strings.TrimSpace(value), `"'`), i + 1})
	}
	return all, bad
}

func checkEnvironment(f *Facts, _ *Service, s *Slot) []Finding {
	u := s.Unit
	if !u.Exists() {
		return skip("there is no unit")
	}
	var l found
	for _, file := range u.Variables {
		l = append(l, checkVariables(s, file)...)
	}
	return append(l, checkOwnPort(s)...)
}

func checkVariables(s *Slot, file EnvironmentFile) []Finding {
	var l found
	edit := "sudo $EDITOR " + file.Path
	switch {
	case errors.Is(file.Err, fs.ErrNotExist) && !file.Optional:
		l.fail(edit, "%s wants the variables in %s, which is not there: it cannot start", s.Unit.Name, file.Path)
	case errors.Is(file.Err, fs.ErrNotExist) && s.wanted() && !s.Answer.Healthy:
		l.warn(edit, "%s does without the variables in %s, which is not there, and the slot is not healthy", s.Unit.Name, file.Path)
	case errors.Is(file.Err, fs.ErrNotExist):
	case errors.Is(file.Err, fs.ErrPermission):
		return needRoot(file.Path)
	case file.Err != nil:
		l.fail(edit, "the variables of %s in %s cannot be read: %v", s.Unit.Name, file.Path, file.Err)
	}
	_, bad := variables(file.Text.Content)
	for _, line := range bad {
		l.warn(edit, "%s:%d is no assignment, and systemd passes over it (NAME=value, without \"export\")", file.Path, line)
	}
	return l
}

// checkOwnPort compares PORT with the slot's address. A file of variables
// overrides what the unit itself says, and a later one an earlier one.
func checkOwnPort(s *Slot) []Finding {
	want := port(s.Address)
	got, where := "", ""
	for _, pair := range s.Unit.Environment {
		if value, ok := strings.CutPrefix(pair, "PORT="); ok {
			got, where = value, "Environment= of "+s.Unit.Name
		}
	}
	for _, file := range s.Unit.Variables {
		all, _ := variables(file.Text.Content)
		for _, v := range all {
			if v.name == "PORT" {
				got, where = v.value, file.Path
			}
		}
	}
	if got == "" || want == "" || got == want {
		return nil
	}
	mend := "sudo systemctl edit " + s.Unit.Name + "  # [Service] Environment=PORT=" + want
	if filepath.IsAbs(where) {
		mend = lines(mend, "likewise with the other slot's unit; then remove PORT from "+where)
	}
	return one(Fail, mend, "%s sets PORT=%s, but the slot's address is %s", where, got, s.Address)
}

// local matches an address of this machine with a port.
var local = regexp.MustCompile(`(?i)(?:localhost|127\.\d+\.\d+\.\d+|\[::1\]|0\.0\.0\.0):(\d{1,5})\b`)

// checkMentions finds who would call the slot itself once it is started: a
// server-side renderer with BACKEND_URL=http://localhost:5000. Values may be
// secrets, so only names are told.
func checkMentions(f *Facts, svc *Service, s *Slot) []Finding {
	want := port(s.Address)
	if want == "" {
		return nil
	}
	var l found
	own := func(t Text) bool {
		return slices.ContainsFunc(s.Unit.Files, func(mine Text) bool { return mine.Path == t.Path })
	}
	seen := map[string]bool{}
	for _, text := range f.Texts {
		if own(text) || seen[text.Path] {
			continue
		}
		seen[text.Path] = true
		for i, line := range strings.Split(text.Content, "\n") {
			name := mention(line, want)
			if name == "" {
				continue
			}
			l.warn("write http://"+door(svc)+" there, which is right whichever slot is active, and restart "+cmp.Or(text.Unit, "what reads it"),
				"%s:%d: %s names %s, the %s slot", text.Path, i+1, name, s.Address, s.Name)
		}
	}
	return l
}

// mention is the name to which a line gives an address with the port; empty if
// it does not.
func mention(line, want string) string {
	line = strings.TrimSpace(line)
	if line == "" || line[0] == '#' || line[0] == ';' {
		return ""
	}
	for _, at := range local.FindAllStringSubmatchIndex(line, -1) {
		if line[at[2]:at[3]] != want {
			continue
		}
		before := line[strings.LastIndexAny(line[:at[0]], " \t")+1 : at[0]]
		name, _, ok := strings.Cut(strings.TrimLeft(before, `"'`), "=")
		if directive, rest, _ := strings.Cut(before, "="); ok && strings.Contains(rest, "=") {
			// Environment=NAME=value
			inner, _, _ := strings.Cut(strings.TrimLeft(rest, `"'`), "=")
			return directive + " " + inner
		}
		if directive, _, is := strings.Cut(line, "="); !ok && is {
			name = directive
		} else if !ok {
			name = "the line"
		}
		return strings.TrimSpace(name)
	}
	return ""
}
