package deploy

import (
	"errors"
	"strings"
	"testing"

	"charactier-proxy/switcher/deploy/release"
)

func TestAPlanNeedsARepositoryAsTheDeployDoes(t *testing.T) {
	_, err := Plan(t.Context(), Options{}, Request{Source: Source{Ref: "main"}})
	if err == nil || !strings.Contains(err.Error(), "deploy.repository is not set") {
		t.Errorf("plan = %v, want it to miss the repository", err)
	}
}

func TestAPlanRefusesWhatCannotBeAReference(t *testing.T) {
	o := newWorld(t).pipeline().opts
	o.Repository = "/repo"
	for _, ref := range []string{"a b", "--upload-pack=touch /tmp/x", strings.Repeat("x", 3000), "main^{tree}"} {
		r := request()
		r.Source.Ref = ref
		if _, err := Plan(t.Context(), o, r); !errors.Is(err, release.ErrNoSuchRef) {
			t.Errorf("plan of %.40q = %v, want no such reference", ref, err)
		}
	}
}

func TestAPlanRefusesAUnitThatRunsElsewhere(t *testing.T) {
	w := newWorld(t)
	o := w.pipeline().opts
	o.Repository = "/repo"
	if _, err := Plan(t.Context(), o, request()); err != nil {
		t.Fatal(err)
	}
	for dir, refused := range map[string]bool{"/backend/green": false, "/backend/green/dist": false, "/home/ops/app": true} {
		w.units["backend-green.service"].files.Directory = dir
		_, err := Plan(t.Context(), o, request())
		if (err != nil) != refused || refused && !strings.Contains(err.Error(), "backend-green.service runs in "+dir) {
			t.Errorf("a unit that runs in %s: %v", dir, err)
		}
	}
}
