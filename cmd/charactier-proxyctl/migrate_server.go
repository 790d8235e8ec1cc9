package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"charactier-proxy/cmd/internal/nginx"
	"charactier-proxy/switcher/control"
)

const (
	reloadTime = 10 * time.Second // for the new workers to be there
	routeTime  = 5 * time.Second  // for requests to go where they should
	settleTime = 2 * time.Second  // the same where nothing was changed
	pollEvery  = 50 * time.Millisecond
)

const nginxUnit = "nginx.service"

// nginxServer is the nginx that runs.
type nginxServer struct {
	nginx.Program
	master int
	unit   bool // it is systemd's
	routes *routes
	old    []int // workers before the reload
}

// newServer finds the running nginx, and looks how it answers now.
func (m *migration) newServer(ctx context.Context, files []*nginxFile, places []place) (*nginxServer, error) {
	pidFile := ""
	if len(files) > 0 {
		pidFile = files[0].conf.Setting("pid")
	}
	master, err := m.program.Master(ctx, pidFile)
	if errors.Is(err, nginx.ErrNotRunning) {
		return nil, migrateError{error: err, code: "refused", exit: control.ExitFailed, hint: "systemctl start nginx, or tell which it is by --nginx and --nginx-conf"}
	}
	if err != nil {
		return nil, err
	}
	r := m.newRoutes(ctx, files, places)
	return &nginxServer{Program: m.program, master: master, unit: isUnits(ctx, master), routes: r}, nil
}

// isUnits reports whether systemd keeps the process as nginx.service.
func isUnits(ctx context.Context, master int) bool {
	out, err := exec.CommandContext(ctx, "systemctl", "show", "--property=MainPID", "--value", nginxUnit).Output()
	return err == nil && strings.TrimSpace(string(out)) == strconv.Itoa(master)
}

// Reload reloads nginx and waits until new workers run.
func (s *nginxServer) Reload(ctx context.Context) error {
	old, err := nginx.Workers(s.master)
	if err != nil {
		return err
	}
	if err := s.tell(ctx); err != nil {
		return fmt.Errorf("reloading nginx: %w", err)
	}
	s.old = old
	isNew := func(pid int) bool { return !slices.Contains(old, pid) }
	for deadline := time.Now().Add(reloadTime); ; {
		workers, err := nginx.Workers(s.master)
		switch {
		case err != nil:
			return err
		case slices.ContainsFunc(workers, isNew):
			return nil
		case time.Now().After(deadline):
			return fmt.Errorf("%w: told to reload, it started no new workers within %s", errNotTaken, reloadTime)
		}
		if err := pause(ctx, pollEvery); err != nil {
			return err
		}
	}
}

// Check waits until requests through nginx go where they should.
func (s *nginxServer) Check(ctx context.Context) error { return s.routes.check(ctx, routeTime) }

// tell is the reload alone, in the way by which nginx was started.
func (s *nginxServer) tell(ctx context.Context) error {
	if !s.unit {
		return s.Program.Reload(ctx)
	}
	cmd := exec.CommandContext(ctx, "systemctl", "reload", nginxUnit)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // as nginx itself is run
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("systemctl reload %s: %w: %s", nginxUnit, err, out)
	}
	return nil
}

// leaving counts the old workers that still end what they had.
func (s *nginxServer) leaving() int {
	n := 0
	for _, pid := range s.old {
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); err == nil {
			n++
		}
	}
	return n
}

// pause waits, or says that somebody interrupted.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return errors.New("interrupted")
	case <-timer.C:
		return nil
	}
}
