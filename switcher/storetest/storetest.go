// Package storetest is what every [switcher.Store] has to keep, as a test that
// its implementations run.
package storetest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"charactier-proxy/switcher"
)

// Open returns the store of one place; called again, it opens what is there
// already, as after a restart.
type Open func(t *testing.T) switcher.Store

// Run tests the stores of new places, one for each call of fresh.
func Run(t *testing.T, fresh func(t *testing.T) Open) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { c.test(t, fresh(t)) })
	}
}

var cases = []struct {
	name string
	test func(*testing.T, Open)
}{
	{"a new place has generation zero", func(t *testing.T, open Open) {
		want(t, open(t), switcher.State{})
	}},
	{"what was saved is loaded", func(t *testing.T, open Open) {
		s := open(t)
		save(t, s, Sample(1))
		want(t, s, Sample(1))
	}},
	{"what was saved last is loaded after a restart", func(t *testing.T, open Open) {
		s := open(t)
		for generation := range uint64(5) {
			save(t, s, Sample(generation+1))
		}
		want(t, open(t), Sample(5))
	}},
	{"an intent is kept and taken back", func(t *testing.T, open Open) {
		s, with := open(t), Sample(2)
		with.Intent = &switcher.Record{ID: "0000-0000-001", Kind: switcher.KindSwitch, Started: at(2),
			Moves: []switcher.Move{{Service: "backend", From: switcher.Blue, To: switcher.Green}}}
		save(t, s, Sample(1))
		save(t, s, with)
		want(t, open(t), with)
		s = open(t)
		save(t, s, Sample(3))
		want(t, open(t), Sample(3))
	}},
	{"a note is not saved", func(t *testing.T, open Open) {
		s, noted := open(t), Sample(1)
		noted.Note = "only for now"
		save(t, s, noted)
		want(t, open(t), Sample(1))
	}},
	{"a loaded state is the caller's own", func(t *testing.T, open Open) {
		s := open(t)
		save(t, s, Sample(1))
		st, _ := s.Load()
		st.Services["backend"] = switcher.ServiceState{Active: switcher.Green}
		st.Last.Moves[0].To = switcher.Blue
		want(t, s, Sample(1))
	}},
	{"a saved state is the store's own", func(t *testing.T, open Open) {
		s, st := open(t), Sample(1)
		save(t, s, st)
		st.Services["backend"] = switcher.ServiceState{Active: switcher.Green}
		st.Last.Moves[0].To = switcher.Blue
		want(t, s, Sample(1))
	}},
}

// Sample is a state that uses every field.
func Sample(generation uint64) switcher.State {
	actor := switcher.Actor{UID: 1000, User: "deploy", PID: 4711, Command: "charactier-proxyctl switch <green> & wait"}
	return switcher.State{
		Generation: generation,
		Services: map[string]switcher.ServiceState{
			"backend": {Active: switcher.Blue, Previous: switcher.Green, Since: at(generation), Generation: generation, RolledBack: true,
				PreviousRelease: "20260304-abc", BadReleases: []switcher.BadRelease{{Release: "20260304-abc", Since: at(2), Reason: "5 % failed"}},
				Bake: &switcher.Bake{
					ID: "1mh3-k2d8-7fp", Plan: switcher.BakePlan{Time: time.Minute, MinRequests: 50, Errors: 1, Slowdown: 100, Slack: time.Second, Return: true},
					Baseline:   switcher.Baseline{Slot: switcher.Green, Over: time.Hour, Requests: 9, Failed: 1, Timed: 8, P95: 3, P95Most: 4},
					Seen:       switcher.BakeSeen{Requests: switcher.BakeTally{Samples: 9, Bad: 2, Stretches: 3, BadStretches: 1, All: 8, Failed: 1.5, Squares: 0.25}},
					BakeResult: switcher.BakeResult{Verdict: switcher.BakeFailed, Text: "5 % failed", Since: at(1), Until: at(2), Returned: "1mh3-k2d8-7fq"},
				}},
			"frontend": {Active: switcher.Green, Since: at(0),
				Held: &switcher.Held{Since: at(1), Reason: "データ移行 \u2028", Actor: actor}},
		},
		Last: &switcher.Record{
			ID: "1mh3-k2d8-7fq", Kind: switcher.KindRollback, Outcome: switcher.Done, Actor: actor,
			Moves: []switcher.Move{{Service: "backend", From: switcher.Green, To: switcher.Blue}}, Forced: true,
			Started: at(generation), Probing: time.Millisecond, Swap: time.Microsecond, Took: time.Second, Generation: generation,
		},
	}
}

func at(generation uint64) time.Time {
	return time.Date(2026, 3, 4, 5, 6, 7, 891011, time.UTC).Add(time.Duration(generation) * time.Hour)
}

func save(t *testing.T, s switcher.Store, st switcher.State) {
	t.Helper()
	if err := s.Save(st); err != nil {
		t.Fatalf("saving generation %d: %v", st.Generation, err)
	}
}

func want(t *testing.T, s switcher.Store, want switcher.State) {
	t.Helper()
	got, err := s.Load()
	if err != nil {
		t.Fatalf("loading: %v", err)
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("loaded state (-want +got):\n%s", diff)
	}
}
