package switcher

import (
	"context"
	"maps"
	"slices"
	"strings"
)

// Reconfigure takes on another set of services and has apply tell the data
// path, under the same lock as a switch, so that the two never overlap (S4).
// active names the slot of each of the services, held those that are held. A
// service that is new starts on its initial slot, or on what the state
// remembers of it; that is saved before apply is called. If apply fails, the
// state and the services are what they were, and its error is returned.
// [Switcher.AwaitIdle] tells when to try again after [ErrBusy].
func (s *Switcher) Reconfigure(ctx context.Context, by Actor, services []ServiceConfig, apply func(active map[string]Slot, held map[string]bool) error) error {
	wanted, err := byName(services)
	if err != nil {
		return err
	}
	op, ctx, err := s.begin(ctx, KindReconfigure, Request{Actor: by})
	if err != nil {
		return err
	}
	op.services = nil
	err = op.finish(s.reconfigure(ctx, op, wanted, apply))
	s.enter(op)
	s.leave(op)
	return err
}

func (s *Switcher) reconfigure(ctx context.Context, op *operation, wanted map[string]ServiceConfig, apply func(map[string]Slot, map[string]bool) error) error {
	if err := s.commit(ctx, op); err != nil {
		return err
	}
	s.mu.Lock()
	had := s.services
	s.mu.Unlock()
	op.record.Services = slices.Sorted(maps.Keys(wanted))
	op.record.Reason = sentence(difference("added", wanted, had), difference("removed", had, wanted))
	old := s.State()
	next := s.next(old)
	added := planServices(next, slices.Collect(maps.Values(wanted)), op.Started)
	if len(added) > 0 {
		if err := s.settle(op, next); err != nil {
			return s.withdraw(old, op, err)
		}
	}
	s.step(op, StepApplying)
	if err := apply(routing(next, wanted)); err != nil {
		if len(added) > 0 {
			return s.withdraw(old, op, err)
		}
		return err
	}
	s.mu.Lock()
	s.services = wanted
	s.mu.Unlock()
	return nil
}

// difference is "added a, b": what is in one set and not in the other.
func difference(word string, in, notIn map[string]ServiceConfig) string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(in)) {
		if _, ok := notIn[name]; !ok {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return word + " " + strings.Join(names, ", ")
}
