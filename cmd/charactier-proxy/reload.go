package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"

	"charactier-proxy/cmd/internal/config"
	"charactier-proxy/cmd/internal/paths"
	"charactier-proxy/proxy"
	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
)

// loadConfig reads the file, or takes the built-in defaults where none was
// named and the default place has none.
func loadConfig(p paths.Paths) (*config.Config, error) {
	if _, err := os.Stat(p.Config); errors.Is(err, fs.ErrNotExist) && !p.ConfigNamed {
		return config.Default(), nil
	}
	return config.Load(p.Config)
}

// configKeeper holds the configuration that runs and what became of newer ones.
type configKeeper struct {
	mu      sync.RWMutex
	running *config.Config
	about   control.ConfigStatus
}

func (k *configKeeper) current() *config.Config {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.running
}

func (k *configKeeper) status() (*config.Config, control.ConfigStatus) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.running, k.about
}

func (k *configKeeper) accept(cfg *config.Config, path string, needsRestart []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.running = cfg
	k.about = control.ConfigStatus{Path: path, Loaded: time.Now(), NeedsRestart: needsRestart}
}

func (k *configKeeper) reject(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.about.Rejected, k.about.RejectedAt = summary(err), time.Now()
}

// loadAgain is loadConfig for a daemon that runs: a file that is gone is no wish
// for the built-in defaults.
func (d *daemon) loadAgain() (*config.Config, error) {
	_, about := d.config.status()
	if _, err := os.Stat(d.paths.Config); about.Path != "" && errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is gone: the configuration that was read from it runs on, until a restart", d.paths.Config)
	}
	return loadConfig(d.paths)
}

var errStopping = errors.New("the daemon is stopping")

// summary is one line about a configuration that was not taken.
func summary(err error) string {
	if problems, ok := errors.AsType[config.Problems](err); ok {
		return problems.Summary()
	}
	return err.Error()
}

// reload reads the configuration again and makes it hold. A file that cannot
// be taken leaves the running one in force and shows in the status.
func (d *daemon) reload(ctx context.Context, by switcher.Actor) (control.ConfigStatus, error) {
	d.reloading.Lock()
	defer d.reloading.Unlock()
	if d.stopping.Load() {
		_, status := d.config.status()
		return status, errStopping
	}
	if err := d.notify.Reloading(); err != nil {
		d.log.Warn("telling systemd", zap.Error(err))
	}
	defer d.notifyReady()
	cfg, err := d.loadAgain()
	if err == nil {
		err = d.apply(ctx, by, cfg)
	}
	if err != nil {
		d.publish("config", switcher.LevelError, "the new configuration was not taken, the old one goes on: "+summary(err))
		d.log.Error("the new configuration was not taken, the old one goes on", zap.String("file", d.paths.Config), zap.String("error", summary(err)))
		d.config.reject(err)
	}
	_, status := d.config.status()
	return status, err
}

// apply makes cfg hold without losing a request. What can fail comes first:
// addresses are opened, then everything that requests look up is replaced in one
// instant; what is not wanted any more is let go last, once its requests have
// ended.
func (d *daemon) apply(ctx context.Context, by switcher.Actor, cfg *config.Config) error {
	old := d.config.current()
	changes := config.Diff(old, cfg)
	needsRestart := config.Diff(d.startedWith, cfg).NeedsRestart
	if changes.None() {
		d.config.accept(cfg, d.configPath(), needsRestart)
		return d.access.reopen()
	}
	// What is left of it goes by the configuration that it knows.
	if err := d.predecessor.await(ctx); err != nil {
		return err
	}
	wanted := addresses(cfg)
	opened, err := d.doors.bind(wanted)
	if err != nil {
		return err
	}
	merged, leaving := withLeaving(cfg, old)
	if err := d.configure(ctx, by, merged); err != nil {
		for _, o := range opened {
			err = errors.Join(err, o.listener.Close())
		}
		return err
	}
	d.serve(cfg, opened)
	d.level.SetLevel(logLevel(cfg))
	d.config.accept(cfg, d.configPath(), needsRestart)
	d.closeUnwanted(wanted)
	if leaving {
		err = d.configure(ctx, by, cfg)
	}
	d.publish("config", switcher.LevelInfo, "the configuration was taken: "+changes.String())
	d.log.Info("the configuration was taken", zap.String("file", d.paths.Config), zap.String("changes", changes.String()), zap.Strings("needs_restart", needsRestart))
	return err
}

// configure replaces settings and services in one instant, under the
// switcher's lock, so that no switch runs meanwhile.
func (d *daemon) configure(ctx context.Context, by switcher.Actor, cfg *config.Config) error {
	for {
		err := d.switcher.Reconfigure(ctx, by, cfg.SwitcherServices(), func(active map[string]switcher.Slot, held map[string]bool) error {
			return d.route(cfg, active, held)
		})
		if !errors.Is(err, switcher.ErrBusy) {
			return err
		}
		if err := d.switcher.AwaitIdle(ctx); err != nil {
			return err
		}
	}
}

// route gives the data path its table and the slots their watches, and has them
// told their roles. It runs under the switcher's lock, so that a switch never
// asks the watch of an address that traffic does not go to any more (S3).
func (d *daemon) route(cfg *config.Config, active map[string]switcher.Slot, held map[string]bool) error {
	slots := make(map[string]string, len(active))
	for name, slot := range active {
		slots[name] = string(slot)
	}
	settings, err := d.settings(cfg)
	if err != nil {
		return err
	}
	if _, err := d.proxy.Configure(settings, withAssets(cfg, d.log), slots, held); err != nil {
		return err
	}
	d.watches.apply(wantedWatches(cfg))
	d.units.apply(wantedUnits(cfg))
	d.roles.apply(wantedRoles(cfg))
	return nil
}

// serve lets the doors lead where cfg says and starts those newly opened.
func (d *daemon) serve(cfg *config.Config, opened []*door) {
	d.doors.point(cfg, opened)
	for _, o := range opened {
		d.startDoor(o)
	}
}

// startDoor lets clients in. A door that fails ends the daemon, which systemd
// then starts anew; requests cut at the end of a drain are only reported.
func (d *daemon) startDoor(o *door) {
	// All doors live by the bounds that the daemon was started with.
	bounds := d.startedWith.Server
	server := proxy.NewServer(proxy.ServerOptions{
		Handler:           o,
		Lane:              o.lane,
		Logger:            d.log.Named("server"),
		ReadHeaderTimeout: bounds.HeaderTimeout,
		IdleTimeout:       bounds.IdleTimeout,
		MaxHeaderBytes:    int(bounds.MaxHeader),
		MaxConns:          bounds.MaxConnections,
		MaxConnsPerAddr:   bounds.MaxConnectionsPerAddress,
		Room:              d.room.clients,
		KeepBacklog:       o.inherited,
		IdleGrace:         idleGrace,
		StreamGrace:       streamGrace,
		StreamBound:       streamBound,
		ShutdownTimeout:   bounds.ShutdownTimeout,
	})
	o.server.Store(server)
	d.tasks.start(doorTask(o), func(ctx context.Context) error {
		err := server.Serve(ctx, o.listener)
		if err != nil && ctx.Err() != nil {
			d.log.Warn("closing a listener", zap.String("address", o.address), zap.Error(err))
			return nil
		}
		return err
	})
}

// idleGrace is how long a connection without a request may still bring one when
// its listener closes.
const idleGrace = time.Second

// streamGrace is how long streams may go on when their listener closes and no
// other request is left: a restart must not keep everybody else waiting.
const streamGrace = time.Second

// streamBound is how long each of them may take from then on to a place where it
// can end without a loss.
const streamBound = 3 * time.Second

// closeUnwanted closes the doors that lead nowhere any more and waits until
// the requests that came in by them have ended.
func (d *daemon) closeUnwanted(wanted map[string]string) {
	gone := d.doors.unwanted(wanted)
	names := make([]string, len(gone))
	for i, o := range gone {
		names[i] = doorTask(o)
	}
	d.tasks.stop(names...)
	d.doors.forget(gone)
}

func doorTask(o *door) string { return doorTasks + o.address }

// doorTasks is how the names of the doors' tasks begin.
const doorTasks = "listen "

func isDoorTask(name string) bool { return strings.HasPrefix(name, doorTasks) }

// addresses maps each address that cfg listens on to its service.
func addresses(cfg *config.Config) map[string]string {
	wanted := map[string]string{}
	for name, s := range cfg.Services {
		for _, address := range s.Listen {
			wanted[address] = name
		}
	}
	return wanted
}

// wantedWatches is one health watch for each slot of each service.
func wantedWatches(cfg *config.Config) map[place]watch {
	wanted := map[place]watch{}
	for name, s := range cfg.Services {
		for slot, at := range s.Slots {
			wanted[place{name, switcher.Slot(slot)}] = watch{address: at.Address, check: cfg.HealthCheck(name)}
		}
	}
	return wanted
}

// withLeaving is cfg together with the services that only old has, for the time
// until their last requests have ended.
func withLeaving(cfg, old *config.Config) (merged *config.Config, leaving bool) {
	both := *cfg
	both.Services = maps.Clone(cfg.Services)
	for name, s := range old.Services {
		if both.Services[name] == nil {
			both.Services[name], leaving = s, true
		}
	}
	return &both, leaving
}

// watchConfig reloads whenever the file has changed, until ctx ends.
func (d *daemon) watchConfig(ctx context.Context) error {
	err := config.WatchSince(ctx, d.paths.Config, d.loaded, func() {
		// What went wrong is logged and shown by reload itself.
		_, _ = d.reload(ctx, daemonActor("the configuration file changed"))
	})
	if err != nil {
		// Without a watch the proxy still does its work, and SIGHUP still reloads.
		d.log.Error("changes of the configuration file will go unnoticed until SIGHUP", zap.String("file", d.paths.Config), zap.Error(err))
	}
	return nil
}

// reloadOnHangup reloads at each SIGHUP until ctx ends.
func (d *daemon) reloadOnHangup(ctx context.Context) {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	for {
		select {
		case <-hangup:
			// What went wrong is logged and shown by reload itself.
			_, _ = d.reload(ctx, daemonActor("SIGHUP"))
		case <-ctx.Done():
			return
		}
	}
}
