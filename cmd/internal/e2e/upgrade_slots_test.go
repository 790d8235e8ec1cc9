package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
)

// upgradeUnder replaces the daemon while it has a slow request and, if wanted, an
// event stream, which then are the old process's.
func upgradeUnder(t *testing.T, d *daemon, ms int, streams bool) (answered chan string, events eventStream) {
	at := site{T: t, base: d.addr}
	answered = make(chan string, 1)
	go func() {
		_, body := at.get(fmt.Sprintf("/api/v1/slow?ms=%d", ms))
		answered <- string(body)
	}()
	want := int64(0)
	if streams {
		events, want = at.stream("/api/v1/events?interval=20"), 1
		events.next()
	}
	eventually(t, "the old process has all of it", func() error {
		if blue := d.slots()[switcher.Blue]; blue.InFlight != 1 || blue.Streams != want {
			return fmt.Errorf("%d requests and %d streams", blue.InFlight, blue.Streams)
		}
		return nil
	})
	d.upgrade()
	return answered, events
}

// TestAStopIsPutOffForTheRequestsOfTheOldProcess stops a unit right after an
// upgrade.
func TestAStopIsPutOffForTheRequestsOfTheOldProcess(t *testing.T) {
	blue, green := startSlot(t, "blue"), startSlot(t, "green")
	d := newDaemon(t, freeAddr(t), blue.addr, green.addr)
	raw, err := os.ReadFile(d.configFile())
	if err != nil {
		t.Fatal(err)
	}
	d.configure(strings.Replace(string(raw), `unit: ""`, `unit: "blue.service"`, 1))
	d.install(built.daemon)
	d.start()
	t.Cleanup(d.endSuccessor)
	answered, _ := upgradeUnder(t, d, 3000, false)
	r, err := d.api.Stopping(context.Background(), control.StoppingRequest{Unit: "blue.service"})
	if err != nil || !r.Active || r.Left != 0 {
		t.Errorf("stopping: %+v, %v", r, err)
	}
	if left := d.slots()[switcher.Blue].InFlight; left != 0 {
		t.Errorf("the stop may come, and %d are in flight", left)
	}
	if body := <-answered; !strings.Contains(body, "blue") {
		t.Errorf("the slow request got %s", body)
	}
}

// TestTheStreamsOfTheOldProcessAreEndedOnDemand is a deploy right after an upgrade
// that stops the slot of streams which the old process still has.
func TestTheStreamsOfTheOldProcessAreEndedOnDemand(t *testing.T) {
	blue, green := startSlot(t, "blue"), startSlot(t, "green")
	d := startInstalled(t, blue, green, "streams: {spread: 0s}")
	t.Cleanup(d.endSuccessor)
	answered, events := upgradeUnder(t, d, 8000, true)
	defer events.close()
	d.switchTo(switcher.Green, -1)
	r, err := d.api.EndStreams(context.Background(), control.EndStreamsRequest{Service: "backend", Slot: switcher.Blue})
	if want := (control.EndStreamsResult{Ended: 1}); err != nil || r != want {
		t.Errorf("ended %+v, %v, want %+v", r, err, want)
	}
	if s := d.slots()[switcher.Blue]; s.Streams != 0 || s.InFlight != 1 {
		t.Errorf("afterwards blue has %d streams and %d requests", s.Streams, s.InFlight)
	}
	if body := <-answered; !strings.Contains(body, "blue") {
		t.Errorf("the slow request got %s", body)
	}
}

// TestABakeGoesOnInTheNewProcess upgrades during one: neither process takes that for
// a failure.
func TestABakeGoesOnInTheNewProcess(t *testing.T) {
	blue, green := startSlot(t, "blue"), startSlot(t, "green")
	d := startInstalled(t, blue, green)
	t.Cleanup(d.endSuccessor)
	if _, err := d.api.Switch(context.Background(), control.SwitchRequest{To: switcher.Green, Bake: time.Hour}); err != nil {
		t.Fatal(err)
	}
	before := d.status().Bake
	if before == nil {
		t.Fatal("nothing bakes")
	}
	stop := underLoad(t, d.addr, 2) // so that there is something to save
	eventually(t, "the bake has seen requests", func() error {
		if b := d.status().Bake; b == nil || b.Text == before.Text {
			return fmt.Errorf("it is %+v", b)
		}
		return nil
	})
	d.upgrade()
	stop()
	after := d.status().Bake
	if after == nil || after.Verdict != switcher.Baking || !after.Until.Equal(before.Until) {
		t.Errorf("the bake was %+v and is %+v", before, after)
	}
	for _, line := range strings.Split(d.tail(), "\n") {
		if strings.Contains(line, "bake") && (strings.Contains(line, `"warn"`) || strings.Contains(line, `"error"`)) {
			t.Errorf("it complains: %s", line)
		}
	}
}

// TestAStopDuringAnUpgradeEndsBothProcesses stops the daemon while it has a request
// and the new program takes its time.
func TestAStopDuringAnUpgradeEndsBothProcesses(t *testing.T) {
	blue, green := startSlot(t, "blue"), startSlot(t, "green")
	d := newDaemon(t, freeAddr(t), blue.addr, green.addr)
	begun := filepath.Join(t.TempDir(), "begun")
	late := filepath.Join(t.TempDir(), "program")
	script := "#!/bin/sh\ntouch " + begun + "; sleep 2\nexec " + built.daemon + " \"$@\"\n"
	if err := os.WriteFile(late, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	d.install(built.daemon)
	d.start()
	pid := d.pid()
	d.install(late)
	answered := make(chan string, 1)
	go func() {
		_, body := site{T: t, base: d.addr}.get("/api/v1/slow?ms=9000")
		answered <- string(body)
	}()
	ended := make(chan string, 1)
	go func() {
		_, problems, _ := d.ctl("upgrade")
		ended <- problems
	}()
	eventually(t, "the new program runs", func() error { _, err := os.Stat(begun); return err })
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if problems := <-ended; !strings.Contains(problems, "the daemon is stopping") {
		t.Errorf("the upgrade says: %s", problems)
	}
	if body := <-answered; !strings.Contains(body, "blue") {
		t.Errorf("the slow request got %s", body)
	}
	eventually(t, "nobody is in charge", func() error {
		if _, err := d.api.Status(context.Background()); err == nil {
			return errors.New("somebody is")
		}
		return nil
	})
}
