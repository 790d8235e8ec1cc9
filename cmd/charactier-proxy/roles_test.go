package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
	"charactier-proxy/switcher/role"
)

// stagehand is a slot that takes its role, and tells the test in which order the
// two of them did.
type stagehand struct {
	*httptest.Server
	mu     sync.Mutex
	orders []role.Order
	status int // of its answers to orders; 0: 204
}

func (s *stagehand) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/internal/role" || r.Method != http.MethodPost {
		_, _ = io.WriteString(w, r.Method+" "+r.URL.Path)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.status != 0 {
		w.WriteHeader(s.status)
		return
	}
	var o role.Order
	if err := json.NewDecoder(r.Body).Decode(&o); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	s.orders = append(s.orders, o)
	w.WriteHeader(http.StatusNoContent)
}

func (s *stagehand) refuse(status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status = status
}

func (s *stagehand) last() role.Order {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.orders) == 0 {
		return role.Order{}
	}
	return s.orders[len(s.orders)-1]
}

func newStagehand(t *testing.T) *stagehand {
	s := &stagehand{}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *stagehand) address() string { return s.Listener.Addr().String() }

// told is the YAML of a service whose slots are told.
func told(listen, blue, green, roleYAML string) string {
	return services(service("backend", listen, blue, green) + "    role: {" + roleYAML + "}\n")
}

func (w *world) slot(s switcher.Slot) control.SlotStatus {
	w.Helper()
	for _, slot := range w.status().Services[0].Slots {
		if slot.Name == s {
			return slot
		}
	}
	w.Fatalf("no slot %s", s)
	return control.SlotStatus{}
}

func (w *world) awaitRole(s switcher.Slot, want role.Role) {
	w.Helper()
	await(w.T, fmt.Sprintf("%s to be %s", s, want), func() bool {
		r := w.slot(s).Role
		return r != nil && r.Told == string(want) && r.Wanted == r.Told
	})
}

func TestSlotsAreToldTheirRoles(t *testing.T) {
	blue, green := newStagehand(t), newStagehand(t)
	address := freeAddress(t)
	w := newWorld(t, told(address, blue.address(), green.address(), "path: /internal/role"))
	w.awaitRole(switcher.Blue, role.Active)
	w.awaitRole(switcher.Green, role.Standby)
	record, err := w.client.Switch(t.Context(), control.SwitchRequest{Reason: "test"})
	if err != nil {
		t.Fatal(err)
	}
	w.awaitRole(switcher.Green, role.Active)
	w.awaitRole(switcher.Blue, role.Standby)
	want := role.Order{Role: role.Active, Service: "backend", Slot: switcher.Green, Generation: record.Generation}
	if got := green.last(); got != want {
		t.Errorf("green was told %+v, want %+v", got, want)
	}
	if got := blue.last(); got.Role != role.Standby || got.Generation != record.Generation {
		t.Errorf("blue was told %+v", got)
	}
	if _, err := w.client.Rollback(t.Context(), control.SwitchRequest{}); err != nil {
		t.Fatal(err)
	}
	w.awaitRole(switcher.Blue, role.Active)
	for _, text := range []string{"backend/green took the role active", "backend/blue took the role standby"} {
		if !w.saw("role", text) {
			t.Errorf("no event says %q", text)
		}
	}
}

// saw reports whether an event of this kind says this.
func (w *world) saw(kind, text string) bool {
	ctx, cancel := context.WithCancel(w.Context())
	defer cancel()
	found := false
	const sentinel = "end of what was published so far"
	w.daemon.publish("test", switcher.LevelInfo, sentinel)
	_ = w.daemon.events.Subscribe(ctx, 0, func(e switcher.Event) error {
		found = found || e.Kind == kind && strings.Contains(e.Text, text)
		if e.Text == sentinel {
			cancel()
		}
		return nil
	})
	return found
}

func TestARoleThatIsNotTakenIsWarnedOf(t *testing.T) {
	blue, green := newStagehand(t), newStagehand(t)
	blue.refuse(http.StatusNotFound)
	w := newWorld(t, told(freeAddress(t), blue.address(), green.address(), "path: /internal/role, timeout: 50ms"))
	await(t, "the warning", func() bool {
		return strings.Contains(fmt.Sprint(w.status().Warnings), "the active slot blue has not taken its role")
	})
	if got := w.slot(switcher.Blue).Role; got.Told != "" || !strings.Contains(got.Error, "404 Not Found") {
		t.Errorf("the status says %+v", got)
	}
	if !w.saw("role", "backend/blue does not take the role active") {
		t.Error("no event tells of it")
	}
	blue.refuse(0)
	w.awaitRole(switcher.Blue, role.Active)
	// It hears nothing of becoming standby: its jobs may run twice.
	blue.refuse(http.StatusInternalServerError)
	if _, err := w.client.Switch(t.Context(), control.SwitchRequest{}); err != nil {
		t.Fatal(err)
	}
	w.awaitRole(switcher.Green, role.Active)
	await(t, "the other warning", func() bool {
		return strings.Contains(fmt.Sprint(w.status().Warnings), "the standby slot blue still has the active role")
	})
}

// A slot that hangs must not be noticed by the one who switches.
func TestRolesDelayNoSwitch(t *testing.T) {
	hang := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			<-hang
		}
	}))
	t.Cleanup(silent.Close)
	t.Cleanup(func() { close(hang) })
	green := newStagehand(t)
	w := newWorld(t, told(freeAddress(t), silent.Listener.Addr().String(), green.address(), "path: /internal/role, timeout: 60s"))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := w.client.Switch(ctx, control.SwitchRequest{}); err != nil {
		t.Fatal(err)
	}
	if got := w.slot(switcher.Green).Role; got.Wanted != string(role.Active) || got.Told == got.Wanted {
		t.Errorf("green is %+v: it should wait for blue", got)
	}
}

func TestTheWayToTellChangesLive(t *testing.T) {
	blue, green := newStagehand(t), newStagehand(t)
	address, file := freeAddress(t), shortDir(t)+"/roles"
	plain := services(service("backend", address, blue.address(), green.address()))
	w := newWorld(t, plain)
	if got := w.slot(switcher.Blue).Role; got != nil {
		t.Errorf("a slot that is not told has the role %+v", got)
	}
	w.change(told(address, blue.address(), green.address(), "path: /internal/role"))
	w.awaitRole(switcher.Blue, role.Active)
	w.change(told(address, blue.address(), green.address(), `command: "echo $SERVICE $SLOT $ROLE $ADDRESS >> `+file+`"`))
	w.awaitRole(switcher.Green, role.Standby)
	w.awaitRole(switcher.Blue, role.Active)
	if got, want := readLines(t, file), []string{"backend blue active " + blue.address(), "backend green standby " + green.address()}; !slices.Equal(got, want) {
		t.Errorf("the command was run with %q, want %q", got, want)
	}
	w.change(plain)
	if got := w.slot(switcher.Blue).Role; got != nil {
		t.Errorf("a slot that is not told any more has the role %+v", got)
	}
}

func TestClientsCannotTellASlotItsRole(t *testing.T) {
	blue, green := newStagehand(t), newStagehand(t)
	address := freeAddress(t)
	w := newWorld(t, told(address, blue.address(), green.address(), "path: /internal/role?key=secret"))
	for _, path := range []string{
		"/internal/role", "/internal/role/", "/internal/role?x=1", "/INTERNAL/Role", "//internal//role",
		"/internal/./role", "/x/../internal/role", "/internal/%72ole", "/internal%2Frole",
		`/internal\role`, `/x\..\internal\role`, "//host/internal/role", "///host//internal/./role", `/\host\internal\role`, `\internal\role`,
		"//u@host:80/x/%2e%2e/internal/role",
	} {
		for _, method := range []string{"GET", "POST"} {
			if status := rawStatus(t, address, method, path); !strings.Contains(status, " 404 ") && !strings.Contains(status, " 400 ") {
				t.Errorf("%s %s: %s", method, path, status)
			}
		}
	}
	for _, path := range []string{"/", "/internal/roles", "/internal", "/api/internal/role"} {
		if status := rawStatus(t, address, "POST", path); !strings.Contains(status, " 200 ") {
			t.Errorf("%s: %s", path, status)
		}
	}
	w.change(services(service("backend", address, blue.address(), green.address())))
	if status := rawStatus(t, address, "GET", "/internal/role"); !strings.Contains(status, " 200 ") {
		t.Errorf("a path that is no role path any more: %s", status)
	}
}

// rawStatus sends a request as it is spelled and returns the status line.
func rawStatus(t *testing.T, address, method, path string) string {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", method, path)
	answer, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := strings.Cut(string(answer), "\r\n")
	return line
}
