package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
)

const referencePath = "../../docs/commands.md"

// docs/commands.md is what --help prints, verb by verb, so that the two cannot
// differ.
func TestTheReferenceIsWhatHelpSays(t *testing.T) {
	want := reference(newRootCmd(&env{}))
	if *update {
		if err := os.WriteFile(referencePath, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(referencePath)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("docs/commands.md is out of date: go test ./cmd/charactier-proxyctl -update\n%s", diff)
	}
}

// The README's table of exit codes is the one of the help.
func TestTheReadmeHasTheExitCodes(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, codes, _ := strings.Cut(help(newRootCmd(&env{})), "Exit codes:\n")
	for line := range strings.Lines(codes) {
		code, meaning, ok := strings.Cut(strings.TrimSpace(line), "  ")
		if !ok {
			break
		}
		if row := fmt.Sprintf("| %s | %s |", code, meaning); !strings.Contains(string(readme), row) {
			t.Errorf("the README lacks the row %q", row)
		}
	}
}

// The README's table of commands has every verb.
func TestTheReadmeHasEveryVerb(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(readme), "## Commands")
	for _, verb := range newRootCmd(&env{}).Commands() {
		if !verb.Hidden && verb.Name() != "help" && !strings.Contains(table, "`"+verb.Name()) {
			t.Errorf("the README's commands lack %s", verb.Name())
		}
	}
}

func reference(root *cobra.Command) string {
	var b strings.Builder
	b.WriteString("# Commands\n\nWhat `charactier-proxyctl --help` prints, and each verb's own help. A test keeps this page equal to it.\n")
	section(&b, root)
	return b.String()
}

func section(b *strings.Builder, cmd *cobra.Command) {
	if cmd.Hidden || cmd.Name() == "help" {
		return
	}
	fmt.Fprintf(b, "\n## %s\n\n```\n%s\n```\n", cmd.CommandPath(), strings.TrimSpace(help(cmd)))
	for _, verb := range cmd.Commands() {
		section(b, verb)
	}
}
