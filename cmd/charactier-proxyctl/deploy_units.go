package main

import (
	"context"
	"errors"
	"slices"
	"strings"

	"charactier-proxy/cmd/internal/reconcile"
	"charactier-proxy/switcher/deploy"
	"charactier-proxy/systemd"
)

// deployUnits is systemd as a deploy sees it. What is wanted of a unit may be
// wanted twice.
type deployUnits struct {
	bus *reconnecting[*systemd.Units]
	say func(format string, args ...any) // tells the operator what is waited for
}

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
	return withOutput(u.bus.again(ctx, func(b *systemd.Units) error { return b.Start(ctx, unit) }))
}

func (u deployUnits) Stop(ctx context.Context, unit string) error {
	return u.bus.again(ctx, func(b *systemd.Units) error { return b.Stop(ctx, unit) })
}

func (u deployUnits) state(ctx context.Context, unit string) (s systemd.UnitState, err error) {
	err = u.bus.again(ctx, func(b *systemd.Units) (err error) { s, err = b.State(ctx, unit); return err })
	return s, err
}

// Running says whether the unit runs, and what keeps it from ever doing so.
func (u deployUnits) Running(ctx context.Context, unit string) (bool, error) {
	s, err := u.state(ctx, unit)
	if err != nil {
		return false, err
	}
	if s.LoadState != "loaded" {
		return false, &systemd.UnitError{Unit: unit, Doing: systemd.Starting, State: s}
	}
	return s.Runs(), nil
}

func (u deployUnits) Files(ctx context.Context, unit string) (deploy.UnitView, error) {
	var s systemd.UnitSettings
	err := u.bus.again(ctx, func(b *systemd.Units) (err error) { s, err = b.Settings(ctx, unit); return err })
	return deploy.UnitView{
		Directory: s.WorkingDirectory, Root: s.RootDirectory, Commands: s.Commands, Environment: s.Environment, Outdated: s.Outdated,
	}, err
}

// tailLines is how much of a unit's journal is shown of a slot that is not healthy.
const tailLines = 20

func (u deployUnits) Life(ctx context.Context, unit string) (deploy.Life, error) {
	s, err := u.state(ctx, unit)
	return deploy.Life{Up: s.Runs() && s.ActiveState != "deactivating", Run: s.InvocationID, Restarts: s.NRestarts}, err
}

// Tail is nothing where the journal cannot be read: what failed is told anyway.
func (u deployUnits) Tail(ctx context.Context, unit, run string) (lines []string) {
	s, err := u.state(ctx, unit)
	if err != nil {
		return nil
	}
	if run != "" {
		s.InvocationID = run
	}
	_ = u.bus.again(ctx, func(b *systemd.Units) (err error) { lines, err = b.Tail(ctx, s, tailLines); return err })
	return lines
}

// Exited is nil where systemd stops telling: a bus that restarts is no unit that
// ends.
func (u deployUnits) Exited(ctx context.Context, unit string) error {
	return exitOf(u.bus.again(ctx, func(b *systemd.Units) error { return b.AwaitExit(ctx, unit) }))
}

func exitOf(err error) error {
	var ended *systemd.UnitError
	if !errors.As(err, &ended) {
		return nil
	}
	return withOutput(err)
}

// Enable waits for a reconcile that has looked before the deploy began: what it
// disables is enabled again here.
func (u deployUnits) Enable(ctx context.Context, enabled, disabled []string) error {
	defer lockUnits(ctx, reconcile.LockDir, u.say)()
	given := func(units []string) []string {
		return slices.DeleteFunc(slices.Clone(units), func(s string) bool { return s == "" })
	}
	var all []error
	if units := given(enabled); len(units) > 0 {
		all = append(all, u.bus.again(ctx, func(b *systemd.Units) error { return b.Enable(ctx, units...) }))
	}
	if units := given(disabled); len(units) > 0 {
		all = append(all, u.bus.again(ctx, func(b *systemd.Units) error { return b.Disable(ctx, units...) }))
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

// Serving leaves out a process that has ended meanwhile.
func (u deployUnits) Serving(address string) (all []deploy.Process, err error) {
	listeners, err := systemd.ListenersOf(address)
	for _, l := range listeners {
		dir, err := l.Directory()
		if err != nil {
			continue
		}
		if args, err := l.Arguments(); err == nil {
			all = append(all, deploy.Process{Directory: dir, Arguments: args})
		}
	}
	return all, err
}

// build runs one command of a build in a unit of its own.
func (u deployUnits) build(ctx context.Context, c deploy.Command) error {
	return withOutput(u.bus.once(ctx, func(b *systemd.Units) error { return b.Run(ctx, buildCommand(c)) }))
}

func buildCommand(c deploy.Command) systemd.Command {
	return systemd.Command{
		Unit: c.Unit, Description: c.Description, Argv: []string{"/bin/sh", "-c", c.Line}, Dir: c.Dir, User: c.User,
		Environment: c.Environment, Output: c.Output, Timeout: c.Timeout, MemoryMax: c.MemoryMax,
		CPUWeight: c.CPUWeight, IOWeight: c.IOWeight, TasksMax: c.TasksMax, ReadWritePaths: c.Writes, Private: true,
	}
}
