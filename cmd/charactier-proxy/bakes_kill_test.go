package main

import (
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

// Killed at any step of the return that a bake causes, the daemon is on exactly
// one slot afterwards, and in the end on the old one.
func TestAKilledReturnIsMadeGood(t *testing.T) {
	for _, step := range dyingSteps {
		t.Run(step, func(t *testing.T) {
			t.Parallel() // most of it is waiting
			green := newSickSlot(t, 0)
			w := newKillWorldOf(t, 1, func(int) (string, string) { return namedSlot(t, "blue"), green.address })
			w.start("never")
			if _, err := w.client.Switch(t.Context(), control.SwitchRequest{Bake: time.Minute}); err != nil {
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
			await(t, "the traffic to be returned", func() bool {
				status, err := w.client.Status(t.Context())
				return err == nil && status.Services[0].Active == switcher.Blue
			})
		})
	}
}
