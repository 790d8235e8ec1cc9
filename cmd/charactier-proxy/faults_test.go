package main

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
)

// A disk that takes its time is waited for by the operation that needs it, and by
// nobody else.
func TestASlowDiskDelaysNothingButTheSwitch(t *testing.T) {
	address := freeAddress(t)
	var slow atomic.Bool
	reached, release := make(chan struct{}), make(chan struct{})
	w := newWorldWith(t, services(service("backend", address, namedSlot(t, "blue"), namedSlot(t, "green"))), func(o *daemonOptions) {
		o.wrapStore = func(s switcher.Store) switcher.Store {
			return hookedStore{s, func() {
				if slow.CompareAndSwap(true, false) {
					close(reached)
					<-release
				}
			}}
		}
	})
	slow.Store(true)
	switched := make(chan error, 1)
	go func() {
		_, err := w.client.Switch(t.Context(), control.SwitchRequest{})
		switched <- err
	}()
	<-reached
	for range 20 {
		if status, body, err := get(address, "/"); err != nil || status != 200 || !strings.Contains(body, "blue") {
			t.Fatalf("%d %s %v", status, body, err)
		}
	}
	if got := w.status(); got.Operation == nil {
		t.Error("the status does not say that a switch is under way")
	}
	if _, err := w.client.Switch(t.Context(), control.SwitchRequest{}); !errors.Is(err, switcher.ErrBusy) {
		t.Errorf("a second switch: %v", err)
	}
	close(release)
	if err := <-switched; err != nil {
		t.Error(err)
	}
	if _, body, err := get(address, "/"); err != nil || !strings.Contains(body, "green") {
		t.Errorf("%s %v", body, err)
	}
}

// shiftedStore is a store whose times were written by a clock that was off.
type shiftedStore struct {
	switcher.Store
	by time.Duration
}

func (s shiftedStore) Load() (switcher.State, error) {
	st, err := s.Store.Load()
	for name, svc := range st.Services {
		svc.Since = svc.Since.Add(s.by)
		if svc.Held != nil {
			svc.Held.Since = svc.Held.Since.Add(s.by)
		}
		st.Services[name] = svc
	}
	return st, err
}

// What was written by a clock that was years off keeps nobody from anything.
func TestAClockThatJumpedKeepsNobodyFromSwitching(t *testing.T) {
	const years = 10 * 365 * 24 * time.Hour
	for name, by := range map[string]time.Duration{"it was ahead": years, "it was behind": -5 * years} {
		t.Run(name, func(t *testing.T) {
			address := freeAddress(t)
			yaml := services(service("backend", address, namedSlot(t, "blue"), namedSlot(t, "green")))
			first := newWorld(t, yaml)
			for range 2 {
				if _, err := first.client.Switch(t.Context(), control.SwitchRequest{}); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := first.client.Hold(t.Context(), control.HoldRequest{}); err != nil {
				t.Fatal(err)
			}
			if err := first.end(); err != nil {
				t.Fatal(err)
			}
			w := newWorldWith(t, yaml, func(o *daemonOptions) {
				o.paths.StateDir = first.daemon.paths.StateDir
				o.wrapStore = func(s switcher.Store) switcher.Store { return shiftedStore{s, by} }
			})
			if got := w.status().Services[0]; got.Active != switcher.Blue || got.Held == nil {
				t.Errorf("%s is active, held %v", got.Active, got.Held)
			}
			if _, err := w.client.ReleaseHold(t.Context(), control.HoldRequest{}); err != nil {
				t.Error(err)
			}
			if _, err := w.client.Rollback(t.Context(), control.SwitchRequest{}); err != nil {
				t.Error(err)
			}
			if _, body, err := get(address, "/"); err != nil || !strings.Contains(body, "green") {
				t.Errorf("after a rollback: %s %v", body, err)
			}
			if _, err := w.client.Switch(t.Context(), control.SwitchRequest{}); err != nil {
				t.Error(err)
			}
			if status, body, err := get(address, "/"); err != nil || status != 200 || !strings.Contains(body, "blue") {
				t.Errorf("after a switch: %d %s %v", status, body, err)
			}
		})
	}
}
