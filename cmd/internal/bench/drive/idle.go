package drive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Idle opens connections, sends one request on each and keeps them open.
type Idle struct {
	Addr, Path  string
	Connections int
}

// Run tells opened when all are idle, keeps them until leave ends, and looks
// which are still open. Those that are not have failed.
func (i Idle) Run(ctx context.Context, opened func(), leave <-chan struct{}) (Result, error) {
	clients, err := open(ctx, i.Addr, i.Path, i.Connections)
	if err != nil {
		return Result{}, err
	}
	started := time.Now()
	var t tally
	useOnce(clients, &t)
	opened()
	select {
	case <-leave:
	case <-ctx.Done():
	}
	for _, c := range clients {
		if err := c.look(); err != nil {
			t.bad(err)
		}
		c.close()
	}
	return t.result(time.Since(started)), ctx.Err()
}

// useOnce sends one request on each connection, a few at a time.
func useOnce(clients []*client, t *tally) {
	const atOnce = 16
	var group sync.WaitGroup
	for n := range atOnce {
		group.Go(func() {
			for i := n; i < len(clients); i += atOnce {
				sent := time.Now()
				if err := clients[i].do(); err != nil {
					t.bad(err)
					continue
				}
				t.good([]time.Duration{time.Since(sent)})
			}
		})
	}
	group.Wait()
}

// look says why an idle connection cannot be used any more, without touching it.
func (c *client) look() error {
	raw, err := c.conn.(syscall.Conn).SyscallConn()
	if err != nil {
		return err
	}
	var n int
	var peeked error
	if err := raw.Control(func(fd uintptr) {
		n, _, peeked = unix.Recvfrom(int(fd), make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
	}); err != nil {
		return err
	}
	switch {
	case errors.Is(peeked, unix.EAGAIN):
		return nil
	case peeked == nil && n == 0:
		return fmt.Errorf("an idle connection was closed: %w", io.EOF)
	case peeked == nil:
		return errors.New("an idle connection has unasked bytes")
	}
	return fmt.Errorf("an idle connection was closed: %w", peeked)
}
