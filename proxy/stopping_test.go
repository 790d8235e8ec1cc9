package proxy

import (
	"context"
	"net/http"
	"testing"
	"time"

	"charactier-proxy/proxy/proxytest"
)

// What a slot has got when its stop is announced is answered first, and from then
// on it gets nothing, although it still listens.
func TestAnAnnouncedStopWaitsForWhatTheSlotHasGot(t *testing.T) {
	arrived, letGo := make(chan bool, 100), make(chan bool)
	slot := startHandler(t, func(http.ResponseWriter, *http.Request) {
		arrived <- true
		<-letGo
	})
	f := startFront(t, slot, func(o *frontOptions) { o.service.HoldTime = patience })
	first, second := f.dial(), f.dial()
	first.say(helloPost)
	<-arrived
	if left, active := f.proxy.Stopping(t.Context(), "backend", "green"); left != 0 || active {
		t.Errorf("the standby: %d left, active %v", left, active)
	}
	short, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if left, active := f.proxy.Stopping(short, "backend", "blue"); left != 1 || !active {
		t.Errorf("%d left, active %v; want 1, true", left, active)
	}
	second.say(helloPost)
	f.awaitWaiting(1)
	done := make(chan int64)
	go func() {
		left, _ := f.proxy.Stopping(t.Context(), "backend", "blue")
		done <- left
	}()
	letGo <- true
	if left := <-done; left != 0 {
		t.Errorf("%d left", left)
	}
	first.whole("POST")
	if len(arrived) > 0 || f.proxy.Waiting("backend") != 1 {
		t.Error("a request reached the slot after its stop was announced")
	}
	f.proxy.Went("backend", "green")
	f.proxy.Went("backend", "blue")
	letGo <- true
	if res, _ := second.whole("POST"); res.StatusCode != 200 {
		t.Errorf("%s", res.Status)
	}
}

// A swap after the announcement moves those who wait at once.
func TestASwapMovesThoseWhoWaitForAnAnnouncedStop(t *testing.T) {
	blue, green := proxytest.Start(t, proxytest.KeepAlive("blue")), proxytest.Start(t, proxytest.KeepAlive("green"))
	f := startFront(t, blue.Addr(), func(o *frontOptions) { o.service.HoldTime, o.service.Slots["green"] = patience, green.Addr() })
	f.proxy.Stopping(t.Context(), "backend", "blue")
	c := f.dial()
	c.say(helloPost)
	f.awaitWaiting(1)
	mustSwap(t, f.proxy, map[string]string{"backend": "green"})
	if _, body := c.whole("POST"); body != "green" {
		t.Errorf("answered by %s", body)
	}
}
