package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// process is a child whose outputs go to a file.
type process struct {
	name string
	cmd  *exec.Cmd
	done chan struct{} // closed once it has ended
}

func spawn(name, log string, cmd *exec.Cmd) (*process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	// Whoever kills us takes our children along.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	p := &process{name: name, cmd: cmd, done: make(chan struct{})}
	go func() {
		// How it ended is in cmd.ProcessState.
		_ = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// signal sends sig; a process that has ended already is fine.
func (p *process) signal(sig syscall.Signal) { _ = p.cmd.Process.Signal(sig) }

// kill ends it with no chance to do anything about it.
func (p *process) kill() {
	p.signal(syscall.SIGKILL)
	<-p.done
}

// stop ends it in good order, and kills it if that takes too long.
func (p *process) stop(within time.Duration) error {
	p.signal(syscall.SIGTERM)
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-p.done:
		return nil
	case <-timer.C:
		p.kill()
		return fmt.Errorf("%s had not ended %s after SIGTERM", p.name, within)
	}
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// awaitListening waits until somebody accepts on addr.
func (p *process) awaitListening(ctx context.Context, addr string) error {
	err := eventually(ctx, func() error {
		if p.ended() {
			return nil
		}
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return err
		}
		return conn.Close()
	})
	if p.ended() {
		return fmt.Errorf("%s has ended: %s", p.name, p.cmd.ProcessState)
	}
	return err
}

// freeAddr finds an address that nobody listens on, below the range that the
// kernel takes source ports from: a busy client must not get there first.
func freeAddr() (string, error) {
	for range 1000 {
		addr := fmt.Sprintf("127.0.0.1:%d", 20000+rand.IntN(12000))
		if l, err := net.Listen("tcp", addr); err == nil {
			return addr, l.Close()
		}
	}
	return "", fmt.Errorf("no free port found")
}
