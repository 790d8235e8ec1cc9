package switcher

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// planner works out what an operation has to move. No moves and no error: all
// is as wanted.
type planner func(State, *operation) ([]Move, error)

// planSwitch moves the services to the wanted slot, or each to its other one.
func planSwitch(st State, op *operation) ([]Move, error) {
	var moves []Move
	for _, name := range op.services {
		from, to := st.Services[name].Active, op.to
		if to == "" {
			to = from.Other()
		}
		if from != to {
			moves = append(moves, Move{Service: name, From: from, To: to})
		}
	}
	return moves, nil
}

// withReleases names what the slots of the moves run.
func (s *Switcher) withReleases(moves []Move) []Move {
	if s.opts.ReleaseOf == nil {
		return moves
	}
	for i := range moves {
		m := &moves[i]
		m.FromRelease, m.ToRelease = s.opts.ReleaseOf(m.Service, m.From), s.opts.ReleaseOf(m.Service, m.To)
	}
	return moves
}

// misgivings warn of a switch to what was rolled back from.
func (s State) misgivings(op *operation) string {
	var texts []string
	for _, m := range op.record.Moves {
		if op.Kind != KindRollback {
			texts = append(texts, s.Services[m.Service].badness(m.ToRelease))
		}
	}
	return sentence(texts...)
}

// rollbackOf returns the named services to their previous slots; without names,
// those that moved in the newest switch.
func rollbackOf(named []string) planner {
	return func(st State, op *operation) ([]Move, error) {
		if len(named) == 0 {
			op.services = newest(st, op.services)
		}
		if len(op.services) == 0 {
			return nil, fmt.Errorf("%w: no service was ever switched", ErrNothingToRollBack)
		}
		var moves []Move
		for _, name := range op.services {
			svc := st.Services[name]
			if err := svc.mayRollBack(name, op.force); err != nil {
				return nil, err
			}
			moves = append(moves, Move{Service: name, From: svc.Active, To: svc.Previous})
		}
		return moves, nil
	}
}

// newest keeps those of the services that moved in the newest switch.
func newest(st State, services []string) []string {
	var names []string
	var generation uint64
	for _, name := range services {
		svc := st.Services[name]
		if svc.Previous == "" || svc.Generation < generation {
			continue
		}
		if svc.Generation > generation {
			names, generation = nil, svc.Generation
		}
		names = append(names, name)
	}
	return names
}

func (s ServiceState) mayRollBack(name string, force bool) error {
	switch {
	case s.Previous == "":
		return fmt.Errorf("%w: %s was never switched and is on %s", ErrNothingToRollBack, name, s.Active)
	case s.RolledBack && !force:
		return fmt.Errorf("%w: %s was rolled back from %s at %s; `charactier-proxyctl switch %s --service %s` goes there anyway",
			ErrNothingToRollBack, name, s.Previous, s.Since.Format(time.RFC3339), s.Previous, name)
	}
	return nil
}

// planHold chooses the services whose hold is not yet as wanted.
func planHold(st State, services []string, held bool) []string {
	var names []string
	for _, name := range services {
		if (st.Services[name].Held != nil) != held {
			names = append(names, name)
		}
	}
	return names
}

// planServices adds the services that the state does not know, on their
// initial slot, and returns their names.
func planServices(st State, services []ServiceConfig, at time.Time) []string {
	var added []string
	for _, c := range services {
		if _, known := st.Services[c.Name]; known {
			continue
		}
		st.Services[c.Name] = ServiceState{Active: c.Initial, Since: at, Generation: st.Generation}
		added = append(added, c.Name)
	}
	slices.Sort(added)
	return added
}

// sentence joins clauses and drops the empty ones.
func sentence(clauses ...string) string {
	var kept []string
	for _, c := range clauses {
		if c != "" {
			kept = append(kept, c)
		}
	}
	return strings.Join(kept, "; ")
}
