package main

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"charactier-proxy/switcher/deploy"
)

const (
	screenEvery = 100 * time.Millisecond
	screenLines = 6 // of a command's output
	barWidth    = 24
)

// deployScreen draws the list of steps over and over, with the last lines of
// the output below the step that runs.
type deployScreen struct {
	e       *env
	verbose bool
	began   time.Time

	mu     sync.Mutex
	steps  []*screenStep
	output []string
	above  []string // to be printed for good before the next drawing
	drawn  int
	ended  bool // no more drawings are wanted
	last   bool // and the last one is there: what comes now is told in lines below

	stop chan struct{}
	beat sync.WaitGroup
}

// screenStep is one line of the list.
type screenStep struct {
	name        string
	state       deploy.State
	began       time.Time
	took        time.Duration
	notes       []string
	waiting     string // why it still does
	done, total int64
}

func (v *deployScreen) report(r deploy.Report) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.last {
		if text := reportText(v.e, r, v.verbose); text != "" {
			fmt.Fprintln(v.e.stderr, text)
		}
		return
	}
	if r.State == deploy.StateLine {
		v.addOutput(r)
		return
	}
	if r.Step == "" {
		v.above = append(v.above, reportText(v.e, r, true))
		return
	}
	s := v.step(r)
	switch r.State {
	case deploy.StateNote, deploy.StateWarning:
		s.notes = append(s.notes, clean(r.Text))
		return
	case deploy.StateWaiting:
		s.waiting = clean(r.Text)
		return
	case deploy.StateOutput:
		s.notes = append(s.notes, v.e.glyph("│ ", "| ")+clean(r.Text))
		return
	case deploy.StateFailed:
		s.notes = append(s.notes, clean(r.Text))
	case deploy.StateDoing:
		s.done, s.total = r.Done, r.Total
		if s.state == deploy.StateDoing {
			return
		}
		v.output = nil
	}
	s.state, s.took = r.State, r.Took
}

// step is the line of a report's step, a new one if need be.
func (v *deployScreen) step(r deploy.Report) *screenStep {
	for _, s := range v.steps {
		if s.name == r.Step {
			return s
		}
	}
	s := &screenStep{name: r.Step, began: r.Time}
	v.steps = append(v.steps, s)
	return s
}

func (v *deployScreen) addOutput(r deploy.Report) {
	line := clean(r.Text)
	if r.Service != "" {
		line = clean(r.Service) + "| " + line
	}
	if v.verbose {
		v.above = append(v.above, line)
		return
	}
	v.output = append(v.output, line)
	if len(v.output) > screenLines {
		v.output = v.output[1:]
	}
}

func (v *deployScreen) notef(format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.last {
		v.e.notef(format, args...)
		return
	}
	v.above = append(v.above, program+": "+fmt.Sprintf(format, args...))
}

func (v *deployScreen) keepDrawing() {
	tick := time.NewTicker(screenEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			v.draw(false)
		case <-v.stop:
			v.draw(true)
			return
		}
	}
}

func (v *deployScreen) end() {
	v.mu.Lock()
	ended := v.ended
	v.ended = true
	v.mu.Unlock()
	if !ended {
		close(v.stop)
		v.beat.Wait()
	}
}

// draw writes over what it wrote last. Lines are cut, not wrapped, or the count
// of what to write over would be wrong.
func (v *deployScreen) draw(last bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.last = last
	var b strings.Builder
	if v.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA\r\x1b[J", v.drawn)
	}
	width := v.e.width()
	for _, line := range v.above {
		b.WriteString(line + "\n")
	}
	v.above = nil
	lines := v.lines()
	for _, line := range lines {
		b.WriteString(cut(line, width-1, v.e.glyph("…", "~")) + "\n")
	}
	v.drawn = len(lines)
	fmt.Fprint(v.e.stderr, b.String())
}

func (v *deployScreen) lines() []string {
	var lines []string
	for _, s := range v.steps {
		lines = append(lines, v.stepLine(s))
		for _, note := range s.notes {
			lines = append(lines, "      "+v.e.errPaint(dim, note))
		}
		if s.state == deploy.StateDoing && s.waiting != "" {
			lines = append(lines, "      "+v.e.errPaint(dim, s.waiting))
		}
		if s.state == deploy.StateDoing {
			for _, line := range v.output {
				lines = append(lines, "    "+v.e.errPaint(dim, v.e.glyph("│ ", "| ")+line))
			}
		}
	}
	return lines
}

func (v *deployScreen) stepLine(s *screenStep) string {
	sign, colour, took := v.sign(s.state)
	text := fmt.Sprintf("%s %-10s", v.e.errPaint(colour, sign), s.name)
	switch {
	case !took:
		text += " " + string(s.state) + ", " + v.e.dur(v.e.now().Sub(s.began).Truncate(100*time.Millisecond))
	case s.state == deploy.StateLeft:
		text += v.e.errPaint(dim, " left to be finished")
	case s.state == deploy.StateSkipped:
		text += v.e.errPaint(dim, " nothing to do")
	default:
		text += " " + v.e.dur(s.took)
	}
	if s.state == deploy.StateDoing && s.total > 0 {
		text += "  " + v.bar(s)
	}
	return text
}

// sign is a state's mark, its colour, and whether it is over.
func (v *deployScreen) sign(s deploy.State) (mark string, colour style, over bool) {
	switch s {
	case deploy.StateDone:
		return v.e.glyph("✓", "+"), green, true
	case deploy.StateSkipped, deploy.StateLeft:
		return v.e.glyph("·", "."), dim, true
	case deploy.StateFailed:
		return v.e.glyph("✗", "x"), red, true
	case deploy.StateUndone:
		return v.e.glyph("↩", "<"), yellow, true
	case deploy.StateUndoing:
		return v.e.glyph("↩", "<"), yellow, false
	}
	return v.e.glyph("→", ">"), blue, false
}

// bar shows how far a step is whose length is known.
func (v *deployScreen) bar(s *screenStep) string {
	full := int(barWidth * min(s.done, s.total) / s.total)
	return "[" + strings.Repeat(v.e.glyph("━", "="), full) + strings.Repeat(" ", barWidth-full) + "]"
}
