package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"charactier-proxy/cmd/internal/paths"
	"charactier-proxy/switcher/control"
)

func newHelpCmd(e *env) *cobra.Command {
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
		listVerbs(&b, cmd.Commands(), "")
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
	for _, group := range []struct{ id, title string }{
		{groupLook, "Look"}, {groupChange, "Change"}, {groupSetUp, "Set up"},
	} {
		fmt.Fprintf(&b, "\n%s:\n", group.title)
		listVerbs(&b, root.Commands(), group.id)
	}
	fmt.Fprintf(&b, "\nGlobal flags (the variable does the same; the flag wins):\n")
	for _, f := range []struct{ flag, variable, preset string }{
		{"--socket SOCKET", paths.EnvSocket, paths.SystemSocket},
		{"--config FILE", paths.EnvConfig, paths.SystemConfig},
		{"--state-dir DIR", paths.EnvStateDir, paths.SystemStateDir},
	} {
		fmt.Fprintf(&b, "  %-16s  %-27s  %s\n", f.flag, f.variable, f.preset)
	}
	fmt.Fprintf(&b, "\nExit codes:\n")
	for _, x := range control.ExitMeanings() {
		fmt.Fprintf(&b, "  %d  %s\n", x.Code, x.Meaning)
	}
	fmt.Fprintf(&b, "\n%s VERB --help tells more about a verb.\n", program)
	return b.String()
}

func listVerbs(b *strings.Builder, verbs []*cobra.Command, group string) {
	for _, v := range verbs {
		if v.IsAvailableCommand() && v.GroupID == group {
			fmt.Fprintf(b, "  %-13s  %s\n", v.Name(), v.Short)
		}
	}
}
