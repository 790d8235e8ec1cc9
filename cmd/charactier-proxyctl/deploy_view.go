package main

import (
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"charactier-proxy/switcher/deploy"
)

// deployView shows a deploy while it runs. Its methods may be called by
// several goroutines at once.
type deployView interface {
	report(r deploy.Report)
	notef(format string, args ...any)
	end()
}

func (e *env) newDeployView(f *deployFlags) deployView {
	switch {
	case f.json:
		return &deployJSON{e: e}
	case e.errTerminal:
		v := &deployScreen{e: e, verbose: f.verbose, began: e.now(), stop: make(chan struct{})}
		v.beat.Go(v.keepDrawing)
		return v
	}
	return &deployLines{e: e, verbose: f.verbose}
}

// printLine prints one value on a line of its own.
func (e *env) printLine(value any) error {
	line, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("writing JSON: %w", err)
	}
	e.printf("%s\n", line)
	return nil
}

// deployJSON prints every report as a line.
type deployJSON struct {
	e  *env
	mu sync.Mutex
}

func (v *deployJSON) report(r deploy.Report) {
	v.mu.Lock()
	defer v.mu.Unlock()
	_ = v.e.printLine(r) // a report is always encodable
}

func (v *deployJSON) notef(format string, args ...any) {
	v.report(deploy.Report{Time: v.e.now(), State: deploy.StateNote, Text: fmt.Sprintf(format, args...)})
}

func (v *deployJSON) end() {}

// deployLines writes plain lines with their time, for logs and pipes.
type deployLines struct {
	e       *env
	verbose bool
	mu      sync.Mutex
}

func (v *deployLines) report(r deploy.Report) {
	if text := reportText(v.e, r, v.verbose); text != "" {
		v.mu.Lock()
		defer v.mu.Unlock()
		fmt.Fprintf(v.e.stderr, "%s  %s\n", r.Time.Local().Format(time.DateTime), text)
	}
}

func (v *deployLines) notef(format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.e.notef(format, args...)
}

func (v *deployLines) end() {}

// reportText is a report in one line; empty where it says nothing new.
func reportText(e *env, r deploy.Report, verbose bool) string {
	what := r.Step
	if r.Service != "" {
		what += " " + clean(r.Service)
	}
	switch r.State {
	case deploy.StateDone, deploy.StateUndone:
		return fmt.Sprintf("%s: %s in %s", what, r.State, e.dur(r.Took))
	case deploy.StateFailed, deploy.StateWarning:
		return fmt.Sprintf("%s: %s: %s", what, r.State, clean(r.Text))
	case deploy.StateNote, deploy.StateWaiting:
		return fmt.Sprintf("%s: %s", what, clean(r.Text))
	case deploy.StateOutput:
		return fmt.Sprintf("%s| %s", what, clean(r.Text))
	case deploy.StateLine:
		if verbose {
			return fmt.Sprintf("%s| %s", what, clean(r.Text))
		}
		return ""
	case deploy.StateSkipped:
		return what + ": nothing to do"
	case deploy.StateLeft:
		return "" // a note says so
	}
	if r.Total > 0 {
		return "" // progress is for screens
	}
	return fmt.Sprintf("%s: %s", what, r.State)
}
