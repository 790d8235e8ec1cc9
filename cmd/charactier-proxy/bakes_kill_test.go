package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
)

// A daemon that is killed during a bake goes on with it when it is back.
func TestABakeOutlivesTheDaemon(t *testing.T) {
	green := newSickSlot(t, 0)
	w := newKillWorldOf(t, 1, func(int) (string, string) { return namedSlot(t, "blue"), green.address })
	w.start("never")
	rec, err := w.client.Switch(t.Context(), control.SwitchRequest{Bake: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	w.awaitDeath()
	green.every.Store(2)
	w.start("never")
	status, err := w.client.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	bake := status.Services[0].Bake
	if bake == nil || bake.Verdict != switcher.Baking || !bake.Until.Equal(rec.Bake.Until) {
		t.Errorf("after the restart the bake is %+v, was %+v", bake, rec.Bake)
	}
	users(t, 8, w.addresses[0], "/")
	await(t, "the traffic to be returned", func() bool {
		status, err := w.client.Status(t.Context())
		return err == nil && status.Services[0].Active == switcher.Blue
	})
	records, err := w.client.History(t.Context(), 10)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		if r.ID == rec.ID && (r.Bake.Verdict != switcher.BakeFailed || r.Bake.Returned != records[0].ID) {
			t.Errorf("the record of the switch says %+v", r.Bake)
		}
	}
}

// What failed before the daemon was killed, or told to end, still speaks against
// the slot when nobody sends anything afterwards.
func TestAKilledDaemonForgetsNoFailures(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel() // most of it is waiting
			w := newKillWorldOf(t, 1, func(int) (string, string) { return namedSlot(t, "blue"), newSickSlot(t, 2).address })
			w.start("never")
			rec, err := w.client.Switch(t.Context(), control.SwitchRequest{Bake: 8 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			for range 60 {
				_, _, _ = get(w.addresses[0], "/") // every other one fails
			}
			if sig == syscall.SIGKILL {
				await(t, "the failures to be saved", func() bool { return w.savedFailures() > 0 })
			}
			if err := w.cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			w.awaitDeath()
			saved := w.savedFailures()
			w.start("never")
			await(t, "the traffic to be returned", func() bool { return w.service().Active == switcher.Blue })
			got := w.service().Bake
			if want := fmt.Sprintf("%d of ", saved); got.Verdict != switcher.BakeFailed || !strings.HasPrefix(got.Text, want) || sig == syscall.SIGTERM && saved != 30 {
				t.Errorf("%s: %d were saved, the bake is %+v", rec.ID, saved, got)
			}
		})
	}
}

// savedFailures reads the state file for how many failures a bake has seen.
func (w *killWorld) savedFailures() int64 {
	w.Helper()
	raw, err := os.ReadFile(filepath.Join(w.dir, "state", "state.json"))
	if err != nil {
		w.Fatal(err)
	}
	var file struct{ State switcher.State }
	if err := json.Unmarshal(raw, &file); err != nil {
		w.Fatal(err)
	}
	if bake := file.State.Services["s0"].Bake; bake != nil {
		return bake.Seen.Requests.Bad
	}
	return 0
}

// Killed at any step of the return that a bake causes, the daemon is on exactly
// one slot afterwards: back on the old one if that was saved, and else on the new
// one with its bake going on, which returns the traffic in the end.
func TestAKilledReturnIsMadeGood(t *testing.T) {
	for _, step := range dyingSteps {
		t.Run(step, func(t *testing.T) {
			t.Parallel() // most of it is waiting
			green := newSickSlot(t, 0)
			w := newKillWorldOf(t, 1, func(int) (string, string) { return namedSlot(t, "blue"), green.address })
			w.start("never")
			toTheEnd := step == "after swapping"
			bakeTime := 15 * time.Second // the shorter, the sooner it fails
			if toTheEnd {
				bakeTime = time.Minute
			}
			rec, err := w.client.Switch(t.Context(), control.SwitchRequest{Bake: bakeTime})
			if err != nil {
				t.Fatal(err)
			}
			if err := w.cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			w.awaitDeath()
			green.every.Store(2)
			w.start(step)
			users(t, 8, w.addresses[0], "/")
			w.awaitDeath()
			w.start("never")
			wantReturnedOrBaking(t, w, rec, step == "after saving 2")
			if toTheEnd {
				await(t, "the traffic to be returned", func() bool { return w.service().Active == switcher.Blue })
			}
		})
	}
}

func wantReturnedOrBaking(t *testing.T, w *killWorld, rec switcher.Record, returned bool) {
	t.Helper()
	s := w.service()
	switch {
	case s.Bake == nil:
		t.Errorf("the bake is forgotten: %+v", s)
	case returned && (s.Active != switcher.Blue || s.Bake.Verdict != switcher.BakeFailed || s.Bake.Returned == ""):
		t.Errorf("the return was saved, and the traffic is on %s with %+v", s.Active, s.Bake)
	case !returned && (s.Active != switcher.Green || s.Bake.Verdict != switcher.Baking || !s.Bake.Until.Equal(rec.Bake.Until)):
		t.Errorf("the return was not saved, and the traffic is on %s with %+v", s.Active, s.Bake)
	}
}

// service is the first service's status.
func (w *killWorld) service() control.ServiceStatus {
	w.Helper()
	status, err := w.client.Status(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	return status.Services[0]
}
