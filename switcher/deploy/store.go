package deploy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"syscall"
	"time"

	"charactier-proxy/switcher/deploy/release"
)

// StoreOptions are what a [Store] is made of.
type StoreOptions struct {
	Root       string
	Repository string
	// Run runs a command to its end. The end of ctx stops it and all it began.
	Run func(ctx context.Context, c Command) error
	// Progress is told what git does.
	Progress func(line string)
}

// Store is [Releases] on a disk. It is used by one deploy at a time.
type Store struct {
	*release.Store
	opts   StoreOptions
	drafts map[string]*making
}

var _ Releases = (*Store)(nil)

// making is a release that is being made.
type making struct {
	*release.Draft
	services []Service
	prepared bool
}

// OpenStore opens the releases below root.
func OpenStore(o StoreOptions) (*Store, error) {
	s, err := release.OpenWith(o.Root, release.Options{Progress: o.Progress})
	if err != nil {
		return nil, err
	}
	return &Store{Store: s, opts: o, drafts: map[string]*making{}}, nil
}

// LookStore is for whoever only looks: it makes no directory, and needs no
// rights but to read.
func LookStore(root string) *Store {
	return &Store{Store: release.Look(root), opts: StoreOptions{Root: root}}
}

// Resolve finds out what a source means now.
func (s *Store) Resolve(ctx context.Context, src Source) (Origin, error) {
	switch {
	case src.Release != "":
		r, err := s.Find(src.Release)
		if err != nil {
			return Origin{}, err
		}
		return Origin{Source: src, Revision: r.Revision, Subject: r.Subject, Release: r.Name, Built: true}, nil
	case src.Artifact != "":
		revision, err := release.Fingerprint(ctx, src.Artifact)
		if err != nil {
			return Origin{}, err
		}
		return Origin{Source: src, Revision: revision, Release: release.NameOf(time.Now(), revision), Built: true}, nil
	case s.opts.Repository == "":
		return Origin{}, noRepository()
	}
	c, err := s.Store.Resolve(ctx, s.opts.Repository, src.Ref)
	if err != nil {
		return Origin{}, err
	}
	return Origin{Source: src, Revision: c.Revision, Subject: c.Subject, Release: release.NameOf(time.Now(), c.Revision)}, nil
}

func noRepository() error {
	return hint(errors.New("deploy.repository is not set"), "set it in the configuration, or deploy something built with --artifact")
}

// Fetch begins the release anew.
func (s *Store) Fetch(ctx context.Context, o Origin, name string, services []Service) error {
	if err := s.Discard(name); err != nil {
		return err
	}
	parts := map[string]string{}
	for _, svc := range services {
		parts[svc.Name] = svc.Directory
	}
	var draft release.Draft
	var err error
	if o.Source.Artifact != "" {
		draft, err = s.Import(ctx, o.Source.Artifact, name, parts)
	} else {
		// The revision that was resolved, whatever the branch is by now.
		var c release.Commit
		if c, err = s.Store.Resolve(ctx, s.opts.Repository, o.Revision); err == nil {
			c.Ref = o.Source.Ref
			draft, err = s.Checkout(ctx, c, name, parts)
		}
	}
	if err != nil {
		return err
	}
	if got := draft.Release().Revision; got != o.Revision {
		err := fmt.Errorf("%s has changed since this began: its revision was %s and is %s", o.Source.Artifact, o.Revision, got)
		return errors.Join(hint(err, "deploy again, once nobody writes to it any more"), draft.Discard())
	}
	m := &making{Draft: &draft, services: slices.Clone(services)}
	for i := range m.services {
		if o.Built {
			m.services[i].Commands = nil
		}
	}
	s.drafts[name] = m
	return nil
}

// Build makes a service's part of the release.
func (s *Store) Build(ctx context.Context, name string, svc Service, log string, say func(string)) error {
	m := s.drafts[name]
	if m == nil {
		return fmt.Errorf("release %s was not fetched by this command", name)
	}
	if !m.prepared {
		if err := s.prepare(m, say); err != nil {
			return err
		}
		m.prepared = true
	}
	if len(svc.Commands) == 0 {
		return nil
	}
	return s.runCommands(ctx, m.Draft, name, svc, log, say)
}

// Seal makes it a release.
func (s *Store) Seal(_ context.Context, name string) error {
	draft := s.drafts[name]
	if draft == nil {
		return fmt.Errorf("release %s was not fetched by this command", name)
	}
	_, err := draft.Seal()
	if err == nil {
		delete(s.drafts, name)
	}
	return err
}

// Sealed reports whether the release is there.
func (s *Store) Sealed(name string) (bool, error) {
	r, err := s.Find(name)
	if errors.Is(err, release.ErrNotFound) {
		return false, nil
	}
	return err == nil && r.Name == name, err
}

// Discard removes what was made of a release, by this command or by one that
// was killed.
func (s *Store) Discard(name string) error {
	if draft := s.drafts[name]; draft != nil {
		if err := draft.Discard(); err != nil {
			return err
		}
		delete(s.drafts, name)
	}
	_, err := s.Sweep()
	return err
}

// Prune removes what nobody needs, and what a command that was killed over that
// left of it.
func (s *Store) Prune(keep int, inUse []string) ([]string, error) {
	removed, err := s.Store.Prune(keep, inUse)
	_, swept := s.Sweep()
	return removed, errors.Join(err, swept)
}

// Point leads a link to a release.
func (s *Store) Point(link, name string, svc Service) error {
	r, err := s.Find(name)
	if err != nil {
		return err
	}
	return s.Store.Point(link, r, svc.Name)
}

// Pointed tells what a link leads to.
func (s *Store) Pointed(link string) (Aim, error) {
	r, ok, err := s.Store.Pointed(link)
	if err != nil {
		return Aim{}, err
	}
	target, err := os.Readlink(link)
	switch {
	case errors.Is(err, syscall.EINVAL):
		return Aim{}, hint(fmt.Errorf("%s is not a symbolic link: deploy would put one in its place, and leads it to releases", link),
			LinkInPlaceOf(link))
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return Aim{}, fmt.Errorf("looking where %s leads: %w", link, err)
	}
	if !ok {
		return Aim{Target: target}, nil
	}
	return Aim{Target: target, Release: r.Name, Revision: r.Revision}, nil
}
