package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// terminal is a real one (pty(7)), and what was shown on it.
type terminal struct {
	screen *os.File // the end that a person sees
	device *os.File // the end that a program uses

	mu    sync.Mutex
	shown bytes.Buffer
}

func newTerminal(t *testing.T, columns uint16) *terminal {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	fd := int(screen.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 40, Col: columns}); err != nil {
		t.Fatal(err)
	}
	device, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	term := &terminal{screen: screen, device: device}
	done := make(chan struct{})
	go func() {
		defer close(done)
		term.watch()
	}()
	t.Cleanup(func() {
		_ = device.Close() // a test may have closed it
		<-done             // reading ends with the last program on the device
		if err := screen.Close(); err != nil {
			t.Error(err)
		}
	})
	return term
}

func (term *terminal) watch() {
	buf := make([]byte, 4096)
	for {
		n, err := term.screen.Read(buf)
		term.mu.Lock()
		term.shown.Write(buf[:n])
		term.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (term *terminal) text() string {
	term.mu.Lock()
	defer term.mu.Unlock()
	return term.shown.String()
}

// await waits until ok holds of what was shown.
func (term *terminal) await(t *testing.T, what string, ok func(shown string) bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(term.text()); {
		if time.Now().After(deadline) {
			t.Fatalf("waited too long for %s; shown was\n%q", what, term.text())
		}
		<-time.After(5 * time.Millisecond)
	}
}

// onTerminal starts this program on the terminal.
func onTerminal(t *testing.T, term *terminal, socket string, env []string, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, args...)
	cmd.Args[0] = program
	cmd.Env = append([]string{"TERM=xterm", "GORACE=atexit_sleep_ms=0", "CHARACTIER_PROXY_SOCKET=" + socket}, env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = term.device, term.device, term.device
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill() // the test has failed; it may have ended this instant
			_ = cmd.Wait()
		}
	})
	return cmd
}

// startFake runs a fake daemon and returns its socket.
func startFake(t *testing.T, play string) string {
	t.Helper()
	dir := t.TempDir()
	socket := filepath.Join(dir, "s")
	if err := os.WriteFile(filepath.Join(dir, "play.json"), []byte(play), 0o600); err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "play.json", "calls")
	cmd.Args[0] = "fakedaemon"
	cmd.Dir, cmd.Env = dir, []string{"CHARACTIER_PROXY_SOCKET=" + socket, "GORACE=atexit_sleep_ms=0"}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	for deadline := time.Now().Add(20 * time.Second); ; {
		if _, err := os.Stat(socket); err == nil {
			return socket
		}
		if time.Now().After(deadline) {
			t.Fatal("the fake daemon does not listen")
		}
		<-time.After(5 * time.Millisecond)
	}
}

const oneService = `{
	"Status": {"started": "2026-11-20T00:00:00Z", "services": [{"name": "backend", "listen": ["127.0.0.1:5080"], "active": "green", "slots": [
		{"name": "green", "address": "127.0.0.1:5001", "active": true, "health": {"state": "healthy"}}]}]},
	"Switch": {"Until": "abort", "Record": {"id": "op", "started": "2026-11-20T00:00:00Z", "moves": [{"service": "backend", "from": "blue", "to": "green"}]}}
}`

func TestColoursOnARealTerminal(t *testing.T) {
	socket := startFake(t, oneService)
	for name, c := range map[string]struct {
		env  []string
		want bool
	}{
		"by default":                       {nil, true},
		"with NO_COLOR":                    {[]string{"NO_COLOR=1"}, false},
		"with TERM=dumb":                   {[]string{"TERM=dumb"}, false},
		"an empty NO_COLOR does not count": {[]string{"NO_COLOR="}, true},
	} {
		t.Run(name, func(t *testing.T) {
			term := newTerminal(t, 80)
			if err := onTerminal(t, term, socket, c.env, "status").Wait(); err != nil {
				t.Fatalf("status: %v\n%s", err, term.text())
			}
			term.await(t, "the status", func(s string) bool { return strings.Contains(s, "127.0.0.1:5001") })
			if got := strings.Contains(term.text(), "\x1b["); got != c.want {
				t.Errorf("colours %v, want %v:\n%q", got, c.want, term.text())
			}
		})
	}
}

func TestWatchingRedrawsUntilCtrlC(t *testing.T) {
	term := newTerminal(t, 80)
	cmd := onTerminal(t, term, startFake(t, oneService), nil, "status", "--watch", "--interval", "100ms")
	term.await(t, "the third drawing", func(s string) bool { return strings.Count(s, "\x1b[H") >= 3 })
	if _, err := term.screen.WriteString("\x03"); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after Ctrl-C: %v", err)
	}
}

// The keyboard's own Ctrl-C, with the progress line in between.
func TestCtrlCOnATerminalAborts(t *testing.T) {
	term := newTerminal(t, 80)
	cmd := onTerminal(t, term, startFake(t, oneService), nil, "switch")
	term.await(t, "the progress", func(s string) bool { return strings.Contains(s, "awaiting health, ") })
	if _, err := term.screen.WriteString("\x03"); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("after Ctrl-C: %v, want exit code 1", err)
	}
	term.await(t, "the answer", func(s string) bool { return strings.Contains(s, "traffic: backend stays on blue") })
}

func TestDangerIsConfirmedOnATerminal(t *testing.T) {
	term := newTerminal(t, 80)
	cmd := onTerminal(t, term, startFake(t, `{"Hold": {"Record": {"id": "op", "outcome": "done", "services": ["backend"]}}}`), nil, "hold")
	term.await(t, "the question", func(s string) bool { return strings.Contains(s, "go on? [y/N]") })
	if _, err := term.screen.WriteString("y\n"); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after yes: %v", err)
	}
	term.await(t, "the result", func(s string) bool { return strings.Contains(s, "held: requests to backend wait now") })
}
