package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"charactier-proxy/cmd/internal/load"
	"charactier-proxy/switcher"
)

// demoRedraw is how often the live table is drawn anew.
const demoRedraw = 200 * time.Millisecond

// demoView shows a demo while it runs.
type demoView interface {
	begin(w *demoWorld)
	show(r load.Report)
	switched(record switcher.Record, r load.Report)
	end(d demoResult)
}

func (e *env) newDemoView(f demoFlags) demoView {
	plain := plainView{e: e, flags: f}
	switch {
	case f.json:
		return jsonView{e}
	case e.isTerminal:
		return &liveView{plainView: plain}
	}
	return &plain
}

// plainView writes a line for each switch.
type plainView struct {
	e     *env
	flags demoFlags
}

func (v *plainView) begin(w *demoWorld) {
	v.e.printf("%s on %s, slots on %s and %s; %d keep-alive clients, 3 of 4 requests a POST, no retries; a switch every %s\n\n",
		v.e.paint(bold, "charactier-proxy"), w.addr, w.slots[switcher.Blue], w.slots[switcher.Green],
		v.flags.clients, v.flags.interval)
}

func (v *plainView) show(load.Report) {}

func (v *plainView) switched(record switcher.Record, r load.Report) {
	for _, m := range record.Moves {
		v.e.printf("%s\n", v.e.moveLine(record, m))
	}
	v.e.printf("  %s\n", v.totals(r))
}

func (v *plainView) totals(r load.Report) string {
	return fmt.Sprintf("sent %d, failed %d, blue %d, green %d, p50 %s, p99 %s",
		r.Sent, r.Failed, r.BySlot["blue"], r.BySlot["green"], v.e.dur(r.P50), v.e.dur(r.P99))
}

func (v *plainView) end(d demoResult) {
	v.e.printf("\n%s\n", v.totals(d.Load))
	for _, f := range d.Load.Failures {
		v.e.printf("  failed: %s\n", clean(f.String()))
	}
	facts := fmt.Sprintf("%d switches, the slowest swap %s; of %d requests %d failed, %d executed twice, %d answered but not executed",
		d.Switches, v.e.dur(d.SwapMax), d.Load.Sent, d.Load.Failed, d.ExecutedTwice, d.Unexecuted)
	switch {
	case d.NothingLost:
		v.e.printf("%s %s\n", v.e.paint(green, v.e.glyph("✓ ", "")+"nothing was lost:"), facts)
	case d.Load.Failed+int64(d.ExecutedTwice+d.Unexecuted) == 0:
		v.e.printf("%s %s\n", v.e.paint(yellow, "ended early:"), facts)
	default:
		v.e.printf("%s %s\n", v.e.paint(red, "requests were lost:"), facts)
	}
	if !v.flags.keep {
		v.e.printf("\nto try the commands yourself:  %s demo --keep\nto install it behind nginx:    see README.md\n", os.Args[0])
	}
}

// liveView draws one table over and over.
type liveView struct {
	plainView
	drawn  int // lines on the screen
	active switcher.Slot
	last   string // the last switch
	at     time.Time
	before load.Report
	rates  map[string]float64
}

func (v *liveView) begin(w *demoWorld) {
	v.plainView.begin(w)
	v.active = w.activeSlot()
	v.at, v.rates = v.e.now(), map[string]float64{}
}

func (v *liveView) switched(record switcher.Record, r load.Report) {
	for _, m := range record.Moves {
		v.active, v.last = m.To, v.e.moveLine(record, m)
	}
	v.show(r)
}

func (v *liveView) show(r load.Report) {
	v.measure(r)
	lines := []string{"  slot    active    requests     per second"}
	for _, slot := range []switcher.Slot{switcher.Blue, switcher.Green} {
		mark := "      "
		if slot == v.active {
			mark = v.e.glyph("●     ", "*     ")
		}
		name := v.e.slot(slot) + strings.Repeat(" ", 8-len(slot))
		lines = append(lines, fmt.Sprintf("  %s%s  %10d  %13.0f", name, mark, r.BySlot[string(slot)], v.rates[string(slot)]))
	}
	failed := fmt.Sprintf("failed %d", r.Failed)
	if r.Failed > 0 {
		failed = v.e.paint(red, failed)
	}
	lines = append(lines, "",
		fmt.Sprintf("  sent %d, %s, p50 %s, p99 %s", r.Sent, failed, v.e.dur(r.P50), v.e.dur(r.P99)),
		"  "+v.last)
	v.draw(lines)
}

// measure turns counts into rates, at most twice a second.
func (v *liveView) measure(r load.Report) {
	passed := v.e.now().Sub(v.at)
	if passed < 500*time.Millisecond {
		return
	}
	for _, slot := range []string{"blue", "green"} {
		v.rates[slot] = float64(r.BySlot[slot]-v.before.BySlot[slot]) / passed.Seconds()
	}
	v.before, v.at = r, v.e.now()
}

// draw writes the lines over those of the last time. Lines are not wrapped, or
// the count of what to write over would be wrong.
func (v *liveView) draw(lines []string) {
	var b strings.Builder
	if v.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", v.drawn)
	}
	b.WriteString("\x1b[?7l")
	for _, line := range lines {
		fmt.Fprintf(&b, "\r\x1b[K%s\n", line)
	}
	b.WriteString("\x1b[?7h")
	v.drawn = len(lines)
	v.e.printf("%s", b.String())
}

// jsonView prints the result and nothing else.
type jsonView struct{ e *env }

func (jsonView) begin(*demoWorld)                      {}
func (jsonView) show(load.Report)                      {}
func (jsonView) switched(switcher.Record, load.Report) {}

func (v jsonView) end(d demoResult) {
	if err := v.e.printJSON(d); err != nil {
		v.e.warnf("%v", err)
	}
}

// demoInvitation says what can be tried now.
func (e *env) demoInvitation(w *demoWorld) {
	ctl := os.Args[0] + " --socket " + w.client.Socket
	e.printf(`
Everything is still running, with a light load. In another terminal:

  %[1]s status --watch
  %[1]s switch
  %[1]s rollback --reason "just trying"
  %[1]s hold --yes && sleep 2 && %[1]s release-hold
  %[1]s history
  %[1]s events
  curl -i http://%[2]s/api/v1/echo
  curl --unix-socket %[3]s http://localhost/v1/status
  edit %[4]s

Ctrl-C here ends it all.
`, ctl, w.addr, w.client.Socket, w.configFile())
}
