package logs

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	"charactier-proxy/switcher"
)

// Source is who wrote a line.
type Source string

// The sources.
const (
	FromUnit    Source = "unit"    // the process of a unit
	FromSystemd Source = "systemd" // systemd, about a unit
	FromDeploy  Source = "deploy"
)

// Line is one line of a log.
type Line struct {
	Time    time.Time     `json:"time"`
	Service string        `json:"service,omitempty"`
	Slot    switcher.Slot `json:"slot,omitempty"`
	Unit    string        `json:"unit,omitempty"`
	Source  Source        `json:"source"`
	Text    string        `json:"text"`
}

// Unit is a unit whose journal is wanted, and whose it is.
type Unit struct {
	Name, Service string
	Slot          switcher.Slot
}

// Options say what is wanted.
type Options struct {
	Units     []Unit
	DeployLog string    // path; empty: not
	Lines     int       // the newest so many; negative: all
	Since     time.Time // none that is older; zero: any
}

// Read gives emit the lines that there are.
func Read(ctx context.Context, o Options, emit func(Line) error) error {
	_, err := backlog(ctx, o, emit)
	return err
}

// Follow gives emit the lines that there are and those that come, until ctx
// ends, which is no error.
func Follow(ctx context.Context, o Options, emit func(Line) error) error {
	at, err := backlog(ctx, o, emit)
	if err != nil {
		return err
	}
	lines := make(chan Line)
	group, ctx := errgroup.WithContext(ctx)
	send := func(l Line) error {
		select {
		case lines <- l:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if len(o.Units) > 0 {
		group.Go(func() error { return followJournal(ctx, o.Units, at.journal, send) })
	}
	if o.DeployLog != "" {
		group.Go(func() error { return at.deploy.follow(ctx, send) })
	}
	group.Go(func() error { return reorder(ctx, lines, emit) })
	if err := group.Wait(); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// places are how far the sources were read.
type places struct {
	journal journalPlace
	deploy  *tail
}

func backlog(ctx context.Context, o Options, emit func(Line) error) (at places, err error) {
	var journal, deploy []Line
	if len(o.Units) > 0 {
		if journal, at.journal, err = readJournal(ctx, o); err != nil {
			return at, err
		}
	}
	if o.DeployLog != "" {
		at.deploy = &tail{path: o.DeployLog}
		if deploy, err = at.deploy.backlog(o); err != nil {
			return at, err
		}
	}
	for _, l := range newest(merge(deploy, journal), o.Lines) {
		if err := emit(l); err != nil {
			return at, err
		}
	}
	return at, nil
}

// merge puts two sequences between each other; where times are equal a comes
// first.
func merge(a, b []Line) []Line {
	all := make([]Line, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		if b[0].Time.Before(a[0].Time) {
			all, b = append(all, b[0]), b[1:]
		} else {
			all, a = append(all, a[0]), a[1:]
		}
	}
	return append(append(all, a...), b...)
}

// newest are the last n lines; all if n is negative.
func newest(lines []Line, n int) []Line {
	if n < 0 || n >= len(lines) {
		return lines
	}
	return lines[len(lines)-n:]
}
