package deploy

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"charactier-proxy/switcher"
)

func TestTheStreamsOfASlotAreEndedBeforeItIsStopped(t *testing.T) {
	w := newWorld(t)
	w.warmStandby()
	w.streams["backend/green"] = 3
	if _, err := w.deploy(t.Context(), request()); !errors.Is(err, ErrDraining) || !strings.Contains(err.Error(), "3 streams") {
		t.Errorf("a deploy to a slot with streams: %v", err)
	}
	r := request()
	r.CutStreams = true
	said := false
	w.fault = func(_ int, call string, _ func()) error {
		if call == "stop backend-green.service" && w.streams["backend/green"] > 0 {
			t.Error("the slot is stopped and has streams")
		}
		return nil
	}
	res, err, _ := w.run(func(p *Pipeline) (Result, error) {
		p.opts.Report = func(r Report) {
			said = said || strings.Contains(r.Text, "streams of green of backend were ended: 3 between two events or messages, 0 cut")
		}
		return p.Run(t.Context(), r)
	})
	if err != nil || res.Outcome != switcher.Done || !said {
		t.Errorf("deploy = %s, %v; it told of the streams: %v", res.Outcome, err, said)
	}
}

// Without the daemon there are no streams either.
func TestASlotIsStoppedThoughItsStreamsCannotBeEnded(t *testing.T) {
	w := newWorld(t)
	w.warmStandby()
	w.fault = func(_ int, call string, _ func()) error {
		if call == "end streams" {
			return errors.New("no answer")
		}
		return nil
	}
	if r, err := w.deploy(t.Context(), request()); err != nil || r.Outcome != switcher.Done {
		t.Errorf("deploy = %s, %v", r.Outcome, err)
	}
	if !slices.Contains(w.log, "stop backend-green.service") {
		t.Error("the standby was not stopped")
	}
}
