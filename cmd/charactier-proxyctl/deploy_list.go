package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"charactier-proxy/cmd/internal/config"
	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
	"charactier-proxy/switcher/deploy"
	"charactier-proxy/switcher/deploy/release"
)

// listedRelease is a release with all that speaks for it or against it; so it is
// in the JSON of deploy --list.
type listedRelease struct {
	release.Release
	Slots    []listedSlot   `json:"slots,omitempty"`
	Returned []listedReturn `json:"returned,omitempty"` // that traffic was returned from it
	Failed   *release.Mark  `json:"failed,omitempty"`   // that it did not prove itself
}

// listedSlot is a slot that leads to a release.
type listedSlot struct {
	Service string        `json:"service"`
	Slot    switcher.Slot `json:"slot"`
	Role    string        `json:"role,omitempty"` // active or standby; empty where nobody says
}

type listedReturn struct {
	Service string    `json:"service"`
	At      time.Time `json:"at"`
	Reason  string    `json:"reason,omitempty"`
}

// listReleases is deploy --list.
func (e *env) listReleases(ctx context.Context, asJSON bool) error {
	cfg, err := e.loadConfig()
	if err != nil {
		return err
	}
	status, silent := e.lookAtDaemon(ctx)
	all, err := e.releases(cfg, status)
	if err != nil {
		return e.deployFailed(ctx, deploy.Result{}, err, asJSON)
	}
	if silent != nil {
		e.notef("which slots are active, and what was returned from, is not known: %s", clean(silent.Error()))
	}
	if asJSON {
		return e.printJSON(all)
	}
	if len(all) == 0 {
		e.printf("there is no release below %s yet\n", cfg.Deploy.Root)
	}
	for _, r := range all {
		e.printRelease(r)
	}
	return nil
}

// lookAtDaemon asks what a list is better with, and does not wait for it.
func (e *env) lookAtDaemon(ctx context.Context) (control.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, hintTime)
	defer cancel()
	return e.client().Status(ctx)
}

// releases joins what lies on the disk with what the daemon says.
func (e *env) releases(cfg *config.Config, status control.Status) ([]listedRelease, error) {
	store := deploy.LookStore(cfg.Deploy.Root)
	kept, err := store.List()
	var marks map[string]release.Mark
	if err == nil {
		marks, err = store.Marks()
	}
	if errors.Is(err, fs.ErrPermission) && e.uid != 0 {
		return nil, usagef(e.asRoot(), "only root may read the releases in %s", cfg.Deploy.Root)
	}
	all := []listedRelease{}
	for _, r := range kept {
		l := listedRelease{Release: r, Slots: slotsWith(r.Name, cfg, status), Returned: returnsFrom(r.Name, status)}
		if mark, failed := marks[r.Name]; failed {
			l.Failed = &mark
		}
		all = append(all, l)
	}
	return all, err
}

// slotsWith are the slots that lead to a release, the active ones first.
func slotsWith(name string, cfg *config.Config, status control.Status) (all []listedSlot) {
	active := map[string]switcher.Slot{}
	for _, s := range status.Services {
		active[s.Name] = s.Active
	}
	for _, s := range cfg.DeployServices() {
		for _, slot := range []switcher.Slot{switcher.Blue, switcher.Green} {
			if release.ReleaseOfLink(s.Slots[slot].Link) != name {
				continue
			}
			l := listedSlot{Service: s.Name, Slot: slot}
			switch active[s.Name] {
			case "":
			case slot:
				l.Role = "active"
			default:
				l.Role = standby
			}
			all = append(all, l)
		}
	}
	slices.SortStableFunc(all, func(a, b listedSlot) int { return strings.Compare(a.Role, b.Role) })
	return all
}

func returnsFrom(name string, status control.Status) (all []listedReturn) {
	for _, s := range status.Services {
		for _, b := range s.BadReleases {
			if b.Release == name {
				all = append(all, listedReturn{s.Name, b.Since, b.Reason})
			}
		}
	}
	return all
}

// printRelease prints a line, and one more for each thing that is said of it.
func (e *env) printRelease(r listedRelease) {
	e.printf("%-30s  %s\n", clean(r.Name), clean(r.Subject))
	for _, line := range e.releaseNotes(r) {
		e.printf("%30s  %s\n", "", line)
	}
}

func (e *env) releaseNotes(r listedRelease) (notes []string) {
	roles := map[string][]string{}
	for _, s := range r.Slots {
		roles[s.Role] = append(roles[s.Role], e.slot(s.Slot)+" of "+clean(s.Service))
	}
	for _, role := range []struct{ role, text string }{{"active", e.paint(bold, "active: ")}, {standby, "standby: "}, {"", ""}} {
		if slots := roles[role.role]; len(slots) > 0 {
			notes = append(notes, role.text+strings.Join(slots, ", "))
		}
	}
	note := func(what string, at time.Time, reason string) {
		text := e.paint(yellow, what)
		if !at.IsZero() {
			text += " at " + clock(at)
		}
		if reason != "" {
			text += " (" + clean(reason) + ")"
		}
		if !slices.Contains(notes, text) { // as it is with services that moved together
			notes = append(notes, text)
		}
	}
	for _, b := range r.Returned {
		note("returned from", b.At, b.Reason)
	}
	if r.Failed != nil {
		note("its gate failed", r.Failed.At, r.Failed.Reason)
	}
	return notes
}

// offered says that nothing is known against a release, and that there is a way
// to it.
func (r listedRelease) offered() bool {
	isActive := func(s listedSlot) bool { return s.Role == "active" }
	return r.Failed == nil && len(r.Returned) == 0 && !slices.ContainsFunc(r.Slots, isActive)
}

// completeReleases offers the releases that one may want to go to.
func completeReleases(e *env, cmd *cobra.Command, flag string) {
	complete := func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		cfg, err := e.loadConfig()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		status, _ := e.lookAtDaemon(cmd.Context()) // without it more is offered
		all, _ := e.releases(cfg, status)
		var names []string
		for _, r := range all {
			if r.offered() {
				names = append(names, fmt.Sprintf("%s\t%s", r.Name, clean(r.Subject)))
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
	if err := cmd.RegisterFlagCompletionFunc(flag, complete); err != nil {
		panic(err) // the flag was defined by the caller
	}
}
