package systemd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"

	"github.com/coreos/go-systemd/v22/activation"
)

// ErrNotInherited says that systemd passed no such socket.
var ErrNotInherited = errors.New("no such socket was inherited")

// Inherited are the listening sockets that systemd passed to this process
// (sd_listen_fds(3)). A nil Inherited is empty. Its methods may be called by
// several goroutines at once.
type Inherited struct {
	mu      sync.Mutex
	sockets []*socket
}

// socket keeps the descriptor that systemd passed. Listeners are made from
// copies, because systemd goes on listening whatever we close: a listener that
// a reload drops and a later one wants back could not be opened anew.
type socket struct {
	Socket
	listener fileListener
	taken    bool
}

// fileListener is what [net.TCPListener] and [net.UnixListener] have in common.
type fileListener interface {
	net.Listener
	syscall.Conn
	File() (*os.File, error)
}

// Socket describes one inherited socket.
type Socket struct {
	Name string // FileDescriptorName= of the socket unit
	Addr net.Addr
}

func (s Socket) String() string {
	return fmt.Sprintf("%s (%s %s)", s.Name, s.Addr.Network(), s.Addr)
}

// Listeners takes over what systemd passed to this process and clears the
// environment variables that told of it, so it finds the sockets only once.
// None at all is no error; one that is not a listening stream socket is, and
// then all are closed.
func Listeners() (*Inherited, error) {
	return Adopt(activation.Files(true))
}

// Adopt makes listening sockets that another process passed on inherited ones, by
// the names of the files. It closes the files.
func Adopt(files []*os.File) (*Inherited, error) {
	in := &Inherited{}
	var problems []error
	for _, f := range files {
		s, err := inherit(f)
		if err != nil {
			problems = append(problems, fmt.Errorf("inheriting socket %s: %w", f.Name(), err))
		} else {
			in.sockets = append(in.sockets, s)
		}
		f.Close()
	}
	if len(problems) > 0 {
		in.Close()
		return nil, errors.Join(problems...)
	}
	return in, nil
}

// ByName returns a listener on the first socket of that FileDescriptorName
// which nobody took, or on the first one if all are taken. It fails with
// [ErrNotInherited] if there is none.
func (in *Inherited) ByName(name string) (net.Listener, error) {
	return in.take(func(s *socket) bool { return s.Name == name })
}

// ByAddress returns a listener on the socket that listens where
// net.Listen(network, address) would. It fails with [ErrNotInherited] if there
// is none.
func (in *Inherited) ByAddress(network, address string) (net.Listener, error) {
	wanted, err := resolve(network, address)
	if err != nil {
		return nil, fmt.Errorf("looking for an inherited socket: %w", err)
	}
	return in.take(func(s *socket) bool { return sameAddr(s.Addr, wanted) })
}

// Listen returns the inherited listener, or a new one where there is none.
func (in *Inherited) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	l, err := in.ByAddress(network, address)
	if errors.Is(err, ErrNotInherited) {
		return new(net.ListenConfig).Listen(ctx, network, address)
	}
	return l, err
}

// Untaken lists the sockets that nobody took. Their clients wait for an answer
// that will not come, which is worth a warning.
func (in *Inherited) Untaken() []Socket {
	if in == nil {
		return nil
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	var left []Socket
	for _, s := range in.sockets {
		if !s.taken {
			left = append(left, s.Socket)
		}
	}
	return left
}

// Each calls do with every socket, until one fails.
func (in *Inherited) Each(do func(name string, s syscall.Conn) error) error {
	if in == nil {
		return nil
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, s := range in.sockets {
		if err := do(s.Name, s.listener); err != nil {
			return err
		}
	}
	return nil
}

// Close gives up all inherited sockets; listeners made from them go on.
func (in *Inherited) Close() error {
	if in == nil {
		return nil
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	var problems []error
	for _, s := range in.sockets {
		problems = append(problems, s.listener.Close())
	}
	in.sockets = nil
	return errors.Join(problems...)
}

func (in *Inherited) take(matches func(*socket) bool) (net.Listener, error) {
	if in == nil {
		return nil, ErrNotInherited
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	i := slices.IndexFunc(in.sockets, func(s *socket) bool { return matches(s) && !s.taken })
	if i < 0 {
		i = slices.IndexFunc(in.sockets, matches)
	}
	if i < 0 {
		return nil, ErrNotInherited
	}
	s := in.sockets[i]
	l, err := s.copy()
	if err != nil {
		return nil, fmt.Errorf("taking inherited socket %s: %w", s.Socket, err)
	}
	s.taken = true
	return l, nil
}

// inherit makes a listener of f, which the caller closes.
func inherit(f *os.File) (*socket, error) {
	l, err := net.FileListener(f)
	if err != nil {
		return nil, err
	}
	fl, ok := l.(fileListener)
	if !ok || !listens(fl) {
		l.Close()
		return nil, fmt.Errorf("%s %s does not listen", l.Addr().Network(), l.Addr())
	}
	return &socket{Socket: Socket{f.Name(), l.Addr()}, listener: fl}, nil
}

// listens tells a listening socket from a connection, which a socket unit with
// Accept=yes would pass: accepting on one fails for ever.
func listens(l fileListener) bool {
	listening := 0
	raw, err := l.SyscallConn()
	if err == nil {
		_ = raw.Control(func(fd uintptr) {
			listening, err = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_ACCEPTCONN)
		})
	}
	return err == nil && listening == 1
}

// copy returns a listener of its own on the same socket. Closing it does not
// remove a unix socket's file, which is systemd's.
func (s *socket) copy() (net.Listener, error) {
	f, err := s.listener.File()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return net.FileListener(f)
}

// resolve returns the address that net.Listen would bind.
func resolve(network, address string) (net.Addr, error) {
	switch network {
	case "tcp", "tcp4", "tcp6":
		return net.ResolveTCPAddr(network, address)
	case "unix":
		return net.ResolveUnixAddr(network, address)
	default:
		return nil, net.UnknownNetworkError(network)
	}
}

func sameAddr(have, want net.Addr) bool {
	switch want := want.(type) {
	case *net.TCPAddr:
		have, ok := have.(*net.TCPAddr)
		return ok && have.Port == want.Port && have.Zone == want.Zone && sameIP(have.IP, want.IP)
	case *net.UnixAddr:
		have, ok := have.(*net.UnixAddr)
		return ok && filepath.Clean(have.Name) == filepath.Clean(want.Name)
	default:
		return false
	}
}

// sameIP takes no IP at all, as in ":5080", for the IPv6 wildcard: that is what
// net.Listen binds, and what systemd does for ListenStream=5080.
func sameIP(have, want net.IP) bool {
	if want == nil {
		want = net.IPv6unspecified
	}
	return have.Equal(want)
}
