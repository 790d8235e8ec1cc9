package main

import (
	"context"
	"errors"
	"slices"
	"strings"

	"charactier-proxy/switcher/deploy"
	"charactier-proxy/systemd"
)

// deployUnits is systemd as a deploy sees it.
type deployUnits struct{ *systemd.Units }

// unitFailure shows the journal of a unit that failed.
type unitFailure struct{ *systemd.UnitError }

func (f unitFailure) Output() []string { return f.Journal }
func (f unitFailure) Unwrap() error    { return f.UnitError }

func (f unitFailure) Hint() string {
	return "systemctl status --full --lines=100 " + f.Unit // with the journal: hints end up in one line of logs too
}

func withOutput(err error) error {
	var failed *systemd.UnitError
	if errors.As(err, &failed) {
		return unitFailure{failed}
	}
	return err
}

func (u deployUnits) Start(ctx context.Context, unit string) error {
	return withOutput(u.Units.Start(ctx, unit))
}

// Running says whether the unit runs, and what keeps it from ever doing so.
func (u deployUnits) Running(ctx context.Context, unit string) (bool, error) {
	s, err := u.State(ctx, unit)
	if err != nil {
		return false, err
	}
	if s.LoadState != "loaded" {
		return false, &systemd.UnitError{Unit: unit, Doing: systemd.Starting, State: s}
	}
	return s.Runs(), nil
}

func (u deployUnits) Directory(ctx context.Context, unit string) (string, error) {
	s, err := u.Settings(ctx, unit)
	return s.WorkingDirectory, err
}

// Exited is nil where systemd stops telling: a bus that restarts is no unit that
// ends.
func (u deployUnits) Exited(ctx context.Context, unit string) error {
	return exitOf(u.AwaitExit(ctx, unit))
}

func exitOf(err error) error {
	var ended *systemd.UnitError
	if !errors.As(err, &ended) {
		return nil
	}
	return withOutput(err)
}

func (u deployUnits) Enable(ctx context.Context, enabled, disabled []string) error {
	given := func(units []string) []string {
		return slices.DeleteFunc(slices.Clone(units), func(s string) bool { return s == "" })
	}
	var all []error
	if units := given(enabled); len(units) > 0 {
		all = append(all, u.Units.Enable(ctx, units...))
	}
	if units := given(disabled); len(units) > 0 {
		all = append(all, u.Disable(ctx, units...))
	}
	return errors.Join(all...)
}

// Owner names the unit of whoever listens on an address; if these are several
// units, of the first that is not the wanted one.
func (u deployUnits) Owner(address string) (unit, process string, err error) {
	listeners, err := systemd.ListenersOf(address)
	if errors.Is(err, systemd.ErrNoListener) {
		return "", "", nil
	}
	if err != nil {
		return "", "", err
	}
	var units, processes []string
	for _, l := range listeners {
		units = append(units, l.Unit)
		processes = append(processes, l.String())
	}
	slices.Sort(units)
	return strings.Join(slices.Compact(units), " and "), strings.Join(processes, " and "), nil
}

// build runs one command of a build in a unit of its own.
func (u deployUnits) build(ctx context.Context, c deploy.Command) error {
	return withOutput(u.Run(ctx, systemd.Command{
		Unit: c.Unit, Description: c.Description, Argv: []string{"/bin/sh", "-c", c.Line}, Dir: c.Dir, User: c.User,
		Environment: c.Environment, Output: c.Output, Timeout: c.Timeout, MemoryMax: c.MemoryMax,
		CPUWeight: c.CPUWeight, IOWeight: c.IOWeight, ReadWritePaths: c.Writes, Private: true,
	}))
}
