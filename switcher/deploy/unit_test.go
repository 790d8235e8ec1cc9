package deploy

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"charactier-proxy/switcher"
)

func TestAUnitMayRunInItsLinkInMoreThanOneWay(t *testing.T) {
	dir := t.TempDir()
	for name, to := range map[string]string{"same": "/srv/green", "other": "/srv/blue", "near": "srv/green"} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("slot", filepath.Join(dir, "relative")); err != nil {
		t.Fatal(err)
	}
	if !(UnitView{Directory: filepath.Join(dir, "relative")}).RunsIn(filepath.Join(dir, "slot")) {
		t.Error("a relative link to the slot's link is not taken for it")
	}
	for name, c := range map[string]struct {
		unit UnitView
		want bool
	}{
		"in it":                     {UnitView{Directory: "/srv/green"}, true},
		"below it":                  {UnitView{Directory: "/srv/green/dist"}, true},
		"beside it":                 {UnitView{Directory: "/srv/green2"}, false},
		"by another name":           {UnitView{Directory: filepath.Join(dir, "same")}, true},
		"by another's name":         {UnitView{Directory: filepath.Join(dir, "other")}, false},
		"by a name that lies near":  {UnitView{Directory: filepath.Join(dir, "near")}, false},
		"with it as its root":       {UnitView{Root: "/srv/green", Commands: []string{"/app"}}, true},
		"with a program of it":      {UnitView{Commands: []string{"/usr/bin/node /srv/green/dist/index.js"}}, true},
		"elsewhere, with a program": {UnitView{Directory: "/var/lib/x", Commands: []string{"node --dir=/srv/green"}}, true},
		"by its environment":        {UnitView{Environment: []string{"APP=/srv/green"}, Commands: []string{"/start"}}, true},
		"with another's program":    {UnitView{Commands: []string{"node /srv/green2/index.js", "node /srv/green-old"}}, false},
		"nowhere":                   {UnitView{Commands: []string{"/usr/bin/node /opt/app/index.js"}}, false},
		"where nobody knows":        {UnitView{}, true},
	} {
		if got := c.unit.RunsIn("/srv/green"); got != c.want {
			t.Errorf("%s: %t, want %t", name, got, c.want)
		}
	}
}

func TestAUnitThatWouldNotRunTheReleaseIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		unit       UnitView
		says, hint string
	}{
		"elsewhere": {UnitView{Directory: "/home/ops/app"}, "runs in /home/ops/app, not in its slot's link /backend/green",
			`sudo mkdir -p /etc/systemd/system/backend-green.service.d && printf '[Service]\nWorkingDirectory=%s\n' /backend/green | sudo tee /etc/systemd/system/backend-green.service.d/release.conf && sudo systemctl daemon-reload`},
		"no directory": {UnitView{Commands: []string{"/usr/bin/node /opt/app/index.js"}}, "has no WorkingDirectory", "release.conf"},
		"older files":  {UnitView{Directory: "/backend/green", Outdated: true}, "have changed", "sudo systemctl daemon-reload"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.units["backend-green.service"].files = c.unit
			o := w.pipeline().opts
			o.Repository = "/repo"
			_, planned := Plan(t.Context(), o, request())
			w = newWorld(t)
			w.units["backend-green.service"].files = c.unit
			_, deployed := w.deploy(t.Context(), request())
			for what, err := range map[string]error{"plan": planned, "deploy": deployed} {
				if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(hintOf(err), c.hint) {
					t.Errorf("%s = %v, hint %q", what, err, hintOf(err))
				}
			}
			if err := w.checkSettled(map[string]string{}, map[string]bool{}); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestARevisionThatIsActiveByTheLinksOnlyIsWarnedAbout(t *testing.T) {
	w := newWorld(t)
	w.ref = "1111111111111111"
	w.units["backend-blue.service"].files.Directory = "/home/ops/app"
	r, err := w.deploy(t.Context(), request())
	if err != nil || r.Outcome != switcher.Unchanged || len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "/home/ops/app") || !strings.Contains(r.Warnings[0], "release.conf") {
		t.Errorf("deploy = %s, %v, warnings %q", r.Outcome, err, r.Warnings)
	}
}

func TestASharedFileThatIsMissingIsFoundBeforeTheFetch(t *testing.T) {
	w := newWorld(t)
	w.unshared = "frontend/.env"
	o := w.pipeline()
	o.opts.Repository = "/repo"
	if _, err := Plan(t.Context(), o.opts, request()); err == nil || !strings.Contains(err.Error(), w.unshared) {
		t.Errorf("plan = %v", err)
	}
	o.Close()
	_, err := w.deploy(t.Context(), request())
	if err == nil || !strings.Contains(err.Error(), w.unshared) || strings.Contains(strings.Join(w.log, "\n"), "fetch") {
		t.Errorf("deploy = %v, after %q", err, w.log)
	}
	r := request()
	r.Source = Source{Release: "r1-111111111111"} // which has its links
	r.Force = true
	if _, err := w.deploy(t.Context(), r); err != nil {
		t.Errorf("a kept release: %v", err)
	}
}

func TestABakeThatRunsKeepsADeployOutAndNoReturn(t *testing.T) {
	for _, kind := range []switcher.Kind{switcher.KindDeploy, switcher.KindRollback} {
		w := newWorld(t)
		w.warmStandby()
		w.previous["backend"], w.previous["frontend"] = green, green
		w.bakes["frontend"] = &switcher.BakeResult{Verdict: switcher.Baking}
		r := request()
		if r.Kind = kind; kind == switcher.KindRollback {
			r.Source, r.Bake = Source{}, 0
		}
		_, err := w.deploy(t.Context(), r)
		if refused := errors.Is(err, switcher.ErrBusy); refused != (kind == switcher.KindDeploy) || err != nil && !refused {
			t.Errorf("%s = %v", kind, err)
		}
		if err != nil && !strings.Contains(hintOf(err), "rollback --service frontend") {
			t.Errorf("the hint is %q", hintOf(err))
		}
	}
}
