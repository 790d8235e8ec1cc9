package config_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"charactier-proxy/cmd/internal/config"
)

var update = flag.Bool("update", false, "write the expected files anew")

const (
	testdata = "../../../testdata/config"
	docs     = "../../../docs"
)

// golden compares with the file, or writes it.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (write it with -update)", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got); if that is meant, run with -update:\n%s", path, diff)
	}
}

// files are the configurations of a folder; name and content go to check.
func files(t *testing.T, folder string, check func(t *testing.T, path string, data []byte)) {
	paths, err := filepath.Glob(filepath.Join(testdata, folder, "*.yaml"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no files in %s: %v", folder, err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".yaml"), func(t *testing.T) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			check(t, path, data)
		})
	}
}

func expected(path string) string { return strings.TrimSuffix(path, ".yaml") + ".txt" }

func TestABadFileIsRefusedWithAllItsProblems(t *testing.T) {
	files(t, "bad", func(t *testing.T, path string, data []byte) {
		c, err := config.Parse(filepath.Base(path), data)
		if err == nil || c != nil {
			t.Fatalf("Parse = %v, %v, want problems", c, err)
		}
		golden(t, expected(path), err.Error()+"\n")
	})
}

func TestAGoodFileSaysWhatItChangesAndWarnsOf(t *testing.T) {
	files(t, "good", func(t *testing.T, path string, data []byte) {
		c, err := config.Parse(filepath.Base(path), data)
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		defaults := lines(config.Default())
		for _, line := range lines(c) {
			if !strings.Contains(strings.Join(defaults, "\n")+"\n", line+"\n") {
				fmt.Fprintln(&b, line)
			}
		}
		for _, w := range c.Warnings() {
			fmt.Fprintf(&b, "warning: %s\n", w)
		}
		golden(t, expected(path), b.String())
	})
}

// lines are the keys of a configuration with their full names.
func lines(c *config.Config) []string {
	var all, sections []string
	for line := range strings.Lines(c.YAML()) {
		text := strings.TrimLeft(line, " ")
		sections = sections[:(len(line)-len(text))/2]
		name, value, _ := strings.Cut(strings.TrimSpace(text), ":")
		if value == "" {
			sections = append(sections, name)
			continue
		}
		all = append(all, strings.Join(append(sections, name), ".")+":"+value)
	}
	return all
}
