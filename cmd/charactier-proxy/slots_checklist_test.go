package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
)

// briefHold has requests wait no longer than a test does.
const briefHold = "    hold: {time: 100ms}\n"

// Both slots down is the worst that can happen to the two of them: everybody
// must be told, nothing may move, and all must be well when one comes back.
func TestWithBothSlotsDownNothingMovesAndEverybodyIsTold(t *testing.T) {
	address, admin, blue, green := freeAddress(t), freeAddress(t), freeAddress(t), freeAddress(t)
	w := newWorld(t, "services:\n"+service("backend", address, blue, green)+briefHold+"admin: {listen: \""+admin+"\"}\n")
	await(t, "both slots to be known as unhealthy", func() bool {
		slots := w.status().Services[0].Slots
		return slots[0].Health.State == "unhealthy" && slots[1].Health.State == "unhealthy"
	})
	if status, body, _ := get(address, "/"); status != http.StatusServiceUnavailable || !strings.Contains(body, "slot-down-too-long") {
		t.Errorf("a client got %d %s", status, body)
	}
	if status, body, _ := get(admin, "/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(body, blue) {
		t.Errorf("readyz: %d %s", status, body)
	}
	_, err := w.client.Switch(t.Context(), control.SwitchRequest{})
	if !errors.Is(err, switcher.ErrUnhealthy) || !strings.Contains(fmt.Sprint(err), green) {
		t.Errorf("the switch was answered %v", err)
	}
	if got := w.status().Services[0].Active; got != switcher.Blue {
		t.Errorf("active is %s", got)
	}

	moved := namedSlot(t, "blue") // the slot is back, at another address
	w.change("services:\n" + service("backend", address, moved, green) + briefHold + "admin: {listen: \"" + admin + "\"}\n")
	await(t, "readiness", func() bool { status, _, _ := get(admin, "/readyz"); return status == http.StatusOK })
	if status, body, _ := get(address, "/"); status != http.StatusOK {
		t.Errorf("a client got %d %s", status, body)
	}
}

// Two services may share a process; what one of them asks of it must not decide
// for the other.
func TestChecksOfOneAddressByTwoServicesAreIndependent(t *testing.T) {
	shared := func() string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/sick" {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		}))
		t.Cleanup(s.Close)
		return s.Listener.Addr().String()
	}
	blue, green := shared(), shared()
	sick := strings.Replace(service("frontend", freeAddress(t), blue, green), "path: /health", "path: /sick", 1)
	w := newWorld(t, services(service("backend", freeAddress(t), blue, green), sick))
	await(t, "every slot to be judged", func() bool {
		got := map[string]int{}
		for _, s := range w.status().Services {
			for _, slot := range s.Slots {
				got[s.Name+" "+slot.Health.State]++
			}
		}
		return got["backend healthy"] == 2 && got["frontend unhealthy"] == 2
	})
}

// A reload must not forget what is known: a slot that was proven would be
// unknown for a while, one that is down would look well.
func TestAReloadForgetsNothingAboutHealth(t *testing.T) {
	address := freeAddress(t)
	yaml := services(service("backend", address, namedSlot(t, "blue"), freeAddress(t)))
	w := newWorld(t, yaml)
	await(t, "both slots to be judged", func() bool {
		slots := w.status().Services[0].Slots
		return slots[0].Health.State == "healthy" && slots[1].Health.State == "unhealthy"
	})
	before := w.status().Services[0].Slots
	w.change(yaml + "log: {level: debug}\n")
	w.change(services(service("backend", address, before[0].Address, before[1].Address),
		service("frontend", freeAddress(t), namedSlot(t, "fb"), namedSlot(t, "fg"))))
	for i, after := range w.status().Services[0].Slots {
		if after.Health.State != before[i].Health.State || !after.Health.Since.Equal(before[i].Health.Since) {
			t.Errorf("%s was %s since %s, is %s since %s", after.Name,
				before[i].Health.State, before[i].Health.Since, after.Health.State, after.Health.Since)
		}
	}
}

// Who watches from outside must not take a hold for an outage: requests wait
// only for a moment, and nobody is to be paged for it.
func TestAHoldIsNoOutageToThoseWhoWatch(t *testing.T) {
	address, admin := freeAddress(t), freeAddress(t)
	w := newWorld(t, "services:\n"+service("backend", address, namedSlot(t, "blue"), namedSlot(t, "green"))+"admin: {listen: \""+admin+"\"}\n")
	if _, err := w.client.Hold(t.Context(), control.HoldRequest{}); err != nil {
		t.Fatal(err)
	}
	waiting := make(chan int, 1)
	go func() { status, _, _ := get(address, "/"); waiting <- status }()
	await(t, "a request to wait", func() bool { return w.status().Services[0].Waiting == 1 })
	for _, path := range []string{"/healthz", "/readyz"} {
		if status, body, err := get(admin, path); status != http.StatusOK {
			t.Errorf("%s: %d %s %v", path, status, body, err)
		}
	}
	if _, body, _ := get(admin, "/readyz"); !strings.Contains(body, `"held":true`) {
		t.Errorf("readyz does not say that the service is held: %s", body)
	}
	if _, err := w.client.ReleaseHold(t.Context(), control.HoldRequest{}); err != nil {
		t.Fatal(err)
	}
	if status := <-waiting; status != http.StatusOK {
		t.Errorf("the request that waited got %d", status)
	}
}
