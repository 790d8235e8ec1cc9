package control

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	socketMode    = 0o660
	socketDirMode = 0o750
	// maxSocketPath is what fits into sockaddr_un with its closing NUL, see
	// unix(7).
	maxSocketPath = 107
	dialTimeout   = 2 * time.Second
)

// Listen makes the control socket at path and listens on it. Root, the own
// user and the members of group may connect; an empty group leaves the
// process's own. The directory is made with mode 0750 if it is missing.
//
// A socket that somebody answers on is left alone and the error names who; one
// that a dead daemon left is replaced. The new one is reachable only once it
// has its owner and mode. Closing the listener removes the socket unless
// another one is there by then.
//
// A listener inherited from systemd needs none of this; serve on it directly.
func Listen(ctx context.Context, path, group string) (net.Listener, error) {
	ln, err := listen(ctx, path, group)
	if err != nil {
		return nil, fmt.Errorf("listening on the control socket: %w", err)
	}
	return ln, nil
}

func listen(ctx context.Context, path, group string) (net.Listener, error) {
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("the path is %d bytes long, the kernel takes %d: %s", len(path), maxSocketPath, path)
	}
	gid, err := groupID(group)
	if err != nil {
		return nil, err
	}
	unlock, err := claimDir(filepath.Dir(path), gid)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := makeRoom(ctx, path); err != nil {
		return nil, err
	}
	return bind(ctx, path, gid)
}

// claimDir makes or checks the directory and locks it, so that of two daemons
// that start together the second finds the socket of the first.
func claimDir(dir string, gid *uint32) (unlock func(), err error) {
	switch err := os.Mkdir(dir, socketDirMode); {
	case err == nil:
		if err := chown(dir, gid); err != nil {
			return nil, err
		}
	case !errors.Is(err, fs.ErrExist):
		return nil, err
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	unlock = func() { _ = f.Close() } // a directory read from: closing it cannot lose anything
	if err := checkDir(f); err != nil {
		unlock()
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		unlock()
		return nil, fmt.Errorf("locking %s: %w", dir, err)
	}
	return unlock, nil
}

// checkDir refuses a directory in which others could replace the socket.
func checkDir(f *os.File) error {
	info, err := f.Stat()
	switch {
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%s is not a directory", f.Name())
	case info.Mode().Perm()&0o002 != 0 && info.Mode()&fs.ModeSticky == 0:
		return fmt.Errorf("everybody may write to the directory %s: chmod o-w it", f.Name())
	}
	return nil
}

// makeRoom removes a socket that nobody listens on.
func makeRoom(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s is there and is not a socket; move it away", path)
	}
	dialer := net.Dialer{Timeout: dialTimeout}
	c, err := dialer.DialContext(ctx, "unix", path)
	switch {
	case err == nil:
		defer c.Close()
		return liveSocket(path, c)
	case errors.Is(err, syscall.ECONNREFUSED):
		return os.Remove(path)
	}
	return fmt.Errorf("asking who listens on %s: %w", path, err)
}

func liveSocket(path string, c net.Conn) error {
	p, err := readPeer(c)
	if err != nil {
		return fmt.Errorf("another daemon listens on %s", path)
	}
	return fmt.Errorf("another daemon (pid %d) listens on %s", p.pid, path)
}

// bind listens under a temporary name, gives the socket its owner and mode, and
// moves it to its place.
func bind(ctx context.Context, path string, gid *uint32) (net.Listener, error) {
	temp, err := tempName(path)
	if err != nil {
		return nil, err
	}
	ul, err := listenClosed(ctx, temp)
	if err != nil {
		return nil, err
	}
	info, err := place(temp, path, gid)
	if err != nil {
		return nil, errors.Join(err, ul.Close())
	}
	ul.SetUnlinkOnClose(false)
	return &listener{UnixListener: ul, path: path, made: info}, nil
}

// listenClosed listens on a new socket that nobody else may connect to yet.
func listenClosed(ctx context.Context, path string) (*net.UnixListener, error) {
	config := net.ListenConfig{Control: closeDoor}
	l, err := config.Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	return l.(*net.UnixListener), nil
}

// closeDoor takes all rights for others from the socket before it has a name:
// the kernel makes the file with the mode of the socket.
func closeDoor(_, _ string, c syscall.RawConn) error {
	var chmodErr error
	err := c.Control(func(fd uintptr) { chmodErr = unix.Fchmod(int(fd), 0o600) })
	return errors.Join(err, chmodErr)
}

func place(temp, path string, gid *uint32) (fs.FileInfo, error) {
	if err := chown(temp, gid); err != nil {
		return nil, err
	}
	if err := os.Chmod(temp, socketMode); err != nil {
		return nil, err
	}
	info, err := os.Lstat(temp)
	if err != nil {
		return nil, err
	}
	return info, os.Rename(temp, path)
}

func chown(path string, gid *uint32) error {
	if gid == nil {
		return nil
	}
	return os.Lchown(path, -1, int(*gid))
}

// tempName is a name beside path that is not longer, so that it fits wherever
// path does.
func tempName(path string) (string, error) {
	dir, base := filepath.Split(path)
	random := make([]byte, 8)
	if _, err := rand.Read(random); err != nil {
		return "", fmt.Errorf("choosing a temporary name: %w", err)
	}
	name := "." + hex.EncodeToString(random)
	return dir + name[:min(len(name), max(len(base), 2))], nil
}

// listener removes its socket when closed.
type listener struct {
	*net.UnixListener
	path string
	made fs.FileInfo
	once sync.Once
}

// Close stops listening. The socket is removed first, so that none is ever
// seen that nobody answers on.
func (l *listener) Close() error {
	var err error
	l.once.Do(func() { err = l.remove() })
	return errors.Join(err, l.UnixListener.Close())
}

// Leave has the socket stay when ln is closed: another process listens on it too.
func Leave(ln net.Listener) {
	if l, ok := ln.(*listener); ok {
		l.once.Do(func() {})
	}
}

// Owned makes a listener on the control socket at path, which another process
// made and left, one that removes it when closed.
func Owned(ln net.Listener, path string) (net.Listener, error) {
	ul, ok := ln.(*net.UnixListener)
	if !ok {
		return nil, fmt.Errorf("the control socket is %T", ln)
	}
	ul.SetUnlinkOnClose(false)
	info, err := os.Lstat(path)
	if err != nil {
		return nil, fmt.Errorf("taking over the control socket: %w", err)
	}
	return &listener{UnixListener: ul, path: path, made: info}, nil
}

func (l *listener) remove() error {
	now, err := os.Lstat(l.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil || !os.SameFile(now, l.made) {
		return err
	}
	return os.Remove(l.path)
}
