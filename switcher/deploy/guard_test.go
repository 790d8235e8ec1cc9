package deploy

import (
	"context"
	"errors"
	"strings"
	"testing"

	"charactier-proxy/switcher"
)

// moveAll is what somebody else does who was let in by a daemon that restarted.
func (w *world) moveAll(to switcher.Slot) {
	for name := range w.active {
		w.active[name] = to
	}
}

func TestAYesToWhatWasReturnedMeanwhileIsNone(t *testing.T) {
	w := newWorld(t)
	links, ran := w.warmStandby()
	r := request()
	r.Confirm = true
	_, err, _ := w.run(func(p *Pipeline) (Result, error) {
		p.opts.Confirm = func(context.Context, string) (bool, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.lose()
			w.moveAll(blue)
			return true, nil
		}
		return p.Run(t.Context(), r)
	})
	if !errors.Is(err, ErrReturned) {
		t.Errorf("deploy = %v, want it returned", err)
	}
	if err := w.checkSettled(links, ran); err != nil {
		t.Error(err)
	}
}

func TestASlotThatHasTheTrafficAgainIsNotRetired(t *testing.T) {
	w := newWorld(t)
	w.fault = func(_ int, call string, _ func()) error {
		if call == "step retire" {
			w.lose()
			w.moveAll(blue)
		}
		return nil
	}
	r, err, _ := w.run(func(p *Pipeline) (Result, error) {
		for i := range p.opts.Services {
			p.opts.Services[i].Warm = 0
		}
		return p.Run(t.Context(), request())
	})
	if err != nil || !strings.Contains(strings.Join(r.Warnings, "; "), "was not stopped") {
		t.Errorf("deploy = %v, warnings %q, want one of the slot that was not stopped", err, r.Warnings)
	}
	if err := w.check(); err != nil {
		t.Error(err)
	}
}
