package e2e

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"charactier-proxy/cmd/internal/load"
	"charactier-proxy/switcher"
)

// size picks the short or the long form of a test, or what the environment
// variable says.
func size(t *testing.T, variable string, short, long int64) int64 {
	t.Helper()
	if text := os.Getenv(variable); text != "" {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			t.Fatalf("%s: %v", variable, err)
		}
		return n
	}
	if os.Getenv("SOAK") != "" {
		return long
	}
	return short
}

// outcome is one line of the comparison.
type outcome struct {
	way               string
	switches          int64
	load              load.Report
	twice, lost, late int // orders executed twice, answered but never executed; answers from a slot after the switch away from it
}

func (o outcome) String() string {
	r := o.load
	return fmt.Sprintf("%-28s %8d %9d %7d %6d %6d %6d %9s %9s %8.0f",
		o.way, o.switches, r.Sent, r.Failed, o.twice, o.lost, o.late, r.P50, r.P99, float64(r.Sent)/r.Took.Seconds())
}

const outcomeHead = "                             switches      sent  failed  twice   lost   late       p50       p99    req/s"

// TestSoakSwitchingUnderLoadLosesNothing drives keep-alive clients that never
// retry, most of their requests POSTs that must not be executed twice, and
// switches all the while: directly, through nginx, and for comparison with
// nginx alone and a reload for each switch, as it was before.
func TestSoakSwitchingUnderLoadLosesNothing(t *testing.T) {
	requests, switches := size(t, "SOAK_REQUESTS", 25_000, 1_000_000), size(t, "SOAK_SWITCHES", 100, 1_000)
	blue, green := startSlot(t, "blue"), startSlot(t, "green")
	d := startDaemon(t, blue.addr, green.addr)
	before := startNginx(t, d.addr)
	alone := startNginx(t, blue.addr)
	addrs := map[switcher.Slot]string{switcher.Blue: blue.addr, switcher.Green: green.addr}

	byUs := func(to switcher.Slot) {
		// Every second switch is not waited for: what begins after the swap must
		// go to the new slot, drained or not.
		drain := time.Duration(0)
		if to == switcher.Green {
			drain = -1
		}
		d.switchTo(to, drain)
	}
	runs := []struct {
		way      string
		addr     string
		share    int64 // of the requests and switches
		switchTo func(to switcher.Slot)
		ours     bool
	}{
		{"charactier-proxy", d.addr, 1, byUs, true},
		{"nginx, charactier-proxy", before.site.Listen, 1, byUs, true},
		{"nginx, reload at each switch", alone.site.Listen, 4, func(to switcher.Slot) { alone.reload(addrs[to]) }, false},
	}
	table := outcomeHead
	for _, run := range runs {
		o := soak(t, run.addr, requests/run.share, switches/run.share, run.switchTo, run.ours)
		o.way = run.way
		counts := orders(t, o.load.Run, blue, green)
		o.twice, o.lost = judge(counts, o.load)
		table += "\n" + o.String()
		if !run.ours {
			continue
		}
		if o.load.Failed > 0 || o.twice > 0 || o.lost > 0 || o.late > 0 {
			t.Errorf("%s: %d failed, %d executed twice, %d lost, %d late answers\n%s", run.way, o.load.Failed, o.twice, o.lost, o.late, o.load)
		}
		if o.load.BySlot["blue"] == 0 || o.load.BySlot["green"] == 0 {
			t.Errorf("%s: answers by slot %v, want both", run.way, o.load.BySlot)
		}
		if o.load.Reused*10 < o.load.Sent*9 {
			t.Errorf("%s: %d of %d requests on a reused connection: not keep-alive", run.way, o.load.Reused, o.load.Sent)
		}
	}
	t.Logf("64 keep-alive clients without retries, 3 of 4 requests a POST:\n%s", table)
}

// soak spreads the switches evenly over the requests. Strict: a late answer
// counts as failed.
func soak(t *testing.T, addr string, requests, switches int64, switchTo func(switcher.Slot), strict bool) outcome {
	t.Helper()
	var when left
	g := load.New(load.Options{
		Addr: addr, Host: "example.com", Clients: 64, Requests: requests, GetEvery: 4,
		Check: func(a load.Answer) error {
			if err := when.check(a); err != nil && strict {
				return err
			}
			return nil
		},
	})
	o := outcome{switches: switches}
	done := make(chan struct{})
	go func() {
		defer close(done)
		o.load = g.Run(context.Background())
	}()
	defer func() { <-done }()

	active := switcher.Blue
	for n := range switches {
		eventually(t, "the load goes on", func() error {
			if want := requests * (n + 1) / (switches + 1); g.Begun() < want {
				return fmt.Errorf("%d of %d requests", g.Begun(), want)
			}
			return nil
		})
		when.expect(active.Other())
		switchTo(active.Other())
		when.leave(active)
		active = active.Other()
	}
	if active == switcher.Green {
		switchTo(switcher.Blue)
	}
	<-done
	o.late = when.late()
	return o
}

// judge compares what the slots executed with what the load was told.
func judge(executed map[string]int, r load.Report) (twice, lost int) {
	for _, n := range executed {
		if n > 1 {
			twice++
		}
	}
	// Every good POST was executed; a failed one may or may not have been.
	return twice, max(0, int(r.Posts)-len(executed))
}

// left remembers since when a slot must not be answered from: since a switch
// away from it was reported done.
type left struct {
	mu    sync.Mutex
	since map[string]time.Time
	n     int
}

// expect allows answers of the slot again; called before the switch to it.
func (l *left) expect(slot switcher.Slot) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.since, string(slot))
}

func (l *left) leave(slot switcher.Slot) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.since == nil {
		l.since = map[string]time.Time{}
	}
	l.since[string(slot)] = time.Now()
}

// check fails for an answer to a request that began after its slot was left.
func (l *left) check(a load.Answer) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	since, is := l.since[a.Slot]
	if !is || !a.Started.After(since) {
		return nil
	}
	l.n++
	return fmt.Errorf("slot %s answered a request that began %s after the switch away from it was done", a.Slot, a.Started.Sub(since))
}

func (l *left) late() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.n
}
