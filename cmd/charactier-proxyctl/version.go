package main

import (
	"context"

	"github.com/spf13/cobra"

	"charactier-proxy/switcher/control"
)

// versions is the JSON of the verb version.
type versions struct {
	Client control.Version  `json:"client"`
	Daemon *control.Version `json:"daemon"` // null if it does not answer
	Error  string           `json:"error,omitempty"`
}

func newVersionCmd(e *env) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Show the versions of this command and of the daemon",
		Example: `  charactier-proxyctl version --json`,
		Args:    noArgs,
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		v := e.versions(cmd.Context())
		if asJSON {
			return e.printJSON(v)
		}
		e.printf("charactier-proxyctl  %s\n", versionLine(v.Client))
		if v.Daemon == nil {
			e.printf("charactier-proxy     unknown: %s\n", clean(v.Error))
			return nil
		}
		e.printf("charactier-proxy     %s\n", versionLine(*v.Daemon))
		return nil
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// versions asks the daemon too; one that is not there is no error here.
func (e *env) versions(ctx context.Context) versions {
	v := versions{Client: control.Build(e.version)}
	client := e.client()
	client.OtherVersion = nil
	daemon, err := ask(e, func() (control.Version, error) { return client.Version(ctx) })
	if err != nil {
		v.Error = err.Error()
		return v
	}
	v.Daemon = &daemon
	return v
}

func versionLine(v control.Version) string {
	line := clean(v.Version)
	if v.Revision != "" {
		line += "  " + clean(v.Revision[:min(12, len(v.Revision))])
	}
	return line + "  " + clean(v.Go)
}
