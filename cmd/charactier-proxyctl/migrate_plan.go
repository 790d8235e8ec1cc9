package main

import (
	"context"
	"fmt"
	"slices"

	"charactier-proxy/cmd/internal/nginx"
	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
)

// change is what becomes of one upstream.
type change struct {
	place
	server string // the address that it names afterwards
	edits  []nginx.Edit
}

// planMigrate refuses what cannot be done safely, and else returns what must
// change; nothing, if all of it leads to the daemon already.
func (m *migration) planMigrate(ctx context.Context, places []place) ([]change, error) {
	var changes []change
	for _, p := range places {
		slot, err := p.slot(m.ours(p.service))
		if err != nil {
			return nil, err
		}
		m.list(p, m.ours(p.service))
		if slot == "" && len(p.upstream.Servers) == 1 {
			continue
		}
		if err := m.checkPlace(ctx, p, slot); err != nil {
			return nil, err
		}
		changes = append(changes, change{p, m.ours(p.service), p.upstream.PointTo(m.ours(p.service), true)})
	}
	return changes, nil
}

// slot is the one that an upstream leads to; empty if that is the daemon.
func (p place) slot(ours string) (switcher.Slot, error) {
	at := fmt.Sprintf("%s:%d: upstream %s", p.file.path, p.upstream.Line(), p.upstream.Name)
	for _, server := range p.upstream.Servers {
		if slotAt(p.service, server.Address) == "" && !listensAt(p.service, server.Address) {
			return "", refusef("take it out, or give it an upstream of its own",
				"%s also names %s, which is neither a slot of %s nor the daemon", at, server.Address, p.service.Name)
		}
	}
	var found []switcher.Slot
	for _, server := range p.upstream.Serving() {
		if slot := slotAt(p.service, server.Address); !slices.Contains(found, slot) {
			found = append(found, slot)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case slices.Contains(found, ""):
		return "", refusef("comment out the servers of the slots, or "+ours, "%s sends requests both to the daemon and past it", at)
	}
	return "", refusef("comment out the server of the slot that should get none, reload nginx, then run this again",
		"%s sends requests to both slots of %s at once", at, p.service.Name)
}

// checkPlace says why an upstream must not be pointed at the daemon as things
// are.
func (m *migration) checkPlace(ctx context.Context, p place, slot switcher.Slot) error {
	s := p.service
	cfg := m.serviceConfig(ctx, s)
	if keep := p.upstream.Keepalive(); keep >= cfg.idle {
		m.warn("%s:%d: nginx keeps idle connections for %s, but the daemon closes them after %s: server.idle_timeout must be longer",
			p.file.path, p.upstream.Line(), keep, cfg.idle)
	}
	switch {
	case s.Held != nil:
		return refusef(m.self()+" release-hold --service "+s.Name, "%s is held: its requests would wait", s.Name)
	case slot != "" && slot != s.Active && m.f.adopt:
		m.notef("nginx sends %s to %s, the daemon to %s: the daemon has to be switched first", clean(s.Name), slot, s.Active)
		return m.adopt(p, slot)
	case slot != "" && slot != s.Active:
		return migrateError{
			error: fmt.Errorf("nginx sends %s to %s, but the daemon would send it to %s", s.Name, slot, s.Active),
			code:  "refused", exit: control.ExitFailed,
			hint:    lines(fmt.Sprintf("%s switch %s --service %s", m.self(), slot, s.Name), "sudo "+m.self()+" migrate --adopt  # does that too"),
			traffic: fmt.Sprintf("%s stays on %s", s.Name, slot),
		}
	}
	return m.checkListener(ctx, s)
}

// adopt notes that the daemon is to be switched before nginx sends it
// anything. Two upstreams of one service must agree.
func (m *migration) adopt(p place, slot switcher.Slot) error {
	for _, a := range m.adoptions {
		if a.service.Name == p.service.Name {
			return nil // both say the slot that is not active, and there are only two
		}
	}
	m.adoptions = append(m.adoptions, adoption{p.service, slot})
	return nil
}

// adoption is a service whose daemon must follow nginx.
type adoption struct {
	service control.ServiceStatus
	slot    switcher.Slot
}

// follow switches the daemon to the slots that nginx uses.
func (m *migration) follow(ctx context.Context) error {
	for _, a := range m.adoptions {
		w := m.wish(switcher.KindSwitch)
		r, err := m.client().Switch(ctx, control.SwitchRequest{
			To: a.slot, Services: []string{a.service.Name}, Reason: "migrate: nginx uses " + string(a.slot), Drain: -1,
		})
		if _, err = m.learn(ctx, w, r, err); err != nil {
			return err
		}
		if err := m.checkListener(ctx, a.service); err != nil {
			return err
		}
	}
	return nil
}

// list adds an upstream to the result.
func (m *migration) list(p place, server string) {
	m.result.Upstreams = append(m.result.Upstreams, migratedPlace{p.service.Name, p.upstream.Name, p.file.path, p.upstream.Line(), server})
}

// changed are the files that changes are about, with their new contents.
func changed(changes []change) []edited {
	var list []edited
	for _, c := range changes {
		i := slices.IndexFunc(list, func(e edited) bool { return e.file == c.file })
		if i < 0 {
			i = len(list)
			list = append(list, edited{file: c.file})
		}
		list[i].edits = append(list[i].edits, c.edits...)
	}
	for i := range list {
		list[i].after = nginx.Apply(list[i].file.src, list[i].edits)
	}
	return list
}

// edited is a file and what it is to hold.
type edited struct {
	file  *nginxFile
	edits []nginx.Edit
	after []byte
}
