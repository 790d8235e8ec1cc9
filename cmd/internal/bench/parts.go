package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"

	"charactier-proxy/cmd/internal/bench/drive"
)

// part is what this program is when a bench has started it with the part's name.
type part func(ctx context.Context, args []string, stdout io.Writer) error

func parts() map[string]part {
	return map[string]part{
		"httputil":  serveHTTPUtil,
		"echo":      serveEcho,
		"paced":     drivePaced,
		"websocket": driveWebSocket,
		"idle":      driveIdle,
	}
}

func serveEcho(ctx context.Context, args []string, _ io.Writer) error {
	flags := flag.NewFlagSet("echo", flag.ContinueOnError)
	listen := flags.String("listen", "", "addresses")
	if err := flags.Parse(args); err != nil {
		return err
	}
	return serve(ctx, *listen, drive.Echo{})
}

// driveFlags are what all loads take.
type driveFlags struct {
	*flag.FlagSet
	addr, path  *string
	connections *int
	time        *time.Duration
}

func newDriveFlags(name string) driveFlags {
	set := flag.NewFlagSet(name, flag.ContinueOnError)
	return driveFlags{
		FlagSet:     set,
		addr:        set.String("addr", "", "where to"),
		path:        set.String("path", smallPath, "what for"),
		connections: set.Int("connections", 64, "how many"),
		time:        set.Duration("time", time.Second, "how long"),
	}
}

func drivePaced(ctx context.Context, args []string, stdout io.Writer) error {
	f := newDriveFlags("paced")
	rate := f.Float64("rate", 1000, "requests per second")
	if err := f.Parse(args); err != nil {
		return err
	}
	// The thread that keeps the pace sleeps in the kernel, and each time keeps one
	// of the runtime's processors from the connections for a while.
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 3)
	result, err := drive.Paced{Addr: *f.addr, Path: *f.path, Connections: *f.connections, Rate: *rate, Time: *f.time}.Run(ctx)
	return tell(stdout, result, err)
}

func driveWebSocket(ctx context.Context, args []string, stdout io.Writer) error {
	f := newDriveFlags("websocket")
	if err := f.Parse(args); err != nil {
		return err
	}
	result, err := drive.WebSocket{Addr: *f.addr, Path: *f.path, Connections: *f.connections, Time: *f.time}.Run(ctx)
	return tell(stdout, result, err)
}

// driveIdle says "open" once all connections are, and keeps them until its
// standard input ends.
func driveIdle(ctx context.Context, args []string, stdout io.Writer) error {
	f := newDriveFlags("idle")
	if err := f.Parse(args); err != nil {
		return err
	}
	leave := make(chan struct{})
	opened := func() {
		fmt.Fprintln(stdout, idleOpen)
		go func() {
			defer close(leave)
			// However it ends, it has ended.
			_, _ = io.Copy(io.Discard, os.Stdin)
		}()
	}
	result, err := drive.Idle{Addr: *f.addr, Path: *f.path, Connections: *f.connections}.Run(ctx, opened, leave)
	return tell(stdout, result, err)
}

// tell hands a result to the bench.
func tell(stdout io.Writer, result drive.Result, err error) error {
	if err != nil {
		return err
	}
	return json.NewEncoder(stdout).Encode(result)
}
