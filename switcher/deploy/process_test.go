package deploy

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"charactier-proxy/switcher"
)

func TestAProcessThatRunsOtherFilesIsKnown(t *testing.T) {
	root := t.TempDir()
	release, link, old := filepath.Join(root, "releases/r2"), filepath.Join(root, "green"), filepath.Join(root, "old")
	service := filepath.Join(release, "backend")
	for _, path := range []string{service + "/dist/index.js", service + "/index.js", old + "/dist/index.js", old + "/.env", old + "/otel/index.js"} {
		err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, nil, 0o644))
		if err != nil {
			t.Fatal(err)
		}
	}
	err := errors.Join(os.Symlink(service, link), os.Symlink(link, filepath.Join(root, "current")),
		os.Symlink(filepath.Join(old, ".env"), filepath.Join(service, ".env")))
	if err != nil {
		t.Fatal(err)
	}
	script := old + "/dist/index.js"
	for name, c := range map[string]struct {
		unit      UnitView
		directory string
		arguments []string
		want      string
	}{
		"the release's":                      {UnitView{}, service, []string{"/usr/bin/node", "dist/index.js"}, ""},
		"by the link":                        {UnitView{}, "/", []string{"node", link + "/dist/index.js"}, ""},
		"by another name of the link":        {UnitView{}, service, []string{"node", root + "/current/dist/index.js"}, ""},
		"from below":                         {UnitView{}, service + "/dist", []string{"node"}, ""},
		"from the whole release":             {UnitView{}, release, []string{"node"}, ""},
		"whose title was set":                {UnitView{}, service, []string{"charactier"}, ""},
		"where the unit says so":             {UnitView{Environment: []string{"APP=" + link}}, "/", []string{"app"}, ""},
		"where it says so and does not":      {UnitView{Environment: []string{"UPLOADS=" + link + "/uploads"}}, old, []string{"node", "dist/index.js"}, old},
		"after a change of directory":        {UnitView{}, old, []string{"node", "dist/index.js"}, old},
		"another directory's script":         {UnitView{}, service, []string{"node", script}, script},
		"likewise, where the unit names it":  {UnitView{Environment: []string{"APP=" + link}}, service, []string{"node", script}, script},
		"another's script, by a shared file": {UnitView{}, service, []string{"node", "--env-file", old + "/.env", script}, script},
		"with a shared file":                 {UnitView{}, service, []string{"app", old + "/.env"}, ""},
		"with a helper of the same name":     {UnitView{}, service, []string{"node", "-r", old + "/otel/index.js", "dist/index.js"}, ""},
	} {
		if got := (Process{c.directory, c.arguments}).elsewhere(c.unit, link, whole(service, "r2")); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestASlotThatAnswersFromElsewhereIsNotSwitchedTo(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "green")
	if err := os.Symlink(t.TempDir(), link); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	w.units["backend-green.service"].processes = []Process{{Directory: dir, Arguments: []string{"node", "index.js"}}}
	_, err, _ := w.run(func(p *Pipeline) (Result, error) {
		slots := p.opts.Services[0].Slots
		p.opts.Services[0].Slots = map[switcher.Slot]SlotConfig{blue: slots[blue], green: {Address: slots[green].Address, Unit: slots[green].Unit, Link: link}}
		return p.Run(t.Context(), request())
	})
	if !errors.Is(err, ErrUnhealthy) || !strings.Contains(err.Error(), "answers from "+dir) || !strings.Contains(hintOf(err), "systemctl cat backend-green.service") {
		t.Errorf("deploy = %v, hint %q", err, hintOf(err))
	}
	if w.active["backend"] != blue || w.units["backend-green.service"].running {
		t.Errorf("traffic is on %s", w.active["backend"])
	}
}
