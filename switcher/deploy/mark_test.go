package deploy

import (
	"strings"
	"testing"

	"charactier-proxy/switcher"
)

func TestAReleaseThatDidNotProveItselfIsMarked(t *testing.T) {
	for name, c := range map[string]struct {
		plant func(*world, *Request)
		want  string // how the reason begins; empty: it is not marked
	}{
		"never healthy": {func(w *world, _ *Request) { w.sick["r2-222222222222"] = "503" }, "gate: green of backend was not healthy"},
		"it exits at once": {func(w *world, _ *Request) { w.units["backend-green.service"].dies = true },
			"start: starting backend-green.service: "},
		"it had the traffic":     {func(w *world, _ *Request) { w.bakeFail = "5 % errors" }, ""},
		"the standby was in use": {func(w *world, _ *Request) { w.inFlight["frontend/green"] = 1 }, ""},
		"a return to what is there": {func(w *world, r *Request) {
			r.Kind, r.Source, w.sick["r0-000000000000"] = switcher.KindRollback, Source{}, "503"
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.warmStandby()
			r := request()
			c.plant(w, &r)
			if _, err := w.deploy(t.Context(), r); err == nil {
				t.Fatal("the deploy went through")
			}
			reason := w.marks["r2-222222222222"]
			if !strings.HasPrefix(reason, c.want) || c.want == "" && len(w.marks) > 0 {
				t.Errorf("the marks are %v, want one that begins with %q", w.marks, c.want)
			}
		})
	}
}

func TestThatAMarkCannotBeWrittenIsAWarning(t *testing.T) {
	w := newWorld(t)
	w.sick["r2-222222222222"] = "503"
	w.fault = func(_ int, call string, _ func()) error {
		if strings.HasPrefix(call, "mark ") {
			return errBroken
		}
		return nil
	}
	r, err := w.deploy(t.Context(), request())
	if err == nil || !strings.Contains(strings.Join(r.Warnings, "\n"), "broken on purpose") {
		t.Errorf("deploy = %v, warnings %q", err, r.Warnings)
	}
}
