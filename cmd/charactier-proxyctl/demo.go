package main

import "github.com/spf13/cobra"

func newDemoCmd(*env) *cobra.Command {
	return &cobra.Command{Use: "demo", Hidden: true, Args: noArgs, RunE: showHelp}
}
