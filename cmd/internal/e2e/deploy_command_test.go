package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// command is one charactier-proxyctl in the machine.
type command struct {
	t     *testing.T
	args  []string
	cmd   *exec.Cmd
	out   lockedBuffer
	errs  lockedBuffer
	began time.Time
	took  time.Duration
	code  int // -1 if a signal ended it
	done  chan struct{}
}

// lockedBuffer may be read while a command writes to it.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// begin starts the command, which the test must await.
func (p *production) begin(args ...string) *command {
	p.t.Helper()
	return p.beginAs("", args...)
}

// beginAs starts it as a user other than root.
func (p *production) beginAs(user string, args ...string) *command {
	p.t.Helper()
	argv := append([]string{"charactier-proxyctl"}, args...)
	if user != "" {
		argv = append([]string{"setpriv", "--reuid=" + user, "--regid=nogroup", "--clear-groups", "--"}, argv...)
	}
	c := p.prepare(args, argv)
	c.start()
	return c
}

// prepare is the command as argv, which may be another program that runs it.
func (p *production) prepare(args, argv []string) *command {
	c := &command{t: p.t, args: args, done: make(chan struct{})}
	c.cmd = p.Command(p.t.Context(), argv...)
	c.cmd.Env = append(os.Environ(), "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root")
	c.cmd.Stdout, c.cmd.Stderr = &c.out, &c.errs
	return c
}

func (c *command) start() {
	c.t.Helper()
	c.began = time.Now()
	if err := c.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	go func() {
		// How it ended is in c.cmd.ProcessState.
		_ = c.cmd.Wait()
		c.took = time.Since(c.began)
		c.code = c.cmd.ProcessState.ExitCode()
		close(c.done)
	}()
}

// ctl runs the command to its end.
func (p *production) ctl(args ...string) *command {
	p.t.Helper()
	return p.begin(args...).await()
}

func (c *command) await() *command {
	c.t.Helper()
	select {
	case <-c.done:
	case <-time.After(2 * time.Minute):
		c.t.Fatalf("%s has not ended\n%s", c, c.said())
	}
	return c
}

func (c *command) ended() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// signal sends a signal to the command itself, which is the child of the program
// that entered the box. One that has ended is fine.
func (c *command) signal(sig syscall.Signal) {
	c.t.Helper()
	if pid := c.pid(); pid > 0 {
		_ = syscall.Kill(pid, sig)
	}
}

// pid is the command's for the host; zero if it is not there.
func (c *command) pid() int {
	parent := c.cmd.Process.Pid
	text, err := os.ReadFile(fmt.Sprintf("/proc/%[1]d/task/%[1]d/children", parent))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0
	}
	return pid
}

// awaitSays waits until the command has said the text.
func (c *command) awaitSays(text string) {
	c.t.Helper()
	eventually(c.t, c.String()+" says "+strconv.Quote(text), func() error {
		if strings.Contains(c.said(), text) {
			return nil
		}
		if c.ended() {
			c.t.Fatalf("%s ended (exit %d) without saying %q:\n%s", c, c.code, text, c.said())
		}
		return errors.New(c.said())
	})
}

func (c *command) said() string   { return c.out.String() + c.errs.String() }
func (c *command) String() string { return "charactier-proxyctl " + strings.Join(c.args, " ") }

// wants checks how the command ended and what it said.
func (c *command) wants(code int, says ...string) *command {
	c.t.Helper()
	c.await()
	if c.code != code {
		c.t.Errorf("%s: exit %d, want %d:\n%s", c, c.code, code, c.said())
	}
	for _, text := range says {
		if !strings.Contains(c.said(), text) {
			c.t.Errorf("%s does not say %q:\n%s", c, text, c.said())
		}
	}
	return c
}

// decode reads the last line of a command with --json.
func (c *command) decode(into any) {
	c.t.Helper()
	lines := strings.Split(strings.TrimSpace(c.out.String()), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), into); err != nil {
		c.t.Fatalf("%s: %v in %s", c, err, c.said())
	}
}
