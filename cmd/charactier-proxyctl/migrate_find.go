package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"charactier-proxy/cmd/internal/config"
	"charactier-proxy/cmd/internal/nginx"
	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
)

// nginxFile is one that nginx reads.
type nginxFile struct {
	path string // as nginx names it
	real string // behind all links: what is replaced
	src  []byte
	conf *nginx.Config
}

// place is an upstream that leads to a service.
type place struct {
	service  control.ServiceStatus
	file     *nginxFile
	upstream nginx.Upstream
}

// read asks nginx which files it reads, and reads them. nginx must like them as
// they are; if an earlier run died before it put back what nginx does not
// like, that is done first.
func (m *migration) read(ctx context.Context) ([]*nginxFile, error) {
	names, err := m.program.Files(ctx)
	var refusal *nginx.Refusal
	if errors.As(err, &refusal) && !m.f.dryRun && m.recover() {
		names, err = m.program.Files(ctx)
	}
	switch {
	case errors.As(err, &refusal):
		hint := m.program.Command("-t")
		if m.uid != 0 {
			hint = "sudo " + m.self() + " migrate"
		}
		return nil, migrateError{
			error: fmt.Errorf("nginx does not take its configuration as it stands, so nothing was changed: %w", err),
			code:  "nginx-refuses", exit: control.ExitFailed, hint: hint,
		}
	case err != nil:
		return nil, err
	}
	var files []*nginxFile
	for _, name := range names {
		file, err := readNginxFile(name)
		switch {
		case errors.Is(err, os.ErrNotExist): // a comment that looked like a file's heading
		case err != nil:
			m.warn("%s was not looked at: %v", name, err)
		case !slices.ContainsFunc(files, func(f *nginxFile) bool { return f.real == file.real }):
			files = append(files, file)
		}
	}
	return files, nil
}

func readNginxFile(path string) (*nginxFile, error) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, err
	}
	src, err := os.ReadFile(real)
	if err != nil {
		return nil, err
	}
	conf, err := nginx.Parse(src)
	if err != nil {
		return nil, err
	}
	return &nginxFile{path, real, src, conf}, nil
}

// services are those that the command line is about. Only to undo, the state
// file will do where the daemon does not answer.
func (m *migration) services(ctx context.Context) ([]control.ServiceStatus, error) {
	status, err := ask(m.env, func() (control.Status, error) { return m.client().Status(ctx) })
	if errors.Is(err, control.ErrUnreachable) && m.f.undo {
		m.notef("%s", clean(err.Error()))
		status, err = m.offline()
	}
	if err == nil && !m.f.dryRun && !m.f.sites {
		err = m.idle(status)
	}
	if err != nil {
		return nil, err
	}
	return chosen(status.Services, m.f.services)
}

// idle is an error while something may switch: where nginx sends requests and
// which slot is active must not change at once.
func (m *migration) idle(status control.Status) error {
	for _, op := range []*switcher.Operation{status.Reservation, status.Operation} {
		if op != nil {
			return migrateError{
				error: fmt.Errorf("%w: %s", switcher.ErrBusy, op.Kind), code: "busy", exit: control.ExitBusy,
				hint: m.self() + " status shows it", traffic: "nginx does as before",
			}
		}
	}
	return nil
}

// offline is what the configuration and the state file say.
func (m *migration) offline() (control.Status, error) {
	dir := m.paths().StateDir
	state, err := switcher.ReadState(dir)
	if err != nil {
		return control.Status{}, fmt.Errorf("reading the state in %s: %w", dir, err)
	}
	cfg := m.config(m.paths().Config)
	var status control.Status
	for name, s := range cfg.Services {
		active := s.Initial
		if known, ok := state.Services[name]; ok {
			active = known.Active
		}
		m.notef("the state in %s says that %s is on %s", dir, clean(name), active)
		status.Services = append(status.Services, control.ServiceStatus{
			Name: name, Listen: s.Listen, Active: active, Slots: []control.SlotStatus{
				{Name: switcher.Blue, Address: s.Slots[string(switcher.Blue)].Address},
				{Name: switcher.Green, Address: s.Slots[string(switcher.Green)].Address},
			},
		})
	}
	slices.SortFunc(status.Services, func(a, b control.ServiceStatus) int { return strings.Compare(a.Name, b.Name) })
	return status, nil
}

// config is the daemon's configuration, or the built-in one where that cannot
// be read.
func (m *migration) config(file string) *config.Config {
	loaded, err := config.Load(file)
	if err != nil {
		if !errors.Is(err, os.ErrNotExist) {
			m.warn("the built-in configuration is assumed: %v", err)
		}
		return config.Default()
	}
	return loaded
}

// find returns the upstreams of the services, in the order of nginx's files.
func (m *migration) find(files []*nginxFile, services []control.ServiceStatus) ([]place, error) {
	files, err := m.within(files)
	if err != nil {
		return nil, err
	}
	var places []place
	for _, file := range files {
		for _, u := range file.conf.Upstreams() {
			switch of := servicesOf(u, services); len(of) {
			case 0:
			case 1:
				places = append(places, place{of[0], file, u})
			default:
				return nil, refusef("give each service an upstream of its own", "%s:%d: upstream %s leads to two services, %s and %s",
					file.path, u.Line(), u.Name, of[0].Name, of[1].Name)
			}
		}
	}
	return places, m.missing(files, services, places)
}

// within are the files that --upstream leaves.
func (m *migration) within(files []*nginxFile) ([]*nginxFile, error) {
	if m.f.upstream == "" {
		return files, nil
	}
	real, err := filepath.Abs(m.f.upstream)
	if err == nil {
		real, err = filepath.EvalSymlinks(real)
	}
	if err != nil {
		return nil, usagef("", "--upstream: %v", err)
	}
	for _, f := range files {
		if f.real == real {
			return []*nginxFile{f}, nil
		}
	}
	return nil, usagef(m.program.Command("-T")+" lists its files", "nginx does not read %s", m.f.upstream)
}

// missing says which service has no upstream, if that is a mistake.
func (m *migration) missing(files []*nginxFile, services []control.ServiceStatus, places []place) error {
	for _, s := range services {
		if slices.ContainsFunc(places, func(p place) bool { return p.service.Name == s.Name }) {
			continue
		}
		for _, f := range files {
			for _, server := range f.conf.LooseServers() {
				if slotAt(s, server.Address) != "" {
					return usagef("put the upstream and its servers into one file", "%s:%d: the server %s stands in a file without its upstream",
						f.path, server.Line, server.Address)
				}
			}
		}
		text := fmt.Sprintf("no upstream that nginx reads leads to %s: neither to %s nor to %s", s.Name, slotsText(s), m.ours(s))
		if len(places) == 0 || len(m.f.services) > 0 {
			return usagef("it needs one: upstream "+s.Name+" { server "+m.ours(s)+"; keepalive 32; }, used by proxy_pass http://"+s.Name, "%s", text)
		}
		m.warn("%s", text)
	}
	return nil
}

// servicesOf are the services that an upstream's servers belong to.
func servicesOf(u nginx.Upstream, services []control.ServiceStatus) []control.ServiceStatus {
	var of []control.ServiceStatus
	for _, s := range services {
		leads := func(server nginx.Server) bool {
			return !server.Down && (slotAt(s, server.Address) != "" || listensAt(s, server.Address))
		}
		if slices.ContainsFunc(u.Servers, leads) {
			of = append(of, s)
		}
	}
	return of
}

// slotAt is the slot of a service at an address; empty if none is.
func slotAt(s control.ServiceStatus, address string) switcher.Slot {
	for _, slot := range s.Slots {
		if nginx.SameAddress(slot.Address, address) {
			return slot.Name
		}
	}
	return ""
}

func listensAt(s control.ServiceStatus, address string) bool {
	return slices.ContainsFunc(s.Listen, func(l string) bool { return nginx.SameAddress(l, address) })
}

// addressOf is where a slot of a service answers.
func addressOf(s control.ServiceStatus, name switcher.Slot) string {
	for _, slot := range s.Slots {
		if slot.Name == name {
			return slot.Address
		}
	}
	return ""
}

func slotsText(s control.ServiceStatus) string {
	var parts []string
	for _, slot := range s.Slots {
		parts = append(parts, slot.Address)
	}
	return strings.Join(parts, " or ")
}

// ours is the service's first listener as nginx is to name it.
func (m *migration) ours(s control.ServiceStatus) string {
	if len(s.Listen) == 0 {
		return ""
	}
	return nginx.Reachable(s.Listen[0])
}

// bypasses tells of directives that send requests straight to a slot: those
// outside of upstreams, and upstreams that stay as they are.
func (m *migration) bypasses(files []*nginxFile, services []control.ServiceStatus, places []place) {
	tell := func(f *nginxFile, line int, text string, s control.ServiceStatus) {
		m.result.Bypasses = append(m.result.Bypasses, migratedBypass{f.path, line, text})
		if !m.f.undo {
			m.warn("%s:%d: %s goes past the daemon: use %s", f.path, line, text, m.ours(s))
		}
	}
	for _, f := range files {
		for _, s := range services {
			for _, pass := range f.conf.Passes() {
				if slotAt(s, pass.Address) != "" {
					tell(f, pass.Line, pass.Text, s)
				}
			}
			for _, u := range f.conf.Upstreams() {
				changed := func(p place) bool { return p.file == f && p.upstream.Line() == u.Line() }
				if slices.ContainsFunc(places, changed) {
					continue
				}
				for _, server := range u.Servers {
					if !server.Down && slotAt(s, server.Address) != "" {
						tell(f, server.Line, "upstream "+u.Name+": server "+server.Address, s)
					}
				}
			}
		}
	}
}

// warn is a warning, in the JSON too.
func (m *migration) warn(format string, args ...any) {
	text := clean(fmt.Sprintf(format, args...))
	m.result.Warnings = append(m.result.Warnings, text)
	m.warnf("%s", text)
}

// refusef is a migration that must not be done as things are.
func refusef(hint, format string, args ...any) error {
	return migrateError{error: fmt.Errorf(format, args...), code: "refused", hint: hint, exit: control.ExitFailed}
}
