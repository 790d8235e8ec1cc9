package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
)

// hintTime bounds the question to the daemon that makes a hint better.
const hintTime = time.Second

// failed tells why an operation was not done and where the traffic is, and
// returns the exit code.
func (e *env) failed(ctx context.Context, r switcher.Record, err error, asJSON bool) error {
	var silent exitError
	if errors.As(err, &silent) {
		return err
	}
	hint := e.hint(ctx, r, err)
	e.report(plainError{err})
	if stays := staysText(r); stays != "" {
		e.trafficf("%s", stays)
	}
	if hint != "" {
		e.hintf("%s", hint)
	}
	if asJSON {
		if err := e.printJSON(asWire(r, err, hint)); err != nil {
			return err
		}
	}
	return exitError(control.ExitCode(err))
}

// plainError keeps the hint of an error for later.
type plainError struct{ err error }

func (p plainError) Error() string { return p.err.Error() }

// hintedError is an error with a better hint than its own.
type hintedError struct {
	error
	hint string
}

func (h hintedError) Unwrap() error { return h.error }
func (h hintedError) Hint() string  { return h.hint }

// asWire is err as --json shows it: the daemon's own words if they are its.
func asWire(r switcher.Record, err error, hint string) *control.Error {
	e := control.AsError(err, r)
	e.Next = hint
	return e
}

// staysText says where the traffic is after an operation that was not done.
func staysText(r switcher.Record) string {
	var parts []string
	for _, m := range r.Moves {
		parts = append(parts, fmt.Sprintf("%s stays on %s", clean(m.Service), m.From))
	}
	return strings.Join(parts, ", ")
}

// hint is what helps after err.
func (e *env) hint(ctx context.Context, r switcher.Record, err error) string {
	if hint := control.HintOf(err); hint != "" {
		return hint
	}
	switch {
	case errors.Is(err, switcher.ErrBusy):
		return lines(e.self()+" status  # shows it", e.self()+" abort   # stops it before its swap, and undoes a deploy")
	case errors.Is(err, switcher.ErrUnhealthy):
		return e.unhealthyHint(ctx, r)
	case errors.Is(err, switcher.ErrNothingToRollBack):
		return e.self() + " history shows what was done"
	case errors.Is(err, switcher.ErrNotSaved):
		return "df -h " + e.stateDir(ctx)
	case errors.Is(err, switcher.ErrNothingToAbort):
		return "to return after a swap: " + e.self() + " rollback"
	case errors.Is(err, control.ErrBadConfig):
		return e.self() + " config check"
	case errors.Is(err, control.ErrOutcomeUnknown):
		return lines(e.self()+" status", e.self()+" history")
	case errors.Is(err, control.ErrInternal), errors.Is(err, control.ErrInterrupted):
		return "journalctl -u charactier-proxy -n 50"
	}
	return ""
}

// stateDir is the daemon's, or where it would be if the daemon does not answer.
func (e *env) stateDir(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, hintTime)
	defer cancel()
	status, err := e.client().Status(ctx)
	if err != nil || status.State.Dir == "" {
		return e.paths().StateDir
	}
	return status.State.Dir
}

// unhealthyHint says how to look at the slots that were wanted, and how to start
// those that nobody has started.
func (e *env) unhealthyHint(ctx context.Context, r switcher.Record) string {
	ctx, cancel := context.WithTimeout(ctx, hintTime)
	defer cancel()
	status, err := e.client().Status(ctx)
	if err != nil {
		return e.self() + " status"
	}
	wanted := targetsOf(status, r.Moves)
	sick := slices.DeleteFunc(slices.Clone(wanted), target.isHealthy)
	switch {
	case len(wanted) == 0:
		return e.self() + " status"
	case len(sick) == 0:
		return "systemctl status " + unitNames(wanted)
	case r.Kind == switcher.KindRollback && slices.ContainsFunc(sick, target.stopped),
		r.Kind == switcher.KindSwitch && !slices.ContainsFunc(sick, target.mayBeSick):
		return e.startHint(sick, r.Kind, movedServices(r.Moves))
	}
	return "systemctl status " + unitNames(sick)
}

// targetsOf are the slots of moves that have units.
func targetsOf(status control.Status, moves []switcher.Move) (all []target) {
	for _, s := range status.Services {
		for _, slot := range s.Slots {
			isTarget := func(m switcher.Move) bool { return m.Service == s.Name && m.To == slot.Name }
			if slot.Unit != "" && slices.ContainsFunc(moves, isTarget) {
				all = append(all, target{s, slot})
			}
		}
	}
	return all
}

func unitNames(all []target) string {
	units := make([]string, len(all))
	for i, t := range all {
		units[i] = t.slot.Unit
	}
	return strings.Join(units, " ")
}
