package e2e

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"

	"charactier-proxy/cmd/internal/load"
	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
)

// restarts is one line of the table: what was done to the live slot how often,
// and what its clients noticed.
type restarts struct {
	way, what   string
	times       int
	load        load.Report
	twice, lost int
}

const restartsHead = "                                              times      sent  failed  twice   lost   longest"

func (r restarts) String() string {
	return fmt.Sprintf("%-22s %-22s %6d %9d %7d %6d %6d %9s", r.way, r.what, r.times, r.load.Sent, r.load.Failed, r.twice, r.lost, r.load.Max.Round(time.Millisecond))
}

// TestSoakRestartsOfTheLiveSlotAreWaitedOut restarts and kills the live slot under
// load, directly and through nginx. Whoever comes meanwhile waits; what fails is
// what a process was given that ended with it.
func TestSoakRestartsOfTheLiveSlotAreWaitedOut(t *testing.T) {
	times := int(size(t, "SOAK_RESTARTS", 3, 50))
	term := func(_ *daemon, s *slot) { s.stop(patience); s.start() }
	kill := func(_ *daemon, s *slot) { s.signal(syscall.SIGKILL); s.await(patience); s.start() }
	table := restartsHead
	for _, run := range []struct {
		what    string
		restart func(*daemon, *slot)
		none    bool // may fail
	}{
		{"SIGTERM under a hold", announced, true},
		{"SIGTERM", term, false},
		{"kill -9", kill, false},
	} {
		blue, green := startSlot(t, "blue"), startSlot(t, "green")
		d := startDaemon(t, blue.addr, green.addr)
		for _, at := range []site{{base: d.addr}, {base: startNginx(t, d.addr).site.Listen, nginx: true}} {
			r := restarts{way: at.name(), what: run.what, times: times}
			r.load = restartUnderLoad(t, at.base, d, blue, times, run.restart)
			r.twice, r.lost = judge(orders(t, r.load.Run, blue, green), r.load)
			table += "\n" + r.String()
			if run.none && r.load.Failed > 0 || r.twice+r.lost > 0 {
				t.Errorf("%s\n%s", r, r.load)
			}
		}
		for cause, n := range d.slots()[switcher.Blue].ByCause {
			if cause != "slot-reset" && cause != "slot-closed-early" {
				t.Errorf("%s: %d requests failed as %s, which no process had been given", run.what, n, cause)
			}
		}
	}
	t.Logf("64 keep-alive clients without retries, 3 of 4 requests a POST:\n%s", table)
}

// announced is a restart before which nothing more is sent. The hold need not last
// until the slot is back: from then on, it takes no connections.
func announced(d *daemon, s *slot) {
	d.t.Helper()
	if _, err := d.api.Hold(d.t.Context(), control.HoldRequest{Reason: "restart"}); err != nil {
		d.t.Fatal(err)
	}
	eventually(d.t, "what was sent is answered", func() error {
		if n := d.slots()[switcher.Blue].InFlight; n > 0 {
			return fmt.Errorf("%d in flight", n)
		}
		return nil
	})
	s.stop(patience)
	if _, err := d.api.ReleaseHold(d.t.Context(), control.HoldRequest{}); err != nil {
		d.t.Fatal(err)
	}
	s.start()
}

func restartUnderLoad(t *testing.T, addr string, d *daemon, s *slot, times int, restart func(*daemon, *slot)) load.Report {
	t.Helper()
	g := load.New(load.Options{Addr: addr, Host: "example.com", Clients: 64, GetEvery: 4})
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan load.Report, 1)
	go func() { done <- g.Run(ctx) }()
	defer stop()
	for range times {
		more(t, g, 500)
		restart(d, s)
	}
	more(t, g, 500)
	stop()
	return <-done
}

// more waits until the load has gone on by n requests.
func more(t *testing.T, g *load.Generator, n int64) {
	t.Helper()
	from := g.Begun()
	eventually(t, "the load goes on", func() error {
		if got := g.Begun() - from; got < n {
			return fmt.Errorf("%d of %d requests", got, n)
		}
		return nil
	})
}
