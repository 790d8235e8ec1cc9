package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"charactier-proxy/cmd/internal/paths"
	"charactier-proxy/switcher/control"
)

// verbGroups are the verbs in the order in which the help lists them.
func verbGroups() []verbGroup {
	return []verbGroup{
		{"Look", []string{"status", "history", "events", "logs", "doctor", "version"}},
		{"Change", []string{"deploy", "plan", "switch", "rollback", "hold", "release-hold", "abort", "reload", "upgrade"}},
		{"Set up", []string{"migrate", "demo", "config", "completion"}},
	}
}

type verbGroup struct {
	title string
	verbs []string
}

func newHelpCmd() *cobra.Command {
	return &cobra.Command{
		Use:    "help [VERB]",
		Short:  "Show how a verb is used",
		Hidden: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			topic, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return noUnknownVerb(topic, rest)
			}
			return topic.Help()
		},
	}
}

// help is the help of any command.
func help(cmd *cobra.Command) string {
	if !cmd.HasParent() {
		return rootHelp(cmd)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\nUsage:\n  %s\n", about(cmd), usageLine(cmd))
	if cmd.HasAvailableSubCommands() {
		b.WriteString("\nVerbs:\n")
		for _, verb := range cmd.Commands() {
			listVerb(&b, verb)
		}
	}
	if cmd.Example != "" {
		fmt.Fprintf(&b, "\nExamples:\n%s\n", cmd.Example)
	}
	if flags := cmd.LocalNonPersistentFlags(); flags.HasAvailableFlags() {
		flags.SortFlags = false
		fmt.Fprintf(&b, "\nFlags:\n%s", flags.FlagUsages())
	}
	fmt.Fprintf(&b, "\n%s --help lists the global flags and the exit codes.\n", program)
	return b.String()
}

func usageLine(cmd *cobra.Command) string {
	line := cmd.UseLine()
	if cmd.HasAvailableSubCommands() {
		line += " VERB"
	}
	return line
}

func about(cmd *cobra.Command) string {
	if cmd.Long != "" {
		return cmd.Short + ".\n\n" + cmd.Long
	}
	return cmd.Short + "."
}

func rootHelp(root *cobra.Command) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s.\n\nUsage:\n  %s VERB [flags]\n", root.Short, program)
	for _, group := range verbGroups() {
		fmt.Fprintf(&b, "\n%s:\n", group.title)
		for _, name := range group.verbs {
			if verb, _, err := root.Find([]string{name}); err == nil {
				listVerb(&b, verb)
			}
		}
	}
	fmt.Fprintf(&b, "\nGlobal flags (the variable does the same; the flag wins):\n")
	for _, f := range []struct{ flag, variable, preset string }{
		{"--socket SOCKET", paths.EnvSocket, paths.SystemSocket},
		{"--config FILE", paths.EnvConfig, paths.SystemConfig},
		{"--state-dir DIR", paths.EnvStateDir, paths.SystemStateDir},
	} {
		fmt.Fprintf(&b, "  %-15s  %-26s %s\n", f.flag, f.variable, f.preset)
	}
	fmt.Fprintf(&b, "\nExit codes:\n")
	for _, x := range control.ExitMeanings() {
		fmt.Fprintf(&b, "  %d  %s\n", x.Code, x.Meaning)
	}
	fmt.Fprintf(&b, "\n%s VERB --help tells more about a verb.\n", program)
	return b.String()
}

func listVerb(b *strings.Builder, verb *cobra.Command) {
	if verb.IsAvailableCommand() {
		fmt.Fprintf(b, "  %-12s  %s\n", verb.Name(), verb.Short)
	}
}
