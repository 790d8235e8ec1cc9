package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestDifferences(t *testing.T) {
	for name, c := range map[string]struct{ a, b, want string }{
		"none": {"a\n", "a\n", ""},
		"a line becomes two": {
			"1\n2\n3\n4\nold\n5\n6\n7\n8\n", "1\n2\n3\n4\nnew\nmore\n5\n6\n7\n8\n",
			"@@ -2,7 +2,8 @@\n 2\n 3\n 4\n-old\n+new\n+more\n 5\n 6\n 7\n",
		},
		"far apart": {
			"a\n1\n2\n3\n4\n5\n6\n7\nb\n", "A\n1\n2\n3\n4\n5\n6\n7\nB\n",
			"@@ -1,4 +1,4 @@\n-a\n+A\n 1\n 2\n 3\n@@ -6,4 +6,4 @@\n 5\n 6\n 7\n-b\n+B\n",
		},
		"no line end": {"a", "b", "@@ -1,1 +1,1 @@\n-a\n\\ No newline at end of file\n+b\n\\ No newline at end of file\n"},
	} {
		if diff := cmp.Diff("--- x\n+++ y\n"+c.want, unifiedDiff("x", "y", c.a, c.b)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// Both texts can be told from their difference.
func TestADifferenceHoldsBothTexts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.SliceOfN(rapid.SampledFrom([]string{"a\n", "b\n", "c\n"}), 0, 12)
		a, b := text.Draw(t, "a"), text.Draw(t, "b")
		var gotA, gotB strings.Builder
		for _, l := range diffLines(a, b) {
			gotA.WriteString(strings.Repeat(l.text, inA(l)))
			gotB.WriteString(strings.Repeat(l.text, inB(l)))
		}
		if gotA.String() != strings.Join(a, "") || gotB.String() != strings.Join(b, "") {
			t.Fatalf("%q and %q", gotA.String(), gotB.String())
		}
	})
}

// A difference is coloured, and what others wrote does not drive the terminal.
func TestADifferenceOnATerminal(t *testing.T) {
	e, stdout, _ := testEnv()
	e.colour = true
	m := &migration{env: e, f: &migrateFlags{}}
	m.printDiff("--- f\n+++ f\n-\told\r\n+\tnew\x1b[2J\n same\n")
	want := "\x1b[1m--- f\x1b[0m\n\x1b[1m+++ f\x1b[0m\n\x1b[31m-\told\x1b[0m\n\x1b[32m+\tnew[2J\x1b[0m\n same\n"
	if got := stdout.String(); got != want {
		t.Errorf("shown:\n%q, want\n%q", got, want)
	}
}
