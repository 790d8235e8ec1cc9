package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"testing"
	"time"

	"charactier-proxy/switcher"
)

const streamClients = "../../../testdata/stream-clients"

// watchers are real clients of streams, in Node: an EventSource, event streams
// read by hand and WebSockets, so many of each.
type watchers struct {
	*production
	in  io.WriteCloser
	out *bufio.Reader
}

// watched is what they count; see clients.js.
type watched struct {
	Events, Lost, Cut, Ends, Refused int
	Slots                            map[string]int
	Closes                           map[string]int
	Errors                           map[string]int
}

// watch opens the streams, through nginx, and keeps them open.
func (p *production) watch(each int) *watchers {
	p.t.Helper()
	if err := npmCIOf(streamClients); err != nil {
		p.t.Fatal(err)
	}
	cmd := p.NetCommand(context.WithoutCancel(p.t.Context()), "node", streamClients+"/clients.js", "http://"+siteAddr, fmt.Sprint(each))
	in, err := cmd.StdinPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	var problems lockedBuffer
	cmd.Stderr = &problems
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			p.t.Errorf("the clients ended with %v: %s", err, problems.String())
		}
	})
	w := &watchers{production: p, in: in, out: bufio.NewReader(out)}
	if line, err := w.out.ReadString('\n'); line != "open\n" {
		p.t.Fatalf("the clients say %q, %v: %s", line, err, problems.String())
	}
	return w
}

// all waits until the slot has all of the clients' streams.
func (w *watchers) all(slot switcher.Slot, want int64) {
	w.t.Helper()
	w.Eventually(fmt.Sprintf("%s has all streams", slot), func() error {
		for _, s := range w.status().Services[0].Slots {
			if s.Name == slot && s.Streams != want {
				return fmt.Errorf("%d of %d", s.Streams, want)
			}
		}
		return nil
	})
}

// leave has the clients go and returns what they counted.
func (w *watchers) leave() (r watched) {
	w.t.Helper()
	w.in.Close()
	line, err := w.out.ReadString('\n')
	if err == nil {
		err = json.Unmarshal([]byte(line), &r)
	}
	if err != nil {
		w.t.Fatalf("the clients say %q: %v", line, err)
	}
	return r
}

// TestStreamsComeBackToTheNewSlot is the life of streams: their slot is left, and
// stopped at once, by hand or by a deploy, or their grace ends; or the daemon is
// restarted. They end where that costs nothing and come back, and the
// application, which waits for its streams for half a minute and then gives up,
// waits for nothing.
func TestStreamsComeBackToTheNewSlot(t *testing.T) {
	p := bootProduction(t, settings{backend: quick + "    streams: {grace: 10m, spread: 1s}\n"})
	p.Write("/etc/charactier/backend.env", "LEDGER="+ledgerPath+"\n") // with the application's own 30 s
	p.Run("systemctl", "restart", p.unitOf(switcher.Blue))
	p.repo.commit("the first", good)
	p.ctl("deploy", "--no-bake").wants(0)
	p.active = switcher.Green

	const each = 4
	w := p.watch(each)
	w.all(p.active, 3*each)
	var longest time.Duration
	began, rounds := time.Now(), size(t, "SOAK_SWITCHES", 10, 100)
	for range rounds {
		old := p.active
		p.ctl("switch", "--yes").wants(0, "12 streams still open, and ended in ")
		p.active = old.Other()
		longest = max(longest, p.stopSlot(old))
		w.all(p.active, 3*each)
		p.startSlot(old)
	}
	table := fmt.Sprintf("%d switches in %s, each followed by a stop of the slot that was left", rounds, time.Since(began).Round(time.Second))

	p.configure(settings{backend: quick + "    streams: {grace: 1s, spread: 1s}\n"})
	p.ctl("switch", "--yes").wants(0)
	p.active = p.active.Other()
	w.all(p.active, 3*each) // by themselves, with their old slot running

	p.configure(settings{backend: quick + "    streams: {grace: 10m, spread: 1s}\n"})
	p.ctl("switch", "--yes").wants(0)
	p.active = p.active.Other()
	p.repo.commit("with streams open", good)
	p.ctl("deploy", "--no-bake").wants(1, "12 streams left from the switch before", "have the streams end now with --cut-streams")
	p.ctl("deploy", "--no-bake", "--cut-streams").wants(0, "12 between two events or messages, 0 cut")
	p.active = p.active.Other()
	p.Run("systemctl", "restart", proxyUnit)
	w.all(p.active, 3*each)

	r := w.leave()
	t.Logf("\n%s\n%d events, %d lost, %d cut, %d streams refused, %d ends of event streams, WebSockets closed with %v; the longest stop took %s\nheard %v",
		table, r.Events, r.Lost, r.Cut, r.Refused, r.Ends, r.Closes, longest.Round(time.Millisecond), r.Slots)
	if r.Lost+r.Cut+r.Refused > 0 || len(r.Errors) > 0 || len(r.Slots) != 2 {
		t.Errorf("the clients counted %+v", r)
	}
	if codes := slices.Sorted(maps.Keys(r.Closes)); !slices.Equal(codes, []string{"1012"}) {
		t.Errorf("the WebSockets were closed with %v", r.Closes)
	}
	for _, s := range p.status().Services[0].Slots {
		if s.StreamsCut > 0 {
			t.Errorf("%d streams of %s were cut", s.StreamsCut, s.Name)
		}
	}
}

// stopSlot stops a slot's unit, which must end by itself and well.
func (p *production) stopSlot(slot switcher.Slot) time.Duration {
	p.t.Helper()
	began := time.Now()
	p.Run("systemctl", "stop", p.unitOf(slot))
	took := time.Since(began)
	if got := p.Run("systemctl", "show", "--value", "--property=Result", "--property=ExecMainStatus", p.unitOf(slot)); got != "success\n0" && got != "0\nsuccess" {
		p.t.Errorf("%s ended with %q after %s", p.unitOf(slot), got, took)
	}
	return took
}

// startSlot starts it again.
func (p *production) startSlot(slot switcher.Slot) {
	p.t.Helper()
	p.Run("systemctl", "start", p.unitOf(slot))
	p.Eventually("the slot is healthy", func() error {
		for _, s := range p.status().Services[0].Slots {
			if s.Name == slot && s.Health.State != "healthy" {
				return errors.New(s.Health.State)
			}
		}
		return nil
	})
}
