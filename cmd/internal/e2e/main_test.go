// Package e2e runs the programs as they are shipped, against a real nginx,
// real Node processes and other people's test tools. Everything listens on
// loopback, on ports found free, and below a temporary directory.
//
// The tests named Soak are short by default; SOAK=1 makes them long (make soak),
// SOAK_SWITCHES, SOAK_REQUESTS, SOAK_KILLS, SOAK_DEPLOY_KILLS, SOAK_DAEMON_KILLS,
// SOAK_POWER_CUTS, SOAK_STOPS, SOAK_UPGRADES, SOAK_NGINX_UPGRADES,
// SOAK_SYSTEMD_UPGRADES, SOAK_UPGRADE_KILLS, SOAK_CROWD, SOAK_CROWD_REQUESTS,
// SOAK_ABUSE and SOAK_ABUSE_REQUESTS set their size, SOAK_SEED repeats the random
// choices of one. TestChaos takes CHAOS_SEED, CHAOS_SECONDS and, for its logs,
// CHAOS_OUT (make chaos). SOAK_NEXT=1 builds a real Next.js, and E2E_RACE=0 runs
// the daemon without the race detector, for figures.
package e2e

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// binaries are the two programs, built once.
type binaries struct{ daemon, ctl string }

var built binaries // set by TestMain and never changed

func TestMain(m *testing.M) {
	runAsProgram()
	if part() != outside {
		os.Exit(m.Run()) // it needs no programs
	}
	dir, err := os.MkdirTemp("", "charactier-proxy-e2e-")
	if err == nil {
		built, err = build(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

func build(dir string) (binaries, error) {
	b := binaries{filepath.Join(dir, "charactier-proxy"), filepath.Join(dir, "charactier-proxyctl")}
	race := []string{"-race"}
	if os.Getenv("E2E_RACE") == "0" {
		race = nil
	}
	if err := goBuild(nil, b.daemon, "charactier-proxy", race...); err != nil {
		return b, err
	}
	return b, goBuild(nil, b.ctl, "charactier-proxyctl")
}

// dependOnSources makes go test run a test again, instead of repeating a
// remembered result, once a source of the programs has changed: go test knows
// what a test looked at, but not what it built. Every test that runs one of the
// programs must call it, as start does.
var dependOnSources = sync.OnceValue(func() error {
	return filepath.WalkDir("../../..", func(path string, _ fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case filepath.Base(path) == "node_modules" || filepath.Base(path) == ".git":
			return filepath.SkipDir
		case filepath.Ext(path) == ".go":
			_, err = os.Stat(path)
		}
		return err
	})
})

func goBuild(env []string, to, name string, flags ...string) error {
	cmd := exec.Command("go", append(append([]string{"build", "-pgo=off"}, flags...), "-o", to, "charactier-proxy/cmd/"+name)...)
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building %s: %w\n%s", name, err, out)
	}
	return nil
}
