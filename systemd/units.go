package systemd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"
)

const (
	systemdName         = "org.freedesktop.systemd1"
	managerInterface    = systemdName + ".Manager"
	unitInterface       = systemdName + ".Unit"
	propertiesInterface = "org.freedesktop.DBus.Properties"
)

// ErrDisconnected says that the connection to systemd was lost, as it is when
// the bus is restarted: what was asked for may still happen. Connect again.
var ErrDisconnected = errors.New("the connection to systemd was lost")

// Units is a connection to systemd, for what units are and do. Its methods may
// be called by several goroutines at once.
type Units struct {
	conn    *dbus.Conn   // calls, and the ends of jobs
	signals *godbus.Conn // the one of conn's two connections that signals come by
	bell    *bell
	direct  bool // to systemd itself, which knows no match rules and sends all signals
}

// ConnectUnits connects to systemd: over the system bus, or for root over
// systemd's private socket where there is no bus. The end of ctx cuts the
// connecting short, and does nothing afterwards.
func ConnectUnits(ctx context.Context) (*Units, error) {
	u, err := connect(ctx, false)
	if err != nil && ctx.Err() == nil && os.Geteuid() == 0 {
		if direct, directErr := connect(ctx, true); directErr == nil {
			return direct, nil
		}
	}
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("connecting to systemd: %w", err)
	}
	return u, nil
}

func connect(ctx context.Context, direct bool) (*Units, error) {
	u := &Units{bell: newBell(), direct: direct}
	conn, err := dbus.NewConnection(func() (*godbus.Conn, error) {
		// It asks for two, and keeps the second for signals.
		bell := newBell()
		c, err := dial(ctx, direct, bell)
		u.signals, u.bell = c, bell
		return c, err
	})
	if err != nil {
		return nil, err
	}
	u.conn = conn
	// Without it systemd sends the bus no signals at all. go-systemd's own way
	// would bring those of every unit here.
	manager := u.signals.Object(systemdName, "/org/freedesktop/systemd1")
	if err := manager.CallWithContext(ctx, managerInterface+".Subscribe", 0).Store(); err != nil {
		conn.Close()
		return nil, fmt.Errorf("subscribing to signals: %w", err)
	}
	if err := u.watchFiles(ctx); err != nil {
		conn.Close()
		return nil, fmt.Errorf("subscribing to changes of unit files: %w", err)
	}
	return u, nil
}

// watchFiles makes every watched unit's bell ring when units are enabled or
// disabled.
func (u *Units) watchFiles(ctx context.Context) error {
	if u.direct {
		return nil
	}
	for _, name := range fileSignals() {
		err := u.signals.AddMatchSignalContext(ctx, godbus.WithMatchObjectPath("/org/freedesktop/systemd1"),
			godbus.WithMatchInterface(managerInterface), godbus.WithMatchMember(name))
		if err != nil {
			return err
		}
	}
	return nil
}

func dial(ctx context.Context, direct bool, handler godbus.SignalHandler) (*godbus.Conn, error) {
	// The library ends a connection with its context.
	life, cut := context.WithCancel(context.WithoutCancel(ctx))
	connected := context.AfterFunc(ctx, cut)
	defer connected()
	options := []godbus.ConnOption{godbus.WithContext(life), godbus.WithSignalHandler(handler)}
	open := godbus.SystemBusPrivate
	if direct {
		open = func(o ...godbus.ConnOption) (*godbus.Conn, error) {
			return godbus.Dial("unix:path=/run/systemd/private", o...)
		}
	}
	conn, err := open(options...)
	if err != nil {
		return nil, err
	}
	// By number: names would have to be looked up.
	err = conn.Auth([]godbus.Auth{godbus.AuthExternal(strconv.Itoa(os.Getuid()))})
	if err == nil && !direct {
		err = conn.Hello()
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// Close ends the connection, and with [ErrDisconnected] whoever waits for
// something by it.
func (u *Units) Close() error {
	u.conn.Close()
	return nil
}

// watch makes rung get something after each change of the unit, until leave is
// called. It must be called before the state is read.
func (u *Units) watch(ctx context.Context, unit string) (rung chan struct{}, leave func(), err error) {
	path := unitPath(unit)
	rule := []godbus.MatchOption{
		godbus.WithMatchObjectPath(path),
		godbus.WithMatchInterface(propertiesInterface),
		godbus.WithMatchMember("PropertiesChanged"),
	}
	rung = u.bell.listen(path)
	if !u.direct {
		if err := u.signals.AddMatchSignalContext(ctx, rule...); err != nil {
			u.bell.leave(path, rung)
			return nil, nil, u.explain(ctx, err)
		}
	}
	return rung, func() {
		u.bell.leave(path, rung)
		if !u.direct {
			ctx, cancel := parting(ctx)
			defer cancel()
			// A rule that stays costs a signal that nobody hears.
			_ = u.signals.RemoveMatchSignalContext(ctx, rule...)
		}
	}, nil
}

// hold keeps systemd from forgetting how the unit ended, until release is
// called: without it that is gone as soon as an inactive unit is needed by
// nobody. Only root is let, and only the bus can do it; who may not, may come
// too late for the details.
func (u *Units) hold(ctx context.Context, unit string) (release func()) {
	if u.direct || os.Geteuid() != 0 {
		return func() {}
	}
	object := u.signals.Object(systemdName, unitPath(unit))
	call := func(method string) error {
		// Not cut off by ctx: a Ref whose answer nobody waits for is held for as
		// long as the connection lives.
		ctx, cancel := parting(ctx)
		defer cancel()
		return object.CallWithContext(ctx, unitInterface+method, 0).Err
	}
	if err := call(".Ref"); err != nil {
		return func() {}
	}
	return func() { _ = call(".Unref") }
}

// partingTime bounds what is said when all else is over: whoever ends, perhaps
// with others waiting for it, is not kept by a bus that hangs.
const partingTime = 5 * time.Second

// parting is for that, whether ctx has ended or not.
func parting(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), partingTime)
}

func unitPath(unit string) godbus.ObjectPath {
	return godbus.ObjectPath("/org/freedesktop/systemd1/unit/" + dbus.PathBusEscape(unit))
}

// explain makes of a call's error what it is to the caller.
func (u *Units) explain(ctx context.Context, err error) error {
	var refused godbus.Error
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case !u.conn.Connected():
		return ErrDisconnected
	case errors.As(err, &refused) && refused.Name == "org.freedesktop.DBus.Error.NoReply":
		return fmt.Errorf("%w: %w", ErrDisconnected, err) // it was restarted meanwhile
	case errors.As(err, &refused) && isDenied(refused.Name):
		return fmt.Errorf("%w: uid %d may not do it: run it as root, or let polkit allow it", err, os.Geteuid())
	}
	return err
}

func isDenied(name string) bool {
	return name == "org.freedesktop.DBus.Error.AccessDenied" || name == "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired"
}

// isNotLoaded tells that systemd has no such unit in memory, so that nothing of
// it runs or has failed.
func isNotLoaded(err error) bool {
	var refused godbus.Error
	return errors.As(err, &refused) && refused.Name == systemdName+".NoSuchUnit"
}
