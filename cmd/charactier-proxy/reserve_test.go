package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
)

func plainWorld(t *testing.T) *world {
	return newWorld(t, services(service("backend", freeAddress(t), namedSlot(t, "blue"), namedSlot(t, "green"))))
}

func (w *world) mustReserve() *control.Reservation {
	w.Helper()
	r, err := w.client.Reserve(w.Context(), control.ReserveRequest{
		Kind: switcher.KindDeploy, Reason: "release 42",
		Moves: []switcher.Move{{Service: "backend", From: switcher.Blue, To: switcher.Green}},
	})
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(r.Close)
	return r
}

func TestADeployKeepsOthersOutUntilItEnds(t *testing.T) {
	w := plainWorld(t)
	r := w.mustReserve()
	if err := r.Step(t.Context(), "build", "npm ci", ""); err != nil {
		t.Fatal(err)
	}
	if got := w.status().Reservation; got == nil || got.ID != r.ID || got.Step != "build" || got.Kind != switcher.KindDeploy {
		t.Errorf("the status says %+v", got)
	}
	_, err := w.client.Switch(t.Context(), control.SwitchRequest{})
	if !errors.Is(err, switcher.ErrBusy) || !strings.Contains(err.Error(), "deploy of backend to green "+r.ID) || !strings.Contains(err.Error(), "at step build") {
		t.Errorf("another's switch: %v", err)
	}
	moved, err := w.client.Switch(t.Context(), control.SwitchRequest{Within: r.ID})
	if err != nil {
		t.Fatal(err)
	}
	rec, err := r.End(t.Context(), switcher.Record{Outcome: switcher.Done, Moves: moved.Moves})
	if err != nil || rec.ID != r.ID || rec.Reason != "release 42" || rec.Took == 0 {
		t.Errorf("the end answered %+v, %v", rec, err)
	}
	if got := w.recordOf(r.ID); got.Outcome != switcher.Done || got.Kind != switcher.KindDeploy {
		t.Errorf("the history says %+v", got)
	}
	if _, err := w.client.Rollback(t.Context(), control.SwitchRequest{}); err != nil {
		t.Errorf("a rollback afterwards: %v", err)
	}
	if !w.told("deploy", "npm ci") {
		t.Error("the step's text is no event")
	}
}

// A command that dies leaves nobody locked out, from that moment on.
func TestADeployWhoseCommandDiesEndsAtOnce(t *testing.T) {
	w := plainWorld(t)
	ctx, die := context.WithCancel(t.Context())
	r, err := w.client.Reserve(ctx, control.ReserveRequest{Kind: switcher.KindDeploy})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Step(t.Context(), "fetch", "", ""); err != nil {
		t.Fatal(err)
	}
	die()
	<-r.Lost()
	await(t, "the reservation to end", func() bool { return w.status().Reservation == nil })
	if _, err := w.client.Switch(t.Context(), control.SwitchRequest{}); err != nil {
		t.Error(err)
	}
	if got := w.recordOf(r.ID); got.Outcome != switcher.Interrupted || got.Error != "the command ended during step fetch; backend is on blue" {
		t.Errorf("the history says %+v", got)
	}
}

func TestAnybodyMayAskADeployToStop(t *testing.T) {
	w := plainWorld(t)
	r := w.mustReserve()
	got, err := w.client.Abort(t.Context(), control.AbortRequest{})
	if want := (control.AbortResult{ID: r.ID, Kind: switcher.KindDeploy, Asked: true}); err != nil || got != want {
		t.Errorf("abort answered %+v, %v", got, err)
	}
	if by := <-r.Asked(); by != w.status().Reservation.Actor.String() {
		t.Errorf("asked by %q", by)
	}
	r.Close()
	await(t, "the reservation to end", func() bool { return w.status().Reservation == nil })
	if _, err := w.client.Abort(t.Context(), control.AbortRequest{}); !errors.Is(err, switcher.ErrNothingToAbort) {
		t.Errorf("abort afterwards: %v", err)
	}
}

func TestTheConfigurationIsTakenDuringADeploy(t *testing.T) {
	yaml := services(service("backend", freeAddress(t), namedSlot(t, "blue"), namedSlot(t, "green")))
	w := newWorld(t, yaml)
	w.mustReserve()
	if about := w.change(strings.Replace(yaml, "interval: 50ms", "interval: 60ms", 1)); about.Rejected != "" {
		t.Errorf("not taken: %s", about.Rejected)
	}
}

func TestADaemonThatStopsEndsTheReservation(t *testing.T) {
	w := plainWorld(t)
	r := w.mustReserve()
	if err := w.end(); err != nil {
		t.Fatal(err)
	}
	<-r.Lost()
	records, err := switcher.ReadHistory(w.daemon.paths.StateDir, 5)
	if err != nil {
		t.Fatal(err)
	}
	if len(records) != 1 || records[0].ID != r.ID || !strings.HasPrefix(records[0].Error, "the daemon was stopped during step planning") {
		t.Errorf("the history says %+v", records)
	}
	if err := r.Step(t.Context(), "build", "", ""); !errors.Is(err, control.ErrUnreachable) {
		t.Errorf("a step afterwards: %v", err)
	}
}

func TestTheBaselineBeginsWithTheActiveSlot(t *testing.T) {
	w := plainWorld(t)
	start := time.Now().Add(time.Hour) // beyond what was sampled really
	for i := range 600 {
		w.daemon.sampler.take(start.Add(time.Duration(i) * time.Second))
	}
	end := start.Add(599 * time.Second)
	for _, c := range []struct {
		name         string
		since        time.Time
		least, most  time.Duration // before the end
		isRemembered bool
	}{
		{"long ago", start.Add(-time.Hour), 4*time.Minute + 45*time.Second, 5 * time.Minute, true},
		{"two minutes ago", end.Add(-2 * time.Minute), 2*time.Minute - apart, 2 * time.Minute, true},
		{"five seconds ago", end.Add(-5 * time.Second), 5 * time.Second, 5 * time.Second, true},
		{"after all samples", end.Add(time.Second), 0, 0, false},
	} {
		_, at, ok := w.daemon.sampler.before("backend", "blue", c.since)
		if ok != c.isRemembered {
			t.Errorf("%s: remembered is %v", c.name, ok)
		}
		if ago := end.Sub(at); ok && (ago < c.least || ago > c.most) {
			t.Errorf("%s: the baseline begins %s before the end", c.name, ago)
		}
	}
	if n := len(w.daemon.sampler.coarse); n > int(past/apart)+2 {
		t.Errorf("%d coarse samples are kept", n)
	}
}

// Its ID is in the status for all who may look.
func TestAReservationIsOnlyOfUseToItsOwner(t *testing.T) {
	w := plainWorld(t)
	r := w.mustReserve()
	mine := w.status().Reservation.Actor
	stranger := switcher.Actor{UID: mine.UID + 1, PID: mine.PID}
	_, end := w.daemon.EndReservation(t.Context(), control.ReserveEnd{ID: r.ID, Record: switcher.Record{Outcome: switcher.Done}}, stranger)
	_, move := w.daemon.Switch(t.Context(), control.SwitchRequest{Within: r.ID}, stranger)
	step := w.daemon.StepReservation(t.Context(), control.ReserveStep{ID: r.ID, Step: "x"}, stranger)
	for what, err := range map[string]error{"end": end, "switch": move, "step": step} {
		if !errors.Is(err, control.ErrForbidden) {
			t.Errorf("%s by another user: %v, want forbidden", what, err)
		}
	}
	if _, err := r.End(t.Context(), switcher.Record{Outcome: switcher.Done}); err != nil {
		t.Errorf("its owner: %v", err)
	}
}
