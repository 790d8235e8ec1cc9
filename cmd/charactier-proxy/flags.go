package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"charactier-proxy/cmd/internal/config"
	"charactier-proxy/cmd/internal/paths"
	"charactier-proxy/switcher"
)

// Exit codes of the daemon.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2 // wrong flags or configuration; systemd need not try again
)

const usage = `charactier-proxy is the blue-green reverse proxy. systemd runs it; charactier-proxyctl operates it.

usage: charactier-proxy [flags]

  --config FILE         configuration (default /etc/charactier-proxy/config.yaml; built-in defaults if there is none)
  --state-dir DIR       where it remembers which slot is active (default /var/lib/charactier-proxy)
  --socket PATH         control socket (default /run/charactier-proxy/control.sock)
  --check               check the configuration, print every problem, exit 0 or 2
  --assume-active LIST  where the state is lost: record which slot of each service is active, as
                        backend=blue,frontend=green, and end; may be repeated
  --version             print the version

Environment: CHARACTIER_PROXY_CONFIG, CHARACTIER_PROXY_STATE_DIR, CHARACTIER_PROXY_SOCKET; a flag beats them.
Signals: SIGHUP reads the configuration again, SIGTERM drains and ends, a second SIGTERM ends at once.
`

type options struct {
	flags        paths.Flags
	check        bool
	version      bool
	assumeActive map[string]switcher.Slot
}

func parseFlags(args []string) (options, error) {
	var o options
	set := flag.NewFlagSet("charactier-proxy", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	set.StringVar(&o.flags.Config, "config", "", "")
	set.StringVar(&o.flags.StateDir, "state-dir", "", "")
	set.StringVar(&o.flags.Socket, "socket", "", "")
	set.BoolVar(&o.check, "check", false, "")
	set.BoolVar(&o.version, "version", false, "")
	o.assumeActive = map[string]switcher.Slot{}
	set.Func("assume-active", "", func(list string) error { return addAssumption(o.assumeActive, list) })
	if err := set.Parse(args); err != nil {
		return o, err
	}
	if set.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", set.Arg(0))
	}
	return o, nil
}

// addAssumption reads "backend=blue,frontend=green" into active, where the same
// flag may have put others before.
func addAssumption(active map[string]switcher.Slot, list string) error {
	for item := range strings.SplitSeq(list, ",") {
		service, name, ok := strings.Cut(strings.TrimSpace(item), "=")
		if !ok || service == "" {
			return fmt.Errorf("%q is not service=slot", item)
		}
		slot, err := switcher.ParseSlot(name)
		if err != nil {
			return err
		}
		if before, given := active[service]; given && before != slot {
			return fmt.Errorf("%s is given as %s and as %s", service, before, slot)
		}
		active[service] = slot
	}
	return nil
}

// run is the program: it returns the exit code.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	o, err := parseFlags(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stdout, usage)
		return exitOK
	case err != nil:
		fmt.Fprintf(stderr, "charactier-proxy: %v\nhint: charactier-proxy --help\n", err)
		return exitUsage
	case o.version:
		fmt.Fprintln(stdout, "charactier-proxy", version)
		return exitOK
	}
	p := paths.ForDaemon(o.flags, getenv, os.Geteuid())
	loaded := config.VersionOf(p.Config)
	cfg, err := loadConfig(p)
	if err != nil {
		fmt.Fprintf(stderr, "charactier-proxy: %v\n", err)
		return exitUsage
	}
	switch {
	case o.check:
		return report(stdout, p, cfg)
	case len(o.assumeActive) > 0:
		return assume(p, o.assumeActive, cfg, stdout, stderr)
	}
	return serve(ctx, daemonOptions{
		paths: p, config: cfg, version: loaded, stderr: stderr, connectUnits: systemdOf(),
	})
}

// report is what --check prints about a configuration without problems.
func report(stdout io.Writer, p paths.Paths, cfg *config.Config) int {
	for _, w := range cfg.Warnings() {
		fmt.Fprintf(stdout, "warning: %s\n", w)
	}
	if _, err := os.Stat(p.Config); err != nil {
		fmt.Fprintf(stdout, "there is no %s: the built-in configuration runs\n", p.Config)
		return exitOK
	}
	fmt.Fprintf(stdout, "%s: ok\n", p.Config)
	return exitOK
}

// serve runs the daemon until it is told to end.
func serve(ctx context.Context, o daemonOptions) int {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	// Once the first signal has come, the next one has its usual effect.
	context.AfterFunc(ctx, stop)
	if err := succeed(&o); err != nil {
		fmt.Fprintf(o.stderr, "charactier-proxy: taking over: %v\n", err)
		return exitFailed
	}
	d, err := newDaemon(ctx, o)
	if err != nil {
		fmt.Fprintf(o.stderr, "charactier-proxy: starting: %v\n", err)
		return exitFailed
	}
	if err := d.run(ctx); err != nil {
		fmt.Fprintf(o.stderr, "charactier-proxy: %v\n", err)
		return exitFailed
	}
	return exitOK
}
