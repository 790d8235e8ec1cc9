package deploy

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// gateWith deploys while the gate's patience is 60 s, and returns how long it
// took. From the start on a stranger has the port.
func (w *world) gateWith(leaves time.Duration) (took time.Duration, err error) {
	green := w.units["backend-green.service"]
	w.fault = func(_ int, call string, _ func()) error {
		if call == "start backend-green.service" {
			green.stranger = "stranger.service"
			if leaves > 0 {
				time.AfterFunc(leaves, func() { w.mu.Lock(); defer w.mu.Unlock(); green.stranger = "" })
			}
		}
		return nil
	}
	began := time.Now()
	_, err, _ = w.run(func(p *Pipeline) (Result, error) {
		for i := range p.opts.Services {
			p.opts.Services[i].Tries, p.opts.Services[i].Interval = 30, 2*time.Second
		}
		return p.Run(w.t.Context(), request())
	})
	return time.Since(began), err
}

func TestAStrangerWhoKeepsThePortEndsTheGateSoon(t *testing.T) {
	for name, sick := range map[string]string{"answers well": "", "does not answer well": "GET /health: 404"} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.sick["r2-222222222222"] = sick
			took, err := w.gateWith(0)
			if !errors.Is(err, ErrUnhealthy) || !strings.Contains(err.Error(), "pid 7 of stranger.service, which does not belong to backend-green.service") ||
				!strings.Contains(hintOf(err), "end that process") {
				t.Errorf("%s: deploy = %v, hint %q", name, err, hintOf(err))
			}
			if took > 10*time.Second {
				t.Errorf("%s: the gate waited for %s", name, took)
			}
		})
	}
}

func TestAStrangerWhoLeavesThePortIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if _, err := newWorld(t).gateWith(strangerTime / 2); err != nil {
			t.Errorf("deploy = %v", err)
		}
	})
}
