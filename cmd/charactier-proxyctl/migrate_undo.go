package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"charactier-proxy/cmd/internal/nginx"
	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
)

// planUndo puts back what stood in the place of the daemon, naming the slot
// that is active now. It looks at blocks, not at files: what somebody changed
// beside them stays.
func (m *migration) planUndo(ctx context.Context, places []place) ([]change, error) {
	records, err := m.store.records()
	if err != nil {
		return nil, err
	}
	var changes []change
	for _, p := range places {
		if !slices.ContainsFunc(p.upstream.Serving(), func(s nginx.Server) bool { return listensAt(p.service, s.Address) }) {
			m.list(p, addressOf(p.service, p.service.Active))
			continue
		}
		active := nginx.Reachable(addressOf(p.service, p.service.Active))
		if err := m.checkSlot(ctx, p.service); err != nil {
			return nil, err
		}
		block, err := m.former(p, records)
		if err != nil {
			return nil, err
		}
		start, end := p.upstream.Span()
		m.list(p, active)
		changes = append(changes, change{p, active, []nginx.Edit{{Start: start, End: end, Text: block}}})
	}
	return changes, nil
}

// former is the block that an upstream had before, with the active slot.
func (m *migration) former(p place, records []migrationRecord) (string, error) {
	saved := findBlock(records, p)
	if saved == nil {
		m.notef("there is no backup of upstream %s in %s: only its server changes", clean(p.upstream.Name), p.file.path)
		return naming(p.upstream.Text(), p.service)
	}
	if now := p.upstream.Text(); now != saved.After {
		if !m.f.force {
			m.printDiff(unifiedDiff(p.file.path+" as it was left", p.file.path, saved.After, now))
			return "", refusef("--undo --force puts back what stood there before",
				"%s:%d: somebody changed upstream %s since", p.file.path, p.upstream.Line(), p.upstream.Name)
		}
		m.warn("what somebody changed in upstream %s since goes away; a backup of the file is kept", p.upstream.Name)
	}
	block, err := naming(saved.Before, p.service)
	if err != nil {
		return "", fmt.Errorf("reading the backup of upstream %s of %s: %w", p.upstream.Name, p.file.path, err)
	}
	return block, nil
}

// naming is a block that leads to the active slot of a service: as it is, or
// with the slots exchanged, or if it knows neither with its server replaced.
func naming(block string, s control.ServiceStatus) (string, error) {
	for _, edit := range []func(nginx.Upstream) []nginx.Edit{
		func(nginx.Upstream) []nginx.Edit { return nil },
		func(u nginx.Upstream) []nginx.Edit {
			return u.Exchange(addressOf(s, switcher.Blue), addressOf(s, switcher.Green))
		},
		func(u nginx.Upstream) []nginx.Edit { return u.PointTo(nginx.Reachable(addressOf(s, s.Active)), false) },
	} {
		u, err := only(block)
		if err != nil {
			return "", err
		}
		text := string(nginx.Apply([]byte(block), edit(u)))
		u, err = only(text)
		if err != nil {
			return "", err
		}
		if serving := u.Serving(); len(serving) == 1 && slotAt(s, serving[0].Address) == s.Active {
			return text, nil
		}
	}
	return "", errors.New("no server in it serves")
}

// only is the upstream that a block is.
func only(block string) (nginx.Upstream, error) {
	conf, err := nginx.Parse([]byte(block))
	if err != nil {
		return nginx.Upstream{}, err
	}
	if upstreams := conf.Upstreams(); len(upstreams) == 1 {
		return upstreams[0], nil
	}
	return nginx.Upstream{}, errors.New("it is no upstream")
}

// findBlock is the newest record of what was changed into the place's block.
func findBlock(records []migrationRecord, p place) *recordedBlock {
	for _, r := range records {
		for i, b := range r.Blocks {
			if r.Kind == kindMigrate && b.Service == p.service.Name && b.File == p.file.real && b.Upstream == p.upstream.Name {
				return &r.Blocks[i]
			}
		}
	}
	return nil
}

// checkUndone warns if the daemon was switched while nginx was pointed at a
// slot. Without the daemon nobody could.
func (m *migration) checkUndone(ctx context.Context, changes []change) {
	status, err := m.client().Status(ctx)
	if err != nil {
		return
	}
	for _, now := range status.Services {
		for _, c := range changes {
			if now.Name == c.service.Name && now.Active != c.service.Active {
				m.warn("the daemon was switched to %s meanwhile, and nginx sends %s to %s: migrate, then migrate --undo again",
					now.Active, now.Name, c.service.Active)
			}
		}
	}
}
