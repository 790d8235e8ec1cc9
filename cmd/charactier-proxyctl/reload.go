package main

import (
	"github.com/spf13/cobra"

	"charactier-proxy/switcher"
)

func newReloadCmd(e *env) *cobra.Command {
	var f common
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "Make the daemon read its configuration again",
		Long: `The daemon notices a changed file by itself; reload tells you at once whether it
was taken. A file with problems is not: the configuration before it runs on.`,
		Example: `  charactier-proxyctl config check && charactier-proxyctl reload`,
		Args:    noArgs,
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		status, err := e.client().Reload(cmd.Context())
		if err != nil {
			return e.failed(cmd.Context(), switcher.Record{}, err, f.json)
		}
		if f.json {
			return e.printJSON(status)
		}
		e.printf("taken: %s\n", configName(status.Path))
		if len(status.NeedsRestart) > 0 {
			e.notef("waits for a restart: %s", list(status.NeedsRestart))
			e.hintf("systemctl restart charactier-proxy")
		}
		return nil
	}
	cmd.Flags().BoolVarP(&f.yes, "yes", "y", false, "do not ask (reload never does)")
	f.jsonFlag(cmd)
	return cmd
}
