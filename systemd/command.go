package systemd

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"
)

// Command is a transient service unit, such as a build runs in: systemd keeps
// all of its processes together, bounds them, and ends them together.
type Command struct {
	Unit, Description string   // Unit is a name of its own, with .service
	Argv              []string // as it is: nothing in it is expanded
	Dir               string   // where it runs; "" means /
	User              string   // whom it runs as, with that user's groups and HOME; "" means root
	Environment       []string // NAME=value, besides PATH and what User brings
	Output            string   // the file that stdout and stderr are appended to; "" means the journal

	Timeout   time.Duration // after which it is ended; 0 means never
	MemoryMax uint64        // in bytes; more kills the unit. Of this and the next ones 0 means that it is not set.
	CPUWeight uint64        // 1 to 10000, as a share among the units next to it, which have 100
	IOWeight  uint64        // likewise
	TasksMax  uint64        // processes and threads

	// ReadWritePaths are the only places that it may write, besides a /tmp of its
	// own if it is Private. Without any it may write wherever its user may.
	ReadWritePaths []string
	// Private keeps it away from what no build needs: other users' processes and
	// homes, devices, the kernel's settings, privileges by setuid, a /tmp with
	// others. The network stays.
	Private bool
}

// killGrace is how long the processes of a Command may take to end on SIGTERM.
const killGrace = 5 * time.Second

// Run starts the command and waits until it has ended and none of its
// processes is left. The error is nil for exit code 0, a [UnitError] if it ended
// otherwise, where State.Result tells an exit code, a signal, the timeout and
// want of memory apart, and ctx's error if that ended first: then the command
// has been stopped.
//
// What an earlier Run that was killed left under the same name is stopped first.
func (u *Units) Run(ctx context.Context, c Command) error {
	return while(Running, c.Unit, u.run(ctx, c))
}

func (u *Units) run(ctx context.Context, c Command) (err error) {
	if err := c.check(); err != nil {
		return err
	}
	// By name, so both may be done whatever has become of it.
	if err := u.sweep(ctx, c.Unit); err != nil {
		return fmt.Errorf("stopping what is left of an earlier run: %w", err)
	}
	defer func() {
		// However it ended: descendants that its main process left are stopped.
		over, cancel := context.WithTimeout(context.WithoutCancel(ctx), killGrace+25*time.Second)
		defer cancel()
		if sweepErr := u.sweep(over, c.Unit); sweepErr != nil {
			err = errors.Join(err, fmt.Errorf("stopping what it left: %w", sweepErr))
		}
	}()
	results := make(chan string, 1)
	if _, err := u.conn.StartTransientUnitContext(ctx, c.Unit, "fail", c.properties(), results); err != nil {
		return u.explain(ctx, err)
	}
	return u.judgeRun(ctx, c.Unit, results)
}

// judgeRun waits for the end.
func (u *Units) judgeRun(ctx context.Context, unit string, results <-chan string) error {
	result, err := u.await(ctx, results)
	if err != nil {
		return err
	}
	var last, run UnitState
	err = u.follow(ctx, unit, func(s UnitState) bool {
		last = s
		if s.InvocationID != "" {
			run = s
		}
		return s.Runs() && s.SubState != "exited"
	})
	if err != nil {
		return err
	}
	// A signal that asks to end is a success to systemd.
	if last.SubState == "exited" && last.ExecMainCode == cldExited && last.ExecMainStatus == 0 {
		return nil
	}
	e := &UnitError{Unit: unit, Doing: Running, State: last}
	if result != "done" {
		e.Job = result
	}
	return u.blame(ctx, e, run)
}

// sweep stops a transient unit and makes systemd forget it. Others are not
// touched: that of a file on disk is somebody's.
func (u *Units) sweep(ctx context.Context, unit string) error {
	s, err := u.state(ctx, unit)
	if err != nil || s.LoadState == "not-found" {
		return err
	}
	if !strings.HasPrefix(s.FragmentPath, "/run/systemd/transient/") {
		return fmt.Errorf("%s is a unit of its own, in %s", unit, s.FragmentPath)
	}
	if err := u.stop(ctx, unit); err != nil {
		return err
	}
	err = u.conn.ResetFailedUnitContext(ctx, unit)
	if isNotLoaded(err) {
		return nil
	}
	return u.explain(ctx, err)
}

func (c Command) check() error {
	switch {
	case !strings.HasSuffix(c.Unit, ".service"):
		return fmt.Errorf("%q is not the name of a service", c.Unit)
	case len(c.Argv) == 0:
		return errors.New("there is no command")
	case slices.ContainsFunc(slices.Concat(c.ReadWritePaths, []string{c.Dir, c.Output}), func(p string) bool { return p != "" && !filepath.IsAbs(p) }):
		return errors.New("its paths must be absolute")
	}
	return nil
}

// properties are those of the unit, by their D-Bus names.
func (c Command) properties() []dbus.Property {
	p := properties{}
	p.set("Description", c.Description)
	p.set("Type", "exec")
	// Keeps how it ended readable until it has been read.
	p.set("RemainAfterExit", true)
	p.set("ExecStart", []execCommand{{Path: c.Argv[0], Argv: verbatim(c.Argv)}})
	p.set("WorkingDirectory", c.Dir)
	p.set("User", c.User)
	p.set("Environment", c.Environment)
	p.set("StandardOutputFileToAppend", c.Output)
	p.set("StandardErrorFileToAppend", c.Output)
	p.set("UMask", uint32(0o022))
	p.set("TimeoutStopUSec", uint64(killGrace.Microseconds()))
	p.set("RuntimeMaxUSec", uint64(c.Timeout.Microseconds()))
	p.set("MemoryMax", c.MemoryMax)
	p.set("CPUWeight", c.CPUWeight)
	p.set("IOWeight", c.IOWeight)
	p.set("TasksMax", c.TasksMax)
	// Where memory runs out nevertheless, the slots come last.
	p.set("OOMScoreAdjust", int32(500))
	if len(c.ReadWritePaths) > 0 {
		p.set("ProtectSystem", "strict")
		p.set("ReadWritePaths", c.ReadWritePaths)
	}
	if c.Private {
		c.harden(&p)
	}
	return p
}

// harden is what a build with network can do without. Its compilers write and
// run code, so memory may stay writable and executable.
func (c Command) harden(p *properties) {
	p.set("NoNewPrivileges", true)
	p.set("PrivateTmp", true)
	p.set("PrivateDevices", true)
	p.set("PrivateIPC", true)
	p.set("ProtectHome", c.protectHome())
	p.set("ProtectClock", true)
	p.set("ProtectControlGroups", true)
	p.set("ProtectHostname", true)
	p.set("ProtectKernelLogs", true)
	p.set("ProtectKernelModules", true)
	p.set("ProtectKernelTunables", true)
	p.set("ProtectProc", "invisible")
	p.set("LockPersonality", true)
	p.set("KeyringMode", "private")
	p.set("RestrictRealtime", true)
	p.set("RestrictSUIDSGID", true)
	p.put("RestrictNamespaces", uint64(0))
	p.set("RestrictAddressFamilies", filter{true, []string{"AF_UNIX", "AF_INET", "AF_INET6", "AF_NETLINK"}})
	p.set("SystemCallArchitectures", []string{"native"})
	p.set("SystemCallFilter", filter{true, []string{"@system-service"}})
	p.set("SystemCallErrorNumber", int32(syscall.EPERM))
	if c.User != "" { // root without them could not even read its users' files
		p.put("CapabilityBoundingSet", uint64(0))
	}
}

// protectHome hides the homes, unless the command has to do with one.
func (c Command) protectHome() string {
	for _, path := range slices.Concat([]string{c.Dir, c.Argv[0]}, c.ReadWritePaths) {
		for _, home := range []string{"/home/", "/root/", "/run/user/"} {
			if strings.HasPrefix(path+"/", home) {
				return "read-only"
			}
		}
	}
	return "yes"
}

// execCommand and filter are D-Bus structures, (sasb) and (bas).
type execCommand struct {
	Path          string
	Argv          []string
	IgnoreFailure bool
}

// verbatim keeps systemd from putting variables into arguments. There is a flag
// for that, of ExecStartEx, but systemd 252 does not read a unit that has one
// again: a daemon-reload took the unit away while it ran.
func verbatim(argv []string) []string {
	escaped := make([]string, len(argv))
	for i, arg := range argv {
		escaped[i] = strings.ReplaceAll(arg, "$", "$$")
	}
	return escaped
}

type filter struct {
	Allow bool
	Names []string
}

type properties []dbus.Property

// set leaves out what is empty: systemd's default is meant.
func (p *properties) set(name string, value any) {
	switch v := value.(type) {
	case string:
		if v == "" {
			return
		}
	case uint64:
		if v == 0 {
			return
		}
	case []string:
		if len(v) == 0 {
			return
		}
	}
	p.put(name, value)
}

func (p *properties) put(name string, value any) {
	*p = append(*p, dbus.Property{Name: name, Value: godbus.MakeVariant(value)})
}
