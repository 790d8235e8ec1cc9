package main

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"

	"charactier-proxy/cmd/internal/doctor"
	"charactier-proxy/systemd"
)

// doctorSources are this machine; done lets go of it.
func (e *env) doctorSources(ctx context.Context, deep bool) (_ doctor.Sources, done func()) {
	p := e.paths()
	s := doctor.Sources{
		Now: e.now(), UID: e.uid, PID: e.pid, Deep: deep,
		Config: p.Config, ConfigNamed: p.ConfigNamed, StateDir: p.StateDir, Socket: p.Socket,
		Daemon: e.client(), Processes: localProcesses{}, Machine: doctor.Local{},
	}
	units, err := systemd.ConnectUnits(ctx)
	if err != nil {
		s.UnitsErr = err
		return s, func() {}
	}
	s.Units = localUnits{units}
	// Whatever was asked has been answered.
	return s, func() { _ = units.Close() }
}

// localUnits joins what systemd says of a unit.
type localUnits struct{ units *systemd.Units }

// journalLines is how many lines of an ill unit's journal are told.
const journalLines = 3

func (l localUnits) Unit(ctx context.Context, name string) (doctor.Unit, error) {
	state, err := l.units.State(ctx, name)
	if err != nil {
		return doctor.Unit{}, err
	}
	settings, err := l.units.Settings(ctx, name)
	if err != nil {
		return doctor.Unit{}, err
	}
	u := doctor.Unit{
		Name: name, Load: state.LoadState, Active: state.ActiveState, Sub: state.SubState, Result: state.Result, Enabled: state.UnitFileState,
		Restarts: state.NRestarts, ExitCode: state.ExecMainCode, Status: state.ExecMainStatus, PID: state.MainPID, Since: state.ActiveSince,
		Environment: settings.Environment, Directory: settings.WorkingDirectory, Root: settings.RootDirectory, Commands: settings.Commands, StopTimeout: settings.StopTimeout,
	}
	for _, file := range settings.EnvironmentFiles {
		u.Variables = append(u.Variables, doctor.ReadEnvironment(file.Path, name, file.Optional)...)
	}
	if state.FragmentPath != "" {
		u.Files = doctor.ReadTexts(name, slices.Concat([]string{state.FragmentPath}, settings.DropIns)...)
	}
	if state.ActiveState == "failed" || state.SubState == "auto-restart" {
		// It is an addition: without it the finding stands.
		u.Journal, _ = l.units.Tail(ctx, state, journalLines)
	}
	return u, nil
}

// localProcesses asks the kernel.
type localProcesses struct{}

func (localProcesses) Owner(address string) doctor.Owner {
	listener, err := systemd.ListenerOf(address)
	var shared *systemd.SharedError
	switch {
	case errors.Is(err, systemd.ErrNoListener):
		return doctor.Owner{Nobody: true}
	case errors.As(err, &shared):
		return doctor.Owner{Process: process(shared.Listeners[0]), Shared: shared.Error()}
	case err != nil:
		return doctor.Owner{Err: err}
	}
	return doctor.Owner{Process: process(listener)}
}

func (localProcesses) Peers(address string) ([]doctor.Process, error) {
	if strings.HasPrefix(address, "unix:") {
		return nil, errors.New("it is a unix socket")
	}
	listeners, err := systemd.PeersOf(address)
	var all []doctor.Process
	for _, l := range listeners {
		all = append(all, process(l))
	}
	return all, err
}

// process keeps the program's name only: arguments may be secrets, and are
// long.
func process(l systemd.Listener) doctor.Process {
	program, _, _ := strings.Cut(l.Command, " ")
	return doctor.Process{PID: l.PID, Command: strings.Trim(filepath.Base(program), "[]:"), Unit: l.Unit}
}
