package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"charactier-proxy/cmd/internal/config"
	"charactier-proxy/cmd/internal/logs"
	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
)

type logsFlags struct {
	services               []string
	slot, since            string
	lines                  int
	follow, noDeploy, json bool
}

func newLogsCmd(e *env) *cobra.Command {
	var f logsFlags
	cmd := &cobra.Command{
		Use:   "logs",
		Short: "Show what both slots and the deploys have written, in one",
		Long: `The journals of the slots' units and the log of deploys (deploy.log), in the
order of time; of a unit's journal also what systemd says about it. With
--follow it goes on until Ctrl-C. With --since, all lines since then are shown;
a time is 30m (ago), 14:05 or "2026-01-31 14:05:00".

The journal is shown to root and to members of the group systemd-journal.`,
		Example: `  charactier-proxyctl logs -f
  charactier-proxyctl logs -n 100 --slot blue --no-deploy
  charactier-proxyctl logs --since 30m --json | jq -r 'select(.slot == "green").text'`,
		Args: noArgs,
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return e.showLogs(cmd.Context(), &f, cmd.Flags().Changed("lines"))
	}
	flags := cmd.Flags()
	flags.BoolVarP(&f.follow, "follow", "f", false, "go on showing what is written")
	flags.IntVarP(&f.lines, "lines", "n", 100, "begin with the newest `N` lines")
	flags.StringVar(&f.since, "since", "", "leave out what is older than `TIME`")
	flags.StringSliceVar(&f.services, "service", nil, serviceHelp)
	flags.StringVar(&f.slot, "slot", "", "only the slot `SLOT`: blue or green")
	flags.BoolVar(&f.noDeploy, "no-deploy", false, "leave out the log of deploys")
	flags.BoolVar(&f.json, "json", false, "print each line as one line of JSON")
	completeServices(e, cmd)
	return cmd
}

func (e *env) showLogs(ctx context.Context, f *logsFlags, counted bool) error {
	options, err := e.logsOptions(ctx, f, counted)
	if err != nil {
		return err
	}
	e.hintJournal()
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	read := logs.Read
	if f.follow {
		read = logs.Follow
	}
	if err := read(ctx, options, e.logPrinter(options.Units, f.json)); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

// logsOptions finds the units and the files that are meant.
func (e *env) logsOptions(ctx context.Context, f *logsFlags, counted bool) (o logs.Options, err error) {
	o.Lines = f.lines
	switch {
	case f.lines < 0:
		return o, usagef("", "-n %d: that is no number of lines", f.lines)
	case f.since != "":
		if o.Since, err = parseSince(f.since, e.now()); err != nil {
			return o, err
		}
		if !counted {
			o.Lines = -1
		}
	}
	if f.slot != "" {
		if _, err := slotArg([]string{f.slot}); err != nil {
			return o, err
		}
	}
	cfg, err := e.loadConfig()
	if err != nil {
		return o, err
	}
	services, err := chosen(e.knownServices(ctx, cfg), f.services)
	if err != nil {
		return o, err
	}
	o.Units = unitsOf(services, switcher.Slot(f.slot))
	if !f.noDeploy {
		o.DeployLog = cfg.Deploy.Log
	}
	if len(o.Units) == 0 && o.DeployLog == "" {
		return o, usagef("", "there is nothing to show: the slots have no units, and there is no log of deploys")
	}
	return o, nil
}

// loadConfig is the daemon's configuration as it lies on the disk.
func (e *env) loadConfig() (*config.Config, error) {
	p := e.paths()
	cfg, err := config.Load(p.Config)
	if errors.Is(err, fs.ErrNotExist) && !p.ConfigNamed {
		return config.Default(), nil
	}
	var problems config.Problems
	switch {
	case errors.As(err, &problems):
		return nil, usageError{invalidText(p.Config, len(problems)), e.self() + " config check", problems.Error()}
	case errors.Is(err, fs.ErrPermission) && e.uid != 0:
		return nil, usagef(e.asRoot(), "only root may read %s", p.Config)
	case err != nil:
		return nil, usageError{message: clean(err.Error()), hint: e.self() + " config check"}
	}
	return cfg, nil
}

// knownServices are those of the daemon, or else of its configuration.
func (e *env) knownServices(ctx context.Context, cfg *config.Config) []control.ServiceStatus {
	if status, err := e.client().Status(ctx); err == nil && len(status.Services) > 0 {
		return status.Services
	}
	var all []control.ServiceStatus
	for _, s := range cfg.SwitcherServices() {
		service := control.ServiceStatus{Name: s.Name}
		for _, slot := range []switcher.Slot{switcher.Blue, switcher.Green} {
			place := cfg.Services[s.Name].Slots[string(slot)]
			service.Slots = append(service.Slots, control.SlotStatus{Name: slot, Unit: place.Unit})
		}
		all = append(all, service)
	}
	return all
}

func unitsOf(services []control.ServiceStatus, only switcher.Slot) []logs.Unit {
	var units []logs.Unit
	for _, s := range services {
		for _, slot := range s.Slots {
			if slot.Unit != "" && (only == "" || only == slot.Name) {
				units = append(units, logs.Unit{Name: slot.Unit, Service: s.Name, Slot: slot.Name})
			}
		}
	}
	return units
}

// parseSince reads a time before now, or one of a clock.
func parseSince(text string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(text); err == nil {
		return now.Add(-d.Abs()), nil
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	for _, layout := range []string{time.DateTime, "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, text, now.Location()); err == nil {
			return t, nil
		}
	}
	for _, layout := range []string{time.TimeOnly, "15:04"} {
		t, err := time.ParseInLocation(time.DateOnly+" "+layout, now.Format(time.DateOnly)+" "+text, now.Location())
		if err == nil {
			return t, nil
		}
	}
	return time.Time{}, usagef("write 30m, 14:05 or \"2026-01-31 14:05:00\"", "--since: %q is not a time", clean(text))
}

// hintJournal says why nothing may be seen.
func (e *env) hintJournal() {
	if e.uid == 0 || mayReadJournal() {
		return
	}
	e.hintf("the journal shows its entries to root and to the group systemd-journal: sudo %s logs", e.self())
}

func mayReadJournal() bool {
	groups, err := os.Getgroups()
	if err != nil {
		return true
	}
	for _, name := range []string{"systemd-journal", "adm", "wheel"} {
		g, err := user.LookupGroup(name)
		if err != nil {
			continue
		}
		if gid, err := strconv.Atoi(g.Gid); err == nil && (slices.Contains(groups, gid) || os.Getegid() == gid) {
			return true
		}
	}
	return false
}

// logPrinter prints lines for people or as JSON.
func (e *env) logPrinter(units []logs.Unit, asJSON bool) func(logs.Line) error {
	if asJSON {
		return func(l logs.Line) error {
			raw, err := json.Marshal(l)
			if err != nil {
				return fmt.Errorf("writing JSON: %w", err)
			}
			_, err = fmt.Fprintf(e.stdout, "%s\n", raw)
			return err
		}
	}
	several := slices.ContainsFunc(units, func(u logs.Unit) bool { return u.Service != units[0].Service })
	width := len("deploy")
	for _, u := range units {
		width = max(width, len(logLabel(u.Service, u.Slot, several)))
	}
	return func(l logs.Line) error {
		_, err := fmt.Fprintln(e.stdout, e.logLine(l, several, width))
		return err
	}
}

func logLabel(service string, slot switcher.Slot, several bool) string {
	if several {
		return clean(service) + " " + string(slot)
	}
	return string(slot)
}

// logLine is one line: when, whose, what. What systemd and deploys say steps
// back behind what the slots say.
func (e *env) logLine(l logs.Line, several bool, width int) string {
	label, text := logLabel(l.Service, l.Slot, several), clean(l.Text)
	colour := map[switcher.Slot]style{switcher.Blue: blue, switcher.Green: green}[l.Slot]
	switch l.Source {
	case logs.FromDeploy:
		label, colour, text = "deploy", yellow, e.paint(yellow, text)
	case logs.FromSystemd:
		text = e.paint(dim, text)
	}
	label += strings.Repeat(" ", max(0, width-len(label)))
	if colour != "" {
		label = e.paint(colour, label)
	}
	return l.Time.Local().Format("2006-01-02 15:04:05.000") + "  " + label + "  " + text
}
