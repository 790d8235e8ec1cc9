package systemd_test

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"testing"
	"time"

	"charactier-proxy/systemd"

	"github.com/google/go-cmp/cmp"
)

func TestAUnitErrorSaysHowItEnded(t *testing.T) {
	loaded := func(s systemd.UnitState) systemd.UnitState {
		s.LoadState = "loaded"
		return s
	}
	tests := map[string]systemd.UnitError{
		"x.service ended with exit code 1 (result exit-code)":               {State: loaded(systemd.UnitState{ActiveState: "failed", Result: "exit-code", ExecMainCode: 1, ExecMainStatus: 1})},
		"x.service ended by SIGSEGV, with a core dump (result core-dump)":   {State: loaded(systemd.UnitState{ActiveState: "failed", Result: "core-dump", ExecMainCode: 3, ExecMainStatus: 11})},
		"x.service ended by signal 60 (result signal)":                      {State: loaded(systemd.UnitState{ActiveState: "failed", Result: "signal", ExecMainCode: 2, ExecMainStatus: 60})},
		"x.service was killed for want of memory (result oom-kill)":         {State: loaded(systemd.UnitState{ActiveState: "failed", Result: "oom-kill", ExecMainCode: 2, ExecMainStatus: 9})},
		"x.service did not answer its watchdog (result watchdog)":           {State: loaded(systemd.UnitState{ActiveState: "failed", Result: "watchdog"})},
		"x.service took too long and was ended by SIGKILL (result timeout)": {Doing: systemd.Running, State: loaded(systemd.UnitState{ActiveState: "failed", Result: "timeout", ExecMainCode: 2, ExecMainStatus: 9})},
		"x.service was not ready in time (result timeout)":                  {Doing: systemd.Starting, State: loaded(systemd.UnitState{ActiveState: "failed", Result: "timeout"})},
		"x.service does not run":                                            {State: loaded(systemd.UnitState{ActiveState: "inactive", Result: "success"})},
		"x.service has ended and was restarted (restart 2)":                 {Doing: systemd.Running, State: loaded(systemd.UnitState{ActiveState: "active", NRestarts: 2})},
		"x.service was restarted by somebody":                               {Doing: systemd.Running, State: loaded(systemd.UnitState{ActiveState: "active"})},
		"x.service is gone: somebody stopped it":                            {Doing: systemd.Running, State: systemd.UnitState{LoadState: "not-found"}},
		"x.service was overtaken: somebody else started or stopped it meanwhile": {
			Doing: systemd.Starting, Job: "canceled", State: loaded(systemd.UnitState{ActiveState: "active"})},
		"x.service failed too often in a row: systemctl reset-failed x.service (result start-limit-hit)": {
			State: loaded(systemd.UnitState{ActiveState: "failed", Result: "start-limit-hit"})},
		"x.service failed (result exec-condition)": {State: loaded(systemd.UnitState{ActiveState: "failed", Result: "exec-condition"})},
	}
	for want, e := range tests {
		e.Unit = "x.service"
		if got := e.Error(); got != want {
			t.Errorf("it says %q, want %q", got, want)
		}
	}
}

func TestTheLinesOfARunAreToldFromItsNeighbours(t *testing.T) {
	const journal = `{"MESSAGE":"of an older run"}
{"MESSAGE":"old: Failed","INVOCATION_ID":"aa"}
{"MESSAGE":"Starting","INVOCATION_ID":"bb"}
{"MESSAGE":"too brief to be looked at"}
{"MESSAGE":"of the run","_SYSTEMD_INVOCATION_ID":"bb"}
{"MESSAGE":[27,91,49,109,114,195,169,100,255],"_SYSTEMD_INVOCATION_ID":"bb"}
{"MESSAGE":null,"_SYSTEMD_INVOCATION_ID":"bb"}
{"_SYSTEMD_INVOCATION_ID":"bb"}
no JSON
{"MESSAGE":"Failed","INVOCATION_ID":"bb"}
{"MESSAGE":"of the next run","_SYSTEMD_INVOCATION_ID":"cc"}
{"MESSAGE":"of the next run too"}
`
	want := []string{"Starting", "too brief to be looked at", "of the run", "\x1b[1mréd\uFFFD", "", "Failed"}
	if diff := cmp.Diff(want, systemd.LinesOfRun([]byte(journal), "bb")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := systemd.LinesOfRun([]byte(journal), "dd"); len(got) != 0 {
		t.Errorf("of a run that is not there: %q", got)
	}
	const cut = `{"MESSAGE":"where the reading began"}
{"MESSAGE":"Failed","INVOCATION_ID":"bb"}
`
	if diff := cmp.Diff([]string{"where the reading began", "Failed"}, systemd.LinesOfRun([]byte(cut), "bb")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A bus that does not answer must not keep the caller longer than it wants.
func TestConnectingEndsWithItsContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bus")
	bus, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path="+path)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	u, err := systemd.ConnectUnits(ctx)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("ConnectUnits = %v, %v", u, err)
	}
}
