package deploy

import (
	"context"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
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

// buildUnit is the unit that a service's n-th command runs in. It outlives a
// command of ours that is killed.
func buildUnit(service string, n int) string {
	return fmt.Sprintf("charactier-build-%s-%d.service", service, n)
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
			return hint(outputError{fmt.Errorf("%s: %w", line, err), last.all()}, "all of its output is in "+log)
		}
	}
	return nil
}

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
