package sdbox

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Run runs a command in the box as root and returns what it printed to
// stdout, without the last line's end. A command that fails fails the test.
func (b *Box) Run(argv ...string) string {
	b.t.Helper()
	cmd := b.Command(b.t.Context(), argv...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		b.t.Fatalf("in %s, %s: %v\n%s%s", b.name, strings.Join(argv, " "), err, out, stderr.String())
	}
	return strings.TrimSuffix(string(out), "\n")
}

// Command prepares a command that runs in the box as root, for when it may
// fail or goes on beside the test.
func (b *Box) Command(ctx context.Context, argv ...string) *exec.Cmd {
	return b.enter(ctx, []string{"--mount", "--pid", "--uts", "--ipc", "--net", "--cgroup"}, argv)
}

// NetCommand prepares a program of the host that sees the host's files and the
// box's network.
func (b *Box) NetCommand(ctx context.Context, argv ...string) *exec.Cmd {
	return b.enter(ctx, []string{"--net"}, argv)
}

func (b *Box) enter(ctx context.Context, namespaces, argv []string) *exec.Cmd {
	args := append([]string{"--target", strconv.Itoa(b.leader)}, namespaces...)
	return exec.CommandContext(ctx, "nsenter", append(append(args, "--"), argv...)...)
}

// Path is where the host finds a file of the running box.
func (b *Box) Path(path string) string {
	return filepath.Join("/proc", strconv.Itoa(b.leader), "root", path)
}

// Write puts a file into the running box.
func (b *Box) Write(path, text string) {
	b.t.Helper()
	path = b.Path(path)
	b.must("making a directory", os.MkdirAll(filepath.Dir(path), 0o755))
	b.must("writing a file", os.WriteFile(path, []byte(text), 0o644))
}

// Read returns what a file of the running box holds.
func (b *Box) Read(path string) string {
	b.t.Helper()
	text, err := os.ReadFile(b.Path(path))
	b.must("reading a file", err)
	return string(text)
}

// Dial connects within the box's network; the connection is used from outside.
// The address must be an IP address with a port.
func (b *Box) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	// A socket belongs to the network its thread was in when it was made.
	runtime.LockOSThread()
	home, err := joinNetwork(b.leader)
	if err != nil {
		runtime.UnlockOSThread()
		return nil, fmt.Errorf("entering the network of %s: %w", b.name, err)
	}
	conn, dialErr := new(net.Dialer).DialContext(ctx, network, address)
	if err := home(); err != nil {
		// The thread stays locked, so that nobody else runs on it.
		return nil, errors.Join(fmt.Errorf("leaving the network of %s: %w", b.name, err), dialErr)
	}
	runtime.UnlockOSThread()
	return conn, dialErr
}

// joinNetwork moves the calling thread to the network of process pid; home
// moves it back. A thread that cannot come back must not be given up to the
// runtime, nor end: children with a Pdeathsig die with the thread that made
// them (golang/go#27505).
func joinNetwork(pid int) (home func() error, err error) {
	own, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, err
	}
	other, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return nil, errors.Join(err, own.Close())
	}
	defer other.Close()
	if err := setNetwork(other); err != nil {
		return nil, errors.Join(err, own.Close())
	}
	return func() error { defer own.Close(); return setNetwork(own) }, nil
}

func setNetwork(ns *os.File) error {
	return os.NewSyscallError("setns", unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET))
}

// Eventually asks ten times a second until it gets no error, at most for half
// a minute.
func (b *Box) Eventually(what string, ask func() error) {
	b.t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(30 * time.Second); ; <-tick.C {
		err := ask()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("%s: %v", what, err)
		}
	}
}
