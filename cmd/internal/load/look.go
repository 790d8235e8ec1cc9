package load

import (
	"errors"
	"fmt"
	"io"
	"syscall"
)

// errClosedByPeer: the peer ended the connection while nothing was under way.
var errClosedByPeer = errors.New("closed by the peer")

// look says whether the idle connection can still carry a request: nil, or
// errClosedByPeer, or that the peer sent bytes nobody asked for. It reads
// nothing away and does not wait.
func (c *client) look() error {
	if c.reader.Buffered() > 0 {
		return errors.New("bytes after the end of the last answer")
	}
	raw, err := c.conn.(syscall.Conn).SyscallConn()
	if err != nil {
		return fmt.Errorf("looking at the connection: %w", err)
	}
	var n int
	var peekErr error
	err = raw.Read(func(fd uintptr) bool {
		var one [1]byte
		n, _, peekErr = syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		return true
	})
	switch {
	case err != nil:
		return fmt.Errorf("looking at the connection: %w", err)
	case errors.Is(peekErr, syscall.EAGAIN):
		return nil
	case peekErr != nil, n == 0:
		return fmt.Errorf("%w: %w", errClosedByPeer, orEOF(peekErr))
	}
	return errors.New("bytes that nobody asked for")
}

func orEOF(err error) error {
	if err == nil {
		return io.EOF
	}
	return err
}
