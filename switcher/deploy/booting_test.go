package deploy

import (
	"errors"
	"testing"

	"charactier-proxy/switcher"
)

// After a power cut both slots are started, and who returns the traffic may be
// faster than the old one.
func TestAReturnWaitsForAnOldSlotThatIsOnItsWayUp(t *testing.T) {
	w := newWorld(t)
	links, ran := w.warmStandby()
	w.fault = func(_ int, call string, _ func()) error {
		if call == "step enable" {
			panic(killed{})
		}
		return nil
	}
	if _, _, dead := w.run(func(p *Pipeline) (Result, error) { return p.Run(t.Context(), request()) }); !dead {
		t.Fatal("it was not killed")
	}
	left := 3 // questions until they listen
	w.sick["r1-111111111111"] = "connection refused"
	w.fault = func(_ int, call string, _ func()) error {
		switch {
		case call == "probe":
			if left--; left == 0 {
				delete(w.sick, "r1-111111111111")
			}
		case call == "move" && left > 0:
			return switcher.ErrUnhealthy
		}
		return nil
	}
	if _, err, _ := w.run(func(p *Pipeline) (Result, error) { return p.Abort(t.Context()) }); !errors.Is(err, ErrReturned) || errors.Is(err, ErrStuck) {
		t.Errorf("abort = %v", err)
	}
	if err := w.checkSettled(links, ran); err != nil {
		t.Error(err)
	}
}
