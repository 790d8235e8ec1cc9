package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"charactier-proxy/cmd/internal/nginx"
	"charactier-proxy/switcher/deploy/release"
)

// Local is the machine that we are on.
type Local struct {
	// UnitDirs are where systemd's units are; empty means the usual places.
	UnitDirs []string
}

var _ Machine = Local{}

const (
	nginxWait = 10 * time.Second
	gitTime   = 10 * time.Second
)

// Nginx asks nginx itself what it would run with.
func (Local) Nginx(ctx context.Context) Nginx {
	path, err := nginx.Find("")
	if err != nil {
		return Nginx{Missing: true}
	}
	ctx, cancel := context.WithTimeout(ctx, nginxWait)
	defer cancel()
	var dump, problems strings.Builder
	cmd := exec.CommandContext(ctx, path, "-T")
	cmd.Stdout, cmd.Stderr = &dump, &problems
	if err := cmd.Run(); err != nil {
		why := complaint(problems.String())
		if os.Geteuid() != 0 || why == "" {
			return Nginx{Err: fmt.Errorf("nginx -T: %w", errors.Join(err, textError(why)))}
		}
		return Nginx{Refused: why}
	}
	return Nginx{Directives: ParseNginx(dump.String())}
}

// textError is an error that is only a text; nil for none.
func textError(text string) error {
	if text == "" {
		return nil
	}
	return errors.New(text)
}

// complaint is the first line of what nginx says that is no mere warning.
func complaint(said string) string {
	for line := range strings.Lines(said) {
		for _, level := range []string{"[emerg] ", "[alert] ", "[crit] ", "[error] "} {
			if _, text, ok := strings.Cut(line, level); ok {
				return strings.TrimSpace(text)
			}
		}
	}
	return ""
}

// Disk asks the kernel; what is kept for root is not free.
func (Local) Disk(path string) (free, inodes, all uint64, err error) {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return 0, 0, 0, os.NewSyscallError("statfs", err)
	}
	return s.Bavail * uint64(s.Bsize), s.Ffree, s.Files, nil
}

// unsynchronised is the error at which the kernel itself gives its clock up,
// and which systemd's timedated takes for not synchronised.
const unsynchronised = 16_000_000 // microseconds

// Clock asks the kernel whether somebody keeps its clock right.
func (Local) Clock() Clock {
	var t unix.Timex
	if _, err := unix.Adjtimex(&t); err != nil {
		return Clock{Err: os.NewSyscallError("adjtimex", err)}
	}
	return Clock{Synchronised: t.Maxerror < unsynchronised}
}

// User looks the user up.
func (Local) User(name string) error {
	_, err := user.Lookup(name)
	return err
}

// Repository asks for one reference as a deploy would, without ever asking for a
// password.
func (Local) Repository(ctx context.Context, repository, ref string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, gitTime, fmt.Errorf("no answer within %v", gitTime))
	defer cancel()
	return release.Reach(ctx, repository, ref)
}

// Gone reads it from /proc.
func (Local) Gone(pid int) string {
	dir, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
	if err != nil {
		return ""
	}
	dir, gone := strings.CutSuffix(dir, " (deleted)")
	if !gone {
		return ""
	}
	return dir
}

// Directory follows the kernel, as Gone does.
func (Local) Directory(pid int) string {
	dir, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
	if err != nil || strings.HasSuffix(dir, " (deleted)") {
		return ""
	}
	return dir
}

// Texts are unit files with their drop-ins, the files of variables that they
// name and those beside the programs that they start, and the tables of cron.
func (l Local) Texts() []Text {
	dirs := l.UnitDirs
	if dirs == nil {
		dirs = []string{"/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system"}
	}
	var all []Text
	for _, dir := range dirs {
		for _, pattern := range []string{"*.service", "*.service.d/*.conf"} {
			paths, _ := filepath.Glob(filepath.Join(dir, pattern)) // the pattern is sound
			for _, path := range paths {
				for _, text := range ReadTexts(unitOf(path), path) {
					all = append(all, text)
					all = append(all, besides(text)...)
				}
			}
		}
	}
	tables, _ := filepath.Glob("/etc/cron.d/*") // the pattern is sound
	return append(all, ReadTexts("cron", append(tables, "/etc/crontab")...)...)
}

// unitOf is the unit that a unit file or drop-in belongs to.
func unitOf(path string) string {
	if dir := filepath.Base(filepath.Dir(path)); strings.HasSuffix(dir, ".service.d") {
		return strings.TrimSuffix(dir, ".d")
	}
	return filepath.Base(path)
}

// besides are the files of variables that a unit's program reads.
func besides(unit Text) []Text {
	var all []Text
	for line := range strings.Lines(unit.Content) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		value = strings.TrimPrefix(value, "-")
		switch {
		case !filepath.IsAbs(value):
		case key == "EnvironmentFile":
			for _, file := range ReadEnvironment(value, unit.Unit, true) {
				if !errors.Is(file.Err, fs.ErrNotExist) {
					all = append(all, file.Text)
				}
			}
		case key == "WorkingDirectory":
			for _, name := range []string{".env", ".env.local", ".env.production", ".env.production.local"} {
				all = append(all, ReadTexts(unit.Unit, filepath.Join(value, name))...)
			}
		}
	}
	return all
}
