package e2e

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

const sampleApp = "../../../testdata/sample-app"

// npmCI fills the sample app's node_modules once, if nobody did.
var npmCI = sync.OnceValue(func() error { return npmCIOf(sampleApp) })

func npmCIOf(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, "node_modules", ".package-lock.json")); err == nil {
		return nil
	}
	cmd := exec.Command("npm", "ci", "--no-audit", "--no-fund")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("npm ci in %s: %w\n%s", dir, err, out)
	}
	return nil
}

// slot is one Node process of the sample app.
type slot struct {
	*process
	t      *testing.T
	name   string
	addr   string
	ledger string // file with one line for each order executed
	env    []string
}

// startSlot starts a slot on a free port; env are further variables.
func startSlot(t *testing.T, name string, env ...string) *slot {
	t.Helper()
	program(t, "node", "nodejs")
	program(t, "npm", "npm")
	if err := npmCI(); err != nil {
		t.Fatal(err)
	}
	s := &slot{t: t, name: name, addr: freeAddr(t), ledger: filepath.Join(t.TempDir(), "ledger"), env: env}
	s.start()
	return s
}

// start runs the slot on its address, for the first time or again.
func (s *slot) start() {
	s.t.Helper()
	_, port, err := net.SplitHostPort(s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.Command("node", "server.js")
	cmd.Dir = sampleApp
	cmd.Env = append(os.Environ(), "PORT="+port, "SLOT="+s.name, "REVISION=r-"+s.name, "LEDGER="+s.ledger)
	cmd.Env = append(cmd.Env, s.env...)
	s.process = start(s.t, "slot "+s.name, cmd)
	s.awaitListening(s.addr)
}

// setHealthy makes the slot's health route answer 200 or 503.
func (s *slot) setHealthy(healthy bool) {
	s.t.Helper()
	body := strings.NewReader(fmt.Sprintf(`{"healthy":%t}`, healthy))
	req, err := http.NewRequest("PUT", "http://"+s.addr+"/api/v1/health", body)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	resp.Body.Close()
}

// orders adds up how often each order of a load was executed, over all slots
// and all their lives.
func orders(t *testing.T, run string, slots ...*slot) map[string]int {
	t.Helper()
	counts := map[string]int{}
	for _, s := range slots {
		f, err := os.Open(s.ledger)
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(f)
		for lines.Scan() {
			if id := lines.Text(); strings.HasPrefix(id, run+"-") {
				counts[id]++
			}
		}
		f.Close()
		if err := lines.Err(); err != nil {
			t.Fatal(err)
		}
	}
	return counts
}
