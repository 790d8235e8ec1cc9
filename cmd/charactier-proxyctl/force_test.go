package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"charactier-proxy/switcher/control"
)

// stoppedGreen is a daemon whose standby was stopped, and had been active.
const stoppedGreen = `{
  "Switch": {"Record": {"id": "op", "outcome": "done", "moves": [{"service": "backend", "from": "blue", "to": "green"}]}},
  "Rollback": {"Record": {"id": "op", "outcome": "done", "moves": [{"service": "backend", "from": "blue", "to": "green"}]}},
  "Status": {"services": [{"name": "backend", "active": "blue", "previous": "green", "rolled_back": true,
    "bad_releases": [{"release": "r2", "reason": "500s at the login"}],
    "slots": [
    {"name": "blue", "active": true, "health": {"state": "healthy"}},
    {"name": "green", "unit": "backend-green.service", "release": "r2", "health": {"state": "healthy"}, "runs": {"active": "ACTIVE"}}]}]}}`

func TestAForcedMoveToASlotThatDoesNotRun(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(broken, []byte("services: 7\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		uid  int
		args []string
		code int
		says []string // the file that cannot be used is the first thing that a start from cold finds
	}{
		"rollback as root": {0, []string{"rollback", "--force", "--yes"}, control.ExitUsage,
			[]string{"green of backend does not run: starting it", broken + " is not valid"}},
		"rollback as root, not confirmed": {0, []string{"rollback", "--force"}, control.ExitUsage,
			[]string{"release r2 of green of backend was returned from", "500s at the login: this must be confirmed"}},
		"rollback as somebody else": {1000, []string{"rollback", "--force", "--yes"}, control.ExitRefused,
			[]string{"green of backend: backend-green.service is ", "traffic: backend stays on blue", "hint: sudo charactier-proxyctl --socket SOCKET --config CONFIG rollback\n"}},
		"switch as somebody else": {1000, []string{"switch", "green", "--force", "--yes"}, control.ExitRefused,
			[]string{"hint: sudo systemctl start backend-green.service\n      charactier-proxyctl --socket SOCKET --config CONFIG switch --wait 30s\n"}},
		"switch as root, not confirmed": {0, []string{"switch", "--force"}, control.ExitUsage,
			[]string{"green of backend does not answer, backend-green.service is ", "requests will fail with 502"}},
		"switch as root": {0, []string{"switch", "--force", "--yes"}, control.ExitDone, []string{"requests will fail with 502"}},
	} {
		for _, state := range []string{"inactive", "failed", "deactivating"} {
			t.Run(name+", "+state, func(t *testing.T) {
				socket := startFake(t, strings.Replace(stoppedGreen, "ACTIVE", state, 1))
				e, stdout, stderr := testEnv()
				e.uid = c.uid
				code := run(t.Context(), e, append(c.args, "--socket", socket, "--config", broken))
				said := stdout.String() + stderr.String()
				if code != c.code {
					t.Errorf("exit code %d, want %d", code, c.code)
				}
				for _, text := range c.says {
					if text = strings.NewReplacer("SOCKET", socket, "CONFIG", broken).Replace(text); !strings.Contains(said, text) {
						t.Errorf("it does not say %q:\n%s", text, said)
					}
				}
				if strings.Contains(said, "--force") {
					t.Errorf("it speaks of --force:\n%s", said)
				}
				if moved := strings.Contains(said, "->"); moved != (c.code == control.ExitDone) {
					t.Errorf("traffic was moved: %v:\n%s", moved, said)
				}
			})
		}
	}
}

func TestWhoIsNotRootIsToldHowASlotThatDoesNotRunIsReturnedTo(t *testing.T) {
	play := strings.Replace(stoppedGreen, "ACTIVE", "inactive", 1)
	play = strings.Replace(play, `"release": "r2", "health": {"state": "healthy"}`, `"health": {"state": "unhealthy"}`, 1)
	play = strings.Replace(play, `"Rollback": {`, `"Rollback": {"Code": "unhealthy", "Message": "green of backend: connection refused", `, 1)
	e, _, stderr := testEnv()
	e.uid = 1000
	code := run(t.Context(), e, []string{"rollback", "--socket", startFake(t, play)})
	if code != control.ExitRefused || !strings.Contains(stderr.String(), "hint: sudo charactier-proxyctl --socket ") || !strings.Contains(stderr.String(), " rollback --service backend\n") {
		t.Errorf("exit code %d and said:\n%s", code, stderr)
	}
}
