package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"charactier-proxy/cmd/internal/chaos"
)

// TestChaos breaks everything at random under load of all kinds, and judges
// each request by what was allowed to happen to it. make chaos runs it for
// longer and with another seed.
func TestChaos(t *testing.T) {
	seconds := size(t, "CHAOS_SECONDS", 18, 600)
	seeds := []int64{1, 2}
	if one := size(t, "CHAOS_SEED", 0, 0); one != 0 {
		seeds = []int64{one}
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			wreak(t, uint64(seed), time.Duration(seconds)*time.Second)
		})
	}
}

// wreak runs one seed.
func wreak(t *testing.T, seed uint64, lasts time.Duration) {
	t.Helper()
	program(t, "node", "nodejs")
	if err := npmCI(); err != nil {
		t.Fatal(err)
	}
	if err := dependOnSources(); err != nil {
		t.Fatal(err)
	}
	app, err := filepath.Abs(sampleApp)
	if err != nil {
		t.Fatal(err)
	}
	dir := shortDir(t)
	report, err := chaos.Run(t.Context(), chaos.Options{
		Seed: seed, Time: lasts, Dir: dir,
		Daemon: built.daemon, Nginx: program(t, "nginx", "nginx-light"), App: app, NginxFiles: nginxTemplates,
	})
	keepLog(t, dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%s", report)
	if len(report.Violations) > 0 {
		t.Errorf("%d violations with seed %d", len(report.Violations), seed)
	}
}

// keepLog copies what a run wrote to where CHAOS_OUT says.
func keepLog(t *testing.T, dir string) {
	t.Helper()
	out := os.Getenv("CHAOS_OUT")
	if out == "" {
		return
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"chaos.jsonl", "charactier-proxy.log", "access.log"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(out, name), text, 0o644)
		}
		if err != nil {
			t.Log(err)
		}
	}
}
