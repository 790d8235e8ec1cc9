package proxy

import (
	"testing"
	"time"

	"charactier-proxy/proxy/proxytest"
)

func TestTheLogTellsOfASlotsFaultsButNotOfEach(t *testing.T) {
	f := startFront(t, proxytest.Refused(t), impatient)
	for range 5 {
		c := f.dial()
		c.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		c.whole("GET")
	}
	f.entry(5)
	told := f.loud.FilterMessage("a request failed at its slot").All()
	if len(told) != 1 {
		t.Fatalf("five requests that failed in a moment made %d lines", len(told))
	}
	if e := told[0].ContextMap(); e["cause"] != string(causeDown) || e["slot"] != "blue" || e["request_id"] == "" || e["error"] == nil {
		t.Errorf("the line says %v", e)
	}
}

func TestAFaultThatGoesOnIsToldOfWithItsNumber(t *testing.T) {
	var f faultLog
	key, start := faultKey{"backend", "blue", causeReset}, time.Now()
	for _, step := range []struct {
		after  time.Duration
		silent int
		due    bool
	}{
		{0, 0, true}, {time.Second, 0, false}, {faultPause - 1, 0, false}, {faultPause, 2, true}, {2 * faultPause, 0, true},
	} {
		if silent, due := f.due(key, start.Add(step.after)); silent != step.silent || due != step.due {
			t.Errorf("after %v: %d, %v, want %d, %v", step.after, silent, due, step.silent, step.due)
		}
	}
	if _, due := f.due(faultKey{"backend", "green", causeReset}, start); !due {
		t.Error("the other slot's fault is not told of")
	}
}
