package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"charactier-proxy/switcher"
)

func newHistoryCmd(e *env) *cobra.Command {
	var f common
	var limit int
	cmd := &cobra.Command{
		Use:   "history",
		Short: "Show what was done, when, by whom and why",
		Example: `  charactier-proxyctl history -n 5
  charactier-proxyctl history --json | jq '.[0]'`,
		Args: noArgs,
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if limit < 1 {
			return usagef("", "-n %d: at least one operation can be shown", limit)
		}
		records, err := ask(e, func() ([]switcher.Record, error) { return e.client().History(cmd.Context(), limit) })
		if err != nil {
			return e.failed(cmd.Context(), switcher.Record{}, err, f.json)
		}
		if f.json {
			return e.printJSON(records)
		}
		if len(records) == 0 {
			e.printf("nothing was done yet\n")
		}
		for _, r := range records {
			e.printf("%s", e.recordText(r))
		}
		return nil
	}
	cmd.Flags().IntVarP(&limit, "limit", "n", 20, "show the newest `N` operations")
	f.jsonFlag(cmd)
	return cmd
}

// recordText is one operation: a line, and one more each for its reason, its
// error, its warning and its bake.
func (e *env) recordText(r switcher.Record) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s  %s\n", clock(r.Started), e.outcome(r.Outcome), e.recordLine(r))
	bake := ""
	if r.Bake != nil {
		bake = string(r.Bake.Verdict) + ": " + r.Bake.Text
	}
	for _, more := range []struct{ name, text string }{{"reason", r.Reason}, {"error", r.Error}, {"warning", r.Warning}, {"bake", bake}} {
		if more.text != "" {
			fmt.Fprintf(&b, "%21s%s: %s\n", "", more.name, clean(more.text))
		}
	}
	return b.String()
}

// recordLine is what was done, by whom and how long it took.
func (e *env) recordLine(r switcher.Record) string {
	line := string(r.Kind)
	if what := e.movesText(r.Moves, r.Services); what != "" {
		line += " " + what
	}
	if r.ToVersion != "" {
		line += " " + clean(r.FromVersion) + " -> " + clean(r.ToVersion)
	}
	if r.Forced {
		line += " " + e.paint(yellow, "forced")
	}
	if who := clean(r.Actor.User); who != "" {
		line += " by " + who
	}
	return line + ", " + e.dur(r.Took)
}

// outcome is padded to the longest of them.
func (e *env) outcome(o switcher.Outcome) string {
	colour := red
	switch o {
	case switcher.Done:
		colour = green
	case switcher.Unchanged, switcher.Aborted:
		colour = yellow
	}
	return e.paint(colour, fmt.Sprintf("%-11s", clean(string(o))))
}
