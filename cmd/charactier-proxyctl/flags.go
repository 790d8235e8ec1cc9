package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"charactier-proxy/cmd/internal/spelling"
	"charactier-proxy/switcher"
)

// common are the flags that several verbs share.
type common struct {
	services []string
	reason   string
	yes      bool
	json     bool
}

func (c *common) jsonFlag(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&c.json, "json", false, "print JSON")
}

const serviceHelp = "only the service `NAME`; repeatable (default all)"

// changeFlags are those of every verb that changes something.
func (c *common) changeFlags(e *env, cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringSliceVar(&c.services, "service", nil, serviceHelp)
	f.StringVar(&c.reason, "reason", "", "why, in a few words: `TEXT` for the history")
	f.BoolVarP(&c.yes, "yes", "y", false, "do not ask")
	c.jsonFlag(cmd)
	completeServices(e, cmd)
}

// scope names the services that a command line is about.
func (c *common) scope() string {
	if len(c.services) == 0 {
		return "every service"
	}
	return clean(strings.Join(c.services, ", "))
}

// serviceFlags repeats --service for a command line that is proposed.
func serviceFlags(services []string) string {
	var b strings.Builder
	for _, s := range services {
		b.WriteString(" --service " + clean(s))
	}
	return b.String()
}

// completionTime bounds how long a shell waits for names.
const completionTime = time.Second

// completeServices offers the names of the daemon's services; none if it does
// not answer.
func completeServices(e *env, cmd *cobra.Command) {
	complete := func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(cmd.Context(), completionTime)
		defer cancel()
		return e.serviceNames(ctx), cobra.ShellCompDirectiveNoFileComp
	}
	if err := cmd.RegisterFlagCompletionFunc("service", complete); err != nil {
		panic(err) // the flag was defined a few lines above
	}
}

// serviceNames asks the daemon which services there are.
func (e *env) serviceNames(ctx context.Context) []string {
	status, err := e.client().Status(ctx)
	if err != nil {
		return nil
	}
	var names []string
	for _, s := range status.Services {
		names = append(names, s.Name)
	}
	return names
}

// slotArg reads the one optional argument of switch.
func slotArg(args []string) (switcher.Slot, error) {
	if len(args) == 0 {
		return "", nil
	}
	if len(args) > 1 {
		return "", usagef("several services are chosen with --service", "switch takes one slot, but got %d", len(args))
	}
	slot, err := switcher.ParseSlot(args[0])
	if err == nil {
		return slot, nil
	}
	hint := "without a slot, the traffic goes to the other one"
	if near := spelling.Nearest(args[0], []string{string(switcher.Blue), string(switcher.Green)}); near != "" {
		hint = "did you mean " + near + "?"
	}
	return "", usageError{message: clean(err.Error()), hint: hint}
}
