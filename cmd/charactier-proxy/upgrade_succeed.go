package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/signal"
	"syscall"
	"time"

	"go.uber.org/zap"

	"charactier-proxy/cmd/internal/handover"
	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
	"charactier-proxy/systemd"
)

// succeed does the successor's part up to where the state is its own, if this
// process is one.
func succeed(o *daemonOptions) error {
	conn, err := handover.Inherit()
	if conn == nil || err != nil {
		return err
	}
	// What it writes may go to a process that has ended.
	signal.Ignore(syscall.SIGPIPE)
	p, err := newPredecessor(conn)
	if err != nil {
		return err
	}
	if _, err := p.meet(); err != nil {
		return err
	}
	if err := prove(o); err != nil {
		return err
	}
	if err := conn.Send(sayProven, proven{version}); err != nil {
		return err
	}
	o.predecessor = p
	return p.awaitTurn()
}

// prove fails unless this process can do the work: it reads the state, without
// touching it, and serves itself requests.
func prove(o *daemonOptions) error {
	if _, err := switcher.ReadState(o.paths.StateDir); err != nil {
		return fmt.Errorf("reading the state: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), proveTime/2)
	defer cancel()
	if err := serveSelf(ctx, o.config); err != nil {
		return fmt.Errorf("serving a request to itself: %w", err)
	}
	return nil
}

// listeners are those of systemd, by way of the predecessor if there is one.
func (d *daemon) listeners() (*systemd.Inherited, error) {
	if d.predecessor != nil {
		return d.predecessor.inherited, nil
	}
	return systemd.Listeners()
}

// takeState takes the state directory, from the predecessor or from nobody.
func (d *daemon) takeState() (*switcher.FileStore, error) {
	if d.predecessor != nil && d.predecessor.lock != nil {
		return switcher.AdoptFileStore(d.paths.StateDir, d.predecessor.lock)
	}
	return switcher.OpenFileStore(d.paths.StateDir)
}

// newLiveness asks as the predecessor does: as long as both accept, either may get
// the other's questions.
func (d *daemon) newLiveness() *liveness {
	if d.predecessor != nil && d.predecessor.token != "" {
		return &liveness{token: d.predecessor.token}
	}
	return newLiveness()
}

func (d *daemon) openAdmin(ctx context.Context, address string) (err error) {
	if d.admin, err = d.inherited.ByAddress("tcp", address); !errors.Is(err, systemd.ErrNotInherited) {
		return err
	}
	d.adminOurs = true
	if d.admin, err = d.predecessor.listener(address); d.admin != nil || err != nil {
		return err
	}
	d.admin, err = new(net.ListenConfig).Listen(ctx, "tcp", address)
	return err
}

func (d *daemon) openControl(ctx context.Context, group string) (err error) {
	if d.control, err = d.inherited.ByName(controlName); !errors.Is(err, systemd.ErrNotInherited) {
		return err
	}
	d.controlOurs = true
	if d.control, err = d.predecessor.listener(controlName); d.control != nil || err != nil {
		return err
	}
	d.control, err = control.Listen(ctx, d.paths.Socket, group)
	return err
}

// awaitRelease tells the predecessor that all is open, and waits until it lets us
// be in charge. Until then no client is served, so that none is lost if the
// predecessor decides otherwise. It reports whether there is anything to do.
func (d *daemon) awaitRelease(ctx context.Context) bool {
	p := d.predecessor
	if p == nil {
		return true
	}
	p.forgetSockets()
	// It cannot be said if the predecessor has ended. Then we are in charge.
	_ = p.conn.Send(sayServing, struct{}{})
	stop := context.AfterFunc(ctx, func() { p.conn.SetDeadline(time.Unix(1, 0)) }) //nolint:errcheck // the receive tells
	m, err := p.conn.Receive()
	m.Close()
	if !stop() {
		return false
	}
	if err == nil && m.Kind != sayReleased {
		d.log.Error("the process before this one did not let go", zap.String("said", m.Kind))
		return false
	}
	if err := handover.KeepStderr(); err != nil {
		d.log.Warn("starting", zap.Error(err))
	}
	signal.Reset(syscall.SIGPIPE)
	d.ownSockets()
	if r := p.record; r.ID != "" {
		r.ToVersion, r.Took = version, time.Since(r.Started)
		d.switcher.Upgraded(r)
	}
	return true
}

// ownSockets makes the sockets' files ours to remove.
func (d *daemon) ownSockets() {
	for _, o := range d.doors.all() {
		if ul, ok := o.listener.(*net.UnixListener); ok && !o.inherited {
			ul.SetUnlinkOnClose(true)
		}
	}
	if d.controlOurs {
		owned, err := control.Owned(d.control, d.paths.Socket)
		if err != nil {
			d.log.Warn("starting", zap.Error(err))
			return
		}
		d.control = owned
	}
}

// hearPredecessor takes over its connections until it has ended.
func (d *daemon) hearPredecessor(ctx context.Context) {
	if d.predecessor == nil {
		return
	}
	defer context.AfterFunc(ctx, func() { d.predecessor.conn.Close() })()
	d.predecessor.adopt = d.adoptConn
	d.predecessor.follow(d.log)
	d.log.Info("the process before this one has ended")
}

// adoptConn goes on with a client's connection.
func (d *daemon) adoptConn(c passedConn, nc net.Conn) {
	o := d.doors.get(c.Address)
	if o == nil {
		nc.Close() // it leads nowhere any more
		return
	}
	if err := o.adopt(nc, c.Read); err != nil {
		d.log.Warn("taking over a connection", zap.String("address", c.Address), zap.Error(err))
		nc.Close()
	}
}

// adopt waits until the door is open.
func (o *door) adopt(nc net.Conn, read []byte) error {
	const lookAgain, patience = time.Millisecond, 5 * time.Second
	for begun := time.Now(); ; {
		server := o.server.Load()
		if server != nil {
			if err := server.Adopt(nc, read); err == nil || time.Since(begun) > patience {
				return err
			}
		}
		<-time.After(lookAgain)
	}
}
