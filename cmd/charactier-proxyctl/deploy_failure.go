package main

import (
	"errors"
	"strings"

	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
	"charactier-proxy/switcher/deploy"
)

// deployExit is the exit code for a deploy that was not done.
func deployExit(err error) int {
	switch {
	case errors.Is(err, deploy.ErrDetached):
		return exitInterrupted
	case errors.Is(err, deploy.ErrReturned):
		return control.ExitUndone
	case errors.Is(err, deploy.ErrUnhealthy):
		return control.ExitRefused
	case errors.Is(err, deploy.ErrNothingUnfinished), errors.Is(err, deploy.ErrStuck),
		errors.Is(err, deploy.ErrBadRelease), errors.Is(err, deploy.ErrDraining):
		return control.ExitFailed
	case isControlError(err):
		return control.ExitCode(err)
	}
	return control.ExitFailed
}

// isControlError reports whether an error is one of those that the daemon's
// answers are made of.
func isControlError(err error) bool {
	return control.AsError(err, switcher.Record{}).Code != control.AsError(control.ErrInternal, switcher.Record{}).Code
}

func placesOf(moves []switcher.Move, text func(switcher.Move) string) string {
	parts := make([]string, len(moves))
	for i, m := range moves {
		parts[i] = text(m)
	}
	return strings.Join(parts, ", ")
}
