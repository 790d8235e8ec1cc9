package main

import (
	"context"
	"errors"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"charactier-proxy/cmd/internal/paths"
	"charactier-proxy/cmd/internal/spelling"
)

// run executes one command line and returns the exit code.
func run(ctx context.Context, e *env, args []string) int {
	root := newRootCmd(e)
	e.args = args
	root.SetArgs(args)
	return e.report(root.ExecuteContext(ctx))
}

func newRootCmd(e *env) *cobra.Command {
	root := &cobra.Command{
		Use:           program,
		Short:         "Look at charactier-proxy and move its traffic between blue and green",
		Args:          noUnknownVerb,
		RunE:          showHelp,
		SilenceErrors: true,
		SilenceUsage:  true,
		CompletionOptions: cobra.CompletionOptions{
			DisableDefaultCmd: true,
		},
	}
	root.SetOut(e.stdout)
	root.SetErr(e.stderr)
	root.SetIn(e.stdin)
	root.SetFlagErrorFunc(flagError)
	root.SetHelpFunc(func(cmd *cobra.Command, _ []string) { e.printf("%s", help(cmd)) })
	globalFlags(root.PersistentFlags(), &e.flags)
	root.AddCommand(
		newStatusCmd(e), newHistoryCmd(e), newEventsCmd(e), newLogsCmd(e), newDoctorCmd(e), newVersionCmd(e),
		newDeployCmd(e), newPlanCmd(e), newSwitchCmd(e), newRollbackCmd(e), newHoldCmd(e), newReleaseHoldCmd(e), newAbortCmd(e), newStoppingCmd(e), newReloadCmd(e), newUpgradeCmd(e),
		newMigrateCmd(e), newConfigCmd(e), newDemoCmd(e), newCompletionCmd(e), newReconcileCmd(e),
	)
	root.SetHelpCommand(newHelpCmd())
	tidyFlags(root)
	return root
}

// tidyFlags lists flags in the order in which they were defined, and does not
// list --help in the help.
func tidyFlags(cmd *cobra.Command) {
	cmd.InitDefaultHelpFlag()
	cmd.Flags().Lookup("help").Hidden = true
	cmd.Flags().SortFlags = false
	for _, verb := range cmd.Commands() {
		tidyFlags(verb)
	}
}

func globalFlags(fs *pflag.FlagSet, f *paths.Flags) {
	fs.SortFlags = false
	fs.StringVar(&f.Socket, "socket", "", "the daemon's control `SOCKET`")
	fs.StringVar(&f.Config, "config", "", "the configuration `FILE`")
	fs.StringVar(&f.StateDir, "state-dir", "", "the `DIR` in which the daemon keeps its state")
}

// showHelp is what a command does that only groups others.
func showHelp(cmd *cobra.Command, _ []string) error { return cmd.Help() }

// noUnknownVerb tells a mistyped verb from the right one.
func noUnknownVerb(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var verbs []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			verbs = append(verbs, c.Name())
		}
	}
	hint := cmd.CommandPath() + " --help lists the verbs"
	if near := spelling.Nearest(args[0], verbs); near != "" {
		hint = "did you mean " + cmd.CommandPath() + " " + near + "?"
	}
	return usagef(hint, "unknown verb %q", args[0])
}

// flagError rewords what pflag says, and finds the flag that was meant.
func flagError(cmd *cobra.Command, err error) error {
	hint := cmd.CommandPath() + " --help lists the flags"
	var unknown *pflag.NotExistError
	var invalid *pflag.InvalidValueError
	switch {
	case errors.As(err, &unknown):
		name := unknown.GetSpecifiedName()
		if near := spelling.Nearest(name, flagNames(cmd)); near != "" {
			hint = "did you mean --" + near + "?"
		}
		return usagef(hint, "unknown flag %s", dashes(name))
	case errors.As(err, &invalid):
		flag, value := invalid.GetFlag(), clean(invalid.GetValue())
		if _, err := strconv.ParseFloat(value, 64); err == nil && flag.Value.Type() == "duration" {
			return usagef(hint, "--%s: %s has no unit: is it %ss or %sms?", flag.Name, value, value, value)
		}
		return usagef(hint, "--%s: %s", flag.Name, invalid.Unwrap())
	}
	return usageError{message: clean(err.Error()), hint: hint}
}

func flagNames(cmd *cobra.Command) []string {
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	return names
}

func dashes(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

// noArgs refuses words behind a verb that takes none.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef(cmd.CommandPath()+" --help shows how it is used", "%s takes no argument, but got %q", cmd.Name(), args[0])
	}
	return nil
}
