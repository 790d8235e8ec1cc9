package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"charactier-proxy/switcher/control"
)

func TestHealthzAndReadyzTellApart(t *testing.T) {
	address, admin := freeAddress(t), freeAddress(t)
	nobody := freeAddress(t)
	w := newWorld(t, "services:\n"+service("backend", address, nobody, namedSlot(t, "green"))+briefHold+"admin: {listen: \""+admin+"\"}\n")
	await(t, "blue to be known as unhealthy", func() bool {
		status, _, _ := get(admin, "/readyz")
		return status == http.StatusServiceUnavailable
	})
	_, body, _ := get(admin, "/readyz")
	var ready readiness
	if err := json.Unmarshal([]byte(body), &ready); err != nil || len(ready.Reasons) != 1 || !strings.Contains(ready.Reasons[0], nobody) {
		t.Errorf("readyz says %s", body)
	}
	if status, _, err := get(admin, "/healthz"); status != http.StatusOK {
		t.Errorf("healthz: %d %v, but the process is alive", status, err)
	}
	if _, err := w.client.Switch(t.Context(), control.SwitchRequest{}); err != nil {
		t.Fatal(err)
	}
	if status, body, err := get(admin, "/readyz"); status != http.StatusOK {
		t.Errorf("readyz after the switch: %d %s %v", status, body, err)
	}
}

func TestAFailedConnectIsNoticedAtOnce(t *testing.T) {
	address, nobody := freeAddress(t), freeAddress(t)
	yaml := services(service("backend", address, nobody, namedSlot(t, "green")) + briefHold)
	w := newWorld(t, strings.Replace(yaml, "interval: 50ms", "interval: 1h", 1))
	if status, _, err := get(address, "/"); status != http.StatusServiceUnavailable {
		t.Errorf("got %d %v, want 503", status, err)
	}
	await(t, "the slot to be unhealthy", func() bool { return w.status().Services[0].Slots[0].Health.State == "unhealthy" })
}

func TestTheLivenessRequestIsAnsweredOnlyWithItsSecret(t *testing.T) {
	address := freeAddress(t)
	w := newWorld(t, services(service("backend", address, namedSlot(t, "blue"), namedSlot(t, "green"))))
	if err := w.daemon.doors.check(t.Context()); err != nil {
		t.Errorf("asking itself: %v", err)
	}
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/", nil)
	req.Header.Set(livenessHeader, "guessed")
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Errorf("a stranger's liveness request got %d, want the slot's 200", res.StatusCode)
	}
}

func TestASecondDaemonOnTheSameStateIsRefused(t *testing.T) {
	address := freeAddress(t)
	w := newWorld(t, services(service("backend", address, namedSlot(t, "blue"), namedSlot(t, "green"))))
	_, err := newDaemon(t.Context(), daemonOptions{paths: w.daemon.paths, config: w.daemon.config.current(), stderr: &logBuffer{}})
	if err == nil || !strings.Contains(err.Error(), w.daemon.paths.StateDir) {
		t.Errorf("got %v, want an error that names the state directory", err)
	}
}

func TestAHalfBuiltDaemonLeavesNothingOpen(t *testing.T) {
	first := freeAddress(t)
	taken := namedSlot(t, "stranger")
	dir := shortDir(t)
	w := &world{T: t, dir: dir}
	w.write(services(service("a", first, namedSlot(t, "blue"), namedSlot(t, "green")), service("b", taken, namedSlot(t, "blue"), namedSlot(t, "green"))))
	code := run(t.Context(), []string{"--config", w.config(), "--state-dir", filepath.Join(dir, "state"), "--socket", filepath.Join(dir, "c.sock")}, func(string) string { return "" }, &logBuffer{}, &logBuffer{})
	if code != exitFailed {
		t.Errorf("exit code %d, want %d", code, exitFailed)
	}
	if _, _, err := get(first, "/"); err == nil {
		t.Error("the first listener is still open")
	}
}

func TestTermDrainsAndEnds(t *testing.T) {
	address := freeAddress(t)
	release := make(chan struct{})
	w := newWorld(t, services(service("backend", address, slotWith(t, "blue", release), namedSlot(t, "green"))))
	done := make(chan int, 1)
	go func() { status, _, _ := get(address, "/slow"); done <- status }()
	await(t, "the request to be in flight", func() bool { return w.status().Services[0].Slots[0].InFlight == 1 })
	ended := make(chan error, 1)
	go func() { ended <- w.end() }()
	await(t, "the listener to close", func() bool { _, _, err := get(address, "/"); return err != nil })
	if _, err := w.client.Status(t.Context()); err != nil {
		t.Errorf("the control socket must answer while requests drain: %v", err)
	}
	close(release)
	if status := <-done; status != http.StatusOK {
		t.Errorf("the request in flight got %d", status)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestTheAccessLogFollowsARotation(t *testing.T) {
	address := freeAddress(t)
	dir := shortDir(t)
	path := filepath.Join(dir, "access.log")
	yaml := services(service("backend", address, namedSlot(t, "blue"), namedSlot(t, "green")))
	w := newWorld(t, yaml+"access_log: {enabled: true, path: "+path+"}\n")
	logged := func(name, what string) bool {
		b, _ := os.ReadFile(name)
		return strings.Contains(string(b), what)
	}
	if _, _, err := get(address, "/first?token=secret"); err != nil {
		t.Fatal(err)
	}
	await(t, "the first line", func() bool { return logged(path, "/first") })
	if logged(path, "secret") {
		t.Error("the access log holds a query string")
	}
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.client.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := get(address, "/second"); err != nil {
		t.Fatal(err)
	}
	await(t, "a line in the new file", func() bool { return logged(path, "/second") })
	if logged(path+".1", "/second") {
		t.Error("the rotated file is still written to")
	}
}

func TestRatesLookBackOverTheWindow(t *testing.T) {
	address := freeAddress(t)
	w := newWorld(t, services(service("backend", address, namedSlot(t, "blue"), namedSlot(t, "green"))))
	for range 10 {
		if _, _, err := get(address, "/"); err != nil {
			t.Fatal(err)
		}
	}
	await(t, "the requests to be counted", func() bool { return w.status().Services[0].Slots[0].Requests == 10 })
	slot := w.status().Services[0].Slots[0]
	if slot.Rate <= 0 || slot.P50 <= 0 || slot.P99 < slot.P50 {
		t.Errorf("rate %v, p50 %v, p99 %v", slot.Rate, slot.P50, slot.P99)
	}
	// Once the window has passed, nothing has happened in it.
	now := time.Now()
	for i := range 12 {
		w.daemon.sampler.take(now.Add(time.Duration(i) * time.Second))
	}
	if slot := w.status().Services[0].Slots[0]; slot.Rate != 0 || slot.P99 != 0 {
		t.Errorf("after the window: rate %v, p99 %v, want none", slot.Rate, slot.P99)
	}
}

func TestTheProgramExplainsItself(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--help"}, exitOK, "usage: charactier-proxy"},
		{[]string{"--version"}, exitOK, "charactier-proxy devel"},
		{[]string{"--colour"}, exitUsage, "hint: charactier-proxy --help"},
		{[]string{"start"}, exitUsage, `unexpected argument "start"`},
		{[]string{"--assume-active", "backend"}, exitUsage, "is not service=slot"},
		{[]string{"--assume-active", "backend=red"}, exitUsage, "blue or green"},
		{[]string{"--assume-active", "backend=blue", "--assume-active", "raw=blue,backend=green"}, exitUsage, "backend is given as blue and as green"},
		{[]string{"--config", "/nowhere/config.yaml"}, exitUsage, "/nowhere/config.yaml"},
		{[]string{"--check", "--config", "/nowhere/config.yaml"}, exitUsage, "/nowhere/config.yaml"},
	} {
		var out logBuffer
		code := run(context.Background(), c.args, func(string) string { return "" }, &out, &out)
		if code != c.code || !out.contains(c.want) {
			t.Errorf("%v: exit %d and %q, want %d and %q", c.args, code, out.String(), c.code, c.want)
		}
	}
}

func TestCheckRefusesAnEmptiedConfiguration(t *testing.T) {
	w := &world{T: t, dir: shortDir(t)}
	w.write("")
	var out logBuffer
	code := run(t.Context(), []string{"--check", "--config", w.config()}, func(string) string { return "" }, &out, &out)
	if code != exitUsage || !out.contains("the file is empty") {
		t.Errorf("exit %d and %s", code, out.String())
	}
}

func TestALostStateIsDecidedByTheOperator(t *testing.T) {
	dir := shortDir(t)
	w := &world{T: t, dir: dir}
	w.write(services(
		service("backend", freeAddress(t), namedSlot(t, "blue"), namedSlot(t, "green")),
		service("raw", freeAddress(t), namedSlot(t, "blue"), namedSlot(t, "green"))))
	state := filepath.Join(dir, "state")
	if err := os.Mkdir(state, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(state, "state.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	call := func(more ...string) (int, string) {
		var out logBuffer
		args := append([]string{"--config", w.config(), "--state-dir", state, "--socket", filepath.Join(dir, "c.sock")}, more...)
		return run(t.Context(), args, func(string) string { return "" }, &out, &out), out.String()
	}
	if code, out := call(); code != exitFailed || !strings.Contains(out, "--assume-active backend=blue,raw=blue`") {
		t.Errorf("a daemon with a damaged state: exit %d and %s, want the way out", code, out)
	}
	if code, out := call("--assume-active", "backend=green"); code != exitFailed || !strings.Contains(out, "raw is missing") {
		t.Errorf("assuming half: exit %d and %s", code, out)
	}
	if code, out := call("--assume-active", "backend=green", "--assume-active", "raw=blue"); code != exitOK || !strings.Contains(out, "backend is on green") || !strings.Contains(out, "raw is on blue") {
		t.Errorf("assuming: exit %d and %s", code, out)
	}
	if code, out := call("--assume-active", "backend=blue,raw=blue"); code != exitFailed || !strings.Contains(out, "nothing was recorded") {
		t.Errorf("assuming over a sound state: exit %d and %s", code, out)
	}
}

// An answer that a slot broke off began as a 200 and is an error all the same.
func TestErrorsCountWhatTheSlotBrokeOff(t *testing.T) {
	broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/sick" {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Length", "100")
		fmt.Fprint(w, "short")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}))
	t.Cleanup(broken.Close)
	address := freeAddress(t)
	w := newWorld(t, services(service("backend", address, broken.Listener.Addr().String(), namedSlot(t, "green"))))
	if _, body, err := get(address, "/"); err == nil {
		t.Errorf("a broken answer ended cleanly: %q", body)
	}
	if status, _, _ := get(address, "/sick"); status != http.StatusInternalServerError {
		t.Errorf("the slot's own answer arrived as %d", status)
	}
	await(t, "both requests to be counted", func() bool { return w.status().Services[0].Slots[0].Requests == 2 })
	if got := w.status().Services[0].Slots[0].Errors; got != 2 {
		t.Errorf("%d errors, want the broken answer and the 500", got)
	}
}

// A daemon that takes no more connections because it was told to is not one that
// hangs: the watchdog must not end it.
func TestAFullDaemonIsAlive(t *testing.T) {
	address := freeAddress(t)
	yaml := services(service("backend", address, namedSlot(t, "blue"), namedSlot(t, "green")))
	w := newWorld(t, yaml+"server: {max_connections: 2}\n")
	for range 3 {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	}
	await(t, "every place to be taken", func() bool { return w.daemon.doors.get(address).server.Load().Saturated() })
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if err := w.daemon.doors.check(ctx); err != nil {
		t.Errorf("a full daemon is taken for dead: %v", err)
	}
}
