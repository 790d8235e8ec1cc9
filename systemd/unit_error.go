package systemd

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// Doing is what was done with a unit when it went wrong.
type Doing string

// What is done with units.
const (
	Starting  Doing = "starting"
	Stopping  Doing = "stopping"
	Enabling  Doing = "enabling"
	Disabling Doing = "disabling"
	Running   Doing = "running"
)

// UnitError says how a unit failed, or why it cannot be started at all. Its
// text is one line; the journal is the caller's to print.
type UnitError struct {
	Unit    string
	Doing   Doing
	Job     string    // the result of systemd's job if it is not "done": "failed", "timeout", "dependency", …
	Unmet   string    // the condition that kept it from starting, such as "ConditionPathExists=/x"
	State   UnitState // afterwards
	Journal []string  // the last lines of the run, as far as they may be read
}

// journalLines is how many a UnitError holds.
const journalLines = 20

func (e *UnitError) Error() string { return e.Unit + " " + e.reason() }

func (e *UnitError) reason() string {
	switch e.State.LoadState {
	case "not-found":
		if e.Doing == Running {
			return "is gone: somebody stopped it"
		}
		return "does not exist: install its file, then systemctl daemon-reload"
	case "masked":
		return "is masked: systemctl unmask " + e.Unit
	case "bad-setting", "error":
		return fmt.Sprintf("cannot be loaded (%s): systemd-analyze verify %s", e.State.LoadState, e.Unit)
	}
	if e.Unmet != "" {
		return "was not started, for its condition does not hold: " + e.Unmet
	}
	if reason := e.overtaken(); reason != "" {
		return reason
	}
	switch s := e.State; {
	case !s.Runs() || s.SubState == "exited":
		return e.ended()
	case s.NRestarts > 0:
		return fmt.Sprintf("has ended and was restarted (restart %d)", s.NRestarts)
	}
	return "was restarted by somebody"
}

// overtaken says what a job's result means where the unit's state does not:
// "failed" and, for want of a job, "" are told by how the unit ended.
func (e *UnitError) overtaken() string {
	switch e.Job {
	case "canceled":
		return "was overtaken: somebody else started or stopped it meanwhile"
	case "timeout":
		return "was not done within its JobTimeoutSec"
	case "dependency":
		return "was not started, for a unit that it requires has failed: systemctl list-dependencies --state=failed " + e.Unit
	case "skipped":
		return "was skipped: it cannot do that in its present state"
	case "invalid":
		return "cannot do that: see its unit file"
	case "assert":
		return "was not started, for an Assert… of its unit file does not hold"
	case "unsupported":
		return "is of a kind that this system does not support"
	case "collected":
		return "vanished meanwhile"
	case "once":
		return "runs once per boot, and has"
	}
	return ""
}

// ended says how the last run did.
func (e *UnitError) ended() string {
	s := e.State
	switch s.Result {
	case "", "success":
		if s.ExecMainCode == 0 {
			return "does not run"
		}
		return "ended " + s.exit()
	case "exit-code", "signal", "core-dump":
		return fmt.Sprintf("ended %s (result %s)", s.exit(), s.Result)
	case "timeout":
		return e.timeout() + " (result timeout)"
	case "oom-kill":
		return "was killed for want of memory (result oom-kill)"
	case "watchdog":
		return "did not answer its watchdog (result watchdog)"
	case "protocol":
		return "ended before it was ready (result protocol)"
	case "resources":
		return "could not be set up, as with an EnvironmentFile= that is missing (result resources)"
	case "start-limit-hit":
		return "failed too often in a row: systemctl reset-failed " + e.Unit + " (result start-limit-hit)"
	}
	return "failed (result " + s.Result + ")"
}

func (e *UnitError) timeout() string {
	switch {
	case e.Doing == Starting:
		return "was not ready in time"
	case e.Doing == Running && e.State.ExecMainCode == 0:
		return "took too long"
	}
	return "took too long and was ended " + e.State.exit()
}

// exit is how the main process ended.
func (s UnitState) exit() string {
	switch s.ExecMainCode {
	case cldExited:
		return fmt.Sprintf("with exit code %d", s.ExecMainStatus) + spawnFailure(s.ExecMainStatus)
	case cldKilled:
		return "by " + signalName(s.ExecMainStatus)
	case cldDumped:
		return "by " + signalName(s.ExecMainStatus) + ", with a core dump"
	}
	return "in an unknown way"
}

func signalName(n int32) string {
	if name := unix.SignalName(syscall.Signal(n)); name != "" {
		return name
	}
	return fmt.Sprintf("signal %d", n)
}

// spawnFailure explains the exit codes of systemd's own that stand for what an
// operator can mend (systemd.exec(5)): the program has not run at all.
func spawnFailure(code int32) string {
	switch code {
	case 200:
		return ": its working directory cannot be entered"
	case 203:
		return ": its program cannot be run"
	case 209:
		return ": its output cannot be written"
	case 216:
		return ": its group does not exist"
	case 217:
		return ": its user does not exist"
	case 226:
		return ": a path of its sandbox does not exist"
	}
	return ""
}

// while says what was being done, unless the error names the unit by itself.
func while(doing Doing, unit string, err error) error {
	var failed *UnitError
	if err == nil || errors.As(err, &failed) {
		return err
	}
	return fmt.Errorf("%s %s: %w", doing, unit, err)
}

// blame adds the journal of run, which mostly is e.State, and returns e.
func (u *Units) blame(ctx context.Context, e *UnitError, run UnitState) error {
	// Of a failure one may have to tell after everything else has ended.
	ctx, cancel := parting(ctx)
	defer cancel()
	// Who may not read the journal still learns the rest.
	e.Journal, _ = u.Tail(ctx, run, journalLines)
	return e
}
