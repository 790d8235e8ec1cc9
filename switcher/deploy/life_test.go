package deploy

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"charactier-proxy/switcher"
)

// deployAnd runs a deploy that is not watched, in which something happens to the
// new slots as the old ones drain; output is what the units wrote.
func (w *world) deployAnd(happens func()) (r Result, output []string, err error) {
	w.fault = func(_ int, call string, _ func()) error {
		if call == "step drain" {
			happens()
		}
		return nil
	}
	req := request()
	req.Bake = 0
	r, err, _ = w.run(func(p *Pipeline) (Result, error) {
		for i := range p.opts.Services {
			p.opts.Services[i].Warm = 0
		}
		p.opts.Report = func(r Report) {
			if r.State == StateOutput {
				output = append(output, r.Text)
			}
		}
		return p.Run(w.t.Context(), req)
	})
	return r, output, err
}

func TestASlotThatWasRestartedUnderTrafficIsWarnedOf(t *testing.T) {
	w := newWorld(t)
	r, output, err := w.deployAnd(func() { w.units["frontend-green.service"].restarts = 2 })
	if err != nil || r.Outcome != switcher.Done || len(r.Warnings) != 1 {
		t.Fatalf("deploy = %s, %v, warnings %q", r.Outcome, err, r.Warnings)
	}
	for _, says := range []string{"systemd has restarted frontend-green.service 2 times", "charactier-proxyctl rollback --service frontend"} {
		if !strings.Contains(r.Warnings[0], says) {
			t.Errorf("the warning %q does not say %q", r.Warnings[0], says)
		}
	}
	if want := []string{"the last words of frontend-green.service of r2-222222222222"}; !slices.Equal(output, want) {
		t.Errorf("the unit's last lines are %q, want %q", output, want)
	}
}

func TestASlotThatEndedUnderTrafficIsNoDeployThatIsDone(t *testing.T) {
	w := newWorld(t)
	r, output, err := w.deployAnd(func() { w.units["backend-green.service"].running = false })
	if !errors.Is(err, ErrDown) || r.Outcome != switcher.Failed || hintOf(err) != "charactier-proxyctl rollback --service backend" {
		t.Errorf("deploy = %s, %v, hint %q", r.Outcome, err, hintOf(err))
	}
	if w.active["backend"] != green || !slices.Equal(output, []string{"the last words of backend-green.service"}) {
		t.Errorf("backend is on %s; the unit's last lines are %q", w.active["backend"], output)
	}
	if !w.units["backend-blue.service"].running || w.units["frontend-blue.service"].running {
		t.Error("the slot that a rollback needs was stopped, or the other was not")
	}
	if s, err := unfinished(Dir(w.root)); err != nil || s != nil {
		t.Errorf("the journal has no end: %v, %v", s, err)
	}
}

func TestASystemdThatDoesNotSayHowASlotDoesEndsNoDeploy(t *testing.T) {
	w := newWorld(t)
	w.fault = func(_ int, call string, _ func()) error {
		if call == "life" {
			return errBroken
		}
		return nil
	}
	if r, err := w.deploy(t.Context(), request()); err != nil || r.Outcome != switcher.Done || len(r.Warnings) > 0 {
		t.Errorf("deploy = %s, %v, warnings %q", r.Outcome, err, r.Warnings)
	}
}

func TestASlotThatIsDownKeepsNobodyFromSettling(t *testing.T) {
	w := newWorld(t)
	w.fault = func(_ int, call string, _ func()) error {
		if call == "step enable" {
			panic(killed{})
		}
		return nil
	}
	w.run(func(p *Pipeline) (Result, error) { return p.Run(t.Context(), request()) })
	w.fault = nil
	w.units["backend-green.service"].running = false
	_, err, _ := w.run(func(p *Pipeline) (Result, error) {
		r, err := p.Settle(t.Context())
		if err != nil || r == nil || r.Outcome != switcher.Done {
			t.Errorf("settled: %+v, %v", r, err)
		}
		return Result{}, err
	})
	if s, found := unfinished(Dir(w.root)); err != nil || s != nil || found != nil {
		t.Errorf("the journal has no end: %v, %v", s, found)
	}
}
