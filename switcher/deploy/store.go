package deploy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"charactier-proxy/switcher/deploy/release"
)

// Command is one command of a build, to be run apart from everything else.
type Command struct {
	Unit, Description string
	Line              string // for a shell
	Dir, User         string
	Environment       []string
	Output            string // the file that gets what it prints
	Writes            []string
	Timeout           time.Duration
	MemoryMax         uint64
	CPUWeight         uint64
	IOWeight          uint64
	TasksMax          uint64 // processes and threads
}

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

// prepare does for all services what must be done while the release is still
// root's: what the build's user has had is not written by root any more.
func (s *Store) prepare(m *making, say func(string)) error {
	var builder *Service
	for i, svc := range m.services {
		if len(svc.Commands) > 0 {
			if builder != nil && builder.User != svc.User {
				return hint(fmt.Errorf("%s is built by the user %s and %s by %s: one release has one builder", builder.Name, builder.User, svc.Name, svc.User),
					"name the same build.user for both, or deploy them one after the other with --service")
			}
			builder = &m.services[i]
			if err := s.reuse(m.Draft, svc, say); err != nil {
				return err
			}
		}
		if err := m.Share(svc.Name, svc.Shared); err != nil {
			return err
		}
	}
	if builder == nil {
		return nil
	}
	uid, gid, err := s.builder(*builder)
	if err != nil {
		return err
	}
	return m.Chown(uid, gid)
}

// builder is the user that a service's commands run as.
func (s *Store) builder(svc Service) (uid, gid int, err error) {
	u, err := user.Lookup(svc.User)
	if err != nil {
		return 0, 0, hint(fmt.Errorf("finding the user that builds run as: %w", err),
			"systemd-sysusers makes the default one; services."+svc.Name+".build.user names another")
	}
	return numbers(u)
}

// buildUnit is the unit that a service's n-th command runs in. It outlives a
// command of ours that is killed.
func buildUnit(service string, n int) string {
	return fmt.Sprintf("charactier-build-%s-%d.service", service, n)
}

func (s *Store) runCommands(ctx context.Context, draft *release.Draft, name string, svc Service, log string, say func(string)) error {
	uid, gid, err := s.builder(svc)
	if err != nil {
		return err
	}
	cache, err := s.cache(svc.User, uid, gid)
	if err != nil {
		return err
	}
	var last lastLines
	follow := followFile(log, func(line string) { last.add(line); say(line) })
	defer follow()
	deadline := time.Now().Add(svc.Timeout)
	for n, line := range svc.Commands {
		say("$ " + line)
		left := time.Until(deadline)
		if left <= 0 {
			return fmt.Errorf("%s: not begun, for all commands together took longer than %s", line, svc.Timeout)
		}
		err := s.opts.Run(ctx, Command{
			Unit:        buildUnit(svc.Name, n),
			Description: fmt.Sprintf("Build of %s, release %s: %s", svc.Name, name, line),
			Line:        line, Dir: draft.PartDir(svc.Name), User: svc.User, Output: log, Writes: []string{draft.Dir(), cache},
			Environment: append([]string{"HOME=" + cache, "npm_config_cache=" + filepath.Join(cache, "npm"), "RELEASE=" + name,
				"REVISION=" + draft.Release().Revision, "CI=true"}, svc.Environment...),
			Timeout: left, MemoryMax: svc.MemoryMax, CPUWeight: svc.CPUWeight, IOWeight: svc.IOWeight, TasksMax: svc.TasksMax,
		})
		if err != nil {
			follow()
			return hint(failedCommand{fmt.Errorf("%s: %w", line, err), last.all()}, "all of its output is in "+log)
		}
	}
	return nil
}

// failedCommand is a command's failure with what it said last.
type failedCommand struct {
	error
	output []string
}

func (f failedCommand) Unwrap() error    { return f.error }
func (f failedCommand) Output() []string { return f.output }

// reuse begins the build with what the newest release of the service has.
func (s *Store) reuse(draft *release.Draft, svc Service, say func(string)) error {
	all, err := s.List()
	if err != nil {
		return err
	}
	for _, r := range all {
		if r.Parts[svc.Name] == "" {
			continue
		}
		if err := draft.Reuse(r, svc.Name, svc.Reuse); err != nil {
			return err
		}
		say("begun with " + strings.Join(svc.Reuse, ", ") + " of " + r.Name)
		return nil
	}
	return nil
}

// cache is a directory of the build user that outlives builds.
func (s *Store) cache(name string, uid, gid int) (string, error) {
	dir := filepath.Join(s.opts.Root, "cache", name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("making the cache of builds: %w", err)
	}
	if err := os.Lchown(dir, uid, gid); err != nil {
		return "", fmt.Errorf("giving the cache of builds to its user: %w", err)
	}
	return dir, nil
}

func numbers(u *user.User) (uid, gid int, err error) {
	uid, err = strconv.Atoi(u.Uid)
	if err == nil {
		gid, err = strconv.Atoi(u.Gid)
	}
	return uid, gid, err
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
			fmt.Sprintf("mv %[1]s %[1]s.before && ln -s %[1]s.before %[1]s", link))
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return Aim{}, fmt.Errorf("looking where %s leads: %w", link, err)
	}
	if !ok {
		return Aim{Target: target}, nil
	}
	return Aim{Target: target, Release: r.Name, Revision: r.Revision}, nil
}
