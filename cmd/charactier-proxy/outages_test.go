package main

import (
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"charactier-proxy/proxy"
	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
)

// A slot that comes up where it was, as after a restart, has its requests wait;
// whoever watches is told once, and pages nobody.
func TestAnOutageShowsEverywhereAndIsNoneToThoseWhoWatch(t *testing.T) {
	address, admin, blue := freeAddress(t), freeAddress(t), freeAddress(t)
	w := newWorld(t, "services:\n"+service("backend", address, blue, namedSlot(t, "green"))+"admin: {listen: \""+admin+"\"}\n")
	answers := make(chan int, 3)
	for range cap(answers) {
		go func() { status, _, _ := get(address, "/"); answers <- status }()
	}
	await(t, "the requests to wait", func() bool { return w.status().Services[0].Waiting == 3 })
	o := w.status().Services[0].Outage
	if o == nil || o.Slot != switcher.Blue || o.Waited != 3 || o.MaxWait != 20*time.Second || o.MaxRequests != 1000 || !strings.Contains(o.Error, "refused") {
		t.Errorf("the status says %+v", o)
	}
	if status, body, _ := get(admin, "/readyz"); status != http.StatusOK || !strings.Contains(body, `"waiting":3`) {
		t.Errorf("readyz: %d %s", status, body)
	}
	ln, err := net.Listen("tcp", blue)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}
	go server.Serve(ln) //nolint:errcheck // it ends with the test
	t.Cleanup(func() { server.Close() })
	for range cap(answers) {
		if status := <-answers; status != http.StatusOK {
			t.Errorf("a request that waited got %d", status)
		}
	}
	await(t, "the end of the outage", func() bool { return w.status().Services[0].Outage == nil })
	for _, text := range []string{"takes no connections, so requests wait (at most 1000, each at most 20s)", "takes connections again after"} {
		if !w.told(kindOutage, text) {
			t.Errorf("no event says %q", text)
		}
		if !w.log.contains(text) {
			t.Errorf("the log does not say %q", text)
		}
	}
}

// For longer than a request waits, a slot that refuses is an outage to everybody.
func TestASlotThatStaysAwayIsNotReady(t *testing.T) {
	address, admin := freeAddress(t), freeAddress(t)
	w := newWorld(t, "services:\n"+service("backend", address, freeAddress(t), namedSlot(t, "green"))+briefHold+"admin: {listen: \""+admin+"\"}\n")
	if status, body, _ := get(address, "/"); status != http.StatusServiceUnavailable || !strings.Contains(body, "slot-down-too-long") {
		t.Errorf("a client got %d %s", status, body)
	}
	await(t, "readyz to say so", func() bool { status, _, _ := get(admin, "/readyz"); return status == http.StatusServiceUnavailable })
	if o := w.status().Services[0].Outage; o == nil || o.TurnedAway != 1 {
		t.Errorf("the status says %+v", o)
	}
}

// A slot that refuses fails its bake as it ever did, although no client sees it.
func TestABakeSeesASlotThatRefuses(t *testing.T) {
	green := newSickSlot(t, 0)
	w, _ := bakeWorld(t, newSickSlot(t, 0), green)
	rec := w.mustBake(control.SwitchRequest{Bake: time.Minute})
	green.refuse() // at once, so that there are no samples but those who wait
	got := w.verdict(rec.ID)
	if got.Verdict != switcher.BakeFailed || got.Returned == "" {
		t.Errorf("the bake is %+v", got)
	}
	s := w.status().Services[0]
	if s.Active != switcher.Blue || s.Waiting > 0 {
		t.Errorf("on %s, %d wait", s.Active, s.Waiting)
	}
	for _, slot := range s.Slots {
		// What its listener had queued when it closed is reset, and was sent.
		if failed := slot.ByClass["5xx"] - slot.ByCause["slot-reset"]; failed > 0 {
			t.Errorf("clients of %s saw %v, %v", slot.Name, slot.ByClass, slot.ByCause)
		}
	}
}

func TestASlotThatBakesMayNotRefuseForLong(t *testing.T) {
	p := place{"backend", switcher.Green}
	long := proxy.Outage{Slot: "green", Since: time.Now().Add(-refusedTooLong), Waiting: 1}
	for name, tt := range map[string]struct {
		change func(*proxy.Outage)
		lasts  bool
		want   bool
	}{
		"for long":              {func(*proxy.Outage) {}, true, true},
		"not any more":          {func(*proxy.Outage) {}, false, false},
		"for a moment":          {func(o *proxy.Outage) { o.Since = time.Now() }, true, false},
		"and nobody waits":      {func(o *proxy.Outage) { o.Waiting = 0 }, true, false},
		"but it is another one": {func(o *proxy.Outage) { o.Slot = "blue" }, true, false},
	} {
		o := long
		tt.change(&o)
		b := &bakes{outage: func(string) (proxy.Outage, bool) { return o, tt.lasts }}
		r := &baking{place: p}
		if got := b.refuses(r); got != tt.want || got != strings.HasPrefix(r.text, "green takes no connections for 3s") {
			t.Errorf("%s: %v, %q", name, got, r.text)
		}
	}
}

// What a unit says that is about to stop counts for the slot that it runs only.
func TestOnlyTheActiveSlotsStopIsPutOff(t *testing.T) {
	address := freeAddress(t)
	w := newWorld(t, services(service("backend", address, namedSlot(t, "blue"), namedSlot(t, "green"))))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for unit, want := range map[string]control.StoppingResult{
		"charactier-backend-blue.service":  {Service: "backend", Slot: switcher.Blue, Active: true},
		"charactier-backend-green.service": {Service: "backend", Slot: switcher.Green},
		"other.service":                    {}, "": {},
	} {
		if got, err := w.client.Stopping(ctx, control.StoppingRequest{Unit: unit}); err != nil || got != want {
			t.Errorf("%q: %+v, %v", unit, got, err)
		}
	}
	if o := w.status().Services[0].Outage; o == nil || !strings.Contains(o.Error, "about to stop") {
		t.Errorf("the status says %+v", o)
	}
}
