package main

import (
	"fmt"
	"net"
	"sync"
	"syscall"

	"charactier-proxy/proxy"
)

// room is what there is for connections, out of the file descriptors that this
// process may have. A flood of clients cannot take those that the rest needs:
// the control socket, by which somebody may want to do something about it, the
// state and the logs.
type room struct{ clients, slots *proxy.Room }

const (
	// keptDescriptors are for all but connections of clients and to slots: up to
	// 144 on the control socket, those on the admin listener, the listeners, probes,
	// files.
	keptDescriptors = 512
	// unlimited stands for a limit that is none.
	unlimited = 1 << 20
)

// divideDescriptors looks at the limit of descriptors, which the runtime has
// raised as far as it may. A request needs two: one on either side.
func divideDescriptors() (room, error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return room{}, fmt.Errorf("reading the limit of file descriptors: %w", err)
	}
	clients, slots := shareOut(limit.Cur)
	return room{proxy.NewRoom(clients), proxy.NewRoom(slots)}, nil
}

// shareOut keeps back at most a quarter where there are few.
func shareOut(limit uint64) (clients, slots int) {
	total := int(min(limit, unlimited))
	total -= min(keptDescriptors, total/4)
	return total - total/2, total / 2
}

// maxAdminConns bounds the connections to the admin listener, where anybody on
// the host may connect.
const maxAdminConns = 64

// boundedListener accepts the next connection only when there is a place for it.
type boundedListener struct {
	net.Listener
	places chan struct{}
	closed chan struct{}
	once   sync.Once
}

func newBoundedListener(ln net.Listener, most int) *boundedListener {
	return &boundedListener{Listener: ln, places: make(chan struct{}, most), closed: make(chan struct{})}
}

// Accept implements [net.Listener].
func (l *boundedListener) Accept() (net.Conn, error) {
	select {
	case l.places <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	leave := func() { <-l.places }
	if err != nil {
		leave()
		return nil, err
	}
	return &boundedConn{Conn: c, leave: sync.OnceFunc(leave)}, nil
}

// Close implements [net.Listener].
func (l *boundedListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// boundedConn gives its place back when it is closed.
type boundedConn struct {
	net.Conn
	leave func()
}

// Close implements [net.Conn].
func (c *boundedConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
