package role

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"charactier-proxy/switcher"
)

var order = Order{Role: Active, Service: "backend", Slot: switcher.Green, Release: "r2", Generation: 17}

// process is a slot that answers orders with a status.
func process(t *testing.T, ln net.Listener, answer http.HandlerFunc) string {
	s := httptest.NewUnstartedServer(answer)
	if ln != nil {
		s.Listener.Close()
		s.Listener = ln
	}
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func TestAnOrderIsAPostOfItself(t *testing.T) {
	socket := filepath.Join(shortDir(t), "s")
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	var got string
	note := func(w http.ResponseWriter, r *http.Request) {
		var o Order
		if err := json.NewDecoder(r.Body).Decode(&o); err != nil || o != order {
			t.Errorf("read %+v, %v", o, err)
		}
		got = fmt.Sprint(r.Proto, " ", r.Method, " ", r.RequestURI, " ", r.Host, " ", r.Header.Get("Content-Type"), " ", r.Header.Get("X-Forwarded-For"))
		w.WriteHeader(http.StatusAccepted)
	}
	tcp := process(t, nil, note)
	process(t, ln, note)
	for _, c := range []struct {
		way  HTTP
		want string
	}{
		{HTTP{Address: tcp, Path: "/internal/role?key=1"}, "HTTP/1.1 POST /internal/role?key=1 " + tcp + " application/json "},
		{HTTP{Address: "unix:" + socket, Path: "/role"}, "HTTP/1.1 POST /role localhost application/json "},
		{HTTP{Address: tcp, Path: "/role", H2C: true}, "HTTP/2.0 POST /role " + tcp + " application/json "},
	} {
		if err := c.way.Tell(t.Context(), order); err != nil || got != c.want {
			t.Errorf("%+v: %v, the process saw %q, want %q", c.way, err, got, c.want)
		}
	}
}

func TestOnlyASuccessTakesTheRole(t *testing.T) {
	var redirected atomic.Bool
	address := process(t, nil, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/elsewhere" {
			redirected.Store(true)
		}
		w.Header().Set("Location", "/elsewhere")
		status, _ := strconv.Atoi(strings.Trim(r.URL.Path, "/"))
		w.WriteHeader(max(status, 200))
	})
	for path, want := range map[string]string{
		"/200": "", "/204": "", "/299": "",
		"/302": "302 Found", "/307": "307 Temporary Redirect", "/404": "404 Not Found", "/409": "later generation", "/500": "500",
	} {
		err := HTTP{Address: address, Path: path}.Tell(t.Context(), order)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
	if redirected.Load() {
		t.Error("a redirect was followed")
	}
}

func TestThatNobodyListensIsToldApart(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	for _, address := range []string{ln.Addr().String(), "unix:" + filepath.Join(t.TempDir(), "none")} {
		if err := (HTTP{Address: address, Path: "/"}).Tell(t.Context(), order); !errors.Is(err, ErrNobody) {
			t.Errorf("%s: %v", address, err)
		}
	}
	broken := process(t, nil, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	if err := (HTTP{Address: broken, Path: "/"}).Tell(t.Context(), order); err == nil || errors.Is(err, ErrNobody) {
		t.Errorf("a process that breaks off: %v", err)
	}
}

func TestASilentProcessIsGivenUp(t *testing.T) {
	address := process(t, nil, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // or the server never sees that the client is gone
		<-r.Context().Done()
	})
	late := errors.New("no answer within a moment")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 20*time.Millisecond, late)
	defer cancel()
	if err := (HTTP{Address: address, Path: "/"}).Tell(ctx, order); !errors.Is(err, late) {
		t.Errorf("got %v, want the cause", err)
	}
}

func TestACommandFindsTheOrderInItsEnvironment(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "/run/notify")
	file := filepath.Join(t.TempDir(), "env")
	c := Command{Line: "env > " + file, Address: "127.0.0.1:5001"}
	if err := c.Tell(t.Context(), order); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, name := range []string{"ROLE", "SERVICE", "SLOT", "ADDRESS", "RELEASE", "GENERATION", "NOTIFY_SOCKET"} {
		for line := range strings.Lines(string(raw)) {
			if value, ok := strings.CutPrefix(line, name+"="); ok {
				got[name] = strings.TrimSpace(value)
			}
		}
	}
	want := map[string]string{
		"ROLE": "active", "SERVICE": "backend", "SLOT": "green", "ADDRESS": "127.0.0.1:5001", "RELEASE": "r2", "GENERATION": "17",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
}

func TestACommandThatFailsSaysWhy(t *testing.T) {
	c := Command{Line: "echo starting; echo no such queue >&2; exit 3"}
	err := c.Tell(t.Context(), order)
	if err == nil || !strings.Contains(err.Error(), `exit status 3: "no such queue"`) {
		t.Errorf("got %v", err)
	}
	if err := (Command{Line: "head -c 1000000 /dev/zero; exit 1"}).Tell(t.Context(), order); err == nil || len(err.Error()) > 1000 {
		t.Errorf("much output made an error of %d bytes", len(fmt.Sprint(err)))
	}
}

func TestACommandThatTakesTooLongIsKilledWithWhatItStarted(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	c := Command{Line: fmt.Sprintf("sleep 1000 & echo $! > %s.new; mv %s.new %s; wait", file, file, file)}
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Tell(ctx, order) }()
	var child int
	await(t, "the command to have a child", func() bool {
		raw, err := os.ReadFile(file)
		if err == nil {
			child, err = strconv.Atoi(strings.TrimSpace(string(raw)))
		}
		return err == nil
	})
	late := errors.New("too late")
	cancel(late)
	if err := <-done; !errors.Is(err, late) {
		t.Errorf("got %v, want the cause", err)
	}
	await(t, "the child to be gone", func() bool {
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", child))
		return err != nil || strings.Contains(string(raw), ") Z ") || syscall.Kill(child, 0) != nil
	})
}

// Something that a command leaves running may keep its output open: that is no
// reason to wait for it, or to call the command failed.
func TestACommandMayLeaveSomethingRunning(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	if err := (Command{Line: "sleep 1000 & echo $! > " + file}).Tell(t.Context(), order); err != nil {
		t.Error(err)
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	child, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(child, syscall.SIGKILL); err != nil {
		t.Errorf("what the command started: %v", err)
	}
}

// fakeUnits notes what it was asked.
type fakeUnits struct {
	asked []string
	err   error
}

func (f *fakeUnits) Start(_ context.Context, unit string) error { return f.note("start " + unit) }
func (f *fakeUnits) Stop(_ context.Context, unit string) error  { return f.note("stop " + unit) }

func (f *fakeUnits) note(what string) error {
	f.asked = append(f.asked, what)
	return f.err
}

func TestAUnitRunsBesideTheActiveSlotOnly(t *testing.T) {
	units := &fakeUnits{}
	way := Unit{Units: units, Name: "worker-green.service"}
	standby := order
	standby.Role = Standby
	if err := errors.Join(way.Tell(t.Context(), order), way.Tell(t.Context(), standby)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"start worker-green.service", "stop worker-green.service"}, units.asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
	units.err = errors.New("access denied")
	if err := way.Tell(t.Context(), order); !errors.Is(err, units.err) || !strings.Contains(err.Error(), "starting worker-green.service") {
		t.Errorf("got %v", err)
	}
}

func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// shortDir leaves room for a socket's name.
func shortDir(t *testing.T) string {
	dir, err := os.MkdirTemp("", "cp")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
