package systemd

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// UnitSettings is what a unit's files say, as far as it matters to those who
// look whether it is right.
type UnitSettings struct {
	Environment      []string // NAME=value, by Environment=
	EnvironmentFiles []EnvironmentFile
	WorkingDirectory string
	StopTimeout      time.Duration // TimeoutStopSec=; zero means without end
	DropIns          []string      // paths
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
		DropIns:          property[[]string](p, "DropInPaths"),
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
