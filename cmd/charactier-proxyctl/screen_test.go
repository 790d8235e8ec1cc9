package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
)

// noon is when all tests look.
var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// testEnv is an env without a terminal, and what was written to it.
func testEnv() (e *env, stdout, stderr *bytes.Buffer) {
	stdout, stderr = new(bytes.Buffer), new(bytes.Buffer)
	return &env{
		stdin: strings.NewReader(""), stdout: stdout, stderr: stderr,
		getenv: func(string) string { return "" }, now: func() time.Time { return noon },
		width: func() int { return 80 }, version: "v1",
	}, stdout, stderr
}

// golden compares got with a file of testdata/golden.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", "golden", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

// calm is a status as it should be.
func calm() control.Status {
	return control.Status{
		Version: "v1.2.0", PID: 4711, Started: noon.Add(-76 * time.Hour),
		Config: control.ConfigStatus{Path: "/etc/charactier-proxy/config.yaml"},
		Services: []control.ServiceStatus{{
			Name: "backend", Listen: []string{"127.0.0.1:5080"}, Active: switcher.Green, Previous: switcher.Blue,
			Since: noon.Add(-125 * time.Minute),
			Slots: []control.SlotStatus{
				{
					Name: switcher.Blue, Address: "127.0.0.1:5000", Unit: "charactier-backend-blue.service",
					Health:  control.HealthStatus{State: healthy, Probed: noon.Add(-2 * time.Second)},
					Release: "20261122-093004-1f3a77c",
					Runs:    &control.UnitStatus{Active: "active", Sub: "running", Enabled: "disabled"},
					Role:    &control.RoleStatus{Wanted: "standby", Told: "standby"},
				},
				{
					Name: switcher.Green, Address: "127.0.0.1:5001", Unit: "charactier-backend-green.service", Active: true,
					Health:   control.HealthStatus{State: healthy, Probed: noon.Add(-time.Second)},
					InFlight: 12, Streams: 3, Rate: 41.26, P50: 12 * time.Millisecond, P99: 180 * time.Millisecond, Errors: 3,
					Release: "20261123-095430-9be04d2",
					Runs:    &control.UnitStatus{Active: "active", Sub: "running", Enabled: "enabled"},
					Role:    &control.RoleStatus{Wanted: "active", Told: "active"},
				},
			},
		}},
		Last: &switcher.Record{
			Kind: switcher.KindSwitch, Outcome: switcher.Done, Started: noon.Add(-125 * time.Minute), Took: 3 * time.Millisecond,
			Moves: []switcher.Move{{Service: "backend", From: switcher.Blue, To: switcher.Green}}, Actor: switcher.Actor{User: "alice"},
		},
	}
}

// troubled is a status with everything that can be wrong.
func troubled() control.Status {
	s := calm()
	blue, green := &s.Services[0].Slots[0], &s.Services[0].Slots[1]
	blue.Draining, blue.InFlight, blue.Streams = true, 1, 2
	green.Health = control.HealthStatus{
		State: "unhealthy", Since: noon.Add(-4 * time.Minute), Probed: noon,
		Error: "GET /api/v1/health: dial tcp 127.0.0.1:5001: connect: connection refused\x1b[2J",
	}
	green.InFlight, green.Streams, green.Rate, green.Errors = 123456, 9999, 12345.6, 1234567
	green.P50, green.P99 = 900*time.Microsecond, 12*time.Second
	green.ByCause = map[string]uint64{"connect": 40, "timeout": 2}
	blue.Runs = &control.UnitStatus{Active: "failed", Sub: "failed", Result: "exit-code", Enabled: "enabled", Restarts: 1}
	blue.Role = &control.RoleStatus{Wanted: "standby"}
	green.Runs.Restarts = 5
	green.Role = &control.RoleStatus{Wanted: "active", Told: "standby", Error: "telling 127.0.0.1:5001: POST /internal/role: nobody listens"}
	s.Services[0].Bake = &switcher.BakeResult{Verdict: switcher.Baking, Until: noon.Add(41 * time.Second), Text: "12 of 50 requests so far, none failed"}
	s.Services[0].BadReleases = []switcher.BadRelease{
		{Release: "20261123-095430-9be04d2", Reason: "500s at the login\x1b[2J"}, {Release: "r3"}, {Release: "r2"}, {Release: "r1"},
	}
	s.Services[0].RolledBack = true
	s.Services[0].Held = &switcher.Held{Since: noon.Add(-3 * time.Minute), Reason: "database migration", Actor: switcher.Actor{User: "alice"}}
	s.Services[0].Waiting, s.Services[0].Queued = 41, 12
	s.Services = append(s.Services, control.ServiceStatus{
		Name: "frontend", Listen: []string{"127.0.0.1:3080", "unix:/run/frontend.sock"}, Active: switcher.Blue, Since: noon,
		Slots: []control.SlotStatus{
			{Name: switcher.Blue, Address: "unix:/run/frontend-blue.sock", Active: true, Health: control.HealthStatus{State: "unknown"}},
			{Name: switcher.Green, Address: "127.0.0.1:3001", Health: control.HealthStatus{State: "unhealthy"}, Release: "r4"},
		},
		Waiting: 37,
		Outage: &control.OutageStatus{
			Slot: switcher.Blue, Since: noon.Add(-16 * time.Second), Error: "connecting to unix:/run/frontend-blue.sock: no such file\x1b[2J",
			Waited: 41, TurnedAway: 4, MaxWait: 15 * time.Second, MaxRequests: 1000,
		},
		Bake: &switcher.BakeResult{Verdict: switcher.BakeFailed, Text: "8 % of 200 requests failed, 0 % before", Returned: "X1"},
	})
	s.Reservation = &switcher.Operation{
		Kind: "deploy", Step: "switch", Started: noon.Add(-90 * time.Second), Actor: switcher.Actor{User: "bob"},
		Moves: []switcher.Move{{Service: "frontend", From: switcher.Blue, To: switcher.Green}},
	}
	s.Operation = &switcher.Operation{
		Kind: switcher.KindSwitch, Step: "awaiting health", Started: noon.Add(-12 * time.Second), Actor: switcher.Actor{User: "bob"},
		Moves: []switcher.Move{{Service: "frontend", From: switcher.Blue, To: switcher.Green}},
	}
	s.Config.Rejected, s.Config.RejectedAt = "config.yaml:3:9: admin.listen: not an address", noon.Add(-2*time.Minute)
	s.Config.NeedsRestart = []string{"admin.listen", "control.group"}
	s.State.Note = "the state was damaged; the previous one was taken"
	s.Warnings = []string{"a restart would not take the configuration file as it is now"}
	s.Drift = []string{
		"backend: a reboot would start both slots: systemctl disable charactier-backend-blue.service",
		"backend/blue: charactier-backend-blue.service failed (exit-code): journalctl -u charactier-backend-blue.service -n 50",
	}
	return s
}

func TestStatusScreen(t *testing.T) {
	for name, c := range map[string]struct {
		status control.Status
		change func(*env)
	}{
		"calm.txt":     {calm(), func(*env) {}},
		"troubled.txt": {troubled(), func(*env) {}},
		"colour.txt":   {troubled(), func(e *env) { e.isTerminal, e.colour = true, true }},
		"ascii.txt":    {troubled(), func(e *env) { e.plain = true }},
		"narrow.txt":   {troubled(), func(e *env) { e.isTerminal = true; e.width = func() int { return 60 } }},
	} {
		t.Run(name, func(t *testing.T) {
			e, _, _ := testEnv()
			c.change(e)
			golden(t, name, e.statusText(c.status))
		})
	}
}

func TestCalmStatusFitsIntoEightyColumns(t *testing.T) {
	e, _, _ := testEnv()
	for line := range strings.Lines(e.statusText(calm())) {
		if w := visible(strings.TrimSuffix(line, "\n")); w > 80 {
			t.Errorf("%d columns: %s", w, line)
		}
	}
}

func TestOnATerminalNoLineOfTheTableIsWiderThanIt(t *testing.T) {
	for _, width := range []int{20, 40, 60, 79, 80, 200} {
		e, _, _ := testEnv()
		e.isTerminal, e.colour, e.width = true, true, func() int { return width }
		for line := range strings.Lines(e.statusText(calm())) {
			isTable := strings.Contains(line, "blue") || strings.Contains(line, "green ") || strings.Contains(line, "SLOT") || strings.Contains(line, "release")
			if w := visible(strings.TrimSuffix(line, "\n")); isTable && !strings.HasPrefix(line, "last") && w > width {
				t.Errorf("%d columns on a terminal of %d: %q", w, width, line)
			}
		}
	}
}

func TestAFirstStartIsToldOnlyUntilTrafficMoves(t *testing.T) {
	s := calm()
	s.State.Note = "first start: backend is on blue"
	for previous, want := range map[switcher.Slot]bool{"": true, switcher.Blue: false} {
		s.Services[0].Previous = previous
		e, _, _ := testEnv()
		if got := strings.Contains(strings.Join(e.statusNotes(s), "\n"), "first start"); got != want {
			t.Errorf("with %q before: told %v, want %v", previous, got, want)
		}
	}
}

func TestTheStatusSaysEachThingOnce(t *testing.T) {
	const bake, note, ill = "8 % of 200 requests failed, 0 % before", "the daemon ended during a switch: traffic is where it was, backend is on green", "GET /api/v1/health: 503"
	s := calm()
	backend := &s.Services[0]
	backend.Bake = &switcher.BakeResult{Verdict: switcher.BakeFailed, Text: bake + "."}
	backend.BadReleases = []switcher.BadRelease{{Release: "r2", Reason: "backend green: bake fail: " + bake + "."}, {Release: "r1", Reason: "by hand"}}
	backend.Slots[1].Health = control.HealthStatus{State: "unhealthy", Error: ill}
	s.State.Note = note
	const unfinished = "deploy D1, begun by root at T, ended in gate (doing) and is neither finished nor undone: charactier-proxyctl deploy --resume, or charactier-proxyctl abort"
	s.Drift = []string{"backend/green: g.service is active, but not healthy (" + ill + "): journalctl -u g.service -n 50", unfinished}
	s.Warnings = []string{note, "backend: the bake of green ended as fail and the traffic could not be returned to blue (" + bake + "): see what is wrong with blue", "backend: no role: " + ill}
	e, _, _ := testEnv()
	text := e.statusText(s)
	for said, times := range map[string]int{
		bake: 1, note: 1, ill: 1, "not offered again: r2 (its bake), r1 (by hand)": 1, "\ndrift: " + unfinished + "\n": 1,
		"not healthy: journalctl": 1, "returned to blue: see what": 1, "warning: backend: no role\n": 1,
	} {
		if got := strings.Count(text, said); got != times {
			t.Errorf("%q is said %d times:\n%s", said, got, text)
		}
	}
}

func TestColoursCarryNoMeaningAlone(t *testing.T) {
	plain, _, _ := testEnv()
	coloured, _, _ := testEnv()
	coloured.colour = true
	text := coloured.statusText(troubled())
	for _, s := range []style{bold, dim, red, green, yellow, blue, "0"} {
		text = strings.ReplaceAll(text, "\x1b["+string(s)+"m", "")
	}
	if diff := cmp.Diff(plain.statusText(troubled()), text); diff != "" {
		t.Errorf("without its colours (-plain +stripped):\n%s", diff)
	}
}

func TestOfflineState(t *testing.T) {
	t.Setenv("TZ", "UTC")
	e, _, _ := testEnv()
	golden(t, "offline.txt", e.stateText("/var/lib/charactier-proxy", switcher.State{
		Services: map[string]switcher.ServiceState{
			"frontend": {Active: switcher.Blue, Since: noon.Local()},
			"backend":  {Active: switcher.Green, Previous: switcher.Blue, Since: noon, Held: &switcher.Held{}},
		},
		Intent: &switcher.Record{Kind: switcher.KindSwitch, Moves: []switcher.Move{{Service: "frontend", From: switcher.Blue, To: switcher.Green}}},
	}))
}

func TestStatusOfADaemonThatIsDownComesFromTheStateFile(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	store, err := switcher.OpenFileStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(store.Save(switcher.State{
		Generation: 7, Services: map[string]switcher.ServiceState{"backend": {Active: switcher.Green, Since: noon}},
	}), store.Close())
	if err != nil {
		t.Fatal(err)
	}
	look := func(args ...string) (int, string, string) {
		e, stdout, stderr := testEnv()
		args = append([]string{"status", "--socket", filepath.Join(dir, "none"), "--state-dir", dir}, args...)
		code := run(t.Context(), e, args)
		return code, stdout.String(), stderr.String()
	}
	code, out, said := look()
	if code != control.ExitUnreachable || !strings.Contains(out, "backend was on green since") || !strings.Contains(said, "not reachable") {
		t.Errorf("exit code %d, %q, %q", code, out, said)
	}
	code, out, _ = look("--json")
	if code != control.ExitUnreachable || !strings.Contains(out, `"code": "unreachable"`) || !strings.Contains(out, `"active": "green"`) {
		t.Errorf("with --json: exit code %d, %q", code, out)
	}
	if err := os.WriteFile(filepath.Join(dir, "state.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, said = look()
	if code != control.ExitUnreachable || out != "" || !strings.Contains(said, "the state in "+dir+" cannot be told: ") {
		t.Errorf("a damaged file: exit code %d, %q, %q", code, out, said)
	}
}
