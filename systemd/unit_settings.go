package systemd

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// UnitSettings is what a unit's files say, as far as it matters to those who
// look whether it is right.
type UnitSettings struct {
	Environment      []string // NAME=value, by Environment=
	EnvironmentFiles []EnvironmentFile
	WorkingDirectory string
	RootDirectory    string
	Commands         []string      // what its Exec…= lines run, each with its arguments
	StopTimeout      time.Duration // TimeoutStopSec=; zero means without end
	DropIns          []string      // paths
	// Outdated says that the files have changed since systemd read them, so that a
	// start would follow what they said before.
	Outdated bool
}

// EnvironmentFile is one EnvironmentFile= of a unit; the path may be a pattern.
type EnvironmentFile struct {
	Path     string
	Optional bool // a dash stands before it
}

// Settings asks for the settings of a unit with everything that its drop-ins
// change. Those of a unit that is not there are empty.
func (u *Units) Settings(ctx context.Context, unit string) (UnitSettings, error) {
	p, err := u.conn.GetAllPropertiesContext(ctx, unit)
	if err != nil {
		return UnitSettings{}, fmt.Errorf("asking for the settings of %s: %w", unit, u.explain(ctx, err))
	}
	s := UnitSettings{
		Environment: property[[]string](p, "Environment"),
		// An exclamation mark says that it may be missing.
		WorkingDirectory: strings.TrimPrefix(property[string](p, "WorkingDirectory"), "!"),
		RootDirectory:    property[string](p, "RootDirectory"),
		DropIns:          property[[]string](p, "DropInPaths"),
	}
	s.Outdated = property[bool](p, "NeedDaemonReload") || hasNewDropIn(unitDirs(), unit, s.DropIns)
	for _, when := range []string{"ExecStartPre", "ExecStart"} {
		for _, command := range property[[][]any](p, when) {
			argv, _ := command[1].([]string)
			s.Commands = append(s.Commands, strings.Join(argv, " "))
		}
	}
	for _, file := range property[[][]any](p, "EnvironmentFiles") {
		path, _ := file[0].(string)
		optional, _ := file[1].(bool)
		s.EnvironmentFiles = append(s.EnvironmentFiles, EnvironmentFile{path, optional})
	}
	if usec := property[uint64](p, "TimeoutStopUSec"); usec != notSet {
		s.StopTimeout = time.Duration(usec) * time.Microsecond
	}
	return s, nil
}

// unitDirs are where people put units.
func unitDirs() []string { return []string{"/etc/systemd/system", "/run/systemd/system"} }

// hasNewDropIn finds what systemd does not look for: the first drop-in of a unit
// in a directory, which it learns of when it reads its files the next time.
func hasNewDropIn(dirs []string, unit string, known []string) bool {
	isKnown := func(path string) bool {
		return slices.ContainsFunc(known, func(k string) bool { return filepath.Base(k) == filepath.Base(path) })
	}
	for _, dir := range dirs {
		// The pattern is never malformed: units have no such names.
		drops, _ := filepath.Glob(filepath.Join(dir, unit+".d", "*.conf"))
		for _, path := range drops {
			info, err := os.Stat(path)
			if err == nil && info.Mode().IsRegular() && !isKnown(path) {
				return true
			}
		}
	}
	return false
}
