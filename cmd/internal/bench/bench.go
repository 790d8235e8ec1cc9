package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"charactier-proxy/cmd/internal/bench/report"
)

// bench is one run of all cases.
type bench struct {
	world    *world
	opts     options
	progress io.Writer
	rate     float64 // of the paced cases

	report report.Report
	failed []error
}

func newBench(w *world, o options, progress io.Writer) *bench {
	return &bench{world: w, opts: o, progress: progress, rate: o.rate, report: report.Report{Measures: measures()}}
}

// measures are all that is measured, in the order of the report.
func measures() []report.Measure {
	return []report.Measure{
		{Key: "rps", Title: "per second", HigherIsBetter: true, Pictured: true},
		{Key: "cpu", Title: "CPU per request", Unit: "µs", Pictured: true},
		{Key: "cpu-kib", Title: "CPU per KiB", Unit: "ns", Pictured: true},
		{Key: "p50", Title: "p50", Unit: "µs"},
		{Key: "p99", Title: "p99", Unit: "µs", Pictured: true},
		{Key: "p999", Title: "p99.9", Unit: "µs"},
		{Key: "rss", Title: "RSS per connection", Unit: "KiB", Pictured: true},
		{Key: "pss", Title: "PSS per connection", Unit: "KiB"},
		{Key: "switches", Title: "switches per second", Alone: true},
		{Key: "late", Title: "p99 of the generator's own lateness", Unit: "µs", Alone: true},
		{Key: "others", Title: "taken by others", Unit: "processors", Alone: true},
	}
}

// runAll runs every case that is wanted.
func (b *bench) runAll(ctx context.Context) error {
	b.report.Facts = b.facts(ctx)
	all := contenders(b.opts)
	for _, c := range cases(b.opts) {
		if !b.opts.wants(c.Key) {
			continue
		}
		if c.paced() && b.rate == 0 {
			return fmt.Errorf("the case %s takes its rate from the case get: add that, or -rate", c.Key)
		}
		if err := b.runCase(ctx, c, c.entries(all)); err != nil {
			return fmt.Errorf("case %s: %w", c.Key, err)
		}
		if c.Key == "get" && b.rate == 0 {
			b.rate = b.halfOfTheSlowest()
			b.report.Facts = append(b.report.Facts, fmt.Sprintf("half load: %.0f requests per second, half of what the slowest but the references reached", b.rate))
		}
	}
	b.warn()
	return nil
}

// quiet is how many processors may be busy with something else before the
// figures are doubted.
const quiet = 0.1

// warn tells a reader when the machine was not the bench's alone.
func (b *bench) warn() {
	if others := b.report.Everywhere("others"); others.Median > quiet {
		b.report.Facts = append(b.report.Facts, fmt.Sprintf("NOISY: other programs kept %.2f processors busy (%.2f to %.2f); "+
			"of such a run only CPU and memory tell something", others.Median, others.Min, others.Max))
	}
}

func (c benchCase) paced() bool { return c.Key == "rate" || c.Key == "switching" }

// halfOfTheSlowest is the rate of the paced cases, the same for all.
func (b *bench) halfOfTheSlowest() float64 {
	slowest := math.Inf(1)
	for _, c := range b.report.Contenders {
		if c.Kind != report.Reference {
			slowest = min(slowest, b.report.Value("get", "rps", c.Name).Median)
		}
	}
	return math.Floor(slowest / 2)
}

// runCase gives each contender its turn in each round, and each round begins
// with another one.
func (b *bench) runCase(ctx context.Context, c benchCase, entries []*entry) (err error) {
	b.enter(c, entries)
	defer func() {
		for _, e := range entries {
			b.stop(e)
		}
	}()
	if !c.fresh {
		for _, e := range entries {
			if err := b.warmUp(ctx, c, e); err != nil {
				return fmt.Errorf("%s: %w", e.Name, err)
			}
		}
	}
	for round := range b.opts.rounds {
		for _, i := range order(len(entries), round) {
			e := entries[i]
			if err := b.turn(ctx, c, e, round+1); err != nil {
				return fmt.Errorf("%s, round %d: %w", e.Name, round+1, err)
			}
		}
	}
	return nil
}

// order is whose turn it is in a round.
func order(n, round int) []int {
	var order []int
	for i := range n {
		order = append(order, (i+round)%n)
	}
	return order
}

// enter makes the case and its contenders known to the report.
func (b *bench) enter(c benchCase, entries []*entry) {
	b.report.Cases = append(b.report.Cases, c.Case)
	for _, e := range entries {
		if !slices.Contains(b.report.Contenders, e.Contender) {
			b.report.Contenders = append(b.report.Contenders, e.Contender)
		}
	}
}

// start brings an instance up and checks that it does what is asked of it.
func (b *bench) start(ctx context.Context, c benchCase, e *entry) (err error) {
	if e.in, err = e.contender.start(ctx, b.world, c.setup(b.world)); err != nil {
		return fmt.Errorf("starting: %w", err)
	}
	if c.echo {
		return nil
	}
	return errors.Join(inspect(ctx, e.in), inspectSizes(ctx, e.in))
}

func (b *bench) stop(e *entry) {
	if e.in != nil {
		e.in.stop()
		e.in = nil
	}
}

// warmUp starts an instance and gives it a turn that does not count.
func (b *bench) warmUp(ctx context.Context, c benchCase, e *entry) error {
	if err := b.start(ctx, c, e); err != nil {
		return err
	}
	o, err := e.drive(ctx, b, e.in, min(b.opts.time, time.Second))
	return errors.Join(err, o.Err())
}

// turn measures a contender once.
func (b *bench) turn(ctx context.Context, c benchCase, e *entry, round int) error {
	if c.fresh {
		if err := b.start(ctx, c, e); err != nil {
			return err
		}
		defer b.stop(e)
	}
	before, err := b.look(e.in)
	if err != nil {
		return err
	}
	o, err := e.drive(ctx, b, e.in, b.opts.time)
	if err != nil {
		return err
	}
	after, err := b.look(e.in)
	if err != nil {
		return err
	}
	b.note(c, e, round, o, after.since(before))
	return nil
}

// faults says what failed in a run that went to its end.
func (b *bench) faults() error {
	if len(b.failed) == 0 {
		return nil
	}
	return fmt.Errorf("the figures are worth nothing, for there were failures:\n%w", errors.Join(b.failed...))
}
