package main

import (
	"github.com/spf13/cobra"
)

func newCompletionCmd(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "completion bash|zsh|fish",
		Short: "Print what makes a shell complete verbs, flags and services",
		Example: `  charactier-proxyctl completion bash > /etc/bash_completion.d/charactier-proxyctl
  charactier-proxyctl completion zsh > "${fpath[1]}/_charactier-proxyctl"
  charactier-proxyctl completion fish > ~/.config/fish/completions/charactier-proxyctl.fish`,
		ValidArgs: []string{"bash", "zsh", "fish"},

		DisableFlagsInUseLine: true,

		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("", "completion takes one shell: bash, zsh or fish")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(e.stdout, true)
			case "zsh":
				return root.GenZshCompletion(e.stdout)
			case "fish":
				return root.GenFishCompletion(e.stdout, true)
			}
			return usagef("there is bash, zsh and fish", "no completion for shell %q", args[0])
		},
	}
}
