package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os/signal"
	"syscall"
)

// run is the program; it returns its exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	err := dispatch(ctx, args, stdout, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 2
	case err != nil && ctx.Err() != nil:
		fmt.Fprintln(stderr, "bench: interrupted; what it had started has ended")
		return 130
	case err != nil:
		fmt.Fprintln(stderr, "bench:", err)
		return 1
	}
	return 0
}

// dispatch runs a part that a bench has started, or a bench.
func dispatch(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) > 0 {
		if part, ok := parts()[args[0]]; ok {
			return part(ctx, args[1:], stdout)
		}
	}
	o, err := parseOptions(args, stderr)
	if err != nil {
		return err
	}
	return o.bench(ctx, stdout, stderr)
}

// bench makes the world, runs all cases in it and reports.
func (o options) bench(ctx context.Context, stdout, stderr io.Writer) (err error) {
	w, err := newWorld(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	b := newBench(w, o, stderr)
	if err := b.runAll(ctx); err != nil {
		return err
	}
	if err := b.write(stdout); err != nil {
		return err
	}
	return b.faults()
}
