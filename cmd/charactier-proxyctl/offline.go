package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
)

// offlineStatus is the JSON of status while the daemon does not answer.
type offlineStatus struct {
	*control.Error
	State *switcher.State `json:"state,omitempty"` // as the state file has it
}

// statusFailed says that the daemon does not answer, and what its state file
// says instead.
func (e *env) statusFailed(f *statusFlags, err error) error {
	if !errors.Is(err, control.ErrUnreachable) {
		return err
	}
	if code := e.report(err); code != control.ExitUnreachable {
		return exitError(code)
	}
	dir := e.paths().StateDir
	state, stateErr := switcher.ReadState(dir)
	if f.json {
		return e.offlineJSON(err, state, stateErr)
	}
	switch {
	case stateErr != nil:
		e.notef("the state in %s cannot be told: %s", dir, clean(stateErr.Error()))
	case state.Generation == 0:
		e.notef("there is no state in %s: nothing was ever switched", dir)
	default:
		e.printf("%s", e.stateText(dir, state))
	}
	return exitError(control.ExitUnreachable)
}

func (e *env) offlineJSON(err error, state switcher.State, stateErr error) error {
	answer := offlineStatus{Error: control.AsError(err, switcher.Record{})}
	if stateErr == nil && state.Generation > 0 {
		answer.State = &state
	}
	if err := e.printJSON(answer); err != nil {
		return err
	}
	return exitError(control.ExitUnreachable)
}

// stateText is what the state file says, a line for each service.
func (e *env) stateText(dir string, s switcher.State) string {
	text := fmt.Sprintf("the daemon does not answer; its state file in %s says:\n", dir)
	for _, name := range slices.Sorted(maps.Keys(s.Services)) {
		service := s.Services[name]
		text += fmt.Sprintf("  %s was on %s since %s", e.paint(bold, clean(name)), e.slot(service.Active), clock(service.Since))
		if service.Previous != "" {
			text += fmt.Sprintf(", on %s before", e.slot(service.Previous))
		}
		if service.Held != nil {
			text += ", held"
		}
		text += "\n"
	}
	if s.Intent != nil {
		text += fmt.Sprintf("  a %s of %s had begun and is not known to have ended\n", s.Intent.Kind, e.movesText(s.Intent.Moves, s.Intent.Services))
	}
	return text
}
