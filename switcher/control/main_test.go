package control_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
)

// childSocket makes the test binary a client, so that a test can call from
// another user's process.
const childSocket = "CONTROL_TEST_CHILD_SOCKET"

// childFlood makes that client open a thousand connections and leave them open
// until its input ends.
const childFlood = "CONTROL_TEST_CHILD_FLOOD"

func TestMain(m *testing.M) {
	if socket := os.Getenv(childSocket); socket != "" {
		if os.Getenv(childFlood) != "" {
			os.Exit(flood(socket))
		}
		os.Exit(child(socket))
	}
	goleak.VerifyTestMain(m)
}

// child looks, then tries to change something, and prints what came of both.
func child(socket string) int {
	c := control.Client{Socket: socket}
	_, looked := c.Status(context.Background())
	_, changed := c.Switch(context.Background(), control.SwitchRequest{})
	fmt.Printf("look: %s\nchange: %s\n", childResult(looked), childResult(changed))
	return 0
}

// flood prints a line when all are open.
func flood(socket string) int {
	var open []net.Conn
	for range 1000 {
		c, err := net.Dial("unix", socket)
		if err != nil {
			fmt.Println(err)
			return 1
		}
		open = append(open, c)
	}
	fmt.Println("open")
	_, _ = io.Copy(io.Discard, os.Stdin)
	runtime.KeepAlive(open)
	return 0
}

func childResult(err error) string {
	if err == nil {
		return "done"
	}
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		return fmt.Sprintf("exit %d: %v (hint: %s)", control.ExitCode(err), err, h.Hint())
	}
	return fmt.Sprintf("exit %d: %v", control.ExitCode(err), err)
}

// nobody's numbers on every Linux.
const nobody = 65534

// asUser runs child as another user, in the given supplementary groups.
func asUser(t *testing.T, socket string, groups ...uint32) string {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("acting as another user needs root")
		}
		t.Skip("acting as another user needs root")
	}
	out, err := childAs(t, nobody, socket, groups...).CombinedOutput()
	if err != nil {
		t.Fatalf("running as nobody: %v\n%s", err, out)
	}
	return string(out)
}

// childAs is the command that asUser runs.
func childAs(t *testing.T, uid uint32, socket string, groups ...uint32) *exec.Cmd {
	t.Helper()
	exe := filepath.Join(publicDir(t), "child")
	copyFile(t, "/proc/self/exe", exe)
	cmd := exec.Command(exe)
	cmd.Env = []string{childSocket + "=" + socket, "GORACE=atexit_sleep_ms=0"}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid, Groups: groups}}
	return cmd
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}

// publicDir is a directory that all users may enter, with a path short enough
// for a socket.
func publicDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "control")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// fake is a daemon's operations; a func that is not set answers with nothing.
type fake struct {
	status      func(context.Context) control.Status
	history     func(int) ([]switcher.Record, error)
	events      func(context.Context, uint64, func(switcher.Event) error) error
	move        func(context.Context, control.SwitchRequest, switcher.Actor) (switcher.Record, error)
	rollback    func(context.Context, control.SwitchRequest, switcher.Actor) (switcher.Record, error)
	hold        func(context.Context, control.HoldRequest, switcher.Actor) (switcher.Record, error)
	releaseHold func(context.Context, control.HoldRequest, switcher.Actor) (switcher.Record, error)
	abort       func(context.Context, control.AbortRequest, switcher.Actor) (control.AbortResult, error)
	stopping    func(context.Context, control.StoppingRequest, switcher.Actor) (control.StoppingResult, error)
	endStreams  func(context.Context, control.EndStreamsRequest, switcher.Actor) (control.EndStreamsResult, error)
	reload      func(context.Context, switcher.Actor) (control.ConfigStatus, error)
	reserve     func(context.Context, control.ReserveRequest, switcher.Actor, func(any) error) error
	reserveStep func(context.Context, control.ReserveStep) error
	reserveEnd  func(context.Context, control.ReserveEnd) (switcher.Record, error)
}

func (f fake) Status(ctx context.Context) control.Status {
	if f.status == nil {
		return control.Status{}
	}
	return f.status(ctx)
}

func (f fake) History(limit int) ([]switcher.Record, error) {
	if f.history == nil {
		return nil, nil
	}
	return f.history(limit)
}

func (f fake) Events(ctx context.Context, after uint64, emit func(switcher.Event) error) error {
	if f.events == nil {
		<-ctx.Done()
		return ctx.Err()
	}
	return f.events(ctx, after, emit)
}

func (f fake) EndStreams(ctx context.Context, r control.EndStreamsRequest, by switcher.Actor) (control.EndStreamsResult, error) {
	if f.endStreams == nil {
		return control.EndStreamsResult{}, nil
	}
	return f.endStreams(ctx, r, by)
}

func (f fake) Switch(ctx context.Context, r control.SwitchRequest, by switcher.Actor) (switcher.Record, error) {
	if f.move == nil {
		return switcher.Record{}, nil
	}
	return f.move(ctx, r, by)
}

func (f fake) Rollback(ctx context.Context, r control.SwitchRequest, by switcher.Actor) (switcher.Record, error) {
	if f.rollback == nil {
		return switcher.Record{}, nil
	}
	return f.rollback(ctx, r, by)
}

func (f fake) Hold(ctx context.Context, r control.HoldRequest, by switcher.Actor) (switcher.Record, error) {
	if f.hold == nil {
		return switcher.Record{}, nil
	}
	return f.hold(ctx, r, by)
}

func (f fake) ReleaseHold(ctx context.Context, r control.HoldRequest, by switcher.Actor) (switcher.Record, error) {
	if f.releaseHold == nil {
		return switcher.Record{}, nil
	}
	return f.releaseHold(ctx, r, by)
}

func (f fake) Abort(ctx context.Context, r control.AbortRequest, by switcher.Actor) (control.AbortResult, error) {
	if f.abort == nil {
		return control.AbortResult{}, nil
	}
	return f.abort(ctx, r, by)
}

func (f fake) Stopping(ctx context.Context, r control.StoppingRequest, by switcher.Actor) (control.StoppingResult, error) {
	if f.stopping == nil {
		return control.StoppingResult{}, nil
	}
	return f.stopping(ctx, r, by)
}

func (f fake) Reload(ctx context.Context, by switcher.Actor) (control.ConfigStatus, error) {
	if f.reload == nil {
		return control.ConfigStatus{}, nil
	}
	return f.reload(ctx, by)
}

func (f fake) Upgrade(_ context.Context, r control.UpgradeRequest, _ switcher.Actor) (switcher.Record, error) {
	return switcher.Record{ID: "op", Kind: switcher.KindUpgrade, Reason: r.Reason}, nil
}

func (f fake) Reserve(ctx context.Context, r control.ReserveRequest, by switcher.Actor, tell func(any) error) error {
	if f.reserve == nil {
		return nil
	}
	return f.reserve(ctx, r, by, tell)
}

func (f fake) StepReservation(ctx context.Context, r control.ReserveStep, _ switcher.Actor) error {
	if f.reserveStep == nil {
		return nil
	}
	return f.reserveStep(ctx, r)
}

func (f fake) EndReservation(ctx context.Context, r control.ReserveEnd, _ switcher.Actor) (switcher.Record, error) {
	if f.reserveEnd == nil {
		return switcher.Record{}, nil
	}
	return f.reserveEnd(ctx, r)
}

// world is a server on a real socket.
type world struct {
	socket string
	client control.Client
	logs   *observer.ObservedLogs
	stop   func() // ends the server and waits for it
}

// serve starts a server with these operations; change may adjust its options.
func serve(t *testing.T, ops control.Operations, change ...func(*control.Options)) *world {
	t.Helper()
	core, logs := observer.New(zap.DebugLevel)
	o := control.Options{Operations: ops, Version: control.Version{Version: "v1", API: 1}, Logger: zap.New(core)}
	for _, c := range change {
		c(&o)
	}
	s, err := control.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	return serveServer(t, s, logs)
}

func serveServer(t *testing.T, s *control.Server, logs *observer.ObservedLogs) *world {
	t.Helper()
	w := &world{socket: filepath.Join(publicDir(t), "s"), logs: logs}
	w.client.Socket = w.socket
	ln, err := control.Listen(t.Context(), w.socket, "")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln) }()
	w.stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serving: %v", err)
		}
		done <- nil
	}
	t.Cleanup(w.stop)
	return w
}

func dial(t *testing.T, socket string) net.Conn {
	t.Helper()
	c, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() }) // the server may have closed it already
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}
