package e2e

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"charactier-proxy/cmd/internal/load"
	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
)

// TestAKilledSlotIsReportedAndLeft kills the active slot: clients get an answer
// that they can read once they have waited in vain, the operator sees why, and a switch mends it.
func TestAKilledSlotIsReportedAndLeft(t *testing.T) {
	blue, green := startSlot(t, "blue"), startSlot(t, "green")
	d := startDaemon(t, blue.addr, green.addr, "hold: {time: 100ms}")
	s := site{T: t, base: d.addr}
	s.get("/api/v1/echo") // leaves an idle connection to the slot that dies

	blue.kill()
	resp, body := s.do("POST", "/api/v1/orders", `{"id":"a"}`, "X-Request-Id", "a",
		"Content-Type", "application/json", "Accept", "application/json")
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("X-Charactier-Proxy-Error") == "" ||
		!strings.HasPrefix(resp.Header.Get("Content-Type"), "application/problem+json") || !json.Valid(body) {
		t.Errorf("got %s, %v, %s", resp.Status, resp.Header, body)
	}
	d.awaitHealth(switcher.Blue, "unhealthy")
	if out, _, code := d.ctl("status"); code != control.ExitDone || !strings.Contains(out, "unhealthy") {
		t.Errorf("status: exit %d:\n%s", code, out)
	}

	if _, problems, code := d.ctl("switch", "green"); code != control.ExitDone {
		t.Fatalf("switch green: exit %d: %s", code, problems)
	}
	if _, body := s.get("/api/v1/echo"); !strings.Contains(string(body), `"slot":"green"`) {
		t.Errorf("after the switch: %s", body)
	}
	if _, problems, code := d.ctl("switch", "blue"); code != control.ExitRefused {
		t.Errorf("switch to the dead slot: exit %d, want %d: %s", code, control.ExitRefused, problems)
	}

	blue.start()
	d.awaitHealth(switcher.Blue, "healthy")
	if _, problems, code := d.ctl("rollback"); code != control.ExitDone {
		t.Errorf("rollback: exit %d: %s", code, problems)
	}
	if _, body := s.get("/api/v1/echo"); !strings.Contains(string(body), `"slot":"blue"`) {
		t.Errorf("after the rollback: %s", body)
	}
}

// TestASickSlotIsNotSwitchedTo is S3 with a slot that answers, but badly.
func TestASickSlotIsNotSwitchedTo(t *testing.T) {
	blue, green := startSlot(t, "blue"), startSlot(t, "green")
	d := startDaemon(t, blue.addr, green.addr)
	green.setHealthy(false)
	_, problems, code := d.ctl("switch")
	if code != control.ExitRefused || !strings.Contains(problems, "503") {
		t.Errorf("exit %d, want %d and the slot's 503: %s", code, control.ExitRefused, problems)
	}
	if got := d.status().Active; got != switcher.Blue {
		t.Errorf("active is %s", got)
	}
	green.setHealthy(true)
	if _, problems, code := d.ctl("switch", "--wait", "10s"); code != control.ExitDone {
		t.Errorf("exit %d: %s", code, problems)
	}
}

// TestSoakAKilledDaemonKnowsItsSlot kills the daemon at random points of
// switches under load. Its listener outlives it, as with socket activation: no
// connection is refused, no order executed twice, and each next life serves the
// slot that the state names, which is the new one if the switch was reported
// done.
func TestSoakAKilledDaemonKnowsItsSlot(t *testing.T) {
	kills := size(t, "SOAK_KILLS", 8, 200)
	const clients = 16
	blue, green := startSlot(t, "blue"), startSlot(t, "green")
	d := newActivated(t, blue, green)
	d.start()

	stop := underLoad(t, d.addr, clients)
	begin := time.Now()
	d.switchTo("", -1)
	window := 2 * time.Since(begin)
	both, ends := map[switcher.Slot]int64{}, map[string]int64{}
	for range kills {
		now, end := d.killWhileSwitching(window)
		both[now]++
		ends[end]++
	}
	r := stop()
	t.Logf("%d kills, found active afterwards: %v; the switches were: %v\n%s", kills, both, ends, r.Summary())

	if r.ByKind[load.Reset] != r.Failed || r.Failed > kills*clients {
		t.Errorf("want no failure but a reset of what was under way, at most %d\n%s", kills*clients, r)
	}
	if twice, lost := judge(orders(t, r.Run, blue, green), r); twice+lost > 0 {
		t.Errorf("%d executed twice, %d answered but not executed", twice, lost)
	}
}

// TestARestartLosesNothing ends the daemon in good order and starts it again,
// under load and on a listener that outlives it, as systemctl restart does with
// the socket unit.
func TestARestartLosesNothing(t *testing.T) {
	blue, green := startSlot(t, "blue"), startSlot(t, "green")
	d := newActivated(t, blue, green)
	d.start()
	stop := underLoad(t, d.addr, 32)
	for range 5 {
		if state := d.stop(patience); state.ExitCode() != 0 {
			t.Errorf("the daemon ended with %s", state)
		}
		d.start()
	}
	r := stop()
	t.Log(r.Summary())
	if twice, lost := judge(orders(t, r.Run, blue, green), r); r.Failed > 0 || twice+lost > 0 {
		t.Errorf("%d failed, %d executed twice, %d answered but not executed\n%s", r.Failed, twice, lost, r)
	}
}

// underLoad keeps clients busy until the returned function is called, which
// tells what came of it.
func underLoad(t *testing.T, addr string, clients int) (stop func() load.Report) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	g := load.New(load.Options{Addr: addr, Clients: clients, GetEvery: 4, Think: 2 * time.Millisecond})
	result := make(chan load.Report, 1)
	go func() { result <- g.Run(ctx) }()
	t.Cleanup(cancel)
	return func() load.Report {
		cancel()
		return <-result
	}
}

// newActivated is a daemon on a listener that is ours.
func newActivated(t *testing.T, blue, green *slot) *daemon {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	d := newDaemon(t, l.Addr().String(), blue.addr, green.addr)
	d.passed = l.(*net.TCPListener)
	return d
}

// killWhileSwitching kills at some moment within the window and returns which
// slot is active in the daemon's next life, and how far the switch had come.
func (d *daemon) killWhileSwitching(window time.Duration) (now switcher.Slot, end string) {
	d.t.Helper()
	from := d.status().Active
	switched := make(chan error, 1)
	go func() {
		_, err := d.api.Switch(context.Background(), control.SwitchRequest{To: from.Other(), Drain: -1})
		switched <- err
	}()
	moment := time.NewTimer(rand.N(window))
	defer moment.Stop()
	<-moment.C
	d.kill()
	err := <-switched
	d.start()

	now, end = d.status().Active, "not saved"
	switch {
	case err == nil:
		end = "answered"
	case now != from:
		end = "saved"
	}
	if err == nil && now != from.Other() {
		d.t.Errorf("the switch to %s was reported done, but after the kill %s is active", from.Other(), now)
	}
	_, body := site{T: d.t, base: d.addr}.get("/api/v1/echo")
	if !strings.Contains(string(body), `"slot":"`+string(now)+`"`) {
		d.t.Errorf("the state names %s, but the answer is %s", now, body)
	}
	return now, end
}
