package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"charactier-proxy/cmd/internal/load"
	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
)

// services writes a configuration; each argument is one service's lines.
func services(lines ...string) string {
	return "services:\n" + strings.Join(lines, "") + "admin: {listen: \"\"}\n"
}

func service(name, listen, blue, green string) string {
	return fmt.Sprintf(serviceYAML, name, listen, blue, green)
}

func TestABadFileKeepsTheOldConfigurationRunning(t *testing.T) {
	address := freeAddress(t)
	good := services(service("backend", address, namedSlot(t, "blue"), namedSlot(t, "green")))
	w := newWorld(t, good)

	about := w.change(good + "colour: blue\n")
	if !strings.Contains(about.Rejected, "colour") || !strings.Contains(about.Rejected, "config.yaml:") {
		t.Errorf("the status says %q, want the file, the line and the key", about.Rejected)
	}
	if !w.log.contains("was not taken") {
		t.Error("the log does not say that the file was not taken")
	}
	if status, body, err := get(address, "/"); status != http.StatusOK {
		t.Errorf("after a bad file: %d %s %v", status, body, err)
	}
	if about := w.change(good + "log: {level: debug}\n"); about.Rejected != "" {
		t.Errorf("after a good file the status still says %q", about.Rejected)
	}
}

func TestAnAddressInUseLeavesEverythingAsItWas(t *testing.T) {
	address, taken := freeAddress(t), namedSlot(t, "stranger")
	blue, green := namedSlot(t, "blue"), namedSlot(t, "green")
	w := newWorld(t, services(service("backend", address, blue, green)))
	other := freeAddress(t)
	about := w.change(services(
		service("backend", other, blue, green),
		service("frontend", taken, namedSlot(t, "fb"), namedSlot(t, "fg")),
	))
	if !strings.Contains(about.Rejected, taken) {
		t.Errorf("the status says %q, want the address %s", about.Rejected, taken)
	}
	if status, _, err := get(address, "/"); status != http.StatusOK {
		t.Errorf("the old address: %d %v", status, err)
	}
	if _, _, err := get(other, "/"); err == nil {
		t.Error("the new address of a configuration that was refused is open")
	}
}

// While clients keep a service busy, another comes and goes, the busy one's
// slots move to other addresses, and its listener is joined by a second one: no
// request of it may fail.
func TestChangesOfTheConfigurationLoseNoRequest(t *testing.T) {
	address, second, extra := freeAddress(t), freeAddress(t), freeAddress(t)
	blue, green := namedSlot(t, "blue"), namedSlot(t, "green")
	backend := service("backend", address, blue, green)
	frontend := service("frontend", extra, namedSlot(t, "fb"), namedSlot(t, "fg"))
	w := newWorld(t, services(backend))

	ctx, stop := context.WithCancel(t.Context())
	generator := load.New(load.Options{Addr: address, Clients: 16, PostPath: "/", GetPath: "/", GetEvery: 4})
	result := make(chan load.Report, 1)
	go func() { result <- generator.Run(ctx) }()
	for _, yaml := range []string{
		services(backend, frontend),
		services(strings.Replace(backend, `"`+address+`"`, `"`+address+`", "`+second+`"`, 1), frontend),
		services(service("backend", address, namedSlot(t, "blue"), green)),
		services(service("backend", address, namedSlot(t, "blue"), namedSlot(t, "green")), frontend),
		services(backend),
	} {
		if about := w.change(yaml); about.Rejected != "" {
			t.Fatalf("not taken: %s", about.Rejected)
		}
		before := generator.Begun()
		await(t, "load under the new configuration", func() bool { return generator.Begun() > before+200 })
	}
	stop()
	if r := <-result; r.Failed > 0 || r.Good == 0 {
		t.Errorf("%v", r)
	}
	await(t, "the listener of the service that was removed to close", func() bool {
		_, _, err := get(extra, "/")
		return err != nil
	})
}

func TestARequestInFlightOutlivesItsService(t *testing.T) {
	address, extra := freeAddress(t), freeAddress(t)
	release := make(chan struct{})
	backend := service("backend", address, namedSlot(t, "blue"), namedSlot(t, "green"))
	w := newWorld(t, services(backend, service("frontend", extra, slotWith(t, "fb", release), namedSlot(t, "fg"))))

	done := make(chan string, 1)
	go func() {
		status, body, err := get(extra, "/slow")
		done <- fmt.Sprint(status, body, err)
	}()
	await(t, "the request to reach the slot", func() bool {
		for _, s := range w.status().Services {
			if s.Name == "frontend" && s.Slots[0].InFlight == 1 {
				return true
			}
		}
		return false
	})
	w.change(services(backend))
	await(t, "the listener to close", func() bool { _, _, err := get(extra, "/"); return err != nil })
	close(release)
	if got := <-done; !strings.HasPrefix(got, "200") {
		t.Errorf("the request that was in flight got %s", got)
	}
}

func TestAnAddressThatMovesToAnotherServiceIsNeverClosed(t *testing.T) {
	one, two := freeAddress(t), freeAddress(t)
	bb, bg := namedSlot(t, "backend"), namedSlot(t, "backend")
	fb, fg := namedSlot(t, "frontend"), namedSlot(t, "frontend")
	w := newWorld(t, services(service("backend", one, bb, bg), service("frontend", two, fb, fg)))

	ctx, stop := context.WithCancel(t.Context())
	result := make(chan load.Report, 1)
	go func() {
		result <- load.New(load.Options{
			Addr: one, Clients: 8, PostPath: "/", GetPath: "/", Slots: []string{"backend", "frontend"},
		}).Run(ctx)
	}()
	w.change(services(service("backend", two, bb, bg), service("frontend", one, fb, fg)))
	await(t, "the address to lead to the other service", func() bool {
		_, body, _ := get(one, "/")
		return strings.Contains(body, "frontend")
	})
	stop()
	if r := <-result; r.Failed > 0 || r.Good == 0 {
		t.Errorf("%v", r)
	}
}

func TestWhatCannotChangeLiveSaysSo(t *testing.T) {
	address := freeAddress(t)
	yaml := services(service("backend", address, namedSlot(t, "blue"), namedSlot(t, "green")))
	w := newWorld(t, yaml)
	about := w.change(yaml + "log: {format: console}\n")
	if fmt.Sprint(about.NeedsRestart) != "[log.format]" {
		t.Errorf("needs a restart: %v, want log.format", about.NeedsRestart)
	}
	if about := w.change(yaml); len(about.NeedsRestart) != 0 {
		t.Errorf("after taking it back: %v", about.NeedsRestart)
	}
}

func TestAReloadAskedForAnswersWithItsOutcome(t *testing.T) {
	address := freeAddress(t)
	yaml := services(service("backend", address, namedSlot(t, "blue"), namedSlot(t, "green")))
	w := newWorld(t, yaml)
	w.write(yaml + "log: {level: debug}\n")
	if _, err := w.client.Reload(t.Context()); err != nil {
		t.Error(err)
	}
	w.write("services: [\n")
	if _, err := w.client.Reload(t.Context()); !errors.Is(err, control.ErrBadConfig) {
		t.Errorf("reloading a broken file: %v, want ErrBadConfig", err)
	}
}

// A switch that comes while a slot's address changes must not be let through by
// what the watch of the old address knows (S3).
func TestASwitchDuringAReloadAsksTheNewAddress(t *testing.T) {
	address, extra, dead := freeAddress(t), freeAddress(t), freeAddress(t)
	blue, green := namedSlot(t, "blue"), namedSlot(t, "green")
	var hold atomic.Bool
	reached, release := make(chan struct{}), make(chan struct{})
	w := newWorldWith(t, services(service("backend", address, blue, green)), func(o *daemonOptions) {
		o.wrapStore = func(s switcher.Store) switcher.Store {
			return hookedStore{s, func() {
				if hold.CompareAndSwap(true, false) {
					close(reached)
					<-release
				}
			}}
		}
	})
	hold.Store(true) // the next save is that of the new service, in the middle of the reload
	w.write(services(service("backend", address, blue, dead), service("frontend", extra, blue, green)))
	<-reached
	w.daemon.doors.mu.Lock() // the reload stands still once it has given up the switcher's lock
	close(release)
	if err := w.daemon.switcher.AwaitIdle(t.Context()); err != nil {
		t.Fatal(err)
	}
	record, _, err := w.daemon.switcher.Switch(t.Context(), switcher.Request{To: switcher.Green, Services: []string{"backend"}})
	w.daemon.doors.mu.Unlock()
	if !errors.Is(err, switcher.ErrUnhealthy) {
		t.Errorf("the switch to an address where nobody listens: %s, %v", record.Outcome, err)
	}
}

// hookedStore calls a hook before each save.
type hookedStore struct {
	switcher.Store
	hook func()
}

func (s hookedStore) Save(st switcher.State) error {
	s.hook()
	return s.Store.Save(st)
}

func TestAUnixListenerIsNeverTakenFromTheLiving(t *testing.T) {
	path := filepath.Join(shortDir(t), "s")
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	// Its queue is full: a connect is told to try again, which is no sign of death.
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if ln, err := listenUnix(path); err == nil {
		ln.Close()
		t.Error("took the socket of a process that is busy")
	}
	if err := syscall.Close(fd); err != nil {
		t.Fatal(err)
	}
	ln, err := listenUnix(path)
	if err != nil {
		t.Fatalf("did not take the socket of a process that is gone: %v", err)
	}
	ln.Close()
}

func TestAFileInAListenersPlaceIsLeftAlone(t *testing.T) {
	path := filepath.Join(shortDir(t), "s")
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := listenUnix(path); err == nil {
		t.Error("listened where a file is")
	}
	if b, err := os.ReadFile(path); string(b) != "precious" {
		t.Errorf("the file is gone: %q %v", b, err)
	}
}

func TestAFileThatIsGoneIsNoWishForTheDefaults(t *testing.T) {
	address := freeAddress(t)
	w := newWorld(t, services(service("backend", address, namedSlot(t, "blue"), namedSlot(t, "green"))))
	if err := os.Remove(w.config()); err != nil {
		t.Fatal(err)
	}
	if _, err := w.client.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "is gone") {
		t.Errorf("reloading a file that is gone: %v", err)
	}
	if status, _, err := get(address, "/"); status != http.StatusOK {
		t.Errorf("afterwards: %d %v", status, err)
	}
}

func TestTheStatusSaysWhatToDoWhenTheActiveSlotIsDown(t *testing.T) {
	w := newWorld(t, services(service("backend", freeAddress(t), freeAddress(t), namedSlot(t, "green"))))
	await(t, "the advice", func() bool {
		return strings.Contains(fmt.Sprint(w.status().Warnings), "charactier-proxyctl switch green --service backend")
	})
	w.change("services: {}\n")
	if !strings.Contains(fmt.Sprint(w.status().Warnings), "a restart would not take") {
		t.Errorf("with a bad file the warnings are %q", w.status().Warnings)
	}
}
