package handover

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The successor's descriptors, and the variable that tells it of them.
const (
	predecessorVar = "CHARACTIER_PROXY_PREDECESSOR"
	connFD         = 3
	stderrFD       = 4
)

// lastLines is how many of the successor's last lines are kept.
const lastLines = 20

// Process is a process that can be waited for and killed whoever its parent is.
// Its number is not used again for another while it is held.
type Process struct {
	pidfd *os.File
	PID   int
}

// Find takes hold of a process by its number.
func Find(pid int) (*Process, error) {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("taking hold of process %d: %w", pid, err)
	}
	return &Process{pidfd: os.NewFile(uintptr(fd), "process"), PID: pid}, nil
}

// Kill ends the process at once.
func (p *Process) Kill() error {
	raw, err := p.pidfd.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = unix.PidfdSendSignal(int(fd), unix.SIGKILL, nil, 0) })
	if errors.Is(failed, unix.ESRCH) {
		failed = nil
	}
	return errors.Join(err, failed)
}

// Await waits until the process has ended or ctx has.
func (p *Process) Await(ctx context.Context) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if p.ended() {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// ended reports whether the process has: its descriptor is readable then.
func (p *Process) ended() bool {
	raw, err := p.pidfd.SyscallConn()
	if err != nil {
		return true
	}
	over := false
	err = raw.Control(func(fd uintptr) {
		fds := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds[:], 0)
		over = err == nil && n == 1
	})
	return over || err != nil
}

// Close lets go of the process, which goes on.
func (p *Process) Close() error { return p.pidfd.Close() }

// Successor is a process that was started to take over.
type Successor struct {
	*Conn
	*Process
	said *tail
}

// Start runs a program as our successor. sibling makes it a child of our own
// parent, which then learns of its end: for a service manager, whose main process
// it will be. What it says until it calls [KeepStderr] goes to stderr too.
func Start(path string, args []string, sibling bool, stderr io.Writer) (_ *Successor, err error) {
	ours, theirs, err := pair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	read, write, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, ours.Close())
	}
	defer write.Close()
	p, err := run(path, args, sibling, []*os.File{os.Stdin, os.Stdout, write, theirs, os.Stderr})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("starting %s: %w", path, err), ours.Close(), read.Close())
	}
	s := &Successor{Conn: ours, Process: p, said: &tail{ended: make(chan struct{})}}
	go s.said.follow(read, stderr)
	return s, nil
}

func run(path string, args []string, sibling bool, files []*os.File) (*Process, error) {
	pidfd := -1
	attr := &os.ProcAttr{Files: files, Env: environment(), Sys: &syscall.SysProcAttr{PidFD: &pidfd}}
	if sibling {
		attr.Sys.Cloneflags = unix.CLONE_PARENT
	}
	p, err := os.StartProcess(path, append([]string{path}, args...), attr)
	if err != nil {
		return nil, err
	}
	if !sibling {
		go p.Wait() //nolint:errcheck // only so that it does not stay as a zombie
	}
	if pidfd < 0 {
		return Find(p.Pid)
	}
	unix.SetNonblock(pidfd, true) //nolint:errcheck // it is polled
	return &Process{pidfd: os.NewFile(uintptr(pidfd), "process"), PID: p.Pid}, nil
}

// environment is ours, but for what is only about this very process.
func environment() []string {
	env := slices.DeleteFunc(os.Environ(), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return name == "WATCHDOG_PID" || name == predecessorVar
	})
	return append(env, fmt.Sprintf("%s=%d", predecessorVar, connFD))
}

// Said is what the successor said last, once it has said all or ctx has ended.
func (s *Successor) Said(ctx context.Context) string {
	select {
	case <-s.said.ended:
	case <-ctx.Done():
	}
	return s.said.String()
}

// Close lets go of the successor, which goes on.
func (s *Successor) Close() error { return errors.Join(s.Conn.Close(), s.Process.Close()) }

// tail keeps the last lines.
type tail struct {
	ended chan struct{}
	mu    sync.Mutex
	lines []string
}

func (t *tail) follow(from *os.File, to io.Writer) {
	defer close(t.ended)
	defer from.Close()
	in := bufio.NewReaderSize(from, 4<<10)
	for {
		line, err := in.ReadSlice('\n')
		if len(line) > 0 {
			to.Write(line) //nolint:errcheck // it is kept all the same
			t.add(string(line))
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}

func (t *tail) add(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.lines = append(t.lines, line); len(t.lines) > lastLines {
		t.lines = t.lines[1:]
	}
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(strings.Join(t.lines, ""))
}

// Inherit returns the connection to who started us as its successor, or nil where
// nobody did. It finds it only once.
func Inherit() (*Conn, error) {
	if os.Getenv(predecessorVar) == "" {
		return nil, nil
	}
	os.Unsetenv(predecessorVar) //nolint:errcheck // it cannot fail for a name that is one
	c, err := open(os.NewFile(connFD, "predecessor"))
	if err != nil {
		return nil, fmt.Errorf("finding the process that started this one: %w", err)
	}
	unix.CloseOnExec(stderrFD)
	return c, nil
}

// KeepStderr has our standard error lead where our predecessor's did, and not to
// our predecessor any more.
func KeepStderr() error {
	defer unix.Close(stderrFD) //nolint:errcheck // a copy stays
	if err := unix.Dup3(stderrFD, 2, 0); err != nil {
		return fmt.Errorf("taking over the standard error: %w", err)
	}
	return nil
}
