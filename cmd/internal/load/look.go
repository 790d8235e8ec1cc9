package load

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
)

// ErrClosedByPeer: the peer ended the connection while nothing was under way.
var ErrClosedByPeer = errors.New("closed by the peer")

// Look says whether an idle connection can still carry a request: nil, or
// [ErrClosedByPeer], or that the peer sent bytes nobody asked for, of which r
// may have read some. It reads nothing away and does not wait.
func Look(conn net.Conn, r *bufio.Reader) error {
	if r.Buffered() > 0 {
		return errors.New("bytes after the end of the last answer")
	}
	raw, err := conn.(syscall.Conn).SyscallConn()
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
		return fmt.Errorf("%w: %w", ErrClosedByPeer, orEOF(peekErr))
	}
	return errors.New("bytes that nobody asked for")
}

func orEOF(err error) error {
	if err == nil {
		return io.EOF
	}
	return err
}
