package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// releases is the world's disk.
type releases struct{ w *world }

func (r releases) Resolve(_ context.Context, s Source) (o Origin, err error) {
	missing := false
	err = r.w.call("resolve", func() {
		if s.Release != "" {
			_, ok := r.w.revision[s.Release]
			missing = !ok
			o = Origin{Source: s, Release: s.Release, Revision: r.w.revision[s.Release], Built: true}
			return
		}
		o = Origin{Source: s, Revision: r.w.ref, Release: "r2-" + short(r.w.ref), Subject: "Mend it"}
		for n := 3; r.w.revision[o.Release] != ""; n++ {
			o.Release = fmt.Sprintf("r%d-%s", n, short(r.w.ref))
		}
	})
	if missing {
		err = errors.New("no such release")
	}
	return o, err
}

func (r releases) Fetch(_ context.Context, _ Origin, name string, _ []Service) error {
	return r.w.call("fetch", func() { r.w.mustNotBuild(); r.w.drafts[name] = true })
}

func (r releases) Build(_ context.Context, name string, _ Service, _ string, say func(string)) error {
	r.w.setBuilding(true)
	// Not when the command is killed: the unit goes on.
	err := r.w.call("build", func() {
		if !r.w.drafts[name] {
			r.w.t.Errorf("%s is built and was not fetched", name)
		}
		say("compiling")
	})
	r.w.setBuilding(false)
	return err
}

func (w *world) setBuilding(building bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.building = building
}

func (w *world) mustNotBuild() {
	if w.building {
		w.t.Error("files are taken away from a build that runs")
	}
}

func (r releases) Seal(_ context.Context, name string) error {
	return r.w.call("seal", func() { delete(r.w.drafts, name); r.w.revision[name] = r.w.ref })
}

func (r releases) Sealed(name string) (ok bool, err error) {
	err = r.w.call("sealed", func() { _, ok = r.w.revision[name] })
	return ok, err
}

func (r releases) Discard(name string) error {
	return r.w.call("discard", func() { r.w.mustNotBuild(); delete(r.w.drafts, name) })
}

func (r releases) CheckShared(service string, names []string) (err error) {
	cerr := r.w.call("check shared", func() {
		for _, name := range names {
			if r.w.unshared == service+"/"+name {
				err = errors.New(r.w.unshared + " is not there")
			}
		}
	})
	return errors.Join(cerr, err)
}

func (r releases) Point(link, name string, _ Service) error {
	return r.w.call("point", func() { r.w.links[link] = name })
}

func (r releases) Pointed(link string) (a Aim, err error) {
	err = r.w.call("pointed", func() {
		a.Target = r.w.links[link]
		if revision, ok := r.w.revision[a.Target]; ok {
			a.Release, a.Revision = a.Target, revision
		}
	})
	return a, err
}

func (r releases) Restore(link, target string) error {
	return r.w.call("restore", func() { r.w.links[link] = target })
}

func (r releases) Mark(release, reason string) error {
	return r.w.call("mark "+release, func() {
		if r.w.marks == nil {
			r.w.marks = map[string]string{}
		}
		r.w.marks[release] = reason
	})
}

func (r releases) Prune(keep int, inUse []string) (removed []string, err error) {
	err = r.w.call("prune", func() {
		var names []string
		for name := range r.w.revision {
			if !slices.Contains(inUse, name) {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		for len(names) > keep {
			delete(r.w.revision, names[0])
			names = names[1:]
		}
	})
	return removed, err
}

func (r releases) Free() (free uint64, err error) {
	err = r.w.call("free", func() { free = 1 << 30 })
	return free, err
}
