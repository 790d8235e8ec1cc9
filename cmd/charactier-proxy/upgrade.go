package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"go.uber.org/zap"

	"charactier-proxy/cmd/internal/handover"
	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
)

// An upgrade is a conversation of the process that is in charge with the one that
// is to be, the successor, which it has started from the installed program:
//
//	old                                    new
//	hello, with every listener        ->
//	                                       reads configuration and state, finds its
//	                                       listeners, serves itself a request
//	                                  <-   proven
//	writes nothing any more
//	take, with the lock of the state  ->
//	                                       opens the state, serves by every listener
//	                                  <-   serving
//	tells systemd, stops accepting
//	released                          ->
//	                                       is in charge: control socket, bakes, roles
//	connections, as they become idle  ->
//	                                  <-   swap, hold, release, stopping, went,
//	                                       end streams, open
//	ends once its requests have left
//
// Up to "released" the old one can have the new one killed and be in charge as
// before. The new one is in charge from then on, or once the old one has ended
// without a word. The lock passes as a descriptor, so that at no moment nobody has
// it.
const (
	sayHello    = "hello"
	sayProven   = "proven"
	sayTake     = "take"
	sayServing  = "serving"
	sayReleased = "released"
	sayConn     = "connection"
	sayAnswer   = "answer"
	askSwap     = "swap"
	askHold     = "hold"
	askRelease  = "release"
	askOpen     = "open"
	askStopping = "stopping"
	askWent     = "went"
	askEnd      = "end streams"
	askEnded    = "streams ended"
)

// How long the successor may take to prove itself, to take over, and to end after
// it was killed.
const (
	proveTime = 20 * time.Second
	takeTime  = 10 * time.Second
	killTime  = 5 * time.Second
)

// hello tells the successor what the descriptors are.
type hello struct {
	Version string        `json:"version"`
	Token   string        `json:"token"`   // of the questions to ourselves: either process may get them
	Sockets []helloSocket `json:"sockets"` // in the order of the descriptors
}

type helloSocket struct {
	Name string `json:"name"` // of systemd's socket, or the address that we opened
	Ours bool   `json:"ours,omitempty"`
}

type proven struct {
	Version string `json:"version"`
}

// take makes the successor the owner.
type take struct {
	Record switcher.Record `json:"record"`
}

// controlName stands for the control socket among the addresses.
const controlName = "control"

// installed is where the program lies that the next start would run.
func installed() (string, error) {
	path, err := exec.LookPath(os.Args[0])
	if err != nil {
		return "", fmt.Errorf("finding the installed program: %w", err)
	}
	return path, nil
}

// Upgrade has the installed program take over, or leaves everything as it is.
func (d *daemon) Upgrade(ctx context.Context, r control.UpgradeRequest, by switcher.Actor) (switcher.Record, error) {
	if err := d.predecessor.await(ctx); err != nil {
		return switcher.Record{}, fmt.Errorf("waiting for the end of the process before this one: %w", err)
	}
	if !d.reloading.TryLock() {
		return switcher.Record{}, fmt.Errorf("%w: the configuration is being reloaded", switcher.ErrBusy)
	}
	defer d.reloading.Unlock()
	if d.stopping.Load() {
		return switcher.Record{}, fmt.Errorf("%w: %w", switcher.ErrAborted, errStopping)
	}
	u, ctx, err := d.switcher.BeginUpgrade(ctx, switcher.Request{Actor: by, Reason: r.Reason})
	if err != nil {
		return switcher.Record{}, err
	}
	next, err := d.succeed(ctx, u)
	if err != nil {
		d.log.Error("the upgrade failed: this process stays in charge", zap.Error(err))
		return u.Fail(fmt.Errorf("%w; the process that ran goes on and the traffic is where it was", err))
	}
	d.release(next, u)
	record := u.Record()
	record.Outcome = switcher.Done
	return record, nil
}

// succeed starts the successor and has it do all that can fail. On error it has
// ended; otherwise we are stopping.
func (d *daemon) succeed(ctx context.Context, u *switcher.Upgrade) (_ *handover.Successor, err error) {
	path, err := d.program()
	if err != nil {
		return nil, err
	}
	u.Step("starting " + path)
	// systemd must learn of the end of its main process.
	next, err := handover.Start(path, os.Args[1:], d.notify != nil, d.stderr)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = endSuccessor(next, err)
		}
	}()
	if err := d.sayHello(next); err != nil {
		return nil, err
	}
	u.Step("waiting until it has proven itself")
	var about proven
	if err := expect(ctx, next.Conn, proveTime, sayProven, &about); err != nil {
		return nil, err
	}
	u.Versions(version, about.Version)
	d.bakes.noteAll(ctx, u.NoteBakes)
	if err := u.Freeze(ctx); err != nil {
		return nil, err
	}
	u.Step("handing over the state")
	if err := d.sayTake(next, take{u.Record()}); err != nil {
		return nil, err
	}
	if err := expect(context.WithoutCancel(ctx), next.Conn, takeTime, sayServing, nil); err != nil {
		return nil, err
	}
	// Who was told to stop meanwhile leaves nobody behind: whoever stops us waits for
	// us alone.
	if !d.stopping.CompareAndSwap(false, true) {
		return nil, errStopping
	}
	return next, nil
}

// endSuccessor sees to it that the successor does nothing any more, and adds to
// err what it said last.
func endSuccessor(next *handover.Successor, err error) error {
	defer next.Close()
	ctx, cancel := context.WithTimeout(context.Background(), killTime)
	defer cancel()
	err = errors.Join(err, next.Kill(), next.Await(ctx))
	if said := next.Said(ctx); said != "" {
		err = fmt.Errorf("%w; it said last: %s", err, strings.ReplaceAll(said, "\n", " | "))
	}
	return err
}

// expect waits for one message.
func expect(ctx context.Context, c *handover.Conn, within time.Duration, kind string, body any) error {
	deadline := time.Now().Add(within)
	if err := c.SetDeadline(deadline); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) }) //nolint:errcheck // the receive tells
	m, err := c.Receive()
	if !stop() {
		return context.Cause(ctx)
	}
	defer m.Close()
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("the new process has not said %q within %s", kind, within)
	case err != nil:
		return errors.New("the new process has ended")
	case m.Kind != kind:
		return fmt.Errorf("the new process said %q, not %q", m.Kind, kind)
	}
	if err := c.SetDeadline(time.Time{}); err != nil || body == nil {
		return err
	}
	return m.Decode(body)
}

// sayHello passes every listening socket.
func (d *daemon) sayHello(next *handover.Successor) error {
	about := hello{Version: version, Token: d.doors.alive.token}
	var fds []int
	defer func() {
		for _, fd := range fds {
			syscall.Close(fd) //nolint:errcheck // a copy
		}
	}()
	add := func(name string, ours bool, s syscall.Conn) error {
		fd, err := handover.Duplicate(s)
		if err != nil {
			return err
		}
		fds = append(fds, fd)
		about.Sockets = append(about.Sockets, helloSocket{name, ours})
		return nil
	}
	if err := d.inherited.Each(func(name string, s syscall.Conn) error { return add(name, false, s) }); err != nil {
		return err
	}
	for name, ln := range d.ownListeners() {
		if err := add(name, true, ln.(syscall.Conn)); err != nil {
			return err
		}
	}
	return next.Send(sayHello, about, fds...)
}

// ownListeners are those that we opened, by address.
func (d *daemon) ownListeners() map[string]net.Listener {
	own := map[string]net.Listener{}
	for _, o := range d.doors.all() {
		if !o.inherited {
			own[o.address] = o.listener
		}
	}
	if d.adminOurs {
		own[d.startedWith.Admin.Listen] = d.admin
	}
	if d.controlOurs {
		own[controlName] = d.control
	}
	return own
}

func (d *daemon) sayTake(next *handover.Successor, t take) error {
	lock, err := handover.Duplicate(d.lock)
	if err != nil {
		return err
	}
	defer syscall.Close(lock) //nolint:errcheck // a copy
	return next.Send(sayTake, t, lock)
}

// release lets the successor be in charge. Nothing that fails here may take that
// back.
func (d *daemon) release(next *handover.Successor, u *switcher.Upgrade) {
	if err := d.notify.MainPID(next.PID); err != nil {
		d.log.Error("telling systemd of its new main process", zap.Error(err))
	}
	d.endWork() // before it is refused, which would look like a failure
	for _, o := range d.doors.all() {
		o.leave(next)
	}
	control.Leave(d.control)
	d.controlServer.Leave()
	d.control.Close() //nolint:errcheck // the successor listens on it
	u.Leave()
	d.released <- next
	d.log.Info("another process is in charge", zap.Int("pid", next.PID), zap.String("version", u.Record().ToVersion))
}

// leave has the door pass its connections on when it stops.
func (o *door) leave(next *handover.Successor) {
	if ul, ok := o.listener.(*net.UnixListener); ok {
		ul.SetUnlinkOnClose(false)
	}
	o.server.Load().PassOn(func(fd int, read []byte) error {
		return next.Send(sayConn, passedConn{Address: o.address, Read: read}, fd)
	})
}

// passedConn is a client's connection on its way to the successor.
type passedConn struct {
	Address string `json:"address"` // of its door
	Read    []byte `json:"read,omitempty"`
}
