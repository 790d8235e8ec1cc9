package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/user"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"charactier-proxy/cmd/internal/config"
	"charactier-proxy/cmd/internal/handover"
	"charactier-proxy/cmd/internal/paths"
	"charactier-proxy/proxy"
	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
	"charactier-proxy/systemd"
)

// daemon is everything that runs, wired like this:
//
//	                config file ── watch ──> reload ─┐
//	                                                 v
//	clients ──> doors ──> proxy.Proxy <── Swap ── switcher.Switcher ──> state, history
//	                        │                      ^        ^
//	              connect failed              Await│        │ Operations
//	                        └───────> watches ─────┘   control socket <── charactier-proxyctl
//	                                     │
//	             units ── state ──> both slots of each service <── role ── roles <── State
type daemon struct {
	paths   paths.Paths
	log     *zap.Logger
	level   zap.AtomicLevel
	started time.Time

	notify    *systemd.Notifier
	inherited *systemd.Inherited
	events    *switcher.Broker
	history   *switcher.FileHistory
	switcher  *switcher.Switcher
	proxy     *proxy.Proxy
	room      room
	watches   *watches
	units     *units
	roles     *roles
	streams   *streams
	doors     *doors
	sampler   *sampler
	bakes     *bakes
	deploys   deploys
	control   net.Listener
	admin     net.Listener // nil when off
	access    *accessLogFile

	controlServer *control.Server

	stderr      io.Writer
	programs    programs
	program     func() (string, error)   // where the installed program is
	lock        *os.File                 // of the state directory
	predecessor *predecessor             // nil where this process was not started by an upgrade
	released    chan *handover.Successor // gets the process that is in charge instead of this one
	adminOurs   bool                     // no other than we opened it
	controlOurs bool

	startedWith *config.Config
	loaded      config.Version // of the file that startedWith was read from
	config      configKeeper
	reloading   sync.Mutex
	stopping    atomic.Bool
	tasks       *tasks
	endWork     context.CancelFunc // of what a successor does instead
	closers     []closer           // closed in reverse
}

type daemonOptions struct {
	paths   paths.Paths
	config  *config.Config
	version config.Version // of its file
	stderr  io.Writer
	// predecessor is the process that started this one to be succeeded by it.
	predecessor *predecessor
	// program says where the installed program is; nil means installed.
	program func() (string, error)
	// wrapStore and wrapTraffic let a test stand between the switcher and the
	// disk or the data path; nil means nobody does.
	wrapStore   func(switcher.Store) switcher.Store
	wrapTraffic func(switcher.Traffic) switcher.Traffic
	// connectUnits reaches systemd; nil means that there is none.
	connectUnits func(context.Context) (unitBus, error)
}

// newDaemon builds the daemon and opens what it needs; nothing runs yet. What
// was opened is closed again if something fails.
func newDaemon(ctx context.Context, o daemonOptions) (_ *daemon, err error) {
	d := &daemon{
		paths: o.paths, started: time.Now(), startedWith: o.config, loaded: o.version, level: zap.NewAtomicLevelAt(logLevel(o.config)),
		stderr: o.stderr, program: o.program, predecessor: o.predecessor, released: make(chan *handover.Successor, 1),
	}
	if d.program == nil {
		d.program = installed
	}
	d.programs.installed = d.program
	defer func() {
		if err != nil {
			err = errors.Join(err, d.close())
		}
	}()
	d.log = newLogger(o.stderr, o.config.Log.Format, d.level)
	d.access = &accessLogFile{stderr: o.stderr}
	d.onClose("access log", d.access.close)
	d.notify = systemd.NewNotifier()
	if d.inherited, err = d.listeners(); err != nil {
		return nil, err
	}
	d.onClose("inherited sockets", d.inherited.Close)
	if d.room, err = divideDescriptors(); err != nil {
		return nil, err
	}
	d.proxy = proxy.New(proxy.Options{Logger: d.log.Named("proxy"), OnConnectError: d.connectFailed, OnOutage: d.outageChanged, SlotRoom: d.room.slots})
	d.sampler = newSampler(d.proxy.Stats)
	d.events = switcher.NewBroker()
	d.watches = &watches{onChange: d.healthChanged, byPlace: map[place]*watch{}}
	d.units = &units{connect: o.connectUnits, log: d.log, onChange: d.unitChanged}
	d.streams = d.newStreams()
	d.roles = &roles{new: d.newKeeper, byService: map[string]roleKeeper{}}
	if err := d.openState(o); err != nil {
		return nil, err
	}
	if err := d.openSockets(ctx, o.config); err != nil {
		return nil, err
	}
	d.config.accept(o.config, d.configPath(), nil)
	return d, nil
}

// openState takes the state directory and finds out which slots are active.
func (d *daemon) openState(o daemonOptions) error {
	files, err := d.takeState()
	if err != nil {
		return err
	}
	d.onClose("state", files.Close)
	d.lock = files.Lock()
	d.history = switcher.OpenFileHistory(d.paths.StateDir)
	var store switcher.Store = files
	if o.wrapStore != nil {
		store = o.wrapStore(store)
	}
	var moves switcher.Traffic = traffic{d.proxy, d.streams}
	if d.predecessor != nil {
		moves = led{moves, d.predecessor}
	}
	if o.wrapTraffic != nil {
		moves = o.wrapTraffic(moves)
	}
	d.switcher, err = switcher.New(switcher.Options{
		Traffic: moves, Prober: d.watches, Store: store, History: d.history, Events: d.events,
		Services: o.config.SwitcherServices(), ReleaseOf: d.releaseOf, Actor: daemonActor("start"),
	})
	if err != nil {
		return err
	}
	d.onClose("switcher", func() error { d.switcher.Close(); return nil })
	d.bakes = &bakes{
		stats: d.proxy.Stats, outage: d.proxy.Outage, switcher: d.switcher, watches: d.watches, events: d.events, log: d.log.Named("bake"), actor: daemonActor("bake"),
		begun: map[place]proxy.SlotStats{}, running: map[string]*baking{},
	}
	return nil
}

// openSockets opens every address, the control socket last: who can reach it
// may rely on all the others.
func (d *daemon) openSockets(ctx context.Context, cfg *config.Config) (err error) {
	d.doors = &doors{proxy: d.proxy, alive: d.newLiveness(), inherited: d.inherited, predecessor: d.predecessor, open: map[string]*door{}}
	wanted := addresses(cfg)
	opened, err := d.doors.bind(wanted)
	if err != nil {
		return err
	}
	for _, o := range opened {
		d.onClose("listener "+o.address, ignoreClosed(o.listener.Close))
	}
	d.doors.point(cfg, opened)
	if cfg.Admin.Listen != "" {
		if err := d.openAdmin(ctx, cfg.Admin.Listen); err != nil {
			return fmt.Errorf("opening the admin listener: %w", err)
		}
		d.onClose("admin listener", ignoreClosed(d.admin.Close))
	}
	if err := d.openControl(ctx, cfg.Control.SocketGroup()); err != nil {
		return fmt.Errorf("opening the control socket: %w", err)
	}
	d.onClose("control socket", ignoreClosed(d.control.Close))
	d.controlServer, err = control.NewServer(control.Options{
		Operations: d, Version: control.Build(version), Logger: d.log,
		Group: cfg.Control.AdminGroup(), ReadGroup: cfg.Control.ReadGroup,
	})
	if err != nil {
		return err
	}
	for _, left := range d.inherited.Untaken() {
		d.log.Warn("systemd passed a socket that no service listens on; its clients will wait in vain", zap.Stringer("socket", left))
	}
	return nil
}

// run serves until ctx ends, then drains and returns. The first part that
// fails ends all others.
func (d *daemon) run(ctx context.Context) error {
	defer func() {
		if err := d.close(); err != nil {
			d.log.Warn("closing", zap.Error(err))
		}
	}()
	// What runs must outlive ctx until the drain is over.
	rest, endRest := context.WithCancel(context.WithoutCancel(ctx))
	defer endRest()
	group, rest := errgroup.WithContext(rest)
	d.tasks = newTasks(rest, group)
	d.watches.tasks, d.units.tasks, d.roles.tasks, d.streams.tasks = d.tasks, d.tasks, d.tasks, d.tasks
	var work context.Context
	work, d.endWork = context.WithCancel(rest)
	defer d.endWork()
	if !d.awaitRelease(ctx) {
		return nil
	}
	cfg := d.config.current()
	if err := d.begin(cfg); err != nil {
		return err
	}
	group.Go(func() error { d.sampler.run(work); return nil })
	group.Go(func() error { d.bakes.run(work); return nil })
	group.Go(func() error { d.nudgeRoles(work); return nil })
	group.Go(func() error { d.failOver(work); return nil })
	group.Go(func() error { d.tellDrift(work); return nil })
	group.Go(func() error { return d.controlServer.Serve(rest, d.control) })
	if d.admin != nil {
		group.Go(func() error { return serveAdmin(work, d.admin, newAdmin(d)) })
	}
	group.Go(func() error { return d.watchConfig(work) })
	group.Go(func() error { d.reloadOnHangup(work); return nil })
	group.Go(func() error { return d.notify.Watchdog(work, d.alive) })
	group.Go(func() error { return d.reportReady(work) })
	group.Go(func() error { d.hearPredecessor(rest); return nil })
	group.Go(func() error { return d.endWith(ctx, rest, endRest) })
	if err := group.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// begin gives the data path its table and starts listening and probing.
func (d *daemon) begin(cfg *config.Config) error {
	active, held := d.switcher.Routing()
	if err := d.route(cfg, active, held); err != nil {
		return err
	}
	for _, o := range d.doors.all() {
		d.startDoor(o)
	}
	return nil
}

// reportReady tells systemd once every door answers.
func (d *daemon) reportReady(ctx context.Context) error {
	if err := d.doors.check(ctx); err != nil {
		// Who is told to stop while it starts has closed its doors.
		if ctx.Err() != nil || d.stopping.Load() {
			return nil
		}
		return fmt.Errorf("starting: %w", err)
	}
	d.notifyReady()
	if err := d.notify.Watching(); err != nil {
		d.log.Warn("telling systemd", zap.Error(err))
	}
	d.log.Info("ready", zap.String("version", version), zap.String("traffic", d.summary()),
		zap.String("state", d.paths.StateDir), zap.String("socket", d.paths.Socket))
	d.logStart()
	return nil
}

// logStart says what was found in the state directory, if that was not simply
// the last state.
func (d *daemon) logStart() {
	if note := d.switcher.Note(); note != "" {
		d.log.Info("state", zap.String("found", note))
	}
	for _, warning := range d.switcher.Warnings() {
		d.log.Warn("state", zap.String("warning", warning))
	}
}

// endWith waits for ctx, drains the doors and then ends the rest: the control
// socket answers until the last request has left.
func (d *daemon) endWith(ctx, rest context.Context, endRest context.CancelFunc) error {
	select {
	case next := <-d.released:
		d.endBehind(next)
		endRest()
		return nil
	case <-ctx.Done():
	case <-rest.Done():
		return nil
	}
	if !d.stopping.CompareAndSwap(false, true) { // a successor is about to be released
		d.endBehind(<-d.released)
		endRest()
		return nil
	}
	bound := d.startedWith.Server.ShutdownTimeout
	d.log.Info("ending: no new connections, requests in flight may finish", zap.Duration("within", bound))
	if err := errors.Join(d.notify.Stopping("draining"), d.notify.ExtendTimeout(bound+5*time.Second)); err != nil {
		d.log.Warn("telling systemd", zap.Error(err))
	}
	d.stopDoors()
	// It ends by a bound of its own, which began before ours.
	_ = d.predecessor.await(rest)
	d.log.Info("ended: all requests have left")
	endRest()
	return nil
}

// alive is the watchdog's question: do all doors still answer?
func (d *daemon) alive(ctx context.Context) error {
	if d.stopping.Load() {
		return nil
	}
	err := d.doors.check(ctx)
	if err != nil && ctx.Err() == nil {
		d.log.Error("the proxy does not answer itself; systemd will restart it unless it recovers", zap.Error(err))
	}
	return err
}

func (d *daemon) notifyReady() {
	if d.stopping.Load() {
		return
	}
	if err := d.notify.Ready(d.summary()); err != nil {
		d.log.Warn("telling systemd", zap.Error(err))
	}
}

// summary says where traffic is, in one line.
func (d *daemon) summary() string {
	var parts []string
	for name, s := range d.configured() {
		text := name + " on " + string(s.Active)
		if s.Held != nil {
			text += " (held)"
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, ", ")
}

// configPath is what the status shows: empty with the built-in defaults.
func (d *daemon) configPath() string {
	if _, err := os.Stat(d.paths.Config); err != nil {
		return ""
	}
	return d.paths.Config
}

func (d *daemon) publish(kind, level, text string) {
	d.events.Publish(switcher.Event{Kind: kind, Level: level, Text: text})
}

// daemonActor is who acts when nobody asked.
func daemonActor(why string) switcher.Actor {
	name := ""
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	return switcher.Actor{UID: uint32(os.Geteuid()), User: name, PID: int32(os.Getpid()), Command: "charactier-proxy (" + why + ")"}
}
