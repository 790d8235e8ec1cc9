package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"charactier-proxy/cmd/internal/doctor"
	"charactier-proxy/switcher/control"
)

type doctorFlags struct {
	services  []string
	all, deep bool
	json      bool
}

func newDoctorCmd(e *env) *cobra.Command {
	var f doctorFlags
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look for what is known to go wrong, and say what mends it",
		Long: `Looks at the daemon, the units, the ports, the health routes, nginx, who goes
past the proxy, the releases, the disks and the clock, and changes nothing. What
is wrong is printed with the command that mends it. As root it sees everything;
otherwise it says what it had to skip.

The exit code is 1 if something fails, or would at the next switch, stop or
reboot. Warnings are for quieter times.`,
		Example: `  sudo charactier-proxyctl doctor
  sudo charactier-proxyctl doctor --all --deep
  sudo charactier-proxyctl doctor --json | jq -r '.findings[] | select(.level == "fail").mend'`,
		Args: noArgs,
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return e.examine(cmd.Context(), &f) }
	cmd.Flags().StringSliceVar(&f.services, "service", nil, serviceHelp)
	cmd.Flags().BoolVarP(&f.all, "all", "a", false, "list also what is fine and what was skipped")
	cmd.Flags().BoolVar(&f.deep, "deep", false, "ask the repository too, over the network")
	cmd.Flags().BoolVar(&f.json, "json", false, "print JSON")
	completeServices(e, cmd)
	return cmd
}

// examined is the JSON of doctor.
type examined struct {
	Findings []doctor.Finding     `json:"findings"`
	Counts   map[doctor.Level]int `json:"counts"`
}

func (e *env) examine(ctx context.Context, f *doctorFlags) error {
	facts, err := e.facts(ctx, f)
	if err != nil {
		return err
	}
	findings := doctor.Examine(facts)
	counts := map[doctor.Level]int{}
	for _, level := range []doctor.Level{doctor.OK, doctor.Warn, doctor.Fail, doctor.Skipped} {
		counts[level] = doctor.Count(findings, level)
	}
	if f.json {
		if err := e.printJSON(examined{findings, counts}); err != nil {
			return err
		}
	} else {
		e.printFindings(findings, f.all)
		e.printCounts(counts, facts.Root)
	}
	if counts[doctor.Fail] > 0 {
		return exitError(control.ExitFailed)
	}
	return nil
}

// printFindings groups them by what they are about.
func (e *env) printFindings(findings []doctor.Finding, all bool) {
	group, first := "-", true
	for _, f := range findings {
		if !all && (f.Level == doctor.OK || f.Level == doctor.Skipped) {
			continue
		}
		if f.Service != group {
			if !first {
				e.printf("\n")
			}
			e.printf("%s\n", e.paint(bold, cmp.Or(clean(f.Service), "machine")))
			group, first = f.Service, false
		}
		e.printFinding(f)
	}
	if !first {
		e.printf("\n")
	}
}

func (e *env) printFinding(f doctor.Finding) {
	where := clean(f.Check)
	if f.Slot != "" {
		where = e.slot(f.Slot) + " " + where
	}
	e.printf("  %s %s: %s\n", e.levelMark(f.Level), where, clean(f.Text))
	if f.Mend != "" && f.Level != doctor.OK {
		lead := e.glyph("↳ ", "-> ")
		for line := range strings.Lines(f.Mend) {
			e.printf("         %s%s\n", lead, e.paint(bold, clean(strings.TrimSuffix(line, "\n"))))
			lead = e.glyph("  ", "   ")
		}
	}
}

// levelMark is as wide for every level.
func (e *env) levelMark(level doctor.Level) string {
	colours := map[doctor.Level]style{doctor.OK: green, doctor.Warn: yellow, doctor.Fail: red, doctor.Skipped: dim}
	names := map[doctor.Level]string{doctor.OK: "ok", doctor.Warn: "warn", doctor.Fail: "fail", doctor.Skipped: "skip"}
	return e.paint(colours[level], fmt.Sprintf("%-4s", names[level]))
}

func (e *env) printCounts(counts map[doctor.Level]int, root bool) {
	parts := []string{fmt.Sprintf("%d fine", counts[doctor.OK])}
	if n := counts[doctor.Warn]; n > 0 {
		parts = append(parts, e.paint(yellow, plural(n, "warning", "warnings")))
	}
	if n := counts[doctor.Fail]; n > 0 {
		parts = append(parts, e.paint(red, plural(n, "failure", "failures")))
	}
	if n := counts[doctor.Skipped]; n > 0 {
		parts = append(parts, fmt.Sprintf("%d skipped", n))
	}
	e.printf("%s\n", strings.Join(parts, ", "))
	if !root {
		e.hintf("sudo %s doctor sees more: whose the ports are, who goes past the proxy, nginx's configuration", e.self())
	}
}

// facts asks everybody, and leaves only the chosen services.
func (e *env) facts(ctx context.Context, f *doctorFlags) (*doctor.Facts, error) {
	sources, done := e.doctorSources(ctx, f.deep)
	defer done()
	facts, err := ask(e, func() (*doctor.Facts, error) { return doctor.Gather(ctx, sources), nil })
	if err != nil || len(f.services) == 0 {
		return facts, err
	}
	var known []control.ServiceStatus
	for _, s := range facts.Services {
		known = append(known, control.ServiceStatus{Name: s.Name})
	}
	wanted, err := chosen(known, f.services)
	if err != nil {
		return nil, err
	}
	var some []*doctor.Service
	for _, s := range facts.Services {
		for _, w := range wanted {
			if s.Name == w.Name {
				some = append(some, s)
			}
		}
	}
	facts.Services = some
	return facts, nil
}
