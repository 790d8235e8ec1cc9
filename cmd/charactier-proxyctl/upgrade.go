package main

import (
	"cmp"

	"github.com/spf13/cobra"

	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
)

func newUpgradeCmd(e *env) *cobra.Command {
	var f common
	cmd := &cobra.Command{
		Use:   "upgrade",
		Short: "Have the installed program take over from the daemon that runs",
		Long: `After a new version was installed, the daemon that runs starts it and hands
over to it: sockets, connections, state. No request is refused or cut. The new
program must prove itself first; if it cannot, the daemon goes on as before and
says why.

Requests that are under way end in the old process, within its
server.shutdown_timeout. Settings of the unit itself, such as its limits, need
a systemctl restart.`,
		Example: `  make install && charactier-proxyctl upgrade`,
		Args:    noArgs,
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		asked := e.wish(switcher.KindUpgrade)
		r, err := e.client().Upgrade(cmd.Context(), control.UpgradeRequest{Reason: f.reason})
		if r, err = e.learn(cmd.Context(), asked, r, err); err != nil {
			return e.failed(cmd.Context(), r, err, f.json)
		}
		if f.json {
			return e.printJSON(r)
		}
		e.printf("upgraded from %s to %s in %s; requests that were under way end in the old process\n",
			clean(cmp.Or(r.FromVersion, "an unknown version")), clean(cmp.Or(r.ToVersion, "an unknown version")), r.Took.Round(1e6))
		return nil
	}
	cmd.Flags().BoolVarP(&f.yes, "yes", "y", false, "do not ask (upgrade never does)")
	cmd.Flags().StringVar(&f.reason, "reason", "", "why, in a few words: `TEXT` for the history")
	f.jsonFlag(cmd)
	return cmd
}
