package sdbox

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// How long a boot and an orderly halt may take; both take about a second.
const (
	bootTime = 60 * time.Second
	haltTime = 60 * time.Second
)

// sigHalt is SIGRTMIN+3, which systemd as process 1 takes for "systemctl halt".
const sigHalt = syscall.Signal(34 + 3)

// Options say what a box has besides the host's /usr.
type Options struct {
	// Binds maps paths in the box to directories or files of the host, which it
	// may read. A path below /usr must exist on the host.
	Binds map[string]string
	// Files maps paths below /etc or /var to what they hold at the first boot.
	Files map[string]string
	// Keep are directories, such as /srv, that survive like /etc and /var, empty
	// at the first boot.
	Keep []string
	// Unit is what is booted into; empty means multi-user.target.
	Unit string
}

// Box is one machine. Its methods must be called by the test's goroutine,
// except Command, NetCommand, Dial and Path; they fail the test rather than
// return errors.
type Box struct {
	t    testing.TB
	opts Options
	name string
	dir  string // etc and var, which survive, and what we keep of each boot

	nspawn *exec.Cmd
	ended  chan struct{} // closed once nspawn has ended
	leader int           // the host's pid of the box's process 1; 0 while it is off
	groups cgroups
}

// serial makes the names of one process's boxes differ.
var serial atomic.Int64

// Boot starts a box and returns once it is up. The test's end takes it down; if
// the test failed, its journal and console go to the test's log.
func Boot(t testing.TB, o Options) *Box {
	t.Helper()
	if err := missing(); err != nil {
		t.Fatalf("booting a box with systemd: %v", err)
	}
	b := &Box{t: t, opts: o, name: fmt.Sprintf("sdbox-%d-%d", os.Getpid(), serial.Add(1))}
	// Not the test's own directory: paths of sockets must be short.
	dir, err := os.MkdirTemp("", "sdbox-")
	if err != nil {
		t.Fatal(err)
	}
	b.dir = dir
	t.Cleanup(b.dispose)
	b.must("furnishing a box", b.furnish())
	b.Up()
	return b
}

// missing says all that this machine lacks.
func missing() error {
	var lacks []error
	if os.Geteuid() != 0 {
		lacks = append(lacks, errors.New("needs root"))
	}
	for program, pkg := range map[string]string{
		"systemd-nspawn":           "systemd-container",
		"/usr/lib/systemd/systemd": "systemd",
		"dbus-daemon":              "dbus",
		"nsenter":                  "util-linux",
	} {
		if _, err := exec.LookPath(program); err != nil {
			lacks = append(lacks, fmt.Errorf("needs %s, of the package %s: %w", program, pkg, err))
		}
	}
	return errors.Join(lacks...)
}

// furnish lays out what survives a reboot.
func (b *Box) furnish() error {
	id := make([]byte, 16)
	rand.Read(id)
	files := map[string]string{
		// Without one it is a first boot, which enables every service that the
		// host's packages brought.
		"/etc/machine-id": hex.EncodeToString(id) + "\n",
		"/etc/hosts":      "127.0.0.1 localhost\n::1 localhost\n",
		// The second source finds the users of DynamicUser= and systemd's own.
		"/etc/nsswitch.conf": "passwd: files systemd\ngroup: files systemd\nhosts: files\n",
	}
	for path, text := range b.opts.Files {
		files[path] = text
	}
	// journald keeps a journal over reboots only where it finds this directory.
	if err := os.MkdirAll(filepath.Join(b.dir, "var/log/journal"), 0o755); err != nil {
		return err
	}
	for _, path := range b.opts.Keep {
		if err := os.MkdirAll(filepath.Join(b.dir, path), 0o755); err != nil {
			return err
		}
	}
	for path, text := range files {
		if !strings.HasPrefix(path, "/etc/") && !strings.HasPrefix(path, "/var/") {
			return fmt.Errorf("%s is neither below /etc nor /var", path)
		}
		path = filepath.Join(b.dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// Up boots a box that is off.
func (b *Box) Up() {
	b.t.Helper()
	var err error
	if b.groups, err = newCgroups(b.name); err != nil {
		b.t.Fatalf("booting %s: %v", b.name, err)
	}
	told, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(b.dir, "notify"), Net: "unixgram"})
	if err != nil {
		b.t.Fatalf("booting %s: %v", b.name, err)
	}
	defer os.Remove(filepath.Join(b.dir, "notify"))
	defer told.Close()
	b.must("booting "+b.name, b.start())
	if b.leader, err = b.awaitReady(told); err != nil {
		b.t.Fatalf("booting %s: %v\n%s", b.name, err, b.console())
	}
}

// start runs nspawn in the box's cgroups.
func (b *Box) start() error {
	console, err := os.OpenFile(filepath.Join(b.dir, "console"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer console.Close()
	nspawn := b.groups.command(append([]string{"systemd-nspawn"}, b.args()...)...)
	nspawn.Stdout, nspawn.Stderr = console, console
	nspawn.Env = append(os.Environ(),
		"NOTIFY_SOCKET="+filepath.Join(b.dir, "notify"),
		"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1",
		"SYSTEMD_NSPAWN_LOCK=0", // several boxes share the host's /usr
	)
	// A session of its own: Ctrl-C is for the test. A test binary that is killed
	// takes its boxes along: SIGTERM makes nspawn halt its box, which would
	// survive if nspawn itself were killed.
	nspawn.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGTERM}
	if err := nspawn.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		// How it ended is seen on the console.
		_ = nspawn.Wait()
		close(ended)
	}()
	b.nspawn, b.ended = nspawn, ended
	return nil
}

func (b *Box) args() []string {
	args := []string{
		"--quiet", "--directory=/", "--volatile=yes", "--machine=" + b.name,
		"--register=no", "--keep-unit", "--console=pipe", "--notify-ready=yes",
		"--private-network", "--resolv-conf=off", "--timezone=off", "--link-journal=no",
		"--bind=" + filepath.Join(b.dir, "etc") + ":/etc",
		"--bind=" + filepath.Join(b.dir, "var") + ":/var",
	}
	for _, path := range b.opts.Keep {
		args = append(args, "--bind="+filepath.Join(b.dir, path)+":"+path)
	}
	for path, host := range b.opts.Binds {
		args = append(args, "--bind-ro="+host+":"+path)
	}
	unit := b.opts.Unit
	if unit == "" {
		unit = "multi-user.target"
	}
	return append(args, "--boot", "--", "--unit="+unit)
}

// awaitReady returns the leader once the box's systemd says that it is up.
func (b *Box) awaitReady(told *net.UnixConn) (leader int, err error) {
	ctx, cancel := context.WithTimeout(b.t.Context(), bootTime)
	defer cancel()
	go func() {
		select {
		case <-b.ended:
			cancel()
		case <-ctx.Done():
		}
		told.Close()
	}()
	for message := make([]byte, 4096); ; {
		n, err := told.Read(message)
		if err != nil {
			return leader, fmt.Errorf("systemd-nspawn has ended, or not finished within %v: %w", bootTime, err)
		}
		for line := range strings.Lines(string(message[:n])) {
			switch key, value, _ := strings.Cut(strings.TrimSpace(line), "="); key {
			case "X_NSPAWN_LEADER_PID":
				if leader, err = strconv.Atoi(value); err != nil {
					return 0, err
				}
			case "READY":
				return leader, nil
			}
		}
	}
}

// Down halts the box in good order; [Box.Up] boots it again.
func (b *Box) Down() {
	b.t.Helper()
	b.must("halting "+b.name, syscall.Kill(b.leader, sigHalt))
	select {
	case <-b.ended:
	case <-time.After(haltTime):
		b.t.Fatalf("halting %s: not within %v\n%s", b.name, haltTime, b.console())
	}
	b.off()
}

// Crash cuts the box's power: every process in it is killed at once. Up boots
// it again.
func (b *Box) Crash() {
	b.t.Helper()
	b.must("crashing "+b.name, syscall.Kill(b.leader, syscall.SIGKILL))
	<-b.ended
	b.off()
}

// Reboot halts the box in good order and boots it again.
func (b *Box) Reboot() {
	b.t.Helper()
	b.Down()
	b.Up()
}

// off is what remains to be done once nspawn has ended.
func (b *Box) off() {
	b.leader = 0
	b.must("removing the cgroups of "+b.name, b.groups.remove())
}

// dispose ends the box with its test.
func (b *Box) dispose() {
	if b.t.Failed() {
		b.t.Logf("journal of %s:\n%s\nconsole:\n%s", b.name, b.journal(), b.console())
	}
	if b.nspawn != nil {
		// Whichever there is to kill; the other one follows.
		if b.leader != 0 {
			_ = syscall.Kill(b.leader, syscall.SIGKILL)
		} else {
			_ = b.nspawn.Process.Kill()
		}
		<-b.ended
		b.off()
	}
	b.must("removing the files of "+b.name, os.RemoveAll(b.dir))
}

func (b *Box) journal() string {
	if b.leader == 0 {
		return "(it is off)"
	}
	// The test's context has ended by now.
	out, err := b.Command(context.Background(), "journalctl", "--no-pager", "--boot", "--lines=300").CombinedOutput()
	if err != nil {
		return err.Error()
	}
	return string(out)
}

func (b *Box) console() string {
	out, err := os.ReadFile(filepath.Join(b.dir, "console"))
	if err != nil {
		return err.Error()
	}
	return string(out)
}

func (b *Box) must(what string, err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatalf("%s: %v", what, err)
	}
}
