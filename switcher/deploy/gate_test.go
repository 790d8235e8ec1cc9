package deploy

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestAGateSaysWhyItStillWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.sick["r2-222222222222"] = "GET /health: 503"
		var waiting, output []string
		p := w.pipeline()
		for i := range p.opts.Services {
			p.opts.Services[i].Tries, p.opts.Services[i].Interval = 30, time.Second
		}
		p.opts.Report = func(r Report) {
			switch r.State {
			case StateWaiting:
				waiting = append(waiting, r.Text)
			case StateOutput:
				output = append(output, r.Text)
			}
		}
		_, err := p.Run(t.Context(), request())
		if !errors.Is(err, ErrUnhealthy) || !strings.Contains(hintOf(err), "charactier-proxyctl logs --slot green") {
			t.Errorf("deploy = %v, hint %q", err, hintOf(err))
		}
		if n := len(waiting); n < 4 || n > 6 || !strings.Contains(waiting[0], "503") {
			t.Errorf("in 30 s it said %q", waiting)
		}
		if !slices.Equal(output, []string{"the last words of backend-green.service"}) {
			t.Errorf("the unit's last lines are %q", output)
		}
		p.Close()
	})
}

// youngDaemon has not probed anything yet.
type youngDaemon struct {
	daemon
	views int
}

func (d *youngDaemon) View(ctx context.Context) (View, error) {
	v, err := d.daemon.View(ctx)
	if d.views--; d.views >= 0 {
		for _, s := range v.Services {
			s.Slots[blue] = SlotView{}
		}
	}
	return v, err
}

func TestAHealthThatIsNotKnownYetIsWaitedFor(t *testing.T) {
	for views, want := range map[int]bool{3: false, 1000: true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			p := w.pipeline()
			p.opts.Daemon = &youngDaemon{daemon{w}, views}
			said := ""
			p.opts.Report = func(r Report) {
				if r.Step == "preflight" {
					said += r.Text + "\n"
				}
			}
			if _, err := p.Run(t.Context(), request()); err != nil {
				t.Error(err)
			}
			if strings.Contains(said, "is not known yet") != want || strings.Contains(said, "not healthy") {
				t.Errorf("after %d views it said:\n%s", views, said)
			}
			p.Close()
		})
	}
}

func TestAStepThatIsLeftIsNotSaidToHaveNothingToDo(t *testing.T) {
	w := newWorld(t)
	r := request()
	r.Confirm = true
	var states []State
	_, err, _ := w.run(func(p *Pipeline) (Result, error) {
		p.opts.Confirm = nil
		p.opts.Report = func(r Report) {
			if r.Step == "confirm" {
				states = append(states, r.State)
			}
		}
		return p.Run(t.Context(), r)
	})
	if !errors.Is(err, ErrDetached) || !slices.Contains(states, StateLeft) || slices.Contains(states, StateSkipped) {
		t.Errorf("deploy = %v, states %q", err, states)
	}
}
