package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"charactier-proxy/cmd/internal/config"
)

// Whatever is in the file: no panic, problems with a place within the file and
// nothing that steers a terminal; and what was accepted means the same when
// it is written out.
func FuzzParse(f *testing.F) {
	paths, err := filepath.Glob(filepath.Join(testdata, "*", "*.yaml"))
	if err != nil || len(paths) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(config.Default().YAML()))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 4096 { // the YAML parser's time grows with the square
			return
		}
		c, err := config.Parse("c.yaml", data)
		if err != nil {
			checkProblems(t, data, err)
			return
		}
		text := c.YAML()
		again, err := config.Parse("again.yaml", []byte(text))
		if err != nil {
			t.Fatalf("what was written is refused: %v\n%s", err, text)
		}
		if diff := cmp.Diff(c, again, compare); diff != "" {
			t.Errorf("another configuration after writing and reading (-first +second):\n%s\n%s", diff, text)
		}
		if changes := config.Diff(c, again); !changes.None() {
			t.Errorf("Diff of equal configurations = %v", changes)
		}
	})
}

func checkProblems(t *testing.T, data []byte, err error) {
	t.Helper()
	problems, ok := err.(config.Problems)
	if !ok || len(problems) == 0 {
		t.Fatalf("the error is not a list of problems: %#v", err)
	}
	lines := strings.Count(string(data), "\n") + 1
	for i, p := range problems {
		if p.Line < 0 || p.Line > lines || p.Column < 0 || (p.Line == 0) != (p.Column == 0) {
			t.Errorf("line %d, column %d of a file with %d lines: %s", p.Line, p.Column, lines, p)
		}
		if i > 0 && p.Line < problems[i-1].Line {
			t.Errorf("line %d after line %d", p.Line, problems[i-1].Line)
		}
	}
	for _, r := range problems.Error() {
		if r != '\n' && !unicode.IsPrint(r) {
			t.Errorf("character %U in the message:\n%s", r, problems)
		}
	}
}
