package e2e

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// process is a child that is ended with its test, and whose output is shown if
// the test failed.
type process struct {
	t    *testing.T
	name string
	cmd  *exec.Cmd
	log  string        // a file with both outputs
	done chan struct{} // closed once it has ended
}

func start(t *testing.T, name string, cmd *exec.Cmd) *process {
	t.Helper()
	if err := dependOnSources(); err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, name: name, cmd: cmd, log: filepath.Join(t.TempDir(), "output"), done: make(chan struct{})}
	out, err := os.Create(p.log)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	// A test binary that is killed takes its children along.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting %s: %v", name, err)
	}
	go func() {
		// How it ended is in cmd.ProcessState.
		_ = cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.signal(syscall.SIGKILL)
		<-p.done
		if t.Failed() {
			t.Logf("%s (%s) said:\n%s", name, cmd.ProcessState, p.tail())
		}
	})
	return p
}

// signal sends sig; a process that has ended already is fine.
func (p *process) signal(sig syscall.Signal) { _ = p.cmd.Process.Signal(sig) }

// stop ends the process in good order and returns how it went.
func (p *process) stop(within time.Duration) *os.ProcessState {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	return p.await(within)
}

func (p *process) kill() { p.signal(syscall.SIGKILL); <-p.done }

func (p *process) await(within time.Duration) *os.ProcessState {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(within):
		p.t.Fatalf("%s has not ended within %s", p.name, within)
	}
	return p.cmd.ProcessState
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// tail is the end of what the process said.
func (p *process) tail() string {
	const most = 16 << 10
	out, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	if len(out) > most {
		out = append([]byte("...\n"), out[len(out)-most:]...)
	}
	return string(bytes.TrimSpace(out))
}

// patience is the deadline of every wait: far more than any of them needs.
const patience = 30 * time.Second

// eventually asks again and again until there is no error.
func eventually(t *testing.T, what string, ask func() error) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ask()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("%s: still not after %s: %v", what, patience, err)
		}
	}
}

// awaitListening waits until somebody accepts on addr, and fails the test at
// once if the process that should do so has ended.
func (p *process) awaitListening(addr string) {
	p.t.Helper()
	eventually(p.t, p.name+" listens on "+addr, func() error {
		if p.ended() {
			p.t.Fatalf("%s has ended: %s\n%s", p.name, p.cmd.ProcessState, p.tail())
		}
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return err
		}
		return conn.Close()
	})
}

var (
	portsMu    sync.Mutex
	portsGiven = map[int]bool{}
)

// freeAddr finds an address that nobody listens on, below the range that the
// kernel takes source ports from: a busy client must not get there first.
func freeAddr(t *testing.T) string {
	t.Helper()
	portsMu.Lock()
	defer portsMu.Unlock()
	for range 1000 {
		port := 20000 + rand.IntN(12000)
		if portsGiven[port] {
			continue
		}
		addr := fmt.Sprintf("127.0.0.1:%d", port)
		l, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		l.Close()
		portsGiven[port] = true
		return addr
	}
	t.Fatal("no free port found")
	return ""
}

// program finds a program that the tests cannot do without.
func program(t *testing.T, name, debianPackage string) string {
	t.Helper()
	for _, path := range []string{name, "/usr/sbin/" + name, "/sbin/" + name} {
		if found, err := exec.LookPath(path); err == nil {
			return found
		}
	}
	t.Fatalf("%s is missing; install it: sudo apt-get install --no-install-recommends %s", name, debianPackage)
	return ""
}
