package proxy

import (
	"io"
	"net"

	"golang.org/x/sys/unix"
)

// closeWrite ends our direction and leaves the client's open.
func (c *clientConn) closeWrite() error {
	if cw, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return cw.CloseWrite()
	}
	return c.Close()
}

// CloseWrite is what net/http calls, before it closes, on a connection from
// which it has not read everything.
func (c *clientConn) CloseWrite() error {
	c.mu.Lock()
	c.linger = false
	c.boundReadsLocked()
	c.mu.Unlock()
	if err := c.closeWrite(); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, struct{ io.Reader }{c.Conn})
	return err
}

// reset closes so that the client cannot take what it got for the whole.
func (c *clientConn) reset() {
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		tcp.SetLinger(0) //nolint:errcheck // then the client sees a plain end
	}
	c.Close() //nolint:errcheck // there is nothing to do about it
}

// unread reports whether the kernel holds bytes that nobody has read yet.
func (c *clientConn) unread() bool {
	unread := c.hasGiven.Load()
	if c.raw == nil || unread {
		return unread
	}
	err := c.raw.Control(func(fd uintptr) {
		n, err := unix.IoctlGetInt(int(fd), unix.TIOCINQ)
		unread = err == nil && n > 0
	})
	return err == nil && unread
}

// Close implements [net.Conn]. It may linger: after a request that was answered
// before it was read, and after a head that net/http refused.
func (c *clientConn) Close() error {
	if c.passed.Load() {
		return nil
	}
	refused := connPhase(c.phase.Load()) == phaseHead && !c.http2.Load() && c.unread()
	c.mu.Lock()
	linger := c.linger || refused
	c.mu.Unlock()
	if linger && !c.server.cutting.Load() {
		c.CloseWrite() //nolint:errcheck // the close below tells
	}
	err := c.Conn.Close()
	c.closeOnce.Do(func() { c.server.forget(c) })
	return err
}
