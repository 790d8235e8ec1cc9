package release

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A node_modules of fifty thousand files, in as many directories as npm makes.
const (
	modules        = 1000
	filesPerModule = 50
)

func bigModules(b *testing.B) string {
	b.Helper()
	dir := b.TempDir()
	text := make([]byte, 3000)
	for m := range modules {
		for _, sub := range []string{"lib", "dist/cjs", "dist/esm", "test"} {
			if err := os.MkdirAll(filepath.Join(dir, "backend/node_modules", fmt.Sprint("m", m), sub), 0o755); err != nil {
				b.Fatal(err)
			}
		}
		for f := range filesPerModule {
			sub := []string{"", "lib", "dist/cjs", "dist/esm", "test"}[f%5]
			if err := os.WriteFile(filepath.Join(dir, "backend/node_modules", fmt.Sprint("m", m), sub, fmt.Sprint(f, ".js")), text, 0o644); err != nil {
				b.Fatal(err)
			}
		}
	}
	return dir
}

// BenchmarkFiftyThousandFiles reports how long each step takes.
func BenchmarkFiftyThousandFiles(b *testing.B) {
	s, dir, empty := newStore(b), bigModules(b), b.TempDir()
	if err := os.Mkdir(filepath.Join(empty, "backend"), 0o755); err != nil {
		b.Fatal(err)
	}
	took := map[string]time.Duration{}
	step := func(name string, act func() error) {
		begun := time.Now()
		if err := act(); err != nil {
			b.Fatal(err)
		}
		took[name] += time.Since(begun)
	}
	only := map[string]string{"backend": "backend"}
	n := 0
	for ; b.Loop(); n++ {
		var first, second Draft
		var old Release
		var err error
		step("import", func() error { first, err = s.Import(b.Context(), dir, nameAt(2*n), only); return err })
		step("seal-import", func() error { old, err = first.Seal(); return err })
		if second, err = s.Import(b.Context(), empty, nameAt(2*n+1), only); err != nil {
			b.Fatal(err)
		}
		step("reuse", func() error { return second.Reuse(old, "backend", []string{"node_modules"}) })
		step("own", func() error { return second.Chown(os.Geteuid(), os.Getegid()) })
		step("seal", func() error { _, err := second.Seal(); return err })
		step("prune", func() error { _, err := s.Prune(0, nil); return err })
	}
	for name, d := range took {
		b.ReportMetric(d.Seconds()/float64(n), name+"-s/op")
	}
}
