package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.uber.org/zap"

	"charactier-proxy/switcher"
)

// conclude saves how bakes of one switch ended, or returns the traffic.
func (b *bakes) conclude(ctx context.Context, id string, results map[string]switcher.BakeResult) {
	state := b.switcher.State()
	cause := causeOfReturn(state, results)
	if cause != "" {
		if b.returnAll(ctx, state, id, cause, results) {
			return
		}
		results = together(state, id, cause, results)
	}
	if err := b.switcher.EndBake(ctx, id, results); err != nil && ctx.Err() == nil {
		b.log.Warn("ending a bake", zap.String("op", id), zap.Error(err))
	}
}

// causeOfReturn is the service whose bake sends the traffic back; empty if none
// does.
func causeOfReturn(st switcher.State, results map[string]switcher.BakeResult) string {
	for _, name := range slices.Sorted(maps.Keys(results)) {
		bake := st.Services[name].Bake
		if v := results[name].Verdict; v == switcher.BakeFailed || v == switcher.Inconclusive && bake != nil && bake.Plan.Return {
			return name
		}
	}
	return ""
}

// together are the results of all services of a switch when one of them sends
// the traffic of all back.
func together(st switcher.State, id, cause string, results map[string]switcher.BakeResult) map[string]switcher.BakeResult {
	all := maps.Clone(results)
	for name, svc := range bakingNow(st) {
		if _, ended := all[name]; !ended && svc.Bake.ID == id {
			r := svc.Bake.BakeResult
			r.Verdict, r.Text = results[cause].Verdict, "together with "+cause
			all[name] = r
		}
	}
	return all
}

// returnAll returns the traffic of a switch and reports whether that is done or
// nothing is left to do.
func (b *bakes) returnAll(ctx context.Context, st switcher.State, id, cause string, results map[string]switcher.BakeResult) (done bool) {
	from := st.Services[cause].Active
	found := fmt.Sprintf("%s %s: bake %s: %s", cause, from, results[cause].Verdict, results[cause].Text)
	b.tell(id, place{cause, from}, found+"; returning the traffic to "+string(from.Other()))
	rec, _, err := b.switcher.Return(ctx, id, switcher.Request{Actor: b.actor, Reason: found, Wait: returnWait}, together(st, id, cause, results))
	switch {
	case err == nil:
		b.log.Warn("the traffic was returned", zap.String("why", found), zap.String("switch", id), zap.String("op", rec.ID), zap.Any("moves", rec.Moves))
		return true
	case ctx.Err() != nil:
		return true // the bake goes on after the restart
	case errors.Is(err, switcher.ErrNothingToRollBack):
		return false // somebody moved it meanwhile
	}
	b.tell(id, place{cause, from}, fmt.Sprintf("%s; the traffic stays on %s, it could not be returned: %v", found, from, err))
	b.log.Error("the traffic could not be returned", zap.String("why", found), zap.String("switch", id), zap.Error(err))
	return false
}

func (b *bakes) tell(id string, p place, text string) {
	b.events.Publish(switcher.Event{Kind: "bake", Op: id, Service: p.service, Slot: p.slot, Level: switcher.LevelError, Text: text})
}

// bakeWarning says what to do about a bake whose traffic could not be returned.
func bakeWarning(service string, s switcher.ServiceState) []string {
	b := s.Bake
	if b == nil || b.Returned != "" || b.Verdict != switcher.BakeFailed && !(b.Verdict == switcher.Inconclusive && b.Plan.Return) {
		return nil
	}
	return []string{fmt.Sprintf("%s: the bake of %s ended as %s and the traffic could not be returned to %s (%s): see what is wrong with %s, then charactier-proxyctl rollback --service %s",
		service, s.Active, b.Verdict, s.Previous, strings.TrimSuffix(b.Text, "."), s.Previous, service)}
}
