package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
)

// pid is the process that answers on the control socket.
func (d *daemon) pid() int {
	d.t.Helper()
	s, err := d.api.Status(context.Background())
	if err != nil {
		d.t.Fatal(err)
	}
	return s.PID
}

// upgrade has the daemon replaced, and the new one ended with the test. The
// process that the test started ends.
func (d *daemon) upgrade() (pid int) {
	d.t.Helper()
	before := d.pid()
	out, problems, code := d.ctl("upgrade")
	if code != control.ExitDone || !strings.Contains(out, "upgraded from") {
		d.t.Fatalf("upgrade: exit %d: %s%s\n%s", code, out, problems, d.tail())
	}
	if pid = d.pid(); pid == before {
		d.t.Fatalf("process %d still answers", pid)
	}
	return pid
}

// endSuccessor ends the process that answers, in good order.
func (d *daemon) endSuccessor() {
	d.t.Helper()
	pid := d.pid()
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		d.t.Fatal(err)
	}
	eventually(d.t, "the last process ends", func() error {
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); err == nil {
			return fmt.Errorf("process %d is there", pid)
		}
		return nil
	})
}

// startInstalled is startDaemon with a program that can be replaced.
func startInstalled(t *testing.T, blue, green *slot, more ...string) *daemon {
	t.Helper()
	d := newDaemon(t, freeAddr(t), blue.addr, green.addr, more...)
	d.install(built.daemon)
	d.start()
	return d
}

// install puts the daemon's program where an upgrade finds it, and where another
// may take its place.
func (d *daemon) install(program string) {
	d.t.Helper()
	installed := filepath.Join(d.dir, "charactier-proxy")
	raw, err := os.ReadFile(program)
	if err != nil {
		d.t.Fatal(err)
	}
	if err := os.WriteFile(installed+"~", raw, 0o755); err != nil {
		d.t.Fatal(err)
	}
	if err := os.Rename(installed+"~", installed); err != nil {
		d.t.Fatal(err)
	}
	d.program = installed
}

// TestSoakUpgradesLoseNothing replaces the daemon again and again under load.
func TestSoakUpgradesLoseNothing(t *testing.T) {
	upgrades := size(t, "SOAK_UPGRADES", 10, 100)
	blue, green := startSlot(t, "blue"), startSlot(t, "green")
	d := startInstalled(t, blue, green)
	t.Cleanup(d.endSuccessor)
	first := d.pid()
	files := openFiles(t, first)
	stop := underLoad(t, d.addr, 32)
	to := switcher.Green
	for n := range upgrades {
		d.upgrade()
		if n%3 == 0 {
			d.switchTo(to, -1)
			to = to.Other()
		}
	}
	r := stop()
	t.Log(r.Summary())
	if twice, lost := judge(orders(t, r.Run, blue, green), r); r.Failed > 0 || twice+lost > 0 {
		t.Errorf("%d failed, %d executed twice, %d answered but not executed\n%s", r.Failed, twice, lost, r)
	}
	if d.pid() == first {
		t.Error("the first process is still in charge")
	}
	eventually(t, "the last process has no more files open than the first", func() error {
		if now := openFiles(t, d.pid()); now > files+5 {
			return fmt.Errorf("%d, not %d", now, files)
		}
		return nil
	})
	records, err := d.api.History(context.Background(), 1000)
	if err != nil {
		t.Fatal(err)
	}
	done := int64(0)
	for _, r := range records {
		if r.Kind == switcher.KindUpgrade && r.Outcome == switcher.Done && r.ToVersion != "" {
			done++
		}
	}
	if done != int64(upgrades) {
		t.Errorf("the history has %d upgrades, want %d", done, upgrades)
	}
}

func openFiles(t *testing.T, pid int) int {
	t.Helper()
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}

// TestAProgramThatCannotTakeOverLeavesTheOldOneInCharge installs programs that
// fail in every way, each in the place of a good one.
func TestAProgramThatCannotTakeOverLeavesTheOldOneInCharge(t *testing.T) {
	blue, green := startSlot(t, "blue"), startSlot(t, "green")
	d := startInstalled(t, blue, green)
	pid := d.pid()
	stop := underLoad(t, d.addr, 8)
	for name, c := range map[string]struct{ script, want string }{
		"it ends":            {"#!/bin/sh\necho 'no such library' >&2; exit 3\n", "no such library"},
		"it is no program":   {"not a program", "exec format error"},
		"it is an older one": {"#!/bin/sh\nunset CHARACTIER_PROXY_PREDECESSOR\nexec " + built.daemon + " \"$@\"\n", "another charactier-proxy uses it"},
		"its settings":       {"#!/bin/sh\nexec " + built.daemon + " --config /nonexistent\n", "/nonexistent"},
	} {
		t.Run(name, func(t *testing.T) {
			fake := filepath.Join(t.TempDir(), "program")
			if err := os.WriteFile(fake, []byte(c.script), 0o755); err != nil {
				t.Fatal(err)
			}
			d.install(fake)
			_, problems, code := d.ctl("upgrade")
			if code != control.ExitFailed || !strings.Contains(problems, c.want) || !strings.Contains(problems, "traffic") {
				t.Errorf("exit %d: %s\nwant %q", code, problems, c.want)
			}
			if now := d.pid(); now != pid {
				t.Errorf("process %d is in charge", now)
			}
		})
	}
	d.switchTo(switcher.Green, -1) // it can still do its work
	r := stop()
	if twice, lost := judge(orders(t, r.Run, blue, green), r); r.Failed > 0 || twice+lost > 0 {
		t.Errorf("%d failed, %d executed twice, %d answered but not executed\n%s", r.Failed, twice, lost, r)
	}
	d.install(built.daemon)
	d.upgrade()
	d.endSuccessor()
}

// TestADrainAfterAnUpgradeCountsWhatTheOldProcessHas is P1 across processes: a
// deploy right after an upgrade must not stop a slot under requests that the old
// process still has.
func TestADrainAfterAnUpgradeCountsWhatTheOldProcessHas(t *testing.T) {
	blue, green := startSlot(t, "blue"), startSlot(t, "green")
	d := startInstalled(t, blue, green, "drain_timeout: 60s")
	t.Cleanup(d.endSuccessor)
	answered := make(chan string, 1)
	go func() {
		_, body := site{T: t, base: d.addr}.get("/api/v1/slow?ms=3000")
		answered <- string(body)
	}()
	inFlight := func() error {
		if n := d.slots()[switcher.Blue].InFlight; n != 1 {
			return fmt.Errorf("%d in flight", n)
		}
		return nil
	}
	eventually(t, "the slow request is in flight", inFlight)
	d.upgrade()
	if err := inFlight(); err != nil {
		t.Errorf("after the upgrade: %v", err)
	}
	r := d.switchTo(switcher.Green, 0)
	select {
	case body := <-answered:
		if !strings.Contains(body, "blue") {
			t.Errorf("the slow request got %s", body)
		}
	default:
		t.Errorf("the switch ended before the slow request: %+v", r.Drain)
	}
	if len(r.Drain) != 1 || r.Drain[0].Moved != 1 || r.Drain[0].OpenRequests != 0 {
		t.Errorf("the drain counted %+v", r.Drain)
	}
	if _, body := (site{T: t, base: d.addr}).get("/api/v1/echo"); !strings.Contains(string(body), `"slot":"green"`) {
		t.Errorf("after the switch: %s", body)
	}
}

// TestSoakUpgradesBehindNginxLoseNothing has nginx keep connections to us over
// upgrades, with streams among them.
func TestSoakUpgradesBehindNginxLoseNothing(t *testing.T) {
	blue, green := startSlot(t, "blue"), startSlot(t, "green")
	d := startInstalled(t, blue, green)
	t.Cleanup(d.endSuccessor)
	n := startNginx(t, d.addr)
	stop := underLoad(t, n.site.Listen, 16)
	for range size(t, "SOAK_NGINX_UPGRADES", 5, 100) {
		at := site{T: t, base: n.site.Listen, nginx: true}
		events, socket := at.stream("/api/v1/events?interval=20"), at.dialWebSocket()
		events.next()
		d.upgrade()
		at.wantEcho(at.dialWebSocket(), "the new process serves streams too")
		socket.CloseNow()
		events.close()
	}
	r := stop()
	t.Log(r.Summary())
	if twice, lost := judge(orders(t, r.Run, blue, green), r); r.Failed > 0 || twice+lost > 0 {
		t.Errorf("%d failed, %d executed twice, %d answered but not executed\n%s", r.Failed, twice, lost, r)
	}
}

// TestASuccessorThatHangsIsGivenUp stops the new process before it has proven
// itself: the old one ends it in time.
func TestASuccessorThatHangsIsGivenUp(t *testing.T) {
	blue, green := startSlot(t, "blue"), startSlot(t, "green")
	d := startInstalled(t, blue, green)
	pid := d.pid()
	stop := underLoad(t, d.addr, 8)
	fake := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(fake, []byte("#!/bin/sh\necho 'waiting for ever' >&2\nkill -STOP $$\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	d.install(fake)
	_, problems, code := d.ctl("upgrade")
	if code != control.ExitFailed || !strings.Contains(problems, "waiting for ever") || !strings.Contains(problems, "within 20s") {
		t.Errorf("exit %d: %s", code, problems)
	}
	if now := d.pid(); now != pid {
		t.Errorf("process %d is in charge", now)
	}
	d.switchTo(switcher.Green, -1)
	if r := stop(); r.Failed > 0 {
		t.Errorf("%d failed\n%s", r.Failed, r)
	}
}

// TestRequestsThatWaitInTheOldProcessFollowTheNewOne is P2 across processes: a
// request that waits in a hold of the old process goes where the new one has moved
// the traffic since.
func TestRequestsThatWaitInTheOldProcessFollowTheNewOne(t *testing.T) {
	blue, green := startSlot(t, "blue"), startSlot(t, "green")
	d := startInstalled(t, blue, green, "hold: {time: 60s}")
	t.Cleanup(d.endSuccessor)
	if _, problems, code := d.ctl("hold", "--yes"); code != control.ExitDone {
		t.Fatalf("hold: exit %d: %s", code, problems)
	}
	answered := make(chan string, 1)
	go func() {
		_, body := site{T: t, base: d.addr}.get("/api/v1/echo")
		answered <- string(body)
	}()
	eventually(t, "a request waits", func() error {
		if n := d.status().Waiting; n != 1 {
			return fmt.Errorf("%d wait", n)
		}
		return nil
	})
	d.upgrade()
	if d.status().Held == nil {
		t.Error("the new process knows no hold")
	}
	d.switchTo(switcher.Green, -1)
	select {
	case body := <-answered:
		t.Errorf("it was let go: %s", body)
	default:
	}
	if _, problems, code := d.ctl("release-hold"); code != control.ExitDone {
		t.Fatalf("release-hold: exit %d: %s", code, problems)
	}
	if body := <-answered; !strings.Contains(body, `"slot":"green"`) {
		t.Errorf("the request that waited was answered by %s", body)
	}
}

// TestAnotherProgramThanTheOneThatRunsIsTold is what status says between the
// installation and the upgrade.
func TestAnotherProgramThanTheOneThatRunsIsTold(t *testing.T) {
	blue, green := startSlot(t, "blue"), startSlot(t, "green")
	d := startInstalled(t, blue, green)
	t.Cleanup(d.endSuccessor)
	d.install(built.daemon) // the same once more
	if out, _, _ := d.ctl("status"); strings.Contains(out, "charactier-proxyctl upgrade") {
		t.Errorf("the same program is told as another:\n%s", out)
	}
	other := filepath.Join(t.TempDir(), "program")
	raw, err := os.ReadFile(built.daemon)
	if err == nil {
		err = os.WriteFile(other, append(raw, 0), 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	d.install(other)
	if out, _, _ := d.ctl("status"); !strings.Contains(out, "charactier-proxyctl upgrade") {
		t.Errorf("another program is not told of:\n%s", out)
	}
	d.upgrade()
	if out, _, _ := d.ctl("status"); strings.Contains(out, "is another than the one that runs") {
		t.Errorf("after the upgrade:\n%s", out)
	}
}
